//! Rows of litellm's price list: one object a model, USD for one token.
//!
//! A tier of size that a service tier does not name is charged at the dearer of that service tier
//! and the standard one there; a class that a tier of size does not name costs what it costs below.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::litellm_keys::price_key;
use super::{Row, Taking, provider};
use crate::id::ModelId;
use crate::json::escape_pointer;
use crate::pricing::class::{ServiceTier, TokenClass, Unit};
use crate::pricing::decimal::rounded_up;
use crate::pricing::model::{InputBound, ModelPrice, Rate, Ratio, ReasoningLimit, TierEdge};
use crate::pricing::pico::PicoUsd;

/// The row that explains the form to people.
const SAMPLE: &str = "sample_spec";

/// Keys that this file reads besides prices of tokens.
const OTHER_KEYS: &[&str] = &[
    "litellm_provider",
    "mode",
    "max_input_tokens",
    "max_output_tokens",
    "input_cost_per_request",
    "search_context_cost_per_query",
];

const UPLIFT: &str = "regional_processing_uplift_multiplier_";

/// Prices by class.
type Prices = BTreeMap<TokenClass, PicoUsd>;

/// Prices by service tier and size of input.
type Cells = BTreeMap<(ServiceTier, u64), Prices>;

pub(super) fn take(taking: &mut Taking<'_>, value: &Value) {
    let Value::Object(rows) = value else {
        taking
            .faults
            .add(String::new(), "must be an object of models");
        return;
    };
    for (name, row) in rows {
        taking.report.rows = taking.report.rows.saturating_add(1);
        let place = format!("/{}", escape_pointer(name));
        let Value::Object(map) = row else {
            taking.faults.add(place, "must be an object");
            continue;
        };
        let row = Row {
            name,
            place: &place,
            map,
        };
        model(taking, row);
    }
}

fn model(taking: &mut Taking<'_>, row: Row<'_>) {
    let text = |key: &str| row.map.get(key).and_then(Value::as_str);
    let Some(theirs) = text("litellm_provider").filter(|_| row.name != SAMPLE) else {
        return taking.report.skip(row.name, "not a model");
    };
    let ours = provider(theirs);
    if !taking.wants(theirs, ours) {
        taking.report.other_providers = taking.report.other_providers.saturating_add(1);
        return;
    }
    let Some(model) = model_id(row.name, theirs, ours) else {
        return taking.report.skip(row.name, "its name is no model id");
    };
    let cells = cells(taking, row);
    let standard = cells.get(&(ServiceTier::Standard, 0));
    let reason = without_price(standard, text("mode").unwrap_or_default());
    if let Some(reason) = reason {
        return taking.report.skip(row.name, reason);
    }
    let rates = rates(taking, row, &cells);
    let price = ModelPrice {
        model,
        aliases: BTreeSet::new(),
        max_input_tokens: taking.tokens(row, "max_input_tokens"),
        max_output_tokens: taking.tokens(row, "max_output_tokens"),
        reasoning_limit: ReasoningLimit::Included,
        input_bound: InputBound::DEFAULT,
        origin: taking.origin.clone(),
        effective_from: None,
        effective_until: None,
        // That package's own reading: this provider alone counts the first token of a tier to it.
        tier_edge: if ours == "xai" {
            TierEdge::Inclusive
        } else {
            TierEdge::Exclusive
        },
        uplift: uplift(taking, row),
        inherits: BTreeMap::new(),
        rates,
        units: units(taking, row),
    };
    for key in row.map.keys() {
        let used = price_key(key).is_some()
            || OTHER_KEYS.contains(&key.as_str())
            || key.strip_prefix(UPLIFT).is_some();
        if !used {
            taking.report.unused(row.name, key);
        }
    }
    taking.add(row.name, vec![price]);
}

/// `provider/id`; a name that begins with its provider has it already.
fn model_id(name: &str, theirs: &str, ours: &str) -> Option<ModelId> {
    let own = [theirs, ours].into_iter();
    let mut bare = own.filter_map(|provider| name.strip_prefix(provider)?.strip_prefix('/'));
    let id = bare.next().unwrap_or(name);
    ModelId::new(&format!("{ours}/{id}")).ok()
}

/// Why a row has no price, if it has none. Nothing is free by another's word.
fn without_price(standard: Option<&Prices>, mode: &str) -> Option<&'static str> {
    let of = |class| standard.and_then(|prices| prices.get(&class)).copied();
    let (input, output) = (of(TokenClass::Input), of(TokenClass::Output));
    match (input, output) {
        (None, _) => Some("no price of an input token"),
        (_, None) => Some("no price of an output token"),
        (Some(PicoUsd::ZERO), Some(PicoUsd::ZERO)) => {
            Some("listed as free: name it in `unknown_models: free` if it is")
        }
        (Some(_), Some(PicoUsd::ZERO))
            if !matches!(mode, "embedding" | "rerank" | "moderation") =>
        {
            Some("its output is listed as free")
        }
        (Some(_), Some(_)) => None,
    }
}

fn cells(taking: &mut Taking<'_>, row: Row<'_>) -> Cells {
    let mut cells = Cells::new();
    for (key, value) in row.map {
        let Some(meaning) = price_key(key).filter(|_| !value.is_null()) else {
            continue;
        };
        if let Some(price) = taking.price(row, key, (value, 0)) {
            let cell = (meaning.service_tier, meaning.tier_start);
            cells.entry(cell).or_default().insert(meaning.class, price);
        }
    }
    cells
}

/// Rates that price every class of their service tier; what the file leaves open is filled with
/// the dearer reading.
fn rates(taking: &mut Taking<'_>, row: Row<'_>, cells: &Cells) -> Vec<Rate> {
    let starts: BTreeSet<u64> = cells.keys().map(|(_, start)| *start).collect();
    let standard = filled(cells, ServiceTier::Standard, &starts);
    let mut rates = Vec::new();
    for tier in ServiceTier::ALL {
        let own = filled(cells, *tier, &starts);
        let Some(base) = own.get(&0) else {
            continue;
        };
        if !base.contains_key(&TokenClass::Input) || !base.contains_key(&TokenClass::Output) {
            taking.report.lossy(
                row.name,
                tier.key(),
                "left out: no price of an input or output token at this service tier",
            );
            continue;
        }
        for (start, mut prices) in own {
            if *tier != ServiceTier::Standard
                && !cells.contains_key(&(*tier, start))
                && let Some(there) = standard.get(&start)
            {
                let what = format!("no prices from {start} tokens: the dearer of it and standard");
                taking.report.lossy(row.name, tier.key(), what);
                for (class, price) in &mut prices {
                    let dearer = there.get(class).copied().unwrap_or_default();
                    *price = dearer.max(*price);
                }
            }
            rates.push(Rate {
                service_tier: *tier,
                tier_start: start,
                valid_hours_utc: None,
                prices,
                listed: BTreeMap::new(),
            });
        }
    }
    rates
}

/// The prices of a service tier at each size, each with every class that the service tier knows.
fn filled(cells: &Cells, tier: ServiceTier, starts: &BTreeSet<u64>) -> BTreeMap<u64, Prices> {
    let own = || cells.iter().filter(|((of, _), _)| *of == tier);
    let classes: BTreeSet<TokenClass> = own().flat_map(|(_, p)| p.keys().copied()).collect();
    let mut below = Prices::new();
    let mut filled = BTreeMap::new();
    if own().next().is_none() {
        return filled;
    }
    for start in starts {
        if let Some(prices) = cells.get(&(tier, *start)) {
            below.extend(prices.iter().map(|(class, price)| (*class, *price)));
        }
        let mut prices = below.clone();
        for class in &classes {
            let of_side = below.iter().filter(|(c, _)| c.side() == class.side());
            let dearest = of_side.map(|(_, price)| *price).max();
            if let Some(dearest) = dearest {
                prices.entry(*class).or_insert(dearest);
            }
        }
        filled.insert(*start, prices);
    }
    filled
}

fn uplift(taking: &mut Taking<'_>, row: Row<'_>) -> BTreeMap<String, Ratio> {
    let mut factors = BTreeMap::new();
    for (key, value) in row.map {
        let Some(region) = key.strip_prefix(UPLIFT) else {
            continue;
        };
        // A factor of at most six decimals is exact over a million.
        let text = value.as_str().unwrap_or_default();
        let read = rounded_up(text, 6).ok().filter(|read| !read.lossy);
        let millionths = read.and_then(|read| u32::try_from(read.price.as_pico()).ok());
        if let Some(ratio) = millionths.and_then(|n| Ratio::reduced(n, 1_000_000)) {
            factors.insert(region.to_owned(), ratio);
        } else {
            let place = format!("{}/{}", row.place, escape_pointer(key));
            let rule = format!("a factor has at most six decimals (`{text}`)");
            taking.faults.add(place, rule);
        }
    }
    factors
}

fn units(taking: &mut Taking<'_>, row: Row<'_>) -> BTreeMap<Unit, PicoUsd> {
    let mut units = BTreeMap::new();
    let given = |key: &str| row.map.get(key).filter(|value| !value.is_null());
    if let Some(value) = given("input_cost_per_request")
        && let Some(price) = taking.price(row, "input_cost_per_request", (value, 0))
    {
        units.insert(Unit::Request, price);
    }
    let key = "search_context_cost_per_query";
    if let Some(Value::Object(sizes)) = given(key) {
        let prices = sizes.values().filter(|value| !value.is_null());
        let prices: BTreeSet<PicoUsd> = prices
            .filter_map(|value| taking.price(row, key, (value, 0)))
            .collect();
        if prices.len() > 1 {
            let what = "differs by the size of the context: the dearest is taken";
            taking.report.lossy(row.name, key, what);
        }
        units.extend(prices.last().map(|price| (Unit::WebSearch, *price)));
    } else if given(key).is_some() {
        // A price in another form than that of a search.
        taking.report.unused(row.name, key);
    }
    units
}
