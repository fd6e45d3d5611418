//! Resilience: state machines that keep failing providers and looping agents from doing harm.
//!
//! All are pure folds over events and [`crate::time::Timestamp`]: no clock, no randomness, no map
//! without order, so a replay has the state that the live process had.
//! What is *not* here: money (`budget`) and who waits for whom (`sequencer`).
//! Read `classify`, `breaker`, `retry_budget`, `no_progress`, then `budget`.

pub mod breaker;
pub mod classify;
pub mod no_progress;
mod retry;
pub mod retry_budget;

pub use breaker::{Admits, Breaker, BreakerSettings, Breakers, Change, Trigger};
pub use classify::{CallFailure, CallOutcome, OutputBegun, SettleFlag};
pub use no_progress::{NoProgress, REPEATS, Repeats};
pub use retry::{
    Backoff, Coefficient, MAX_ATTEMPTS, MAX_INTERVAL, MAX_NON_RETRYABLE, MIN_INTERVAL, ModelRetry,
    RetryFault, RetryPolicy,
};
pub use retry_budget::{RetryBudget, RetryBudgetSettings};
