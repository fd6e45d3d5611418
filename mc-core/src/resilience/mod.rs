//! What to do when a call or a step fails: retries, and what keeps them from doing harm.
//!
//! What is *not* here: timers. A policy says how long to wait; the engine waits.

mod retry;

pub use retry::{
    Backoff, Coefficient, MAX_ATTEMPTS, MAX_INTERVAL, MAX_NON_RETRYABLE, MIN_INTERVAL, ModelRetry,
    RetryFault, RetryPolicy,
};
