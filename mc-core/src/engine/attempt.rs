//! A live attempt as the engine holds it: its token, and whether it is to stop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::port::AgentHost;
pub(super) use super::port::AttemptKey;

use super::sync::{Mutex, lock};
use crate::id::{Digest, RunId, StepKey};
use crate::sequencer::{JournalPlace, Token};

/// One attempt in this process, or in one that has joined it.
#[derive(Debug)]
pub(super) struct AttemptCell {
    run_id: RunId,
    step: StepKey,
    attempt: u32,
    epoch: AtomicU64,
    /// When it times out, in monotonic time.
    deadline: Option<Duration>,
    cancelled: AtomicBool,
    /// Whether it is to stop for no other reason than that the engine ends.
    ends: AtomicBool,
    /// Whether a session's handle is gone, and its end not durable yet.
    let_go: AtomicBool,
    stop: Notify,
    ordinal: AtomicU32,
    /// Where in the journal persons were asked of model calls that are to be asked for again.
    asked: Mutex<BTreeMap<Digest, BTreeSet<u32>>>,
    /// Input and output tokens of the call under way, as far as they were reported.
    tokens: (AtomicU64, AtomicU64),
    /// The joined process that has the handler; none where it is here.
    host: Option<Arc<dyn AgentHost>>,
}

/// How far an attempt that is out has come: what its agent reported last, and nothing that counts.
///
/// It is not logged; what a call used is known, and paid for, when it is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// Input tokens so far.
    pub input_tokens: u64,
    /// Output tokens so far.
    pub output_tokens: u64,
}

impl AttemptCell {
    pub(super) fn new(token: &Token, deadline: Option<Duration>) -> Self {
        Self {
            run_id: token.run_id,
            step: token.step.clone(),
            attempt: token.attempt,
            epoch: AtomicU64::new(token.epoch),
            deadline,
            cancelled: AtomicBool::new(false),
            ends: AtomicBool::new(false),
            let_go: AtomicBool::new(false),
            stop: Notify::new(),
            ordinal: AtomicU32::new(0),
            asked: Mutex::default(),
            tokens: (AtomicU64::new(0), AtomicU64::new(0)),
            host: None,
        }
    }

    /// An attempt whose handler a joined process has.
    pub(super) fn elsewhere(
        token: &Token,
        host: &Arc<dyn AgentHost>,
        deadline: Option<Duration>,
    ) -> Self {
        Self {
            host: Some(Arc::clone(host)),
            ..Self::new(token, deadline)
        }
    }

    /// Whether this joined process has the handler.
    pub(super) fn is_at(&self, host: u64) -> bool {
        self.host.as_ref().is_some_and(|one| one.id() == host)
    }

    /// Whether some joined process has the handler.
    pub(super) const fn is_elsewhere(&self) -> bool {
        self.host.is_some()
    }

    /// The token, in the epoch that last adopted the attempt.
    pub(super) fn token(&self) -> Token {
        Token {
            epoch: self.epoch.load(Ordering::Acquire),
            run_id: self.run_id,
            step: self.step.clone(),
            attempt: self.attempt,
        }
    }

    pub(super) const fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    pub(super) fn key(&self) -> AttemptKey {
        (self.run_id, self.step.clone(), self.attempt)
    }

    /// A soft restart took the attempt over.
    pub(super) fn adopt(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Release);
    }

    /// The token was revoked: the handler is asked to stop.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.stop.notify_waiters();
        if let Some(host) = &self.host {
            host.cancel(&self.token());
        }
    }

    /// The engine ends: the handler is asked to stop, and its attempt stays out in the log.
    pub(super) fn end(&self) {
        let first = !self.is_cancelled();
        self.ends.store(first, Ordering::Release);
        self.cancel();
    }

    /// Whether the attempt has to stop because the engine ends, and nobody had revoked its token.
    pub(super) fn is_ending(&self) -> bool {
        self.ends.load(Ordering::Acquire)
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// A session's handle is gone.
    pub(super) fn let_go(&self) {
        self.let_go.store(true, Ordering::Release);
    }

    pub(super) fn is_let_go(&self) -> bool {
        self.let_go.load(Ordering::Acquire)
    }

    /// Returns once the attempt is to stop.
    pub(super) async fn cancelled(&self) {
        loop {
            let stop = self.stop.notified();
            if self.is_cancelled() {
                return;
            }
            stop.await;
        }
    }

    pub(super) fn report(&self, input: u64, output: u64) {
        self.tokens.0.store(input, Ordering::Relaxed);
        self.tokens.1.store(output, Ordering::Relaxed);
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            step: self.step.clone(),
            attempt: self.attempt,
            input_tokens: self.tokens.0.load(Ordering::Relaxed),
            output_tokens: self.tokens.1.load(Ordering::Relaxed),
        }
    }

    /// Whoever has the session's handle has to ask for every call.
    pub(super) fn recall(&self) {
        if let Some(host) = &self.host {
            host.recall(self.run_id);
        }
    }

    /// A person is asked of a model call: who asks for the same call again means this one.
    pub(super) fn note_asked(&self, place: JournalPlace) {
        let mut asked = lock(&self.asked);
        asked
            .entry(place.request)
            .or_default()
            .insert(place.ordinal);
    }

    /// Where a person was asked of the same model call, once for each time that it was asked for.
    pub(super) fn asked_at(&self, request: impl FnOnce() -> Digest) -> Option<u32> {
        let mut asked = lock(&self.asked);
        if asked.is_empty() {
            return None;
        }
        let request = request();
        let places = asked.get_mut(&request)?;
        let first = places.pop_first();
        if places.is_empty() {
            asked.remove(&request);
        }
        first
    }

    /// The next place in the journal.
    pub(super) fn next_ordinal(&self) -> u32 {
        self.ordinal.fetch_add(1, Ordering::AcqRel)
    }
}
