//! The terms that a call is made on, and what an answered call costs on them.
//!
//! A host states them with its request, because they select prices: the service tier, the region of
//! processing, and how often the provider's own tools may be used.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::class::{ServiceTier, Unit};
use super::cost::{Cost, CostFault, CostFlag, Missing, Terms};
use super::table::PriceTable;
use super::unknown::{Charged, UnknownModels, charge};
use crate::id::{ModelId, Region};
use crate::time::Timestamp;
use crate::usage::Usage;

/// The service tiers that a call may be charged at; as JSON `"standard"` and its like, or `"auto"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TierChoice {
    /// This tier and no other.
    Exactly(ServiceTier),
    /// The provider chooses: any tier that has a price.
    Auto,
}

/// What is written for a choice of the provider's.
const AUTO: &str = "auto";

impl TierChoice {
    /// The tiers.
    pub fn tiers(self) -> impl Iterator<Item = ServiceTier> {
        let all = ServiceTier::ALL.iter().copied();
        all.filter(move |tier| self == Self::Auto || self == Self::Exactly(*tier))
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for TierChoice {
    fn default() -> Self {
        Self::Exactly(ServiceTier::Standard)
    }
}

impl fmt::Display for TierChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(tier) => f.write_str(tier.key()),
            Self::Auto => f.write_str(AUTO),
        }
    }
}

impl FromStr for TierChoice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == AUTO {
            return Ok(Self::Auto);
        }
        let mut all = ServiceTier::ALL.iter();
        let found = all.find(|tier| tier.key() == text).copied();
        found
            .map(Self::Exactly)
            .ok_or("a service tier is standard, batch, flex, priority, or auto")
    }
}

impl TryFrom<String> for TierChoice {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TierChoice> for String {
    fn from(choice: TierChoice) -> Self {
        choice.to_string()
    }
}

/// The terms that a call is made on; the default is the list price, with none of the provider's own
/// tools.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallTerms {
    /// The service tier that is asked for.
    #[serde(default, skip_serializing_if = "TierChoice::is_default")]
    pub service_tier: TierChoice,
    /// The region of processing, if the call is bound to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// How often each of the provider's own tools may be used at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub units: BTreeMap<Unit, u64>,
}

impl CallTerms {
    /// Whether nothing was stated.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The caps as pairs.
    pub fn caps(&self) -> Vec<(Unit, u64)> {
        self.units.iter().map(|(unit, cap)| (*unit, *cap)).collect()
    }
}

/// A call that was answered, with the terms that it was made on.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// The model that was asked.
    pub request: &'a ModelId,
    /// The model that the answer names, if it names one.
    pub response: Option<&'a ModelId>,
    /// What was used.
    pub usage: &'a Usage,
    /// The terms.
    pub terms: &'a CallTerms,
    /// The service tier that the provider says it charged, if it says so.
    pub served: Option<ServiceTier>,
    /// When it was reserved.
    pub at: Timestamp,
    /// Where the usage is the sum of several calls: the most input tokens of one of them.
    pub largest_input: Option<u64>,
}

/// Computes what an answered call costs on its terms: at the tier that the provider names, or else
/// at the dearest of those that it was free to choose.
///
/// # Errors
/// As [`charge`].
pub fn charge_on_terms(
    table: &PriceTable,
    unknown: &UnknownModels,
    call: &Answered<'_>,
) -> Result<Cost, CostFault> {
    let asked = call.terms.service_tier;
    let Some(served) = call.served else {
        return dearest(table, unknown, call, asked);
    };
    let cost = match dearest(table, unknown, call, TierChoice::Exactly(served)) {
        // Whatever that tier is, it has no price: the dearest that has one stands in for it.
        Err(CostFault::TierUnpriced(_)) => dearest(table, unknown, call, TierChoice::Auto),
        other => other,
    };
    let mut cost = cost?;
    if asked != TierChoice::Auto && asked != TierChoice::Exactly(served) {
        cost.flags.insert(CostFlag::TierChanged);
    }
    Ok(cost)
}

fn dearest(
    table: &PriceTable,
    unknown: &UnknownModels,
    call: &Answered<'_>,
    choice: TierChoice,
) -> Result<Cost, CostFault> {
    let of_tier = |service_tier| {
        let terms = Terms {
            at: call.at,
            service_tier,
            region: call.terms.region.as_ref().map(Region::as_str),
            missing: Missing::Dearest,
            largest_input: call.largest_input,
        };
        let charged = Charged {
            request: call.request,
            response: call.response,
            usage: call.usage,
            terms,
        };
        charge(table, unknown, &charged)
    };
    let (mut best, mut unpriced): (Option<Cost>, _) = (None, None);
    for cost in choice.tiers().map(of_tier) {
        match cost {
            Ok(cost) if best.as_ref().is_none_or(|best| best.money < cost.money) => {
                best = Some(cost);
            }
            Ok(_) => {}
            Err(fault @ CostFault::TierUnpriced(_)) => unpriced = Some(fault),
            Err(fault) => return Err(fault),
        }
    }
    let unpriced = unpriced.unwrap_or(CostFault::TierUnpriced(ServiceTier::Standard));
    best.ok_or(unpriced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_of_tiers_has_one_text() {
        for text in ["standard", "batch", "flex", "priority", "auto"] {
            let choice: TierChoice = text.parse().unwrap();
            assert_eq!(choice.to_string(), text);
            assert_eq!(serde_json::to_value(choice).unwrap(), text);
        }
        assert!("Auto".parse::<TierChoice>().is_err());
        assert_eq!(TierChoice::Auto.tiers().count(), ServiceTier::ALL.len());
    }

    #[test]
    fn terms_that_say_nothing_are_nothing_in_the_log() {
        let terms = CallTerms::default();
        assert!(terms.is_default());
        assert_eq!(serde_json::to_string(&terms).unwrap(), "{}");
    }
}
