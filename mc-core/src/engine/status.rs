//! Health and metrics: what an operator may ask at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::inner::{Inner, Phase, lock};
use super::port::{Peek, Peeked};
use crate::error::Error;

/// Whether the engine works.
#[derive(Clone, Debug)]
pub enum Health {
    /// It takes commands.
    Up,
    /// It reads its state back from the log.
    Recovering,
    /// The store takes no writes, or the state contradicts the log: reads work, new work is refused.
    Failing {
        /// Why.
        error: Arc<Error>,
    },
    /// It was shut down.
    Stopped,
}

/// Counts since the engine was opened, and sizes now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// Commits.
    pub commits: u64,
    /// Events written.
    pub events: u64,
    /// Attempts started.
    pub attempts: u64,
    /// Soft restarts after a failed commit.
    pub soft_restarts: u64,
    /// Runs in memory.
    pub resident_runs: u64,
    /// About how many bytes the states of runs take in memory that have ended.
    pub ended_bytes: u64,
    /// Attempts that are out.
    pub live_attempts: u64,
    /// Requests that wait for their turn in an account.
    pub waiting: u64,
    /// The number behind the last event that is on disk.
    pub durable_seq: u64,
    /// How long the last commit took, in microseconds.
    pub last_commit_us: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) commits: AtomicU64,
    pub(super) events: AtomicU64,
    pub(super) attempts: AtomicU64,
    pub(super) soft_restarts: AtomicU64,
    pub(super) last_commit_us: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }
}

fn size(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

impl Inner {
    pub(super) fn health(&self) -> Health {
        match &lock(&self.live).phase {
            Phase::Up | Phase::Joined(_) => Health::Up,
            Phase::Recovering => Health::Recovering,
            Phase::Down(error) | Phase::Broken(error) => Health::Failing {
                error: Arc::clone(error),
            },
            Phase::Stopped => Health::Stopped,
        }
    }

    /// The counts of the process that owns the log.
    pub(super) fn metrics(&self) -> Metrics {
        let owner = self.joined();
        if let Some(Peeked::Metrics(metrics)) = owner.and_then(|one| one.port.peek(Peek::Metrics)) {
            return *metrics;
        }
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut metrics = Metrics {
            commits: load(&self.counters.commits),
            events: load(&self.counters.events),
            attempts: load(&self.counters.attempts),
            soft_restarts: load(&self.counters.soft_restarts),
            last_commit_us: load(&self.counters.last_commit_us),
            live_attempts: size(lock(&self.attempts).len()),
            ..Metrics::default()
        };
        if let Some(sequencer) = &lock(&self.live).sequencer {
            metrics.resident_runs = size(sequencer.workspace().runs.len());
            metrics.ended_bytes = sequencer.ended_bytes();
            metrics.waiting = size(sequencer.workspace().waiting.len());
            metrics.durable_seq = sequencer.durable();
        }
        metrics
    }
}
