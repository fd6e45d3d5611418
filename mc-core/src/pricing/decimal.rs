//! Decimal text of any precision as a whole number of 1e-12 USD, rounded up.
//!
//! For importers: what people write by hand is exact or refused (`pico`).

use super::pico::{PicoUsd, PriceFault};

/// The most digits that are told apart.
const MAX_DIGITS: usize = 37;

/// A price that was read, and whether it was rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rounded {
    /// The price.
    pub(super) price: PicoUsd,
    /// Whether the text was finer than 1e-12 USD.
    pub(super) lossy: bool,
}

/// Reads `text` times `10^power` pico-USD, e.g. USD per token with 12.
///
/// # Errors
/// A [`PriceFault`]: not a decimal number (an exponent is one), negative, too large.
pub(super) fn rounded_up(text: &str, power: i32) -> Result<Rounded, PriceFault> {
    if text.starts_with('-') && !is_zero(text) {
        return Err(PriceFault::Negative);
    }
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        None => (text, 0),
        Some((mantissa, exponent)) => {
            let exponent = exponent.parse::<i32>();
            (mantissa, exponent.map_err(|_| PriceFault::NotDecimal)?)
        }
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if whole.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(PriceFault::NotDecimal);
    }
    let places = i32::try_from(fraction.len()).map_err(|_| PriceFault::NotDecimal)?;
    let exponent = exponent.checked_add(power).ok_or(PriceFault::TooLarge)?;
    let exponent = exponent.checked_sub(places).ok_or(PriceFault::NotDecimal)?;
    scaled(digits.trim_start_matches('0'), exponent)
}

fn is_zero(text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    mantissa.bytes().any(|byte| byte == b'0')
        && !mantissa.bytes().any(|b| (b'1'..=b'9').contains(&b))
}

/// `digits` times `10^exponent`, rounded up.
fn scaled(digits: &str, exponent: i32) -> Result<Rounded, PriceFault> {
    if digits.is_empty() {
        let price = PicoUsd::ZERO;
        return Ok(Rounded {
            price,
            lossy: false,
        });
    }
    let dropped = usize::try_from(exponent.unsigned_abs()).map_err(|_| PriceFault::TooLarge)?;
    let (kept, rest) = if exponent < 0 {
        digits.split_at(digits.len().saturating_sub(dropped))
    } else {
        (digits, "")
    };
    let lossy = rest.bytes().any(|byte| byte != b'0');
    let zeros = if exponent < 0 { 0 } else { dropped };
    if kept.len().saturating_add(zeros) > MAX_DIGITS {
        return Err(PriceFault::TooLarge);
    }
    let number = format!("0{kept}{}", "0".repeat(zeros));
    let number = number.parse::<u64>().map_err(|_| PriceFault::TooLarge)?;
    let number = number.checked_add(u64::from(lossy));
    Ok(Rounded {
        price: PicoUsd::from_pico(number.ok_or(PriceFault::TooLarge)?),
        lossy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pico(text: &str) -> (u64, bool) {
        let read = rounded_up(text, 12).unwrap();
        (read.price.as_pico(), read.lossy)
    }

    #[test]
    fn usd_per_token_is_exact_to_twelve_decimals() {
        assert_eq!(pico("1e-07"), (100_000, false));
        assert_eq!(pico("2.5E-6"), (2_500_000, false));
        assert_eq!(pico("0.00000015"), (150_000, false));
        assert_eq!(pico("0.0"), (0, false));
        assert_eq!(pico("-0.0"), (0, false));
        assert_eq!(pico("3"), (3_000_000_000_000, false));
    }

    #[test]
    fn what_is_finer_is_rounded_up_and_said_to_be() {
        assert_eq!(pico("1.0000001e-07"), (100_001, true));
        assert_eq!(pico("1e-13"), (1, true));
        assert_eq!(pico("1e-400"), (1, true));
        assert_eq!(pico("0e-400"), (0, false));
        assert_eq!(
            pico("0.000000000000000000000000000000000000000000001"),
            (1, true)
        );
    }

    #[test]
    fn what_is_not_a_price_is_refused_by_its_reason() {
        for (text, fault) in [
            ("", PriceFault::NotDecimal),
            ("NaN", PriceFault::NotDecimal),
            ("inf", PriceFault::NotDecimal),
            ("1e", PriceFault::NotDecimal),
            ("--1", PriceFault::Negative),
            ("-1e-9", PriceFault::Negative),
            ("1e40", PriceFault::TooLarge),
            ("1e2000000000", PriceFault::TooLarge),
            ("99999999", PriceFault::TooLarge),
        ] {
            assert_eq!(rounded_up(text, 12), Err(fault), "{text}");
        }
    }
}
