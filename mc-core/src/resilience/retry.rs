//! Retry policies: how often, how long apart, and for which errors.
//!
//! Every rule that a policy must obey is checked where it is made, so who holds one need not check
//! it again. What is *not* here: which policy a risk tier has by default (`policy::tier`), and any
//! randomness: the caller brings it. Read `policy` next.
#![deny(
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    clippy::as_conversions
)]

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::id::Opaque;
use crate::money::{MoneyFault, parse_decimal};

/// The shortest first interval.
pub const MIN_INTERVAL: Duration = Duration::from_millis(1);
/// The longest interval, and the longest time over all attempts: 365 days.
pub const MAX_INTERVAL: Duration = Duration::from_secs(365 * 86_400);
/// The most attempts that a policy may allow.
pub const MAX_ATTEMPTS: u32 = 1_000;
/// The most error codes in `non_retryable`.
pub const MAX_NON_RETRYABLE: usize = 64;

/// Why a retry policy cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetryFault {
    /// The first interval is outside its range.
    #[error("initial_interval is from 1ms to 365d")]
    InitialInterval,
    /// The longest interval is shorter than the first, or too long.
    #[error("maximum_interval is from initial_interval to 365d")]
    MaximumInterval,
    /// The coefficient is outside its range, or too fine.
    #[error("backoff_coefficient is from 1 to 1000 with at most three decimals")]
    Coefficient,
    /// The number of attempts is outside its range.
    #[error("maximum_attempts is from 1 to {MAX_ATTEMPTS}")]
    MaximumAttempts,
    /// The time over all attempts is outside its range.
    #[error("max_elapsed is from 1ms to 365d")]
    MaxElapsed,
    /// Too many error codes are listed.
    #[error("non_retryable has at most {MAX_NON_RETRYABLE} codes")]
    NonRetryable,
}

/// By how much each interval is longer than the one before it.
///
/// # Units
/// Thousandths, 1,000 to 1,000,000: `2` is 2,000.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Coefficient(u32);

impl Coefficient {
    /// Twice as long each time.
    pub const TWO: Self = Self(2_000);

    /// Wraps thousandths.
    ///
    /// # Errors
    /// [`RetryFault::Coefficient`] outside 1,000 to 1,000,000.
    pub const fn from_thousandths(thousandths: u32) -> Result<Self, RetryFault> {
        match thousandths {
            1_000..=1_000_000 => Ok(Self(thousandths)),
            _ => Err(RetryFault::Coefficient),
        }
    }

    /// Reads decimal text such as `2` or `1.5`, of at most three decimals.
    ///
    /// # Errors
    /// [`RetryFault::Coefficient`] for anything else.
    pub fn parse(text: &str) -> Result<Self, RetryFault> {
        let thousandths = parse_decimal(text, 3).or_else(|fault| match fault {
            // `2.0000` is as exact as `2`.
            MoneyFault::TooFine => {
                parse_decimal(text.trim_end_matches('0').trim_end_matches('.'), 3)
            }
            MoneyFault::NotDecimal | MoneyFault::Negative | MoneyFault::TooLarge => Err(fault),
        });
        let thousandths = thousandths.map_err(|_| RetryFault::Coefficient)?;
        Self::from_thousandths(u32::try_from(thousandths).unwrap_or(u32::MAX))
    }

    /// The coefficient in thousandths.
    pub const fn as_thousandths(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Coefficient {
    /// Decimal text of up to three decimals: `2`, `1.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000, self.0 % 1_000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{rest:03}").trim_end_matches('0'))
    }
}

impl fmt::Debug for Coefficient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How long to wait before the next attempt: exponential, with a ceiling and full jitter.
///
/// **Source:** M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    initial: Duration,
    coefficient: Coefficient,
    maximum: Duration,
}

impl Backoff {
    /// One second, doubled each time, at most 60 seconds.
    pub const DEFAULT: Self = Self {
        initial: Duration::from_secs(1),
        coefficient: Coefficient::TWO,
        maximum: Duration::from_secs(60),
    };

    /// Checks and wraps the three fields.
    ///
    /// # Errors
    /// A [`RetryFault`] that names the field and its range.
    pub fn new(
        initial_interval: Duration,
        backoff_coefficient: Coefficient,
        maximum_interval: Duration,
    ) -> Result<Self, RetryFault> {
        if initial_interval < MIN_INTERVAL || initial_interval > MAX_INTERVAL {
            return Err(RetryFault::InitialInterval);
        }
        if maximum_interval < initial_interval || maximum_interval > MAX_INTERVAL {
            return Err(RetryFault::MaximumInterval);
        }
        Ok(Self {
            initial: initial_interval,
            coefficient: backoff_coefficient,
            maximum: maximum_interval,
        })
    }

    /// The ceiling that goes with a first interval when none is given: 60 seconds, or that interval
    /// where it is longer.
    pub fn default_maximum(initial_interval: Duration) -> Duration {
        Self::DEFAULT.maximum.max(initial_interval)
    }

    /// The first interval.
    pub const fn initial_interval(&self) -> Duration {
        self.initial
    }

    /// By how much each interval is longer than the one before it.
    pub const fn backoff_coefficient(&self) -> Coefficient {
        self.coefficient
    }

    /// The longest interval.
    pub const fn maximum_interval(&self) -> Duration {
        self.maximum
    }

    /// The longest wait after `attempt` (from 1) failed:
    /// `min(maximum, initial * coefficient^(attempt-1))`.
    pub fn ceiling(&self, attempt: u32) -> Duration {
        Duration::from_micros(self.ceiling_us(attempt))
    }

    /// The wait after `attempt` (from 1) failed: `random(0, ceiling(attempt))`, both ends included.
    ///
    /// `random` is any 64 random bits; the same bits give the same wait.
    pub fn delay(&self, attempt: u32, random: u64) -> Duration {
        let span = u128::from(self.ceiling_us(attempt)) + 1;
        // The high half of the product spreads the bits evenly over the span.
        let us = (u128::from(random) * span) >> 64;
        Duration::from_micros(u64::try_from(us).unwrap_or(u64::MAX))
    }

    fn ceiling_us(&self, attempt: u32) -> u64 {
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let maximum = micros(self.maximum);
        let mut interval = micros(self.initial);
        if self.coefficient.0 == 1_000 {
            return interval.min(maximum);
        }
        // At least one part in a thousand is gained each time, so this ends within 40,000 rounds.
        for _ in 1..attempt {
            if interval >= maximum {
                break;
            }
            let next = u128::from(interval) * u128::from(self.coefficient.0) / 1_000;
            interval = u64::try_from(next).unwrap_or(u64::MAX);
        }
        interval.min(maximum)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// When a failed attempt of a step is followed by another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    backoff: Backoff,
    maximum_attempts: u32,
    max_elapsed: Option<Duration>,
    non_retryable: BTreeSet<Opaque>,
}

impl RetryPolicy {
    /// A policy of the default intervals.
    ///
    /// # Errors
    /// [`RetryFault::MaximumAttempts`] outside 1 to [`MAX_ATTEMPTS`].
    pub fn attempts(maximum_attempts: u32) -> Result<Self, RetryFault> {
        if maximum_attempts == 0 || maximum_attempts > MAX_ATTEMPTS {
            return Err(RetryFault::MaximumAttempts);
        }
        Ok(Self {
            maximum_attempts,
            ..Self::once()
        })
    }

    /// One attempt: no retry.
    pub const fn once() -> Self {
        Self {
            backoff: Backoff::DEFAULT,
            maximum_attempts: 1,
            max_elapsed: None,
            non_retryable: BTreeSet::new(),
        }
    }

    /// Three attempts.
    pub const fn thrice() -> Self {
        let mut policy = Self::once();
        policy.maximum_attempts = 3;
        policy
    }

    /// Sets the intervals.
    #[must_use]
    pub const fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets the time after the first attempt's start from which no new attempt begins.
    ///
    /// # Errors
    /// [`RetryFault::MaxElapsed`] outside 1 ms to [`MAX_INTERVAL`].
    pub fn with_max_elapsed(mut self, span: Duration) -> Result<Self, RetryFault> {
        self.max_elapsed = Some(elapsed(span)?);
        Ok(self)
    }

    /// Sets the error codes that end the step at once.
    ///
    /// # Errors
    /// [`RetryFault::NonRetryable`] for more than [`MAX_NON_RETRYABLE`].
    pub fn with_non_retryable(mut self, codes: BTreeSet<Opaque>) -> Result<Self, RetryFault> {
        if codes.len() > MAX_NON_RETRYABLE {
            return Err(RetryFault::NonRetryable);
        }
        self.non_retryable = codes;
        Ok(self)
    }

    /// The intervals.
    pub const fn backoff(&self) -> &Backoff {
        &self.backoff
    }

    /// The most attempts, the first included.
    pub const fn maximum_attempts(&self) -> u32 {
        self.maximum_attempts
    }

    /// The time after the first attempt's start from which no new attempt begins.
    pub const fn max_elapsed(&self) -> Option<Duration> {
        self.max_elapsed
    }

    /// The error codes that end the step at once.
    pub const fn non_retryable(&self) -> &BTreeSet<Opaque> {
        &self.non_retryable
    }

    /// Whether an error of this code may be followed by another attempt.
    pub fn is_retryable(&self, code: &str) -> bool {
        !self.non_retryable.contains(code)
    }

    /// The wait after `attempt` (from 1) failed: `random(0, min(max, initial * coef^(attempt-1)))`.
    pub fn delay(&self, attempt: u32, random: u64) -> Duration {
        self.backoff.delay(attempt, random)
    }

    /// The wait before the next attempt, or `None` when the policy is exhausted: all attempts are
    /// used, or the next one would begin later than `max_elapsed` after the first one's start.
    pub fn next_delay(&self, attempt: u32, elapsed: Duration, random: u64) -> Option<Duration> {
        if attempt >= self.maximum_attempts {
            return None;
        }
        let delay = self.delay(attempt, random);
        within(self.max_elapsed, elapsed, delay)
    }
}

/// How long a model call that the provider throttles is tried again. It is not an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelRetry {
    backoff: Backoff,
    max_elapsed: Duration,
}

impl ModelRetry {
    /// The default time over all tries: ten minutes.
    pub const DEFAULT_MAX_ELAPSED: Duration = Duration::from_secs(600);

    /// Checks and wraps the intervals and the time over all tries.
    ///
    /// # Errors
    /// [`RetryFault::MaxElapsed`] outside 1 ms to [`MAX_INTERVAL`].
    pub fn new(backoff: Backoff, max_elapsed: Duration) -> Result<Self, RetryFault> {
        Ok(Self {
            backoff,
            max_elapsed: elapsed(max_elapsed)?,
        })
    }

    /// The intervals.
    pub const fn backoff(&self) -> &Backoff {
        &self.backoff
    }

    /// The time over all tries.
    pub const fn max_elapsed(&self) -> Duration {
        self.max_elapsed
    }

    /// The wait before the next try, or `None` when it would begin later than `max_elapsed` after
    /// the first one. `retry_after` is the provider's own word: the wait is never shorter.
    pub fn next_delay(
        &self,
        tries: u32,
        elapsed: Duration,
        retry_after: Option<Duration>,
        random: u64,
    ) -> Option<Duration> {
        let delay = self
            .backoff
            .delay(tries, random)
            .max(retry_after.unwrap_or_default());
        within(Some(self.max_elapsed), elapsed, delay)
    }
}

impl Default for ModelRetry {
    fn default() -> Self {
        Self {
            backoff: Backoff::DEFAULT,
            max_elapsed: Self::DEFAULT_MAX_ELAPSED,
        }
    }
}

fn elapsed(span: Duration) -> Result<Duration, RetryFault> {
    if span < MIN_INTERVAL || span > MAX_INTERVAL {
        return Err(RetryFault::MaxElapsed);
    }
    Ok(span)
}

fn within(limit: Option<Duration>, elapsed: Duration, delay: Duration) -> Option<Duration> {
    match limit {
        Some(limit) if elapsed.saturating_add(delay) > limit => None,
        Some(_) | None => Some(delay),
    }
}

#[cfg(test)]
mod tests;
