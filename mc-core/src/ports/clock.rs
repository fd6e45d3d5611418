//! The clock port: wall time, monotonic time, and sleep.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::time::Timestamp;

/// Tells the time and wakes sleepers.
///
/// Wall time may jump; monotonic time never goes back. Time-outs use monotonic time, times that
/// are written to the log use wall time.
#[async_trait]
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The wall clock, in microseconds of Unix time.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment of this process.
    fn monotonic(&self) -> Duration;

    /// Returns once [`Clock::monotonic`] has reached `deadline`.
    ///
    /// # Cancel safety
    /// Dropping the future drops the wake-up and nothing else.
    async fn sleep_until(&self, deadline: Duration);
}
