//! Days, weeks and months of a place, as stretches of time.
//!
//! Units are numbered, and each number has one boundary: a moment. Boundaries never go back, so the
//! period of a moment is the last boundary at or before it and the first behind it, whatever the
//! place does to its clocks: days have 23 or 25 hours, and one that a place left out has none.

use chrono::{DateTime, Datelike, Duration, NaiveDate, NaiveDateTime, Offset, TimeZone};
use serde::{Deserialize, Serialize};

use super::Period;
use super::parts::{Anchor, DayTime, Weekday, Zone};
use crate::time::Timestamp;

/// What a calendar is divided into.
///
/// As JSON: `"day"`, `{"week":"monday"}`, `{"month":31}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Days.
    Day,
    /// Weeks that begin on a day.
    Week(Weekday),
    /// Months that begin on a day, or on their last where they have no such day.
    Month(Anchor),
}

/// The version of the time zone database that is compiled in.
pub const fn tzdb_version() -> &'static str {
    chrono_tz::IANA_TZDB_VERSION
}

/// How far units that are looked at may be from the one that a date alone would name.
const NEAR: i64 = 3;

/// The period of a moment; none beyond the calendar.
pub(super) fn period_at(unit: Unit, zone: Zone, offset: DayTime, now: Timestamp) -> Option<Period> {
    let utc = DateTime::from_timestamp_micros(now.as_unix_us())?.naive_utc();
    let date = local(zone, utc)?.date();
    let around = unit.number(date)?;
    let boundary = |number: i64| {
        boundary(
            zone,
            unit.date(number)?
                .and_hms_opt(offset.hour, offset.minute, 0)?,
        )
    };
    let from = around.checked_sub(NEAR)?;
    let boundaries: Vec<Timestamp> = (from..=around.checked_add(NEAR)?)
        .map(boundary)
        .collect::<Option<_>>()?;
    Some(Period {
        start: *boundaries.iter().rfind(|at| **at <= now)?,
        end: *boundaries.iter().find(|at| **at > now)?,
    })
}

impl Unit {
    /// The number of the unit that a date lies in.
    fn number(self, date: NaiveDate) -> Option<i64> {
        let days = i64::from(date.num_days_from_ce());
        match self {
            Self::Day => Some(days),
            // Day 1 of the common era was a Monday.
            Self::Week(first) => days
                .checked_sub(1)?
                .checked_sub(first.index())?
                .checked_div_euclid(7),
            Self::Month(_) => i64::from(date.year())
                .checked_mul(12)?
                .checked_add(i64::from(date.month0())),
        }
    }

    /// The date on which a unit begins.
    fn date(self, number: i64) -> Option<NaiveDate> {
        let by_days = |days: i64| NaiveDate::from_num_days_from_ce_opt(i32::try_from(days).ok()?);
        match self {
            Self::Day => by_days(number),
            Self::Week(first) => by_days(
                number
                    .checked_mul(7)?
                    .checked_add(1)?
                    .checked_add(first.index())?,
            ),
            Self::Month(anchor) => {
                let year = i32::try_from(number.checked_div_euclid(12)?).ok()?;
                let month = u32::try_from(number.checked_rem_euclid(12)?).ok()?;
                let month = month.checked_add(1)?;
                (28..=31)
                    .rev()
                    .filter(|last| *last <= anchor.get().max(28))
                    .map(|last| last.min(anchor.get()))
                    .find_map(|day| NaiveDate::from_ymd_opt(year, month, day))
            }
        }
    }
}

/// What clocks of a place show at a moment.
fn local(zone: Zone, utc: NaiveDateTime) -> Option<NaiveDateTime> {
    let offset = zone.0.offset_from_utc_datetime(&utc).fix();
    utc.checked_add_offset(offset)
}

/// The first moment at which clocks of a place show a time; where they skip it, the first behind.
fn boundary(zone: Zone, shown: NaiveDateTime) -> Option<Timestamp> {
    let first = zone.0.from_local_datetime(&shown).earliest();
    let utc = match first {
        Some(at) => at.naive_utc(),
        None => after_gap(zone, shown)?,
    };
    Some(Timestamp::from_unix_us(utc.and_utc().timestamp_micros()))
}

/// The first moment behind the gap in which a time lies: the first second that shows a later one.
fn after_gap(zone: Zone, shown: NaiveDateTime) -> Option<NaiveDateTime> {
    // No place is more than a day from UTC, and none skips more than a day.
    let far = Duration::hours(50);
    let (mut before, mut behind) = (
        shown.checked_sub_signed(far)?,
        shown.checked_add_signed(far)?,
    );
    loop {
        let apart = behind.signed_duration_since(before).num_seconds();
        if apart <= 1 {
            return Some(behind);
        }
        let middle = before.checked_add_signed(Duration::seconds(apart.checked_div(2)?))?;
        if local(zone, middle)? > shown {
            behind = middle;
        } else {
            before = middle;
        }
    }
}
