//! Billed: what a call that was answered costs.
//!
//! By the table that it was reserved by, at the prices of that time. Where another table is in force by
//! now and says that the call was dearer, the provider's price rose, and that one counts: what is billed
//! is not known to be less. A table that says less changes nothing, since what was held was enough.
//! What is *not* here: what becomes of the hold (`call_settle`), and calls without an answer
//! (`call_fail`).

use std::collections::BTreeSet;

use super::View;
use crate::budget::Amount;
use crate::error::{Error, Result};
use crate::id::{Digest, ModelId};
use crate::pricing::{Answered, Cost, CostFault, CostFlag, PriceTable, charge_on_terms};
use crate::sequencer::command::SettleCall;
use crate::usage::{Usage, UsageEntry};

/// The flag of a cost by a table that came into force after the call was reserved.
pub(super) const PRICE_ROSE: &str = "price_rose";

/// What a call cost.
#[derive(Clone, Debug)]
pub(super) struct Billed {
    /// What is spent.
    pub actual: Amount,
    /// What it used.
    pub usage: Usage,
    /// The version of the table that it is charged by.
    pub price_version: Digest,
    /// What a reader should know.
    pub flags: Vec<String>,
}

/// What calls cost together, by one table.
pub(super) struct Charge {
    /// What is spent.
    pub amount: Amount,
    /// The version of the table.
    pub version: Digest,
    /// What to know about it, by code.
    pub flags: BTreeSet<&'static str>,
}

/// What an answer costs: by its usage, or all that was held where the provider gave none.
///
/// # Errors
/// `InvalidInput` for usage that has no price.
pub(super) fn price_of(
    view: &View<'_>,
    model: &ModelId,
    answer: &SettleCall,
    drawn: Amount,
) -> Result<Billed> {
    let Some(usage) = answer.usage else {
        return Ok(Billed {
            actual: drawn,
            usage: Usage::default(),
            price_version: view.workspace.prices_of(answer.by.version).version(),
            flags: vec!["usage_missing".to_owned()],
        });
    };
    let whole = [UsageEntry::of(usage)];
    let entries = if answer.entries.is_empty() {
        &whole[..]
    } else {
        &answer.entries
    };
    let used: Vec<Answered<'_>> = entries
        .iter()
        .map(|entry| answered((model, answer), entry))
        .collect();
    let charge = charge(view, answer.by.version, &used).map_err(|fault| {
        Error::invalid("usage", "this usage cannot be priced").with_source(fault)
    })?;
    let mut flags: Vec<String> = charge.flags.iter().map(|&flag| flag.to_owned()).collect();
    if answer.answer.is_none() {
        flags.push("answer_refused".to_owned());
    }
    if !charge.amount.fits_in(&drawn) && !drawn.is_zero() {
        flags.push("overrun".to_owned());
    }
    Ok(Billed {
        actual: charge.amount,
        usage,
        price_version: charge.version,
        flags,
    })
}

fn answered<'a>(
    (model, answer): (&'a ModelId, &'a SettleCall),
    entry: &'a UsageEntry,
) -> Answered<'a> {
    Answered {
        request: model,
        response: answer.model.as_ref(),
        usage: &entry.usage,
        terms: &answer.terms,
        served: answer.service_tier,
        at: answer.by.at,
        largest_input: entry.largest_input,
    }
}

/// What calls cost by the table that they were reserved by, or by the one in force where that is dearer.
///
/// # Errors
/// The [`CostFault`] of the first table; what the one in force has no price for did not become dearer.
pub(super) fn charge(
    view: &View<'_>,
    reserved_by: Digest,
    calls: &[Answered<'_>],
) -> std::result::Result<Charge, CostFault> {
    let workspace = view.workspace;
    let reserved = workspace.prices_of(reserved_by);
    let charge = by_table(view, reserved, calls)?;
    let in_force = &workspace.settings.prices;
    if in_force.version() == reserved.version() {
        return Ok(charge);
    }
    let now = by_table(view, in_force, calls).ok();
    // A price that is assumed, because the table has none, is no word of the provider's.
    let known = now.filter(|now| !ASSUMED.iter().any(|flag| now.flags.contains(flag.code())));
    match known {
        Some(mut now) if now.amount.money > charge.amount.money => {
            now.flags.insert(PRICE_ROSE);
            Ok(now)
        }
        Some(_) | None => Ok(charge),
    }
}

/// What says that a price is not the table's own.
const ASSUMED: [CostFlag; 3] = [
    CostFlag::Assumed,
    CostFlag::DearestClass,
    CostFlag::ModelUnknown,
];

fn by_table(
    view: &View<'_>,
    table: &PriceTable,
    calls: &[Answered<'_>],
) -> std::result::Result<Charge, CostFault> {
    let mut charge = Charge {
        amount: Amount::ZERO,
        version: table.version(),
        flags: BTreeSet::new(),
    };
    for call in calls {
        let cost = cost(view, table, call)?;
        let one = Amount {
            money: cost.money,
            input_tokens: call.usage.input_tokens(),
            output_tokens: call.usage.output_tokens(),
            calls: call.usage.calls(),
        };
        charge.amount = charge.amount.saturating_add(&one);
        charge
            .flags
            .extend(cost.flags.iter().map(|flag| flag.code()));
    }
    Ok(charge)
}

/// What a call costs at the prices of the time at which it was reserved. Where the table has none of
/// then, those nearest to it count: what was sent has to be settled.
fn cost(
    view: &View<'_>,
    table: &PriceTable,
    call: &Answered<'_>,
) -> std::result::Result<Cost, CostFault> {
    let unknown = view.workspace.unknown_models();
    match charge_on_terms(table, unknown, call) {
        Err(CostFault::UnknownModel(model)) => match table.nearest(&model, call.at) {
            Some(at) => charge_on_terms(table, unknown, &Answered { at, ..*call }),
            None => Err(CostFault::UnknownModel(model)),
        },
        cost => cost,
    }
}
