//! Models that the table does not know, and models that answer for another.
//!
//! A model without a row is denied unless the policy names a price for it. Nothing is matched by
//! part of a name. What is *not* here: the event and the admission that follow (`budget`, `run`).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::class::{ServiceTier, TokenClass, Unit};
use super::cost::{Cost, CostFault, CostFlag, Terms, cost};
use super::model::{InputBound, ModelPrice, Origin, Rate, ReasoningLimit, TierEdge};
use super::pico::PicoUsd;
use super::table::PriceTable;
use crate::id::ModelId;
use crate::time::Timestamp;
use crate::usage::Usage;

/// What happens to a model that the table does not know.
///
/// As JSON: `"deny"`, `{"price_as":"openai/gpt-5.4"}`, `{"free":["local/llama"]}`,
/// `{"assume":{"input":3000000,"output":4000000}}` (pico-USD per token).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownModels {
    /// It may not be called.
    #[default]
    Deny,
    /// It is charged as this known model.
    PriceAs(ModelId),
    /// It is charged at these prices, stated as the worst case.
    Assume {
        /// The price of an input token of any class.
        input: PicoUsd,
        /// The price of an output token of any class.
        output: PicoUsd,
    },
    /// These ids, and no others, cost nothing; each charge says so.
    Free(BTreeSet<ModelId>),
}

/// The prices at which a model is charged.
#[derive(Clone, Debug)]
pub struct Quote<'a> {
    /// The prices.
    pub price: Cow<'a, ModelPrice>,
    /// What to know about them: `Unpriced` or `Assumed`.
    pub flag: Option<CostFlag>,
    row: Option<&'a ModelPrice>,
}

impl Quote<'_> {
    /// The row of the table; none where the policy states the price.
    pub const fn of_table(&self) -> Option<&ModelPrice> {
        self.row
    }

    /// Computes a cost at these prices.
    ///
    /// # Errors
    /// As [`cost`].
    pub fn cost(&self, usage: &Usage, terms: &Terms<'_>) -> Result<Cost, CostFault> {
        let mut cost = cost(&self.price, usage, terms)?;
        cost.flags.extend(self.flag);
        Ok(cost)
    }
}

impl PriceTable {
    /// The prices of a model at a time, or those that the policy names for an unknown one; `None`
    /// if the model is denied.
    pub fn quote<'a>(
        &'a self,
        model: &ModelId,
        at: Timestamp,
        unknown: &UnknownModels,
    ) -> Option<Quote<'a>> {
        if let Some(price) = self.find(model, at) {
            return Some(Quote {
                price: Cow::Borrowed(price),
                flag: None,
                row: Some(price),
            });
        }
        match unknown {
            UnknownModels::PriceAs(known) => {
                // Its limits are its own: nothing says that the unknown model keeps to them.
                let row = self.find(known, at)?;
                let price = ModelPrice {
                    max_input_tokens: None,
                    max_output_tokens: None,
                    ..row.clone()
                };
                Some(Quote {
                    price: Cow::Owned(price),
                    flag: Some(CostFlag::Assumed),
                    row: Some(row),
                })
            }
            UnknownModels::Assume { input, output } => {
                let price = Cow::Owned(flat(model, (*input, *output), &[]));
                Some(Quote {
                    price,
                    flag: Some(CostFlag::Assumed),
                    row: None,
                })
            }
            UnknownModels::Free(ids) if ids.contains(model) => {
                let price = Cow::Owned(flat(model, (PicoUsd::ZERO, PicoUsd::ZERO), Unit::ALL));
                Some(Quote {
                    price,
                    flag: Some(CostFlag::Unpriced),
                    row: None,
                })
            }
            UnknownModels::Free(_) | UnknownModels::Deny => None,
        }
    }
}

/// A row with one price for each side, in every service tier; `free` units cost nothing.
fn flat(model: &ModelId, (input, output): (PicoUsd, PicoUsd), free: &[Unit]) -> ModelPrice {
    let side = |class: &TokenClass| match class.side() {
        super::class::Side::Input => (*class, input),
        super::class::Side::Output => (*class, output),
    };
    let rate = |tier: &ServiceTier| Rate {
        service_tier: *tier,
        tier_start: 0,
        valid_hours_utc: None,
        prices: TokenClass::ALL.iter().map(side).collect(),
        listed: BTreeMap::new(),
    };
    ModelPrice {
        model: model.clone(),
        aliases: BTreeSet::new(),
        max_input_tokens: None,
        max_output_tokens: None,
        reasoning_limit: ReasoningLimit::Included,
        input_bound: InputBound::DEFAULT,
        origin: Origin {
            source: "policy".to_owned(),
            checked_at: Timestamp::EPOCH,
        },
        effective_from: None,
        effective_until: None,
        tier_edge: TierEdge::Exclusive,
        uplift: BTreeMap::new(),
        inherits: BTreeMap::new(),
        rates: ServiceTier::ALL.iter().map(rate).collect(),
        units: free.iter().map(|unit| (*unit, PicoUsd::ZERO)).collect(),
    }
}

/// A call that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Charged<'a> {
    /// The model that was asked.
    pub request: &'a ModelId,
    /// The model that the answer names, if it names one.
    pub response: Option<&'a ModelId>,
    /// What was used.
    pub usage: &'a Usage,
    /// The terms.
    pub terms: Terms<'a>,
}

/// Computes what an answered call costs: the dearer of the model asked and the model that answered.
///
/// # Errors
/// A [`CostFault`]: the model asked is denied, or as [`cost`].
pub fn charge(
    table: &PriceTable,
    unknown: &UnknownModels,
    call: &Charged<'_>,
) -> Result<Cost, CostFault> {
    let asked = table
        .quote(call.request, call.terms.at, unknown)
        .ok_or_else(|| CostFault::UnknownModel(call.request.clone()))?;
    let mut cost = asked.cost(call.usage, &call.terms)?;
    let Some(response) = call.response.filter(|response| *response != call.request) else {
        return Ok(cost);
    };
    match table.quote(response, call.terms.at, unknown) {
        Some(answered) if answered.price.model == asked.price.model => {}
        Some(answered) => match answered.cost(call.usage, &call.terms) {
            Ok(other) => {
                if other.money > cost.money {
                    cost = other;
                }
                cost.flags.insert(CostFlag::ModelChanged);
            }
            // It has no price on the terms on which the other one was asked.
            Err(CostFault::TierUnpriced(_) | CostFault::UnknownRegion(_)) => {
                cost.flags.insert(CostFlag::ModelUnknown);
            }
            Err(fault) => return Err(fault),
        },
        None => {
            cost.flags.insert(CostFlag::ModelUnknown);
        }
    }
    Ok(cost)
}
