//! The price of one token in pico-USD, and the one rounding to nano-USD.
//!
//! One pico-USD per token is one micro-USD per million tokens, so six decimals of "USD per million
//! tokens" are exact. What is *not* here: which token has which price (`model`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::model::Ratio;
use crate::money::{MoneyFault, NanoUsd, parse_decimal};

/// Pico-USD in one nano-USD.
const PICO_PER_NANO: u128 = 1_000;

/// Pico-USD per token in one USD per million tokens.
const SCALE: u64 = 1_000_000;

/// The price of one token, or of one unit such as a web search.
///
/// # Units
/// 1e-12 USD each, `u64`; for tokens the same as micro-USD per million tokens.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PicoUsd(u64);

/// Why a text is not a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceFault {
    /// The text is not a plain decimal number.
    #[error("a price is a plain decimal number in quotes, e.g. \"2.5\"")]
    NotDecimal,
    /// The price is below zero.
    #[error("a price may not be negative")]
    Negative,
    /// The text has more than six decimals.
    #[error("a price per million tokens has at most six decimals")]
    TooFine,
    /// The price is over 9.22e12 USD per million tokens.
    #[error("a price is at most 9223372036854.775807 USD per million tokens")]
    TooLarge,
    /// A unit's price divided by its `per` is not a whole number of pico-USD.
    #[error("a unit's price divided by `per` must be a whole number of 1e-12 USD")]
    Uneven,
}

impl From<MoneyFault> for PriceFault {
    fn from(fault: MoneyFault) -> Self {
        match fault {
            MoneyFault::NotDecimal => Self::NotDecimal,
            MoneyFault::Negative => Self::Negative,
            MoneyFault::TooFine => Self::TooFine,
            MoneyFault::TooLarge => Self::TooLarge,
        }
    }
}

impl PicoUsd {
    /// Free of charge.
    pub const ZERO: Self = Self(0);

    /// Wraps a price in pico-USD each.
    pub const fn from_pico(pico: u64) -> Self {
        Self(pico)
    }

    /// The price in pico-USD each.
    pub const fn as_pico(self) -> u64 {
        self.0
    }

    /// Reads USD per million tokens: decimal text of at most six decimals.
    ///
    /// # Errors
    /// A [`PriceFault`]: not a number, negative, too fine or too large.
    pub fn per_million(text: &str) -> Result<Self, PriceFault> {
        let pico = parse_decimal(text, 6)?;
        u64::try_from(pico)
            .map(Self)
            .map_err(|_| PriceFault::Negative)
    }

    /// Reads USD per `per` units, e.g. `"10"` per 1,000 web searches; exact or refused.
    ///
    /// # Errors
    /// A [`PriceFault`]: as for [`Self::per_million`], or the quotient is not whole.
    pub fn per_units(text: &str, per: u64) -> Result<Self, PriceFault> {
        let micro = u64::try_from(parse_decimal(text, 6)?).map_err(|_| PriceFault::Negative)?;
        let pico = micro.checked_mul(SCALE).ok_or(PriceFault::TooLarge)?;
        match (pico.checked_div(per), pico.checked_rem(per)) {
            (Some(each), Some(0)) => Ok(Self(each)),
            _ => Err(PriceFault::Uneven),
        }
    }

    /// This price times a factor, rounded up; what does not fit is the largest price.
    pub(super) fn scaled_up(self, factor: Ratio) -> Self {
        let scaled = self.times(u64::from(factor.numerator()));
        let denominator = u128::from(factor.denominator());
        let up = u128::from(scaled.checked_rem(denominator).is_some_and(|rest| rest > 0));
        let whole = scaled.checked_div(denominator).unwrap_or(u128::MAX);
        Self(u64::try_from(whole.saturating_add(up)).unwrap_or(u64::MAX))
    }

    /// `count` times this price; it always fits.
    pub(super) fn times(self, count: u64) -> u128 {
        u128::from(self.0).saturating_mul(u128::from(count))
    }
}

impl fmt::Display for PicoUsd {
    /// USD per million tokens without trailing zeros, e.g. `2.5`; it reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, micro) = (self.0.wrapping_div(SCALE), self.0.wrapping_rem(SCALE));
        let digits = format!("{micro:06}");
        match digits.trim_end_matches('0') {
            "" => write!(f, "{whole}"),
            fraction => write!(f, "{whole}.{fraction}"),
        }
    }
}

impl fmt::Debug for PicoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}/M")
    }
}

/// What a call weighs before it is rounded.
///
/// `nano = ceil((tokens * uplift + units) / 1000)`, with one rounding; `None` where it does not fit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weight {
    /// Sum of tokens times prices, in pico-USD, before the uplift.
    pub(super) tokens: u128,
    /// Sum of units times prices, in pico-USD; the uplift does not apply to them.
    pub(super) units: u128,
}

impl Weight {
    /// The numerator over [`divisor`], in pico-USD times the uplift's denominator.
    pub(super) fn scaled(self, uplift: Ratio) -> Option<u128> {
        let tokens = self.tokens.checked_mul(u128::from(uplift.numerator()))?;
        let units = self.units.checked_mul(u128::from(uplift.denominator()))?;
        tokens.checked_add(units)
    }

    /// Rounds up to nano-USD.
    pub(super) fn ceil(self, uplift: Ratio) -> Option<NanoUsd> {
        let (scaled, divisor) = (self.scaled(uplift)?, divisor(uplift)?);
        let whole = scaled.checked_div(divisor)?;
        let rest = u128::from(scaled.checked_rem(divisor)? > 0);
        i64::try_from(whole.checked_add(rest)?)
            .ok()
            .map(NanoUsd::from_nano)
    }
}

/// What one nano-USD is in the scale of [`Weight::scaled`].
pub(super) fn divisor(uplift: Ratio) -> Option<u128> {
    PICO_PER_NANO.checked_mul(u128::from(uplift.denominator()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usd_per_million_is_exact_to_six_decimals() {
        for (text, pico) in [
            ("1.25", 1_250_000),
            ("0", 0),
            ("0.000001", 1),
            ("600", 600_000_000),
        ] {
            assert_eq!(PicoUsd::per_million(text), Ok(PicoUsd(pico)), "{text}");
            assert_eq!(PicoUsd(pico).to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_price_is_refused_by_its_reason() {
        for (text, fault) in [
            ("", PriceFault::NotDecimal),
            ("NaN", PriceFault::NotDecimal),
            ("2.5e-6", PriceFault::NotDecimal),
            ("-1", PriceFault::Negative),
            ("0.0000001", PriceFault::TooFine),
            ("9223372036855", PriceFault::TooLarge),
        ] {
            assert_eq!(PicoUsd::per_million(text), Err(fault), "{text}");
        }
    }

    #[test]
    fn a_units_price_is_exact_or_refused() {
        assert_eq!(PicoUsd::per_units("10", 1000), Ok(PicoUsd(10_000_000_000)));
        assert_eq!(PicoUsd::per_units("1", 3), Err(PriceFault::Uneven));
        assert_eq!(PicoUsd::per_units("1", 0), Err(PriceFault::Uneven));
    }

    #[test]
    fn one_pico_rounds_up_to_one_nano_and_zero_stays_zero() {
        let nano = |tokens| {
            Weight { tokens, units: 0 }
                .ceil(Ratio::ONE)
                .unwrap()
                .as_nano()
        };
        assert_eq!((nano(0), nano(1), nano(1_000), nano(1_001)), (0, 1, 1, 2));
    }

    #[test]
    fn what_does_not_fit_is_not_rounded() {
        assert_eq!(
            Weight {
                tokens: u128::MAX,
                units: 1
            }
            .ceil(Ratio::ONE),
            None
        );
        assert_eq!(
            Weight {
                tokens: u128::MAX,
                units: 0
            }
            .ceil(Ratio::ONE),
            None
        );
    }
}
