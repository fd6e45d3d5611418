//! Rows of genai-prices' list of providers: USD for a million tokens, by date, hour and context.
//!
//! A price with a date begins there; one with hours goes before those listed above it; a variant for
//! a context lays its keys over the standard prices. A model is matched by its exact id and by the
//! ids that it equals; its patterns are not taken.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{NaiveDate, NaiveTime};
use serde_json::{Map, Value};

use super::{Row, Taking, provider};
use crate::id::ModelId;
use crate::pricing::class::{ServiceTier, TokenClass, Unit};
use crate::pricing::model::{Hours, InputBound, ModelPrice, Rate, ReasoningLimit, TierEdge};
use crate::pricing::pico::PicoUsd;
use crate::time::Timestamp;

/// Classes by the key of their price, USD for a million.
const CLASSES: &[(&str, TokenClass)] = &[
    ("input_mtok", TokenClass::Input),
    ("cache_read_mtok", TokenClass::CacheRead),
    ("cache_write_mtok", TokenClass::CacheWrite5m),
    ("cache_write_1h_mtok", TokenClass::CacheWrite1h),
    ("input_audio_mtok", TokenClass::InputAudio),
    ("cache_audio_read_mtok", TokenClass::InputAudioCached),
    ("input_image_mtok", TokenClass::InputImage),
    ("cache_image_read_mtok", TokenClass::InputImageCached),
    ("input_video_mtok", TokenClass::InputVideo),
    ("cache_video_read_mtok", TokenClass::InputVideoCached),
    ("output_mtok", TokenClass::Output),
    ("output_reasoning_mtok", TokenClass::Reasoning),
    ("output_audio_mtok", TokenClass::OutputAudio),
    ("output_image_mtok", TokenClass::OutputImage),
];

/// Units by the key of their price, USD for a thousand.
const UNITS: &[(&str, Unit)] = &[
    ("requests_kcount", Unit::Request),
    ("web_searches_kcount", Unit::WebSearch),
];

/// The contexts that are service tiers here.
const CONTEXTS: &[(&str, &str, ServiceTier)] = &[
    ("processing", "batch", ServiceTier::Batch),
    ("service_tier", "flex", ServiceTier::Flex),
    ("service_tier", "priority", ServiceTier::Priority),
];

const MODEL_KEYS: &[&str] = &["id", "match", "context_window", "prices", "price_variants"];

/// One entry of a list of prices.
#[derive(Clone, Copy)]
struct Entry<'a> {
    when: When,
    prices: &'a Map<String, Value>,
}

/// When a price holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    From(Timestamp),
    During(Hours),
}

impl When {
    const fn start(self) -> Option<Timestamp> {
        match self {
            Self::From(start) => Some(start),
            Self::Always | Self::During(_) => None,
        }
    }

    /// Whether it holds, apart from its hours, throughout a period that begins then.
    fn is_active(self, period: Option<Timestamp>) -> bool {
        match self {
            Self::From(start) => period.is_some_and(|period| start <= period),
            Self::Always | Self::During(_) => true,
        }
    }
}

/// A price by size of input.
type Steps = BTreeMap<u64, PicoUsd>;

/// What one entry prices.
#[derive(Clone, Default)]
struct Priced {
    classes: BTreeMap<TokenClass, Steps>,
    units: BTreeMap<Unit, PicoUsd>,
}

/// A model's entries: standard prices, and variants by service tier.
struct Listed {
    standard: Vec<(When, Priced)>,
    variants: Vec<(ServiceTier, When, Priced)>,
}

pub(super) fn take(taking: &mut Taking<'_>, value: &Value) {
    let Some(providers) = value.as_array() else {
        return taking
            .faults
            .add(String::new(), "must be a list of providers");
    };
    for (index, one) in providers.iter().enumerate() {
        let place = format!("/{index}");
        let id = one.get("id").and_then(Value::as_str);
        let models = one.get("models").and_then(Value::as_array);
        let (Some(theirs), Some(models)) = (id, models) else {
            taking
                .faults
                .add(place, "must be a provider with `id` and `models`");
            continue;
        };
        for (index, value) in models.iter().enumerate() {
            taking.report.rows = taking.report.rows.saturating_add(1);
            let place = format!("{place}/models/{index}");
            let id = value.get("id").and_then(Value::as_str);
            let (Some(id), Some(map)) = (id, value.as_object()) else {
                taking.faults.add(place, "must be a model with an `id`");
                continue;
            };
            if !taking.wants(theirs, provider(theirs)) {
                taking.report.other_providers = taking.report.other_providers.saturating_add(1);
                continue;
            }
            let name = format!("{theirs}/{id}");
            let row = Row {
                name: &name,
                place: &place,
                map,
            };
            model(taking, row, (provider(theirs), id));
        }
    }
}

fn model(taking: &mut Taking<'_>, row: Row<'_>, (provider, id): (&str, &str)) {
    let Ok(model) = ModelId::new(&format!("{provider}/{id}")) else {
        return taking.report.skip(row.name, "its name is no model id");
    };
    let Some(listed) = listed(taking, row) else {
        return;
    };
    for key in row
        .map
        .keys()
        .filter(|key| !MODEL_KEYS.contains(&key.as_str()))
    {
        taking.report.unused(row.name, key);
    }
    let exact = row
        .map
        .get("match")
        .map(|clause| equal_ids(taking, row, clause));
    let aliases: BTreeSet<ModelId> = exact
        .unwrap_or_default()
        .iter()
        .filter_map(|id| ModelId::new(&format!("{provider}/{id}")).ok())
        .filter(|alias| *alias != model)
        .collect();
    let max_input_tokens = taking.tokens(row, "context_window");
    let starts = listed.standard.iter().filter_map(|(when, _)| when.start());
    let later = listed
        .variants
        .iter()
        .filter_map(|(_, when, _)| when.start());
    let starts: BTreeSet<Timestamp> = starts.chain(later).collect();
    let starts: Vec<Option<Timestamp>> = [None]
        .into_iter()
        .chain(starts.into_iter().map(Some))
        .collect();
    let mut rows = Vec::new();
    for (index, start) in starts.iter().enumerate() {
        let (rates, units) = match period(&listed, *start) {
            Ok(period) => period,
            Err(reason) => {
                let from = start.map_or("its begin".to_owned(), |start| start.to_string());
                taking
                    .report
                    .skip(row.name, format!("from {from}: {reason}"));
                continue;
            }
        };
        let next = index.checked_add(1).and_then(|next| starts.get(next));
        rows.push(ModelPrice {
            model: model.clone(),
            aliases: aliases.clone(),
            max_input_tokens,
            max_output_tokens: None,
            reasoning_limit: ReasoningLimit::Included,
            input_bound: InputBound::DEFAULT,
            origin: taking.origin.clone(),
            effective_from: *start,
            effective_until: next.copied().flatten(),
            tier_edge: TierEdge::Exclusive,
            uplift: BTreeMap::new(),
            inherits: BTreeMap::new(),
            rates,
            units,
        });
    }
    if !rows.is_empty() {
        taking.add(row.name, rows);
    }
}

/// The ids that a model equals; the rest of its match is noted as unused.
fn equal_ids(taking: &mut Taking<'_>, row: Row<'_>, clause: &Value) -> Vec<String> {
    let any = clause.get("or").or_else(|| clause.get("or_"));
    let clauses = match any.and_then(Value::as_array) {
        Some(clauses) => clauses.clone(),
        None => vec![clause.clone()],
    };
    let mut ids = Vec::new();
    for clause in clauses {
        if let Some(id) = clause.get("equals").and_then(Value::as_str) {
            ids.push(id.to_owned());
        } else {
            let kind = clause.as_object().and_then(|map| map.keys().next());
            let kind = kind.map_or("", String::as_str);
            taking.report.unused(row.name, &format!("match.{kind}"));
        }
    }
    ids
}

fn listed(taking: &mut Taking<'_>, row: Row<'_>) -> Option<Listed> {
    let mut standard = Vec::new();
    match row.map.get("prices") {
        Some(Value::Object(prices)) => {
            let entry = Entry {
                when: When::Always,
                prices,
            };
            standard.push((When::Always, priced(taking, row, entry)));
        }
        Some(Value::Array(entries)) => {
            for entry in entries {
                let Some(entry) = conditional(entry) else {
                    taking
                        .report
                        .skip(row.name, "a condition that has no form here");
                    return None;
                };
                standard.push((entry.when, priced(taking, row, entry)));
            }
        }
        Some(_) | None => {
            taking.faults.add(
                row.place.to_owned(),
                "`prices` must be prices or a list of them",
            );
            return None;
        }
    }
    let mut variants = Vec::new();
    let given = row.map.get("price_variants").and_then(Value::as_array);
    for variant in given.into_iter().flatten() {
        match (context(variant), conditional(variant)) {
            (Ok(tier), Some(entry)) => {
                variants.push((tier, entry.when, priced(taking, row, entry)));
            }
            (Err(context), _) => taking
                .report
                .unused(row.name, &format!("price_variants.{context}")),
            (Ok(_), None) => taking.report.unused(row.name, "price_variants.constraint"),
        }
    }
    Some(Listed { standard, variants })
}

/// The service tier of a variant, or its context in words.
fn context(variant: &Value) -> Result<ServiceTier, String> {
    let when = variant.get("when").and_then(Value::as_object);
    let pairs: Vec<(&str, &str)> = when
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
        .collect();
    let known = |(key, value): (&str, &str)| {
        let mut contexts = CONTEXTS.iter();
        let found = contexts.find(|context| context.0 == key && context.1 == value);
        found.map(|context| context.2)
    };
    match pairs.as_slice() {
        [pair] => known(*pair).ok_or_else(|| format!("{}={}", pair.0, pair.1)),
        pairs => Err(pairs
            .iter()
            .map(|pair| pair.0)
            .collect::<Vec<_>>()
            .join("+")),
    }
}

/// An entry with a condition that has a form here.
fn conditional(value: &Value) -> Option<Entry<'_>> {
    let prices = value.get("prices")?.as_object()?;
    let constraint = value.get("constraint").filter(|value| !value.is_null());
    let when = match constraint.map(Value::as_object) {
        None => When::Always,
        Some(None) => return None,
        Some(Some(constraint)) => {
            let text = |key: &str| constraint.get(key).and_then(Value::as_str);
            match (text("start_date"), text("start_time"), text("end_time")) {
                (Some(day), None, None) => When::From(midnight(day)?),
                (None, Some(from), Some(until)) => {
                    let (from, until) = (clock(from)?, clock(until)?);
                    When::During(Hours::parse(&format!("{from}-{until}"))?)
                }
                _ => return None,
            }
        }
    };
    Some(Entry { when, prices })
}

fn midnight(day: &str) -> Option<Timestamp> {
    let day = NaiveDate::parse_from_str(day, "%Y-%m-%d").ok()?;
    let start = day.and_time(NaiveTime::MIN).and_utc();
    Some(Timestamp::from_unix_us(start.timestamp_micros()))
}

/// `00:30:00Z` as `00:30`; none for seconds or another zone.
fn clock(text: &str) -> Option<&str> {
    let text = text
        .strip_suffix('Z')
        .or_else(|| text.strip_suffix("+00:00"))
        .unwrap_or(text);
    let minute = text.strip_suffix(":00").filter(|rest| rest.len() == 5);
    minute.or(Some(text)).filter(|text| text.len() == 5)
}

fn priced(taking: &mut Taking<'_>, row: Row<'_>, entry: Entry<'_>) -> Priced {
    let mut priced = Priced::default();
    for (key, value) in entry.prices.iter().filter(|(_, value)| !value.is_null()) {
        if let Some((_, class)) = CLASSES.iter().find(|(name, _)| name == key) {
            if let Some(steps) = steps(taking, row, (key, value)) {
                priced.classes.insert(*class, steps);
            }
        } else if let Some((_, unit)) = UNITS.iter().find(|(name, _)| name == key) {
            let each = taking.price(row, key, (value, 3));
            priced.units.extend(each.map(|price| (*unit, price)));
        } else {
            taking.report.unused(row.name, key);
        }
    }
    priced
}

/// A price, or a base with tiers above it.
fn steps(taking: &mut Taking<'_>, row: Row<'_>, (key, value): (&str, &Value)) -> Option<Steps> {
    let Some(base) = value.get("base") else {
        let price = taking.price(row, key, (value, 6))?;
        return Some(Steps::from([(0, price)]));
    };
    let mut steps = Steps::from([(0, taking.price(row, key, (base, 6))?)]);
    let tiers = value.get("tiers").and_then(Value::as_array);
    for tier in tiers.into_iter().flatten() {
        let start = tier.get("start").and_then(Value::as_str);
        let start = start.and_then(|text| text.parse::<u64>().ok());
        let (Some(start), Some(price)) = (start, tier.get("price")) else {
            let place = format!("{}/prices/{key}", row.place);
            taking
                .faults
                .add(place, "a tier has a whole `start` and a `price`");
            return None;
        };
        steps.insert(start, taking.price(row, key, (price, 6))?);
    }
    Some(steps)
}

/// The rates and units of the period that begins at `start`.
fn period(
    listed: &Listed,
    start: Option<Timestamp>,
) -> Result<(Vec<Rate>, BTreeMap<Unit, PicoUsd>), &'static str> {
    let active = |when: &When| when.is_active(start);
    let entries: Vec<&(When, Priced)> = listed.standard.iter().filter(|e| active(&e.0)).collect();
    let is_base = |entry: &&(When, Priced)| !matches!(entry.0, When::During(_));
    let at = entries.iter().rposition(is_base);
    // Where none holds, the first one does.
    let base = at
        .and_then(|at| entries.get(at))
        .copied()
        .or(listed.standard.first());
    let base = &base.ok_or("no prices")?.1;
    let above = entries.iter().skip(at.map_or(0, |at| at.saturating_add(1)));
    let hours = above.filter_map(|entry| match entry.0 {
        When::During(hours) => Some((Some(hours), &entry.1)),
        When::Always | When::From(_) => None,
    });
    let mut rates = Vec::new();
    for (hours, prices) in [(None, base)].into_iter().chain(hours) {
        for tier in ServiceTier::ALL {
            let variants = listed
                .variants
                .iter()
                .filter(|v| v.0 == *tier && active(&v.1));
            let mut all = prices.classes.clone();
            let mut own = BTreeMap::new();
            for (_, _, variant) in variants {
                for (class, steps) in &variant.classes {
                    own.entry(*class).or_insert_with(|| steps.clone());
                }
            }
            if *tier != ServiceTier::Standard && own.is_empty() {
                continue;
            }
            all.extend(own);
            rates.extend(of_tier(*tier, hours, &all)?);
        }
    }
    let rates = uniform(rates);
    Ok((rates, base.units.clone()))
}

fn of_tier(
    service_tier: ServiceTier,
    valid_hours_utc: Option<Hours>,
    classes: &BTreeMap<TokenClass, Steps>,
) -> Result<Vec<Rate>, &'static str> {
    let price_of = |class: TokenClass| classes.get(&class)?.get(&0).copied();
    match (price_of(TokenClass::Input), price_of(TokenClass::Output)) {
        (None, _) => return Err("no price of an input token"),
        (_, None) => return Err("no price of an output token"),
        (Some(PicoUsd::ZERO), Some(PicoUsd::ZERO)) => {
            return Err("listed as free: name it in `unknown_models: free` if it is");
        }
        (Some(_), Some(PicoUsd::ZERO)) => return Err("its output is listed as free"),
        (Some(_), Some(_)) => {}
    }
    let starts: BTreeSet<u64> = classes
        .values()
        .flat_map(|steps| steps.keys().copied())
        .collect();
    let at = |steps: &Steps, start: u64| steps.range(..=start).next_back().map(|(_, price)| *price);
    let rate = |start: u64| Rate {
        service_tier,
        tier_start: start,
        valid_hours_utc,
        prices: classes
            .iter()
            .filter_map(|(class, steps)| Some((*class, at(steps, start)?)))
            .collect(),
        listed: BTreeMap::new(),
    };
    Ok(starts.into_iter().map(rate).collect())
}

/// Every class that one rate of a service tier prices is priced by all: at the dearest of its side
/// where the file says nothing. Each size has a rate for all other hours.
fn uniform(mut rates: Vec<Rate>) -> Vec<Rate> {
    let missing: Vec<Rate> = rates
        .iter()
        .filter(|rate| rate.valid_hours_utc.is_some())
        .filter(|rate| !rates.iter().any(|other| is_plain_twin(other, rate)))
        .filter_map(|rate| {
            let below = rates.iter().filter(|other| {
                other.service_tier == rate.service_tier
                    && other.valid_hours_utc.is_none()
                    && other.tier_start < rate.tier_start
            });
            let mut plain = below.max_by_key(|other| other.tier_start)?.clone();
            plain.tier_start = rate.tier_start;
            Some(plain)
        })
        .collect();
    for plain in missing {
        if !rates.contains(&plain) {
            rates.push(plain);
        }
    }
    for tier in ServiceTier::ALL {
        let classes: BTreeSet<TokenClass> = rates
            .iter()
            .filter(|rate| rate.service_tier == *tier)
            .flat_map(|rate| rate.prices.keys().copied())
            .collect();
        for rate in rates.iter_mut().filter(|rate| rate.service_tier == *tier) {
            for class in &classes {
                let dearest = rate.dearest(class.side());
                rate.prices.entry(*class).or_insert(dearest);
            }
        }
    }
    rates.sort_by_key(|rate| (rate.service_tier, rate.tier_start, rate.valid_hours_utc));
    rates
}

fn is_plain_twin(other: &Rate, rate: &Rate) -> bool {
    other.service_tier == rate.service_tier
        && other.tier_start == rate.tier_start
        && other.valid_hours_utc.is_none()
}
