//! What windows are made of; each is valid by its type, so that a window is.
//!
//! Read `calendar` next.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::time::parse_duration;

/// Why a text is not a window, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowFault {
    /// No such place.
    #[error("`{0}` is not a zone of the IANA time zone database, e.g. `Europe/Berlin` or `UTC`")]
    Zone(String),
    /// Not a length of time, or none that a window can have.
    #[error("`{0}` is not the length of a window: an integer above zero and one of ms, s, m, h, d")]
    Duration(String),
    /// Not a day that a month can begin on.
    #[error("`{0}` is not a day of a month: 1 to 31")]
    Anchor(String),
    /// Not a number of buckets.
    #[error("`{0}` is not a number of buckets: 1 to 60")]
    Buckets(String),
    /// Not a time of day.
    #[error("`{0}` is not a time of day: HH:MM")]
    DayTime(String),
    /// Not a day of the week.
    #[error("`{0}` is not a day of the week, e.g. `monday`")]
    Weekday(String),
    /// Not a moment.
    #[error("`{0}` is not a time, e.g. `2027-01-04T00:00:00Z`")]
    Moment(String),
    /// No form of a window.
    #[error(
        "`{0}` is not a window: lifetime, `day ZONE`, `week:monday ZONE`, `month:1 ZONE`, `fixed DURATION [TIME]` or `sliding DURATION [BUCKETS]`"
    )]
    Form(String),
}

macro_rules! by_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = WindowFault;

            fn try_from(text: String) -> Result<Self, WindowFault> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(part: $name) -> Self {
                part.to_string()
            }
        }
    };
}

/// A place of the IANA time zone database, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(pub(super) chrono_tz::Tz);

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(chrono_tz::UTC);
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl FromStr for Zone {
    type Err = WindowFault;

    fn from_str(text: &str) -> Result<Self, WindowFault> {
        text.parse()
            .map(Self)
            .map_err(|_| WindowFault::Zone(text.to_owned()))
    }
}

by_text!(Zone);

/// The length of a window, above zero.
///
/// # Units
/// Milliseconds; at most 100 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(u64);

/// The longest window: 100 years.
const MAX_SPAN_MS: u64 = 36_525 * 86_400_000;

impl Span {
    pub(super) fn as_us(self) -> i64 {
        i64::try_from(self.0)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [
            (86_400_000, "d"),
            (3_600_000, "h"),
            (60_000, "m"),
            (1_000, "s"),
        ];
        let whole = UNITS.iter().find_map(|(ms, unit)| {
            let count = self.0.checked_div(*ms)?;
            (count.saturating_mul(*ms) == self.0).then_some((count, *unit))
        });
        let (count, unit) = whole.unwrap_or((self.0, "ms"));
        write!(f, "{count}{unit}")
    }
}

impl FromStr for Span {
    type Err = WindowFault;

    fn from_str(text: &str) -> Result<Self, WindowFault> {
        let span = parse_duration(text).ok().map(crate::time::as_ms);
        span.filter(|ms| (1..=MAX_SPAN_MS).contains(ms))
            .map(Self)
            .ok_or_else(|| WindowFault::Duration(text.to_owned()))
    }
}

by_text!(Span);

/// The day on which months begin; in shorter months it is their last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Anchor(u32);

impl Anchor {
    /// The day, from 1 to 31.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Anchor {
    type Error = WindowFault;

    fn try_from(day: u32) -> Result<Self, WindowFault> {
        if (1..=31).contains(&day) {
            Ok(Self(day))
        } else {
            Err(WindowFault::Anchor(day.to_string()))
        }
    }
}

impl From<Anchor> for u32 {
    fn from(anchor: Anchor) -> Self {
        anchor.0
    }
}

/// Into how many buckets a sliding window is divided: 1 to 60, and 60 if nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Buckets(u32);

impl Buckets {
    /// How many.
    pub const fn get(self) -> u32 {
        self.0
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Buckets {
    fn default() -> Self {
        Self(60)
    }
}

impl TryFrom<u32> for Buckets {
    type Error = WindowFault;

    fn try_from(count: u32) -> Result<Self, WindowFault> {
        if (1..=60).contains(&count) {
            Ok(Self(count))
        } else {
            Err(WindowFault::Buckets(count.to_string()))
        }
    }
}

impl From<Buckets> for u32 {
    fn from(buckets: Buckets) -> Self {
        buckets.0
    }
}

/// A time of day at which days begin, to the minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DayTime {
    pub(super) hour: u32,
    pub(super) minute: u32,
}

impl DayTime {
    /// Whether it is midnight.
    pub fn is_midnight(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for DayTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)
    }
}

impl FromStr for DayTime {
    type Err = WindowFault;

    fn from_str(text: &str) -> Result<Self, WindowFault> {
        let two = |digits: &str| {
            let plain = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| digits.parse::<u32>().ok()).flatten()
        };
        let parts = text
            .split_once(':')
            .and_then(|(hour, minute)| Some((two(hour)?, two(minute)?)));
        match parts {
            Some((hour, minute)) if hour < 24 && minute < 60 => Ok(Self { hour, minute }),
            Some(_) | None => Err(WindowFault::DayTime(text.to_owned())),
        }
    }
}

by_text!(DayTime);

/// A day of the week.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weekday {
    /// The first day of the week by ISO 8601.
    #[default]
    Monday,
    /// The day after Monday.
    Tuesday,
    /// The day after Tuesday.
    Wednesday,
    /// The day after Wednesday.
    Thursday,
    /// The day after Thursday.
    Friday,
    /// The day after Friday.
    Saturday,
    /// The day before Monday.
    Sunday,
}

impl Weekday {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Monday, "monday"),
        (Self::Tuesday, "tuesday"),
        (Self::Wednesday, "wednesday"),
        (Self::Thursday, "thursday"),
        (Self::Friday, "friday"),
        (Self::Saturday, "saturday"),
        (Self::Sunday, "sunday"),
    ];

    /// Days since Monday.
    pub(super) fn index(self) -> i64 {
        let place = Self::ALL.iter().position(|(day, _)| *day == self);
        place.and_then(|at| i64::try_from(at).ok()).unwrap_or(0)
    }
}

impl fmt::Display for Weekday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(day, _)| day == self);
        f.write_str(name.map_or("monday", |(_, name)| name))
    }
}

impl FromStr for Weekday {
    type Err = WindowFault;

    fn from_str(text: &str) -> Result<Self, WindowFault> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text);
        found
            .map(|(day, _)| *day)
            .ok_or_else(|| WindowFault::Weekday(text.to_owned()))
    }
}
