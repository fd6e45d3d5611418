//! Rules between the parts of a row and between rows.
//!
//! What is *not* here: the form of single values (`read`).

use std::collections::BTreeMap;

use super::class::{ServiceTier, TokenClass};
use super::fields::Faults;
use super::model::{ModelPrice, Rate};
use crate::error::{Error, Result};
use crate::id::ModelId;

/// The most rows of a table.
const MAX_ROWS: usize = 50_000;

/// The most rates of a row.
const MAX_RATES: usize = 256;

/// Checks every rule that takes more than one value.
pub(super) fn rows(rows: &[ModelPrice]) -> Result<()> {
    if rows.len() > MAX_ROWS {
        return Err(Error::invalid("/model", format!("at most {MAX_ROWS} rows")));
    }
    let faults = Faults::default();
    let mut owners: BTreeMap<&ModelId, (usize, &ModelId)> = BTreeMap::new();
    let mut periods: BTreeMap<&ModelId, Vec<(usize, &ModelPrice)>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        let place = format!("/model/{index}");
        row_rules(row, &place, &faults);
        one_owner(&mut owners, row, index, &faults);
        let earlier = periods.entry(&row.model).or_default();
        if let Some((other, _)) = earlier.iter().find(|(_, other)| meet(row, other)) {
            faults.add(
                place,
                format_args!("`{}` has prices for this time in /model/{other}", row.model),
            );
        }
        earlier.push((index, row));
    }
    faults.into_error().map_or(Ok(()), Err)
}

/// An id or alias belongs to one model.
fn one_owner<'a>(
    owners: &mut BTreeMap<&'a ModelId, (usize, &'a ModelId)>,
    row: &'a ModelPrice,
    index: usize,
    faults: &Faults,
) {
    for id in row.aliases.iter().chain([&row.model]) {
        let (other, model) = *owners.entry(id).or_insert((index, &row.model));
        if *model != row.model {
            faults.add(
                format!("/model/{index}"),
                format_args!("`{id}` is also a name of `{model}` in /model/{other}"),
            );
        }
    }
}

/// Whether two periods share a moment.
fn meet(a: &ModelPrice, b: &ModelPrice) -> bool {
    let begins_before_end =
        |x: &ModelPrice, y: &ModelPrice| match (x.effective_from, y.effective_until) {
            (Some(from), Some(until)) => from < until,
            (None, _) | (_, None) => true,
        };
    begins_before_end(a, b) && begins_before_end(b, a)
}

fn row_rules(row: &ModelPrice, place: &str, faults: &Faults) {
    if let (Some(from), Some(until)) = (row.effective_from, row.effective_until)
        && from >= until
    {
        faults.add(
            format!("{place}/effective_until"),
            "must be later than effective_from",
        );
    }
    if row.rates.is_empty() || row.rates.len() > MAX_RATES {
        faults.add(
            format!("{place}/rate"),
            format_args!("between 1 and {MAX_RATES} rates"),
        );
    }
    for tier in ServiceTier::ALL {
        let rates: Vec<&Rate> = row
            .rates
            .iter()
            .filter(|rate| rate.service_tier == *tier)
            .collect();
        tier_rules(*tier, &rates, place, faults);
    }
    for (heir, from) in &row.inherits {
        if row.rates.iter().any(|rate| !rate.prices.contains_key(from)) {
            faults.add(
                format!("{place}/inherits"),
                format_args!("`{heir}`: every rate needs a price of `{from}`"),
            );
        }
        if row.inherits.contains_key(from) || heir.side() != from.side() {
            faults.add(
                format!("{place}/inherits"),
                format_args!(
                    "`{heir}`: `{from}` must be a class of the same side with its own price"
                ),
            );
        }
    }
    class_rules(row, place, faults);
}

fn tier_rules(tier: ServiceTier, rates: &[&Rate], place: &str, faults: &Faults) {
    let fault = |rule: std::fmt::Arguments<'_>| faults.add(format!("{place}/rate"), rule);
    if !rates.is_empty() && !rates.iter().any(|rate| rate.tier_start == 0) {
        fault(format_args!(
            "service tier `{tier}` has no rate from tier_start 0"
        ));
    }
    for (index, rate) in rates.iter().enumerate() {
        let same_start: Vec<_> = rates
            .iter()
            .enumerate()
            .filter(|(_, r)| r.tier_start == rate.tier_start)
            .collect();
        if !same_start
            .iter()
            .any(|(_, other)| other.valid_hours_utc.is_none())
        {
            fault(format_args!(
                "`{tier}` from {}: no rate for all other hours",
                rate.tier_start
            ));
        }
        let clash = same_start.iter().any(|(other, r)| {
            *other > index
                && match (r.valid_hours_utc, rate.valid_hours_utc) {
                    (None, None) => true,
                    (Some(a), Some(b)) => a.overlaps(b),
                    (Some(_), None) | (None, Some(_)) => false,
                }
        });
        if clash {
            fault(format_args!(
                "`{tier}` has two rates from tier_start {}",
                rate.tier_start
            ));
        }
    }
}

/// A class that one rate of a service tier prices is priced by all of them, so that a longer input
/// or a later hour never turns a priced call into an unpriced one.
fn class_rules(row: &ModelPrice, place: &str, faults: &Faults) {
    for tier in ServiceTier::ALL {
        let rates: Vec<&Rate> = row
            .rates
            .iter()
            .filter(|rate| rate.service_tier == *tier)
            .collect();
        for class in TokenClass::ALL {
            let named = rates
                .iter()
                .filter(|rate| rate.prices.contains_key(class))
                .count();
            if named > 0
                && named < rates.len()
                && !row.inherits.contains_key(class)
                && *class != TokenClass::Reasoning
            {
                faults.add(
                    format!("{place}/rate"),
                    format_args!("`{class}` has a price in some rates of `{tier}` only"),
                );
            }
        }
    }
}
