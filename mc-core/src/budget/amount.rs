//! What accounts count: money, tokens and calls, as one vector with checked operations.

use serde::{Deserialize, Serialize};

use super::LedgerFault;
use crate::money::NanoUsd;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_free(money: &NanoUsd) -> bool {
    *money == NanoUsd::ZERO
}

/// An amount in every dimension that an account counts.
///
/// As JSON, zeros are left out: `{"nano_usd":1500,"calls":1}`.
///
/// # Units
/// Nano-USD; tokens; calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amount {
    /// Money, in nano-USD.
    #[serde(rename = "nano_usd", default, skip_serializing_if = "is_free")]
    pub money: NanoUsd,
    /// Input tokens.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub input_tokens: u64,
    /// Output tokens.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub output_tokens: u64,
    /// Model calls.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub calls: u64,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self {
        money: NanoUsd::ZERO,
        input_tokens: 0,
        output_tokens: 0,
        calls: 0,
    };

    /// Whether this is nothing in every dimension.
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// The sum, or `None` where a dimension overflows.
    #[must_use]
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        Some(Self {
            money: self.money.checked_add(other.money)?,
            input_tokens: self.input_tokens.checked_add(other.input_tokens)?,
            output_tokens: self.output_tokens.checked_add(other.output_tokens)?,
            calls: self.calls.checked_add(other.calls)?,
        })
    }

    /// The difference, or `None` where a dimension would fall below zero.
    #[must_use]
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        let money = self.money.checked_sub(other.money)?;
        if money < NanoUsd::ZERO {
            return None;
        }
        Some(Self {
            money,
            input_tokens: self.input_tokens.checked_sub(other.input_tokens)?,
            output_tokens: self.output_tokens.checked_sub(other.output_tokens)?,
            calls: self.calls.checked_sub(other.calls)?,
        })
    }

    /// The sum, each dimension held at its end.
    #[must_use]
    pub fn saturating_add(&self, other: &Self) -> Self {
        Self {
            money: self.money.saturating_add(other.money),
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            calls: self.calls.saturating_add(other.calls),
        }
    }

    /// The difference, each dimension held at zero.
    #[must_use]
    pub fn saturating_sub(&self, other: &Self) -> Self {
        Self {
            money: self.money.saturating_sub(other.money).max(NanoUsd::ZERO),
            input_tokens: self.input_tokens.saturating_sub(other.input_tokens),
            output_tokens: self.output_tokens.saturating_sub(other.output_tokens),
            calls: self.calls.saturating_sub(other.calls),
        }
    }

    /// The smaller of the two in each dimension.
    #[must_use]
    pub fn min(&self, other: &Self) -> Self {
        Self {
            money: self.money.min(other.money),
            input_tokens: self.input_tokens.min(other.input_tokens),
            output_tokens: self.output_tokens.min(other.output_tokens),
            calls: self.calls.min(other.calls),
        }
    }

    /// The larger of the two in each dimension.
    #[must_use]
    pub fn max(&self, other: &Self) -> Self {
        Self {
            money: self.money.max(other.money),
            input_tokens: self.input_tokens.max(other.input_tokens),
            output_tokens: self.output_tokens.max(other.output_tokens),
            calls: self.calls.max(other.calls),
        }
    }

    /// Whether this is at most `other` in every dimension.
    pub fn fits_in(&self, other: &Self) -> bool {
        self.min(other) == *self
    }
}

/// A limit in each dimension; `None` is no limit.
///
/// As JSON: `{"nano_usd":5000000000,"calls":100}`. In definitions money is text: `usd: "5.00"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Money, in nano-USD.
    #[serde(rename = "nano_usd", default, skip_serializing_if = "Option::is_none")]
    pub money: Option<NanoUsd>,
    /// Input tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Output tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Model calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
}

impl Limit {
    /// A limit on money alone.
    pub fn usd(money: NanoUsd) -> Self {
        Self {
            money: Some(money),
            ..Self::default()
        }
    }

    /// The limit with another on top, in the dimensions that have one.
    ///
    /// # Errors
    /// [`LedgerFault::Overflow`], and [`LedgerFault::Negative`] for negative money.
    pub fn plus(&self, by: &Self) -> Result<Self, LedgerFault> {
        let sum = |limit: Option<u64>, by: Option<u64>| match limit {
            None => Ok(None),
            Some(limit) => {
                let sum = limit.checked_add(by.unwrap_or(0));
                sum.map(Some).ok_or(LedgerFault::Overflow)
            }
        };
        if by.money.is_some_and(|money| money < NanoUsd::ZERO) {
            return Err(LedgerFault::Negative);
        }
        Ok(Self {
            money: match self.money {
                None => None,
                Some(money) => Some(
                    money
                        .checked_add(by.money.unwrap_or(NanoUsd::ZERO))
                        .ok_or(LedgerFault::Overflow)?,
                ),
            },
            input_tokens: sum(self.input_tokens, by.input_tokens)?,
            output_tokens: sum(self.output_tokens, by.output_tokens)?,
            calls: sum(self.calls, by.calls)?,
        })
    }

    /// As [`Self::plus`], each dimension held at its end; negative money adds nothing.
    #[must_use]
    pub fn saturating_plus(&self, by: &Self) -> Self {
        let sum = |limit: Option<u64>, by: Option<u64>| {
            limit.map(|limit| limit.saturating_add(by.unwrap_or(0)))
        };
        let money = by.money.unwrap_or(NanoUsd::ZERO).max(NanoUsd::ZERO);
        Self {
            money: self.money.map(|limit| limit.saturating_add(money)),
            input_tokens: sum(self.input_tokens, by.input_tokens),
            output_tokens: sum(self.output_tokens, by.output_tokens),
            calls: sum(self.calls, by.calls),
        }
    }

    /// The limit without what was put on top of it.
    #[must_use]
    pub fn minus(&self, by: &Self) -> Self {
        let rest = |limit: Option<u64>, by: Option<u64>| {
            limit.map(|limit| limit.saturating_sub(by.unwrap_or(0)))
        };
        let money = |limit: NanoUsd| limit.saturating_sub(by.money.unwrap_or(NanoUsd::ZERO));
        Self {
            money: self.money.map(|limit| money(limit).max(NanoUsd::ZERO)),
            input_tokens: rest(self.input_tokens, by.input_tokens),
            output_tokens: rest(self.output_tokens, by.output_tokens),
            calls: rest(self.calls, by.calls),
        }
    }

    /// Whether no dimension is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What an account that refuses for good does to the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExceed {
    /// The run ends, `aborted{budget}`.
    #[default]
    Abort,
    /// The step is `blocked{budget}` and the run paused until the account has room.
    Pause,
}

impl OnExceed {
    /// `Abort` wins over `Pause`.
    #[must_use]
    pub const fn stricter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Pause, Self::Pause) => Self::Pause,
            (Self::Abort, _) | (_, Self::Abort) => Self::Abort,
        }
    }
}
