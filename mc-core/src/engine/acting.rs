//! Handlers that outlive their owner, as the processes tell each other of them.
//!
//! A process keeps which handlers are alive in it, whoever had dispatched them, and says so to every
//! owner that it joins. The owner keeps what it was told for as long as the other process is there.
//! What hangs on it is the sequencer's (`sequencer::acting`).

use std::time::Duration;

use super::inner::{Inner, lock};
use super::owner::Owner;
use super::port::AttemptKey;
use crate::sequencer::{Handler, Sequencer};

impl Handler {
    fn of((run_id, step, attempt): &AttemptKey, host: Option<u64>) -> Self {
        Self {
            run_id: *run_id,
            step: step.clone(),
            attempt: *attempt,
            host,
        }
    }
}

impl Inner {
    /// A handler begins in this process.
    pub(super) fn begins(&self, attempt: &AttemptKey) {
        lock(&self.acting).insert(Handler::of(attempt, None));
    }

    /// The handler of an attempt has come to its end in this process.
    pub(super) fn ends(&self, attempt: &AttemptKey) {
        lock(&self.acting).remove(&Handler::of(attempt, None));
    }

    /// Whether the handler of an attempt acts in this process.
    pub(super) fn acts_here(&self, attempt: &AttemptKey) -> bool {
        lock(&self.acting).contains(&Handler::of(attempt, None))
    }

    /// Every attempt whose handler acts in this process.
    pub(super) fn acting_here(&self) -> Vec<AttemptKey> {
        let acting = lock(&self.acting);
        let here = acting.iter().filter(|one| one.host.is_none());
        here.map(|one| (one.run_id, one.step.clone(), one.attempt))
            .collect()
    }

    /// Processes may come back that had joined an earlier owner of the log.
    pub(super) fn expect_joiners(&self) {
        *lock(&self.joiners_until) = Some(Duration::MAX);
    }

    /// They can from now on: whoever is in doubt is asked about once they have had the time.
    pub(super) fn wait_for_joiners(&self) {
        let patience = self.settings.recovery_patience;
        let until = self.clock.monotonic().saturating_add(patience);
        *lock(&self.joiners_until) = Some(until);
        if let Some(sequencer) = lock(&self.live).sequencer.as_mut() {
            sequencer.expect_handlers_until(until);
        }
        self.bell.notify_one();
    }

    /// Tells a sequencer that was read back from the log what is not in there. The lock on the phase is
    /// held: a handler that ends meanwhile is told of afterwards.
    pub(super) fn tell_acting(&self, sequencer: &mut Sequencer) {
        let until = *lock(&self.joiners_until);
        let now = self.clock.monotonic();
        let handlers = lock(&self.acting).clone();
        sequencer.set_acting(handlers, until.filter(|until| *until > now));
    }

    /// A handler of this process has ended, and what came of it was reported.
    pub(super) async fn has_ended(&self, attempt: &AttemptKey) {
        self.tell_ended(&Handler::of(attempt, None)).await;
    }

    /// The sequencer hears that a handler acts no more; what is in doubt for it is asked about.
    async fn tell_ended(&self, handler: &Handler) {
        let mut known = false;
        loop {
            if let Some(sequencer) = lock(&self.live).sequencer.as_mut() {
                known |= sequencer.acts_no_more(handler);
                if !known {
                    return;
                }
                if sequencer.ask_again(handler.run_id, &handler.step) {
                    break;
                }
            } else {
                // Whoever reads the log back asks about all that is in doubt.
                return;
            }
            if let Err(error) = self.page_in(handler.run_id).await {
                tracing::debug!(%error, "a run that is in doubt could not be read");
                return;
            }
        }
        self.bell.notify_one();
    }

    /// Forgets handlers of joined processes that are not there any more.
    fn forget(&self, is_gone: impl Fn(&Handler) -> bool) -> Vec<Handler> {
        let mut acting = lock(&self.acting);
        let gone: Vec<Handler> = acting.iter().filter(|one| is_gone(one)).cloned().collect();
        acting.retain(|one| !gone.contains(one));
        gone
    }
}

impl Owner {
    /// A process that has joined says which handlers of earlier owners' attempts still act in it. It is
    /// heard before anything else of it.
    pub fn acting(&self, host: u64, attempts: &[AttemptKey]) {
        let inner = &self.inner;
        for attempt in attempts {
            let handler = Handler::of(attempt, Some(host));
            lock(&inner.acting).insert(handler.clone());
            if let Some(sequencer) = lock(&inner.live).sequencer.as_mut() {
                sequencer.acts(handler);
            }
        }
    }

    /// The handler of an attempt of an earlier owner has ended in a joined process.
    pub(super) fn acts_no_more(&self, host: u64, attempt: &AttemptKey) {
        let handler = Handler::of(attempt, Some(host));
        for gone in self.inner.forget(|one| *one == handler) {
            let inner = self.inner.clone();
            let telling = async move { inner.tell_ended(&gone).await };
            self.inner.spawner.spawn_driver(Box::pin(telling));
        }
    }

    /// A joined process is gone, and all that acted in it.
    pub(super) async fn act_no_more(&self, host: u64) {
        for gone in self.inner.forget(|one| one.host == Some(host)) {
            self.inner.tell_ended(&gone).await;
        }
    }
}
