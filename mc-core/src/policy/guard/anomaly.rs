//! Anomalies: what a call cost or took, against what the calls before it did.
//!
//! Counts, sums and sums of squares, as integers: the same events give the same verdict everywhere, and
//! no root is taken. What is *not* here: whose calls are compared (`sequencer::samples`).

use serde::{Deserialize, Serialize};

use crate::budget::Amount;

/// The largest value; what is beyond counts as this.
const LARGEST: u64 = 1 << 44;
/// The most calls; then all that went before count half, so that nothing overflows and the past fades.
const MOST_CALLS: u64 = 1 << 16;
/// The most calls that a rule can ask for before it says anything.
pub(super) const MOST_LEAST: u64 = MOST_CALLS / 2;
/// The most deviations that a rule can ask for.
pub(super) const MOST_SIGMA: u64 = 10;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// What a call cost, in nano-USD.
    Cost,
    /// How long it took, in milliseconds.
    Latency,
    /// Its output tokens.
    OutputTokens,
}

impl Measure {
    /// Every measure with its spelling.
    pub const NAMES: [(&'static str, Self); 3] = [
        ("cost", Self::Cost),
        ("latency", Self::Latency),
        ("output_tokens", Self::OutputTokens),
    ];

    /// The text that stands in the policy file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cost => "cost",
            Self::Latency => "latency",
            Self::OutputTokens => "output_tokens",
        }
    }
}

/// What a call cost and took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// What it used; none where the provider did not say.
    pub used: Option<Amount>,
    /// How long it took, in milliseconds.
    pub latency_ms: u64,
}

impl Measured {
    /// One of the numbers, where it is known.
    pub fn of(&self, measure: Measure) -> Option<u64> {
        match measure {
            Measure::Cost => u64::try_from(self.used?.money.as_nano()).ok(),
            Measure::Latency => Some(self.latency_ms),
            Measure::OutputTokens => Some(self.used?.output_tokens),
        }
    }
}

/// Calls so far: their count, the sum of their values and that of the squares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moments {
    count: u64,
    sum: u64,
    /// High and low half.
    squares: [u64; 2],
}

impl Moments {
    /// How many calls there are.
    pub const fn count(&self) -> u64 {
        self.count
    }

    fn squares(&self) -> u128 {
        let [high, low] = self.squares;
        (u128::from(high) << 64) | u128::from(low)
    }

    /// Takes one more call in.
    pub fn add(&mut self, value: u64) {
        let value = value.min(LARGEST);
        let mut squares = self.squares();
        if self.count >= MOST_CALLS {
            self.count /= 2;
            self.sum /= 2;
            squares /= 2;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        squares = squares.saturating_add(u128::from(value) * u128::from(value));
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(u64::MAX);
        self.squares = [half(squares >> 64), half(squares)];
    }

    /// Whether a value lies more than so many standard deviations above the mean.
    ///
    /// With n calls, `x - mean > s * deviation` is `n * x - sum > 0` and
    /// `(n * x - sum)^2 > s^2 * (n * squares - sum^2)`: all of it fits, by the two limits above.
    pub fn is_exceeded_by(&self, value: u64, sigma: u64) -> bool {
        let count = u128::from(self.count);
        let sum = u128::from(self.sum);
        let all = count * u128::from(value.min(LARGEST));
        let above = all.saturating_sub(sum);
        let spread = (count * self.squares()).saturating_sub(sum * sum);
        let sigma = u128::from(sigma.min(MOST_SIGMA));
        above > 0 && above * above > sigma * sigma * spread
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u64]) -> Moments {
        let mut all = Moments::default();
        for value in values {
            all.add(*value);
        }
        all
    }

    #[test]
    fn a_value_beyond_so_many_deviations_exceeds_and_one_at_them_does_not() {
        // Mean 10, deviation 2.
        let all = of(&[8, 12, 8, 12]);
        assert!(!all.is_exceeded_by(14, 2) && all.is_exceeded_by(15, 2));
        assert!(!all.is_exceeded_by(16, 3) && all.is_exceeded_by(17, 3));
        assert!(!all.is_exceeded_by(0, 2), "less is no anomaly");
    }

    #[test]
    fn where_all_were_the_same_anything_more_exceeds() {
        let all = of(&[5; 9]);
        assert!(!all.is_exceeded_by(5, 3) && all.is_exceeded_by(6, 3));
    }

    #[test]
    fn the_largest_values_and_the_most_calls_do_not_overflow() {
        let mut all = Moments::default();
        for _ in 0..MOST_CALLS + 5 {
            all.add(u64::MAX);
        }
        assert!(all.count() <= MOST_CALLS && all.count() > MOST_LEAST);
        assert!(!all.is_exceeded_by(u64::MAX, 1));
        assert!(!all.is_exceeded_by(0, MOST_SIGMA));
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_definition(
            values in prop::collection::vec(0_u64..1_000, 1..40), value in 0_u64..2_000, sigma in 1_u64..=10,
        ) {
            let n = i128::try_from(values.len()).unwrap();
            let value_of = |one: u64| i128::from(one);
            let sum: i128 = values.iter().map(|one| value_of(*one)).sum();
            // n^3 times the variance, from the distances themselves.
            let spread: i128 = values.iter().map(|one| (n * value_of(*one) - sum).pow(2)).sum();
            let above = n * value_of(value) - sum;
            let far = above > 0 && n * above * above > value_of(sigma).pow(2) * spread;
            prop_assert_eq!(of(&values).is_exceeded_by(value, sigma), far);
        }
    }
}
