//! Windows as text: `day ZONE`, `week:monday ZONE`, `month:1 ZONE`, `fixed DURATION [TIME]`,
//! `sliding DURATION [BUCKETS]`, `lifetime`. A calendar's days begin at midnight, or at `+HH:MM`.

use std::fmt;
use std::str::FromStr;

use chrono::DateTime;

use super::{Anchor, Buckets, Unit, Weekday, Window, WindowFault};
use crate::time::Timestamp;

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lifetime => f.write_str("lifetime"),
            Self::Calendar { unit, zone, offset } => {
                match unit {
                    Unit::Day => f.write_str("day")?,
                    Unit::Week(first) => write!(f, "week:{first}")?,
                    Unit::Month(anchor) => write!(f, "month:{}", anchor.get())?,
                }
                write!(f, " {zone}")?;
                if offset.is_midnight() {
                    Ok(())
                } else {
                    write!(f, " +{offset}")
                }
            }
            Self::Fixed { duration, anchor } if *anchor == Timestamp::EPOCH => {
                write!(f, "fixed {duration}")
            }
            Self::Fixed { duration, anchor } => write!(f, "fixed {duration} {anchor}"),
            Self::Sliding { duration, buckets } => {
                write!(f, "sliding {duration} {}", buckets.get())
            }
        }
    }
}

impl FromStr for Window {
    type Err = WindowFault;

    fn from_str(text: &str) -> Result<Self, WindowFault> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let form = || WindowFault::Form(text.to_owned());
        match words.as_slice() {
            ["lifetime"] => Ok(Self::Lifetime),
            ["fixed", duration] => Ok(Self::Fixed {
                duration: duration.parse()?,
                anchor: Timestamp::EPOCH,
            }),
            ["fixed", duration, anchor] => Ok(Self::Fixed {
                duration: duration.parse()?,
                anchor: moment(anchor)?,
            }),
            ["sliding", duration] => Ok(Self::Sliding {
                duration: duration.parse()?,
                buckets: Buckets::default(),
            }),
            ["sliding", duration, buckets] => Ok(Self::Sliding {
                duration: duration.parse()?,
                buckets: number(buckets, WindowFault::Buckets)?,
            }),
            [unit, zone] => Ok(Self::Calendar {
                unit: read_unit(unit).ok_or_else(form)??,
                zone: zone.parse()?,
                offset: super::DayTime::default(),
            }),
            [unit, zone, offset] => {
                let offset = offset.strip_prefix('+').ok_or_else(form)?;
                Ok(Self::Calendar {
                    unit: read_unit(unit).ok_or_else(form)??,
                    zone: zone.parse()?,
                    offset: offset.parse()?,
                })
            }
            _ => Err(form()),
        }
    }
}

/// A unit; none where the word is not one.
fn read_unit(word: &str) -> Option<Result<Unit, WindowFault>> {
    let (name, rest) = word
        .split_once(':')
        .map_or((word, None), |(name, rest)| (name, Some(rest)));
    match (name, rest) {
        ("day", None) => Some(Ok(Unit::Day)),
        ("week", None) => Some(Ok(Unit::Week(Weekday::Monday))),
        ("week", Some(first)) => Some(first.parse().map(Unit::Week)),
        ("month", None) => Some(number::<Anchor>("1", WindowFault::Anchor).map(Unit::Month)),
        ("month", Some(day)) => Some(number(day, WindowFault::Anchor).map(Unit::Month)),
        _ => None,
    }
}

fn number<T: TryFrom<u32>>(text: &str, fault: fn(String) -> WindowFault) -> Result<T, WindowFault> {
    let number = text.parse::<u32>().ok();
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| fault(text.to_owned()))
}

fn moment(text: &str) -> Result<Timestamp, WindowFault> {
    DateTime::parse_from_rfc3339(text)
        .map(|at| Timestamp::from_unix_us(at.timestamp_micros()))
        .map_err(|_| WindowFault::Moment(text.to_owned()))
}
