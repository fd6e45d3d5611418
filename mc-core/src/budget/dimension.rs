//! The four dimensions that an account counts, seen one at a time and without overflow.
//!
//! Checks read every dimension as `i128`, so that a sum of columns always fits. Read `account` next.

use super::{Amount, Limit};
use crate::money::NanoUsd;

/// One of the dimensions of an [`Amount`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dimension {
    /// Money, in nano-USD.
    Money,
    /// Input tokens.
    InputTokens,
    /// Output tokens.
    OutputTokens,
    /// Model calls.
    Calls,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: [Self; 4] = [
        Self::Money,
        Self::InputTokens,
        Self::OutputTokens,
        Self::Calls,
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Money => "money",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::Calls => "calls",
        }
    }

    /// The dimension of a name on the wire.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// The most that can be counted; it stands in for the limit where there is none.
    pub(super) fn most(self) -> i128 {
        match self {
            Self::Money => i128::from(i64::MAX),
            Self::InputTokens | Self::OutputTokens | Self::Calls => i128::from(u64::MAX),
        }
    }
}

impl Amount {
    /// This amount in one dimension.
    pub fn of(&self, dimension: Dimension) -> i128 {
        match dimension {
            Dimension::Money => i128::from(self.money.as_nano()),
            Dimension::InputTokens => i128::from(self.input_tokens),
            Dimension::OutputTokens => i128::from(self.output_tokens),
            Dimension::Calls => i128::from(self.calls),
        }
    }

    /// Whether the money is below zero, which no movement may have.
    pub fn is_negative(&self) -> bool {
        self.money < NanoUsd::ZERO
    }
}

impl Limit {
    /// The limit in one dimension, if there is one.
    pub fn of(&self, dimension: Dimension) -> Option<i128> {
        match dimension {
            Dimension::Money => self.money.map(|money| i128::from(money.as_nano())),
            Dimension::InputTokens => self.input_tokens.map(i128::from),
            Dimension::OutputTokens => self.output_tokens.map(i128::from),
            Dimension::Calls => self.calls.map(i128::from),
        }
    }

    /// The tighter of the two in each dimension.
    #[must_use]
    pub fn min(&self, other: &Self) -> Self {
        Self {
            money: tighter(self.money, other.money),
            input_tokens: tighter(self.input_tokens, other.input_tokens),
            output_tokens: tighter(self.output_tokens, other.output_tokens),
            calls: tighter(self.calls, other.calls),
        }
    }
}

fn tighter<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
