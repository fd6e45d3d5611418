//! A live attempt as the engine holds it: its token, and whether it is to stop.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use std::time::Duration;

use tokio::sync::Notify;

use crate::id::{RunId, StepKey};
use crate::sequencer::Token;

/// One attempt in this process.
#[derive(Debug)]
pub(super) struct AttemptCell {
    run_id: RunId,
    step: StepKey,
    attempt: u32,
    epoch: AtomicU64,
    /// When it times out, in monotonic time.
    deadline: Option<Duration>,
    cancelled: AtomicBool,
    stop: Notify,
    ordinal: AtomicU32,
}

/// What finds an attempt.
pub(super) type AttemptKey = (RunId, StepKey, u32);

impl AttemptCell {
    pub(super) fn new(token: &Token, deadline: Option<Duration>) -> Self {
        Self {
            run_id: token.run_id,
            step: token.step.clone(),
            attempt: token.attempt,
            epoch: AtomicU64::new(token.epoch),
            deadline,
            cancelled: AtomicBool::new(false),
            stop: Notify::new(),
            ordinal: AtomicU32::new(0),
        }
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
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
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

    /// The next place in the journal.
    pub(super) fn next_ordinal(&self) -> u32 {
        self.ordinal.fetch_add(1, Ordering::AcqRel)
    }
}
