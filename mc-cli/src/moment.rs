//! Times on the command line: a span from now, a day, or a time.

use std::time::Duration;

use chrono::{DateTime, NaiveDate};
use mc_core::error::{Error, Result};
use mc_core::ports::Clock as _;
use mc_core::time::{Timestamp, parse_duration};
use mission_control::SystemClock;

/// A time that has passed: a span before now, a day, or a time.
pub(crate) fn in_past(option: &'static str, text: &str) -> Result<Timestamp> {
    read(option, text, i64::saturating_sub)
}

/// A time that is to come: a span from now, a day, or a time.
pub(crate) fn in_future(option: &'static str, text: &str) -> Result<Timestamp> {
    read(option, text, i64::saturating_add)
}

fn read(option: &'static str, text: &str, from_now: fn(i64, i64) -> i64) -> Result<Timestamp> {
    let at = |us| Ok(Timestamp::from_unix_us(us));
    if let Ok(span) = parse_duration(text) {
        return at(from_now(
            SystemClock::new().now().as_unix_us(),
            micros(span),
        ));
    }
    if let Ok(day) = text.parse::<NaiveDate>() {
        let midnight = day.and_time(chrono::NaiveTime::MIN);
        return at(midnight.and_utc().timestamp_micros());
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return at(time.timestamp_micros());
    }
    let rule = "a span (24h, 7d), a day (2026-11-20) or a time (2026-11-20T08:00:00Z)";
    Err(Error::invalid(option, rule))
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
