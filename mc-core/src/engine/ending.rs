//! The end of an engine: nothing more goes out, what is out may end, then it is told to stop, and what
//! does not stop is let go.
//!
//! Nothing is decided by that: an attempt that had to stop is out in the log, and the next opening
//! finds it as it finds what a crash left. What is *not* here: an owner that is gone (`guest`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::attempt::AttemptCell;
use super::control::MissionControl;
use super::inner::{Inner, Phase, lock};
use super::port::AttemptKey;
use crate::error::Result;
use crate::id::Actor;
use crate::sequencer::Request;

/// How long an owner may take at least to hear that a process leaves.
const LEAVING: Duration = Duration::from_secs(1);

/// How long what is out may take to end once it is told to stop, and to be gone once it is let go.
const STOPPING: Duration = Duration::from_millis(500);

impl MissionControl {
    /// Ends the engine: dispatches nothing more, waits for attempts that are out until `grace` has
    /// passed, tells those to stop that still are, commits, and stops. What was told to stop has half
    /// a second to end; what it answers by then counts. What is still out then is dropped where it
    /// stands, and in doubt at the next open. Dropped before it is done it stops at once all the same,
    /// unless it still waited for what is out: then it can be called again.
    ///
    /// # Errors
    /// `Unavailable` while the store refuses.
    pub async fn shutdown(&self, grace: Duration) -> Result<()> {
        let inner = &self.inner;
        let deadline = inner.clock.monotonic().saturating_add(grace);
        if !inner.drives.load(Ordering::Acquire) && self.leave(deadline).await {
            return Ok(());
        }
        // A store that takes no writes can still be left.
        let drained = inner.submit(Actor::System, Request::Drain).await;
        if drained.is_ok() {
            inner.wait_for_attempts(deadline).await;
        }
        let stopping = Stopping(Some(inner));
        self.stop_attempts().await;
        // Whatever was decided is committed before the end.
        let flushed = inner.submit(Actor::System, Request::Drain).await;
        drop(stopping);
        // When this returns, only handles keep the store open: dropping them frees it.
        let mut driving = inner.driving.clone();
        let patience = inner.clock.monotonic().saturating_add(grace.max(LEAVING));
        self.at_most(patience, driving.changed()).await;
        self.let_go().await;
        flushed.map(drop)
    }

    /// Ends a handle that has joined. False where it has become the owner meanwhile.
    async fn leave(&self, deadline: Duration) -> bool {
        let inner = &self.inner;
        // The handle stays what it is from now on, unless it is about to become the owner already.
        lock(&inner.live).leaving = true;
        let least = inner.clock.monotonic().saturating_add(LEAVING);
        self.at_most(deadline.max(least), inner.give_up_agents())
            .await;
        inner.wait_for_attempts(deadline).await;
        let mut stopping = Stopping(Some(inner));
        self.stop_attempts().await;
        if inner.drives.load(Ordering::Acquire) {
            stopping.0 = None;
            return false;
        }
        drop(stopping);
        // Whoever looks for the next owner stops looking, and lets go of the file if it was found there.
        let mut driving = inner.driving.clone();
        self.at_most(deadline.max(least), driving.changed()).await;
        self.let_go().await;
        true
    }

    /// Tells what is out here to stop, and gives it a while for that.
    async fn stop_attempts(&self) {
        self.inner.tell_to_stop();
        self.at_most(self.soon(), self.inner.handling.closed())
            .await;
    }

    /// Drops what has not ended. Only a handler that blocks its thread is still there afterwards.
    async fn let_go(&self) {
        self.inner.letting_go.send_replace(true);
        self.at_most(self.soon(), self.inner.handling.closed())
            .await;
    }

    fn soon(&self) -> Duration {
        self.inner.clock.monotonic().saturating_add(STOPPING)
    }

    /// Waits for something until a monotonic time.
    async fn at_most<T>(&self, deadline: Duration, what: impl Future<Output = T>) {
        tokio::select! {
            biased;
            _ = what => {}
            () = self.inner.clock.sleep_until(deadline) => {}
        }
    }
}

/// What is out was told to stop and reports no more: nothing may go on behind that, also where whoever
/// shuts the engine down gives up half-way.
struct Stopping<'a>(Option<&'a Arc<Inner>>);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        if let Some(inner) = self.0 {
            inner.stop();
        }
    }
}

impl Inner {
    /// Returns once handlers that have not ended are to be dropped.
    pub(super) async fn lets_go(&self) {
        let mut letting_go = self.letting_go.subscribe();
        // Who says it is in here, too.
        let _ = letting_go.wait_for(|now| *now).await;
    }

    fn tell_to_stop(&self) {
        let acting: BTreeSet<AttemptKey> = self.acting_here().into_iter().collect();
        let attempts = lock(&self.attempts);
        let out = attempts.iter().filter(|(key, _)| acting.contains(*key));
        let out: Vec<Arc<AttemptCell>> = out.map(|(_, cell)| Arc::clone(cell)).collect();
        drop(attempts);
        for cell in out {
            cell.end();
        }
    }

    /// Nothing more is dispatched to a joined handle once this returns.
    async fn give_up_agents(&self) {
        if let Some(owner) = self.joined() {
            owner.port.leave().await;
        }
    }

    /// Takes no more commands, and ends the connection of a handle that has joined.
    fn stop(&self) {
        let owner = self.joined();
        lock(&self.live).phase = Phase::Stopped;
        if let Some(owner) = owner {
            owner.port.close();
        }
        // It may be about to become the owner: then its driver goes at once.
        self.bell.notify_one();
        self.turned.notify_waiters();
        self.wake_all();
    }
    /// Waits until no attempt is out, or until a monotonic time.
    async fn wait_for_attempts(&self, deadline: Duration) {
        loop {
            let moved = self.turned.notified();
            if lock(&self.attempts).is_empty() || self.clock.monotonic() >= deadline {
                return;
            }
            tokio::select! {
                biased;
                () = moved => {}
                () = self.clock.sleep_until(deadline) => return,
            }
        }
    }
}
