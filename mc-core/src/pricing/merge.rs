//! Two tables as one: where they differ, the dearer price holds and the first table's is listed.
//!
//! What is held and spent may not lie below the truth, so the dearer reading is enforced; the price
//! of the first table stays beside it for reports. A model that one table has alone is taken as it
//! is. What is *not* here: which tables a store has (`layers`).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::class::{ServiceTier, TokenClass};
use super::model::{Hours, ModelPrice, Rate, Ratio, TierEdge};
use super::pico::PicoUsd;
use super::table::PriceTable;
use crate::error::Result;
use crate::id::ModelId;
use crate::time::Timestamp;

/// A price on which two tables differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disagreement {
    /// The model.
    pub model: ModelId,
    /// What they differ in: service tier, size of input and class, or a unit.
    pub what: String,
    /// What the first table has: it is listed.
    pub first: String,
    /// What the other one has; the dearer is enforced.
    pub other: String,
}

/// A table made of two.
#[derive(Clone, Debug)]
pub struct Merged {
    /// The table.
    pub table: PriceTable,
    /// Where the two differ.
    pub disagreements: Vec<Disagreement>,
}

/// Prices by class.
type Prices = BTreeMap<TokenClass, PicoUsd>;

/// The same moment or none at either end.
type Period = (Option<Timestamp>, Option<Timestamp>);

/// Rows by model.
type Models = BTreeMap<ModelId, Vec<ModelPrice>>;

impl PriceTable {
    /// Merges `other` into this table: the dearer price of each holds, and this table's is listed.
    ///
    /// # Errors
    /// `InvalidInput` where the two do not fit together.
    pub fn merged(&self, other: &Self) -> Result<Merged> {
        let mut ours = by_model(self);
        let mut theirs = by_model(other);
        split_aliases(&mut ours, &theirs);
        drop_taken_aliases(&ours, &mut theirs);
        let models: BTreeSet<ModelId> = ours.keys().chain(theirs.keys()).cloned().collect();
        let (mut rows, mut disagreements) = (Vec::new(), Vec::new());
        for model in models {
            match (ours.remove(&model), theirs.remove(&model)) {
                (Some(a), Some(b)) => {
                    let mut notes = Vec::new();
                    rows.extend(periods(&a, &b, &mut notes));
                    disagreements.append(&mut notes);
                }
                (one, None) | (None, one) => rows.extend(one.unwrap_or_default()),
            }
        }
        let table = Self::of_rows(format!("{} + {}", self.label(), other.label()), rows)?;
        Ok(Merged {
            table,
            disagreements,
        })
    }
}

fn by_model(table: &PriceTable) -> Models {
    let mut models = Models::new();
    for row in table.models() {
        models
            .entry(row.model.clone())
            .or_default()
            .push(row.clone());
    }
    models
}

/// An alias here that is a model of its own there becomes one here.
fn split_aliases(ours: &mut Models, theirs: &Models) {
    let mut split: Models = Models::new();
    for rows in ours.values_mut() {
        for row in rows {
            let own: Vec<ModelId> = row
                .aliases
                .iter()
                .filter(|alias| theirs.contains_key(*alias))
                .cloned()
                .collect();
            for alias in own {
                row.aliases.remove(&alias);
                let mut one = row.clone();
                one.model = alias.clone();
                one.aliases = BTreeSet::new();
                split.entry(alias).or_default().push(one);
            }
        }
    }
    ours.extend(split);
}

/// A name belongs to the model that has it here.
fn drop_taken_aliases(ours: &Models, theirs: &mut Models) {
    let taken: BTreeMap<&ModelId, &ModelId> = ours
        .values()
        .flatten()
        .flat_map(|row| {
            let names = row.aliases.iter().chain([&row.model]);
            names.map(|name| (name, &row.model))
        })
        .collect();
    for row in theirs.values_mut().flatten() {
        let model = row.model.clone();
        row.aliases
            .retain(|alias| taken.get(alias).is_none_or(|owner| **owner == model));
    }
}

/// The rows of a model that one source lists twice: the dearer prices, and none beside them.
pub(super) fn both(ours: &[ModelPrice], theirs: &[ModelPrice]) -> Vec<ModelPrice> {
    let mut rows = periods(ours, theirs, &mut Vec::new());
    for row in &mut rows {
        if let Some(first) = ours.first() {
            row.origin = first.origin.clone();
        }
        for rate in &mut row.rates {
            rate.listed.clear();
        }
    }
    rows
}

/// The rows of a model by the periods of both.
fn periods(
    ours: &[ModelPrice],
    theirs: &[ModelPrice],
    notes: &mut Vec<Disagreement>,
) -> Vec<ModelPrice> {
    let edges: BTreeSet<Timestamp> = ours
        .iter()
        .chain(theirs)
        .flat_map(|row| [row.effective_from, row.effective_until])
        .flatten()
        .collect();
    let starts = [None].into_iter().chain(edges.iter().copied().map(Some));
    let ends = edges.iter().copied().map(Some).chain([None]);
    let mut rows = Vec::new();
    for period in starts.zip(ends) {
        let row = match (during(ours, period), during(theirs, period)) {
            (Some(a), Some(b)) => Some(row(a, b, notes)),
            (one, None) | (None, one) => one.cloned(),
        };
        rows.extend(row.map(|row| ModelPrice {
            effective_from: period.0,
            effective_until: period.1,
            ..row
        }));
    }
    rows
}

/// The row that holds throughout a period whose edges are all that there are.
fn during(rows: &[ModelPrice], (from, until): Period) -> Option<&ModelPrice> {
    rows.iter().find(|row| {
        let begun = row
            .effective_from
            .is_none_or(|start| from.is_some_and(|from| start <= from));
        let ends = row.effective_until;
        begun && ends.is_none_or(|end| until.is_some_and(|until| until <= end))
    })
}

/// A row whose tiers begin with their first token, where they began behind the last one below.
fn inclusive(row: &ModelPrice) -> ModelPrice {
    let mut row = row.clone();
    if row.tier_edge == TierEdge::Exclusive {
        for rate in row.rates.iter_mut().filter(|rate| rate.tier_start > 0) {
            rate.tier_start = rate.tier_start.saturating_add(1);
        }
        row.tier_edge = TierEdge::Inclusive;
    }
    row
}

/// One row of two: the first's, at the dearer prices.
fn row(first: &ModelPrice, other: &ModelPrice, notes: &mut Vec<Disagreement>) -> ModelPrice {
    if first.tier_edge != other.tier_edge {
        return row(&inclusive(first), &inclusive(other), notes);
    }
    let mut row = first.clone();
    row.aliases.extend(other.aliases.iter().cloned());
    // A bound has to hold by either source.
    row.max_input_tokens = first.max_input_tokens.max(other.max_input_tokens);
    row.max_output_tokens = first.max_output_tokens.max(other.max_output_tokens);
    row.origin.source = format!("{}; {}", first.origin.source, other.origin.source);
    row.origin.checked_at = first.origin.checked_at.min(other.origin.checked_at);
    row.inherits = BTreeMap::new();
    let mut of = |what: String, a: String, b: String| {
        let note = Disagreement {
            model: first.model.clone(),
            what,
            first: a,
            other: b,
        };
        // Once, however many periods it holds in.
        if !notes.contains(&note) {
            notes.push(note);
        }
    };
    for (region, factor) in &other.uplift {
        let own = row.uplift.entry(region.clone()).or_insert(*factor);
        if own != factor {
            of(
                format!("uplift {region}"),
                own.to_string(),
                factor.to_string(),
            );
            *own = dearer(*own, *factor);
        }
    }
    for (unit, price) in &other.units {
        let own = row.units.entry(*unit).or_insert(*price);
        if own != price {
            let usd = |price: PicoUsd| format!("{} pico-USD each", price.as_pico());
            of(unit.to_string(), usd(*own), usd(*price));
            *own = (*own).max(*price);
        }
    }
    row.rates = ServiceTier::ALL
        .iter()
        .flat_map(|tier| rates(*tier, (first, other), &mut of))
        .collect();
    row
}

fn dearer(a: Ratio, b: Ratio) -> Ratio {
    let weight =
        |x: Ratio, y: Ratio| u64::from(x.numerator()).wrapping_mul(u64::from(y.denominator()));
    if weight(b, a) > weight(a, b) { b } else { a }
}

fn rates(
    tier: ServiceTier,
    (first, other): (&ModelPrice, &ModelPrice),
    note: &mut impl FnMut(String, String, String),
) -> Vec<Rate> {
    let starts: BTreeSet<u64> = [first, other]
        .iter()
        .flat_map(|row| row.rates.iter())
        .filter(|rate| rate.service_tier == tier)
        .map(|rate| rate.tier_start)
        .collect();
    let mut rates = Vec::new();
    for start in starts {
        let of = |row| -> BTreeSet<Option<Hours>> {
            let rates = reached(row, tier, start);
            rates.iter().map(|rate| rate.valid_hours_utc).collect()
        };
        let (ours, theirs) = (of(first), of(other));
        // Where they do not have the same hours, the dearest hour of each holds all day.
        let same = ours == theirs || ours.is_empty() || theirs.is_empty();
        let hours = if same {
            ours.union(&theirs).copied().collect()
        } else {
            note(format!("{tier} hours"), list(&ours), list(&theirs));
            BTreeSet::from([None])
        };
        for hours in hours {
            let cell = (tier, start, hours, same);
            rates.extend(rate(cell, (prices(first, cell), prices(other, cell)), note));
        }
    }
    rates
}

fn list(hours: &BTreeSet<Option<Hours>>) -> String {
    let text = |hours: &Option<Hours>| hours.map_or("all day".to_owned(), |h| h.to_string());
    hours.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// The rates among which a call of this size finds its own: a smaller size's hours are over there.
fn reached(row: &ModelPrice, tier: ServiceTier, start: u64) -> Vec<&Rate> {
    let below = |rate: &&Rate| rate.service_tier == tier && rate.tier_start <= start;
    let highest = { row.rates.iter() }
        .filter(below)
        .map(|rate| rate.tier_start)
        .max();
    let all = row.rates.iter().filter(below);
    all.filter(|rate| Some(rate.tier_start) == highest)
        .collect()
}

/// A place among a row's rates: tier, size, hours, and whether the hours are told apart.
type Cell = (ServiceTier, u64, Option<Hours>, bool);

/// What a row prices at a place.
fn prices(row: &ModelPrice, (tier, start, hours, apart): Cell) -> Prices {
    let mut rates = reached(row, tier, start);
    rates.retain(|rate| !apart || rate.valid_hours_utc == hours);
    let mut prices = Prices::new();
    for rate in rates {
        let own = rate.prices.keys().chain(row.inherits.keys());
        for class in own.copied().collect::<BTreeSet<_>>() {
            if let Some(price) = row.price_in(rate, class) {
                let dearest = prices.entry(class).or_insert(price);
                *dearest = (*dearest).max(price);
            }
        }
    }
    prices
}

/// The rate at a place; none where neither has one.
fn rate(
    (service_tier, tier_start, valid_hours_utc, _): Cell,
    (mut first, mut other): (Prices, Prices),
    note: &mut impl FnMut(String, String, String),
) -> Option<Rate> {
    // Reasoning costs what output does where a row does not price it.
    for prices in [&mut first, &mut other] {
        if let Some(output) = prices.get(&TokenClass::Output).copied() {
            prices.entry(TokenClass::Reasoning).or_insert(output);
        }
    }
    let mut listed = Prices::new();
    let mut prices = first;
    for (class, price) in &other {
        let own = prices.entry(*class).or_insert(*price);
        if own == price {
            continue;
        }
        let what = format!("{service_tier} from {tier_start}: {class}");
        note(what, own.to_string(), price.to_string());
        if *price > *own {
            listed.insert(*class, *own);
            *own = *price;
        }
    }
    if prices.get(&TokenClass::Reasoning) == prices.get(&TokenClass::Output)
        && listed.get(&TokenClass::Reasoning) == listed.get(&TokenClass::Output)
    {
        prices.remove(&TokenClass::Reasoning);
        listed.remove(&TokenClass::Reasoning);
    }
    (!prices.is_empty()).then_some(Rate {
        service_tier,
        tier_start,
        valid_hours_utc,
        prices,
        listed,
    })
}
