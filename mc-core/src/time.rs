//! Points in time and spans, as they stand in the log: microseconds of Unix time.
//!
//! What is *not* here: any clock. Time comes in through `ports::Clock`. Read `money` next.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
///
/// # Units
/// Microseconds, `i64`; about 292,000 years either way.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The start of 1970, UTC.
    pub const EPOCH: Self = Self(0);

    /// Wraps microseconds of Unix time.
    pub const fn from_unix_us(us: i64) -> Self {
        Self(us)
    }

    /// Microseconds of Unix time.
    pub const fn as_unix_us(self) -> i64 {
        self.0
    }

    /// This time moved later by `span`; stops at the end of the range.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        let us = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(us))
    }

    /// The span from `earlier` to this time; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        let us = self.0.saturating_sub(earlier.0);
        u64::try_from(us).map_or(Duration::ZERO, Duration::from_micros)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with microseconds, e.g. `2026-11-20T08:00:00.000000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match chrono::DateTime::from_timestamp_micros(self.0) {
            Some(time) => write!(f, "{}", time.format("%Y-%m-%dT%H:%M:%S%.6fZ")),
            None => write!(f, "{}us", self.0),
        }
    }
}

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a duration is an integer and one of ms, s, m, h, d, e.g. `5m`")]
pub struct DurationFault;

/// Reads a duration of the form "integer, then `ms s m h d`", e.g. `5m`, `250ms`.
///
/// # Errors
/// [`DurationFault`] for any other form, and for more than `u64::MAX` milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, DurationFault> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| DurationFault)?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(DurationFault),
    };
    number
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .ok_or(DurationFault)
}

/// Milliseconds of a span, for the wire (`*_ms`); stops at `u64::MAX`.
pub fn as_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_prints_as_rfc_3339() {
        assert_eq!(
            Timestamp::from_unix_us(1_500_000).to_string(),
            "1970-01-01T00:00:01.500000Z"
        );
    }

    #[test]
    fn durations_are_an_integer_and_a_unit() {
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in [
            "",
            "5",
            "m",
            "5 m",
            "1.5s",
            "-1s",
            "5M",
            "99999999999999999999s",
            "1s1s",
        ] {
            assert_eq!(parse_duration(bad), Err(DurationFault), "{bad}");
        }
    }

    #[test]
    fn arithmetic_stops_at_the_ends() {
        let end = Timestamp::from_unix_us(i64::MAX);
        assert_eq!(end.after(Duration::MAX), end);
        assert_eq!(Timestamp::EPOCH.since(end), Duration::ZERO);
    }
}
