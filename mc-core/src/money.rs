//! Money: integer nano-USD, checked operations only, no floats.
//!
//! What is *not* here: prices per token (`pricing`) and accounts (`budget`). Read `usage` next.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    clippy::as_conversions
)]

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An amount of money in billionths of a US dollar.
///
/// # Units
/// 1e-9 USD, `i64`: up to about 9.22 billion USD either way. Text has at most nine decimals.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NanoUsd(i64);

/// Why a text is not an amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyFault {
    /// The text is not a plain decimal number.
    #[error("an amount is a plain decimal number in quotes, e.g. \"5.00\"")]
    NotDecimal,
    /// The amount is below zero.
    #[error("an amount may not be negative")]
    Negative,
    /// The text has more than nine decimals.
    #[error("an amount has at most nine decimals")]
    TooFine,
    /// The amount is over 9.22 billion USD.
    #[error("an amount is at most 9223372036.854775807 USD")]
    TooLarge,
}

impl NanoUsd {
    /// No money.
    pub const ZERO: Self = Self(0);
    /// The largest amount.
    pub const MAX: Self = Self(i64::MAX);

    /// Wraps an amount in nano-USD.
    pub const fn from_nano(nano: i64) -> Self {
        Self(nano)
    }

    /// The amount in nano-USD.
    pub const fn as_nano(self) -> i64 {
        self.0
    }

    /// The sum, or `None` where it does not fit.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(nano) => Some(Self(nano)),
            None => None,
        }
    }

    /// The difference, or `None` where it does not fit.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(nano) => Some(Self(nano)),
            None => None,
        }
    }

    /// The sum, held at the ends of the range.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, held at the ends of the range.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for NanoUsd {
    /// Decimal USD with at least two and at most nine decimals, e.g. `5.00`, `0.0000015`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unsigned = self.0.unsigned_abs();
        let (whole, nano) = (unsigned / 1_000_000_000, unsigned % 1_000_000_000);
        let digits = format!("{nano:09}");
        let (cents, rest) = digits.split_at(2);
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{whole}.{cents}{}", rest.trim_end_matches('0'))
    }
}

impl fmt::Debug for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} USD")
    }
}

impl FromStr for NanoUsd {
    type Err = MoneyFault;

    /// Reads decimal USD: digits, optionally a point and one to nine digits. No sign, no exponent.
    fn from_str(text: &str) -> Result<Self, MoneyFault> {
        parse_decimal(text, 9).map(Self)
    }
}

/// Reads a plain decimal of at most `decimals` places as an integer of that many places.
///
/// # Errors
/// A [`MoneyFault`]: not a number, negative, too fine or too large.
pub fn parse_decimal(text: &str, decimals: u32) -> Result<i64, MoneyFault> {
    if text.starts_with('-') {
        return Err(MoneyFault::Negative);
    }
    let (whole, fraction) = match text.split_once('.') {
        Some((_, "")) => return Err(MoneyFault::NotDecimal),
        Some((whole, fraction)) => (whole, fraction),
        None => (text, ""),
    };
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return Err(MoneyFault::NotDecimal);
    }
    let width = usize::try_from(decimals).map_err(|_| MoneyFault::TooFine)?;
    if fraction.len() > width {
        return Err(MoneyFault::TooFine);
    }
    let padded = format!("{whole}{fraction:0<width$}");
    padded.parse().map_err(|_| MoneyFault::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_exact_to_the_nano() {
        for (text, nano) in [
            ("5.00", 5_000_000_000),
            ("0", 0),
            ("0.000000001", 1),
            ("9223372036.854775807", i64::MAX),
            ("12", 12_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(NanoUsd(nano)), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_amount_is_refused_by_its_reason() {
        for (text, fault) in [
            ("", MoneyFault::NotDecimal),
            (".5", MoneyFault::NotDecimal),
            ("5.", MoneyFault::NotDecimal),
            ("1e3", MoneyFault::NotDecimal),
            ("NaN", MoneyFault::NotDecimal),
            ("inf", MoneyFault::NotDecimal),
            ("+1", MoneyFault::NotDecimal),
            ("1,0", MoneyFault::NotDecimal),
            ("-1", MoneyFault::Negative),
            ("-0.0", MoneyFault::Negative),
            ("0.0000000001", MoneyFault::TooFine),
            ("9223372036.854775808", MoneyFault::TooLarge),
        ] {
            assert_eq!(text.parse::<NanoUsd>(), Err(fault), "{text}");
        }
    }

    #[test]
    fn printing_reads_back() {
        for nano in [0, 1, 1_500, 10_000_000, 1_234_567_890, i64::MAX] {
            let money = NanoUsd(nano);
            assert_eq!(money.to_string().parse(), Ok(money));
        }
        assert_eq!(NanoUsd(-1_500_000_000).to_string(), "-1.50");
    }

    #[test]
    fn a_million_tenths_of_a_cent_sum_exactly() {
        let tenth: NanoUsd = "0.001".parse().unwrap();
        let sum = (0..1_000_000).try_fold(NanoUsd::ZERO, |sum, _| sum.checked_add(tenth));
        assert_eq!(sum.unwrap().to_string(), "1000.00");
    }
}
