//! What a call costs: tokens and units times their prices, rounded up once.
//!
//! `cost_nano = ceil((sum(tokens_i * price_i) * uplift + sum(units_k * price_k)) / 1000)` in pico-USD
//! and integers of 128 bits. What is *not* here: which model is charged (`unknown`), and the most
//! that a call can cost (`bound`).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::class::{ServiceTier, TokenClass, Unit};
use super::model::{ModelPrice, Rate};
use super::pico::Weight;
use crate::error::{Detail, Error, ErrorKind};
use crate::id::ModelId;
use crate::money::NanoUsd;
use crate::time::Timestamp;
use crate::usage::Usage;

/// What a class of tokens costs that the model's row does not price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// Nothing is guessed: the cost is an error.
    #[default]
    Refuse,
    /// The dearest price of the same side, and a flag.
    Dearest,
}

/// The terms of a call that select its prices.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms<'a> {
    /// When the call was reserved.
    pub at: Timestamp,
    /// The service tier that the provider charged.
    pub service_tier: ServiceTier,
    /// The region of processing, if the call was bound to one.
    pub region: Option<&'a str>,
    /// What an unpriced class costs.
    pub missing: Missing,
    /// Where the usage is the sum of several calls: the most input tokens that one of them can have
    /// had, which tell their tier.
    pub largest_input: Option<u64>,
}

/// Something that a reader of a cost should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostFlag {
    /// The model is listed as free: the cost is an explicit zero.
    Unpriced,
    /// The model is unknown and was charged at prices that the policy names.
    Assumed,
    /// A class without a price was charged as the dearest of its side.
    DearestClass,
    /// Another model answered than was asked; the dearer of the two was charged.
    ModelChanged,
    /// Another model answered than was asked, and it has no price; the one asked was charged.
    ModelUnknown,
    /// The provider charged another service tier than was asked for.
    TierChanged,
}

impl CostFlag {
    /// The flag's stable name on the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unpriced => "unpriced",
            Self::Assumed => "assumed",
            Self::DearestClass => "dearest_class",
            Self::ModelChanged => "model_changed",
            Self::ModelUnknown => "model_unknown",
            Self::TierChanged => "tier_changed",
        }
    }
}

/// What a call costs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// The money, rounded up once.
    #[serde(rename = "cost_nano_usd")]
    pub money: NanoUsd,
    /// What to know about it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub flags: BTreeSet<CostFlag>,
}

/// Why a call has no cost, or no bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CostFault {
    /// The policy denies models that the table does not know.
    #[error("the model has no price at this time")]
    UnknownModel(ModelId),
    /// The row does not price a class of tokens that was used.
    #[error("`{0}` tokens have no price")]
    ClassUnpriced(TokenClass),
    /// The row does not price a unit that was used.
    #[error("`{0}` has no price")]
    UnitUnpriced(Unit),
    /// The row has no rate for the service tier.
    #[error("service tier `{0}` has no price")]
    TierUnpriced(ServiceTier),
    /// The row has factors by region, but none for this one.
    #[error("region `{0}` has no price")]
    UnknownRegion(String),
    /// Nothing bounds the input tokens.
    #[error("nothing bounds the input tokens of this call")]
    InputUnbounded,
    /// Nothing bounds the output tokens.
    #[error("nothing bounds the output tokens of this call")]
    OutputUnbounded,
    /// The cost is over 9.22 billion USD.
    #[error("the cost does not fit")]
    Overflow,
}

impl From<CostFault> for Error {
    fn from(fault: CostFault) -> Self {
        match &fault {
            CostFault::UnknownModel(model) => {
                let detail = Detail::Rule {
                    rule: "unknown_model".to_owned(),
                    subject: model.to_string(),
                };
                let error = Self::new(ErrorKind::PolicyDenied, fault.to_string());
                error.with_detail(detail).with_context("model", model)
            }
            CostFault::ClassUnpriced(_)
            | CostFault::UnitUnpriced(_)
            | CostFault::TierUnpriced(_)
            | CostFault::UnknownRegion(_)
            | CostFault::InputUnbounded
            | CostFault::OutputUnbounded
            | CostFault::Overflow => Self::invalid("", fault),
        }
    }
}

/// Computes what a call costs by a model's row.
///
/// # Units
/// Nano-USD, rounded up once per call.
///
/// # Errors
/// A [`CostFault`]: something that was used has no price, or the sum does not fit.
pub fn cost(price: &ModelPrice, usage: &Usage, terms: &Terms<'_>) -> Result<Cost, CostFault> {
    let size = usage.input_tokens();
    let size = terms.largest_input.map_or(size, |most| size.min(most));
    let rate = price
        .rate(terms.service_tier, size, terms.at)
        .ok_or(CostFault::TierUnpriced(terms.service_tier))?;
    let uplift = price
        .uplift_of(terms.region)
        .ok_or_else(|| CostFault::UnknownRegion(terms.region.unwrap_or_default().to_owned()))?;
    let mut flags = BTreeSet::new();
    let tokens = token_weight(price, rate, (usage, terms.missing), &mut flags)?;
    let weight = Weight {
        tokens,
        units: unit_weight(price, |unit| unit.count(usage))?,
    };
    let money = weight.ceil(uplift).ok_or(CostFault::Overflow)?;
    Ok(Cost { money, flags })
}

fn token_weight(
    price: &ModelPrice,
    rate: &Rate,
    (usage, missing): (&Usage, Missing),
    flags: &mut BTreeSet<CostFlag>,
) -> Result<u128, CostFault> {
    let mut sum: u128 = 0;
    for class in TokenClass::ALL {
        let count = class.count(usage);
        if count == 0 {
            continue;
        }
        let each = match (price.price_in(rate, *class), missing) {
            (Some(each), _) => each,
            (None, Missing::Refuse) => return Err(CostFault::ClassUnpriced(*class)),
            (None, Missing::Dearest) => {
                flags.insert(CostFlag::DearestClass);
                rate.dearest(class.side())
            }
        };
        sum = sum
            .checked_add(each.times(count))
            .ok_or(CostFault::Overflow)?;
    }
    Ok(sum)
}

/// The weight of units by their counts; a unit without a price is free or an error, as it says.
pub(super) fn unit_weight(
    price: &ModelPrice,
    count: impl Fn(Unit) -> u64,
) -> Result<u128, CostFault> {
    let mut sum: u128 = 0;
    for unit in Unit::ALL {
        let count = count(*unit);
        match price.units.get(unit) {
            Some(each) => {
                sum = sum
                    .checked_add(each.times(count))
                    .ok_or(CostFault::Overflow)?;
            }
            None if count > 0 && unit.needs_price() => return Err(CostFault::UnitUnpriced(*unit)),
            None => {}
        }
    }
    Ok(sum)
}
