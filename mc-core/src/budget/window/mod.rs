//! Windows: the stretch of time that an account counts in before it begins anew.
//!
//! The period that contains a time is a function of the window and the time alone: there is no job
//! that resets anything, and no clock in here. What is *not* here: what an account counted in a
//! period (`account`), and when one opens (the sequencer, by an event). Read `parts`, then
//! `calendar`, then `text`.

mod calendar;
mod parts;
mod text;

pub use calendar::{Unit, tzdb_version};
pub use parts::{Anchor, Buckets, DayTime, Span, Weekday, WindowFault, Zone};

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// In what stretches of time an account counts.
///
/// As JSON: `"lifetime"`, `{"calendar":{"unit":{"month":1},"zone":"Europe/Berlin"}}`; as text:
/// `month:1 Europe/Berlin`, `fixed 7d 2027-01-04T00:00:00Z`, `sliding 1h 60`, `lifetime`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Window {
    /// For ever.
    #[default]
    Lifetime,
    /// Days, weeks or months of a place. They begin at local midnight, or so much later as
    /// `offset` says: where that time is left out, at the first instant after the gap; where it
    /// comes twice, at the first of the two.
    Calendar {
        /// Days, weeks or months.
        unit: Unit,
        /// Whose days they are.
        zone: Zone,
        /// The time of day at which they begin.
        #[serde(default, skip_serializing_if = "DayTime::is_midnight")]
        offset: DayTime,
    },
    /// Stretches of one length.
    Fixed {
        /// The length.
        duration: Span,
        /// The beginning of one of them.
        #[serde(default, skip_serializing_if = "is_epoch")]
        anchor: Timestamp,
    },
    /// The last stretch of a length, seen from every moment: counted in buckets, of which the
    /// partly expired one counts whole.
    Sliding {
        /// The length.
        duration: Span,
        /// Into how many buckets it is divided.
        #[serde(default, skip_serializing_if = "Buckets::is_default")]
        buckets: Buckets,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_epoch(at: &Timestamp) -> bool {
    *at == Timestamp::EPOCH
}

/// A stretch of time: from `start`, up to and without `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Period {
    /// Its first moment.
    pub start: Timestamp,
    /// The first moment behind it.
    pub end: Timestamp,
}

impl Period {
    /// All of time.
    pub const ALWAYS: Self = Self {
        start: Timestamp::from_unix_us(i64::MIN),
        end: Timestamp::from_unix_us(i64::MAX),
    };

    /// Whether a moment lies in it.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }
}

impl Window {
    /// The period that contains a moment; for a sliding window its bucket.
    ///
    /// Where the moment is beyond the calendar (some 260,000 years off) it is all of time.
    pub fn period_at(&self, now: Timestamp) -> Period {
        match self {
            Self::Lifetime => Period::ALWAYS,
            Self::Calendar { unit, zone, offset } => {
                calendar::period_at(*unit, *zone, *offset, now).unwrap_or(Period::ALWAYS)
            }
            Self::Fixed { duration, anchor } => stretch(duration.as_us(), *anchor, now),
            Self::Sliding { .. } => stretch(self.bucket_us(), Timestamp::EPOCH, now),
        }
    }

    /// Periods that ended later than this still count while the period from `start` is the current
    /// one: none before its own, but for a sliding window, where as many buckets before it count.
    pub fn counts_after(&self, start: Timestamp) -> Timestamp {
        match self {
            Self::Lifetime | Self::Calendar { .. } | Self::Fixed { .. } => start,
            Self::Sliding { buckets, .. } => {
                let back = self.bucket_us().saturating_mul(i64::from(buckets.get()));
                Timestamp::from_unix_us(start.as_unix_us().saturating_sub(back))
            }
        }
    }

    /// Whether it never ends.
    pub const fn is_lifetime(&self) -> bool {
        matches!(self, Self::Lifetime)
    }

    /// The version of the time zone database that its periods come from, if they do.
    pub fn tzdb(&self) -> Option<&'static str> {
        match self {
            Self::Calendar { .. } => Some(tzdb_version()),
            Self::Lifetime | Self::Fixed { .. } | Self::Sliding { .. } => None,
        }
    }

    /// The length of a bucket: so many of them are at least as long as the window.
    fn bucket_us(&self) -> i64 {
        match self {
            Self::Sliding { duration, buckets } => {
                let buckets = i64::from(buckets.get());
                let up = duration.as_us().saturating_add(buckets.saturating_sub(1));
                up.checked_div(buckets).unwrap_or(up).max(1)
            }
            Self::Lifetime | Self::Calendar { .. } | Self::Fixed { .. } => 1,
        }
    }
}

/// The stretch of a length that contains a moment, where one of them begins at the anchor.
fn stretch(length_us: i64, anchor: Timestamp, now: Timestamp) -> Period {
    let (anchor, length) = (
        i128::from(anchor.as_unix_us()),
        i128::from(length_us.max(1)),
    );
    let passed = i128::from(now.as_unix_us()).saturating_sub(anchor);
    let index = passed.checked_div_euclid(length).unwrap_or(0);
    let begin = |index: i128| {
        let at = index.saturating_mul(length).saturating_add(anchor);
        let end = if at < 0 { i64::MIN } else { i64::MAX };
        Timestamp::from_unix_us(i64::try_from(at).unwrap_or(end))
    };
    Period {
        start: begin(index),
        end: begin(index.saturating_add(1)),
    }
}

#[cfg(test)]
mod tests;
