//! Reads a table's TOML into rows, strictly: unknown keys are refused and every fault is reported.
//!
//! What is *not* here: rules between rows and rates (`check`).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, NaiveTime};
use serde_json::Value;

use super::check;
use super::class::{ServiceTier, TokenClass, Unit};
use super::fields::{Faults, Fields};
use super::model::{Hours, InputBound, ModelPrice, Origin, Rate, Ratio, ReasoningLimit, TierEdge};
use super::pico::PicoUsd;
use crate::error::{Error, Result};
use crate::id::ModelId;
use crate::time::Timestamp;

/// The longest table, in bytes.
pub(super) const MAX_BYTES: usize = 16 * 1024 * 1024;

const TABLE_KEYS: &[&str] = &["schema", "currency", "version", "model"];

const MODEL_KEYS: &[&str] = &[
    "provider",
    "id",
    "aliases",
    "max_input_tokens",
    "max_output_tokens",
    "max_tokens_includes_reasoning",
    "input_bound",
    "source",
    "checked_at",
    "effective_from",
    "effective_until",
    "tier_metric",
    "tier_inclusive",
    "uplift",
    "inherits",
    "rate",
    "unit",
];

/// Keys of a rate that are not classes of tokens.
const RATE_KEYS: &[&str] = &["service_tier", "tier_start", "valid_hours_utc"];

/// Reads a table: its label and its rows, all rules checked.
pub(super) fn table(text: &str) -> Result<(String, Vec<ModelPrice>)> {
    if text.len() > MAX_BYTES {
        return Err(Error::invalid(
            "",
            format!("a price table has at most {MAX_BYTES} bytes"),
        ));
    }
    let value: Value = toml::from_str(text).map_err(|error| not_toml(text, &error))?;
    let faults = Faults::default();
    let (label, rows) = document(&value, &faults);
    if let Some(error) = faults.into_error() {
        return Err(error);
    }
    check::rows(&rows)?;
    Ok((label, rows))
}

pub(super) fn not_toml(text: &str, error: &toml::de::Error) -> Error {
    let before = error
        .span()
        .and_then(|span| text.get(..span.start))
        .unwrap_or("");
    let line = before.split('\n').count();
    Error::invalid(format!("line {line}"), error.message().replace('\n', ", "))
}

fn document(value: &Value, faults: &Faults) -> (String, Vec<ModelPrice>) {
    let Some(fields) = Fields::of(value, String::new(), TABLE_KEYS, faults) else {
        return (String::new(), Vec::new());
    };
    fields.require("schema");
    fields.require("version");
    if fields.count("schema").is_some_and(|schema| schema != 1) {
        fields.fault("schema", "only schema 1 is known");
    }
    if fields
        .text("currency")
        .is_some_and(|currency| currency != "USD")
    {
        fields.fault("currency", "only USD is known");
    }
    let label = fields.text("version").unwrap_or("").to_owned();
    let rows = fields.list("model");
    (
        label,
        rows.into_iter()
            .filter_map(|(path, row)| model(row, path, faults))
            .collect(),
    )
}

pub(super) fn model(value: &Value, path: String, faults: &Faults) -> Option<ModelPrice> {
    let fields = Fields::of(value, path, MODEL_KEYS, faults)?;
    for key in ["provider", "id", "source", "checked_at", "rate"] {
        fields.require(key);
    }
    if fields
        .text("tier_metric")
        .is_some_and(|metric| metric != "input_total")
    {
        fields.fault("tier_metric", "only `input_total` is known");
    }
    let mut rates: Vec<Rate> = fields
        .list("rate")
        .into_iter()
        .filter_map(|(path, row)| rate(row, path, faults))
        .collect();
    rates.sort_by_key(|rate| (rate.service_tier, rate.tier_start, rate.valid_hours_utc));
    Some(ModelPrice {
        aliases: aliases(&fields),
        max_input_tokens: fields.count("max_input_tokens"),
        max_output_tokens: fields.count("max_output_tokens"),
        reasoning_limit: match fields.switch("max_tokens_includes_reasoning") {
            Some(false) => ReasoningLimit::Extra,
            Some(true) | None => ReasoningLimit::Included,
        },
        input_bound: input_bound(&fields).unwrap_or(InputBound::DEFAULT),
        effective_from: fields.parsed("effective_from", moment),
        effective_until: fields.parsed("effective_until", moment),
        tier_edge: match fields.switch("tier_inclusive") {
            Some(true) => TierEdge::Inclusive,
            Some(false) | None => TierEdge::Exclusive,
        },
        uplift: uplift(&fields),
        inherits: inherits(&fields),
        rates,
        units: units(&fields),
        origin: origin(&fields)?,
        model: model_id(&fields)?,
    })
}

fn model_id(fields: &Fields<'_>) -> Option<ModelId> {
    let (provider, id) = (fields.text("provider")?, fields.text("id")?);
    if provider.is_empty() || provider.contains('/') {
        fields.fault("provider", "a provider is a name without a slash");
        return None;
    }
    fields.parsed("id", |_| ModelId::new(&format!("{provider}/{id}")))
}

fn aliases(fields: &Fields<'_>) -> BTreeSet<ModelId> {
    let mut aliases = BTreeSet::new();
    for (path, value) in fields.list("aliases") {
        match value.as_str().map(ModelId::new) {
            Some(Ok(alias)) => {
                if !aliases.insert(alias) {
                    fields.faults().add(path, "this alias is given twice");
                }
            }
            Some(Err(fault)) => fields.faults().add(path, fault),
            None => fields.faults().add(path, "must be text in quotes"),
        }
    }
    aliases
}

fn origin(fields: &Fields<'_>) -> Option<Origin> {
    let source = fields.parsed("source", |text| match text.trim() {
        "" => Err("say which package and version the price was read from"),
        source => Ok(source.to_owned()),
    });
    let checked_at = fields.parsed("checked_at", day);
    Some(Origin {
        source: source?,
        checked_at: checked_at?,
    })
}

fn day(text: &str) -> std::result::Result<Timestamp, &'static str> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .ok()
        .filter(|_| text.len() == 10);
    let day = day.ok_or("a day is written 2026-11-20")?;
    Ok(Timestamp::from_unix_us(
        day.and_time(NaiveTime::MIN).and_utc().timestamp_micros(),
    ))
}

fn moment(text: &str) -> std::result::Result<Timestamp, &'static str> {
    DateTime::parse_from_rfc3339(text)
        .map(|moment| Timestamp::from_unix_us(moment.timestamp_micros()))
        .map_err(|_| "a time is written 2026-03-05T00:00:00Z")
}

fn input_bound(fields: &Fields<'_>) -> Option<InputBound> {
    let value = fields.raw("input_bound")?;
    let path = format!("{}/input_bound", fields.path());
    let bound = Fields::of(value, path, &["kind", "framing"], fields.faults())?;
    bound.require("kind");
    match bound.text("kind")? {
        "bytes" => {
            bound.require("framing");
            Some(InputBound::Bytes {
                framing: bound.count("framing")?,
            })
        }
        "maximum_input" => Some(InputBound::MaximumInput),
        _ => {
            bound.fault("kind", "one of `bytes`, `maximum_input`");
            None
        }
    }
}

fn uplift(fields: &Fields<'_>) -> BTreeMap<String, Ratio> {
    let mut factors = BTreeMap::new();
    for (region, text) in fields.pairs("uplift") {
        match Ratio::parse(text) {
            Some(ratio) => {
                factors.insert(region.to_owned(), ratio);
            }
            None => fields.fault(
                "uplift",
                format_args!("`{region}`: a factor is written 11/10"),
            ),
        }
    }
    factors
}

fn class(name: &str) -> Option<TokenClass> {
    TokenClass::ALL
        .iter()
        .copied()
        .find(|class| class.key() == name)
}

fn inherits(fields: &Fields<'_>) -> BTreeMap<TokenClass, TokenClass> {
    let mut heirs = BTreeMap::new();
    for (name, from) in fields.pairs("inherits") {
        match (class(name), class(from)) {
            (Some(heir), Some(from)) if heir != from => {
                heirs.insert(heir, from);
            }
            _ => fields.fault(
                "inherits",
                format_args!("`{name}` and `{from}` must be two classes"),
            ),
        }
    }
    heirs
}

fn rate(value: &Value, path: String, faults: &Faults) -> Option<Rate> {
    let known: Vec<&str> = RATE_KEYS
        .iter()
        .copied()
        .chain(TokenClass::ALL.iter().map(|class| class.key()))
        .collect();
    let fields = Fields::of(value, path, &known, faults)?;
    // Zero is a price, but it has to be written down.
    fields.require("input");
    fields.require("output");
    let price = |class: &TokenClass| {
        fields
            .raw(class.key())
            .filter(|value| !value.is_string())
            .map_or_else(
                || {
                    fields
                        .parsed(class.key(), PicoUsd::per_million)
                        .map(|price| (*class, price))
                },
                |_| {
                    fields.fault(
                        class.key(),
                        "a price is decimal text in quotes, e.g. \"2.5\"",
                    );
                    None
                },
            )
    };
    let prices = TokenClass::ALL.iter().filter_map(price).collect();
    Some(Rate {
        service_tier: service_tier(&fields).unwrap_or_default(),
        tier_start: fields.count("tier_start").unwrap_or(0),
        valid_hours_utc: fields.parsed("valid_hours_utc", |text| {
            Hours::parse(text).ok_or("hours are written 16:30-00:30")
        }),
        prices,
        listed: BTreeMap::new(),
    })
}

fn service_tier(fields: &Fields<'_>) -> Option<ServiceTier> {
    fields.parsed("service_tier", |text| {
        let tier = ServiceTier::ALL
            .iter()
            .copied()
            .find(|tier| tier.key() == text);
        tier.ok_or("one of `standard`, `batch`, `flex`, `priority`")
    })
}

fn units(fields: &Fields<'_>) -> BTreeMap<Unit, PicoUsd> {
    let mut units = BTreeMap::new();
    for (path, value) in fields.list("unit") {
        let known = &["name", "per", "price", "reserve_cap_field"];
        let Some(row) = Fields::of(value, path, known, fields.faults()) else {
            continue;
        };
        for key in ["name", "per", "price"] {
            row.require(key);
        }
        if let Some((unit, price)) = unit(&row)
            && units.insert(unit, price).is_some()
        {
            row.fault("name", "this unit is given twice");
        }
    }
    units
}

fn unit(row: &Fields<'_>) -> Option<(Unit, PicoUsd)> {
    // The field of the provider's request that caps the unit; for people, the adapter knows it.
    row.text("reserve_cap_field");
    let name = row.parsed("name", |text| {
        let unit = Unit::ALL.iter().copied().find(|unit| unit.key() == text);
        unit.ok_or("one of `request`, `web_search`, `tool_call`, `second`, `image`, `page`")
    });
    let per = row.count("per")?;
    let price = row.parsed("price", |text| PicoUsd::per_units(text, per));
    Some((name?, price?))
}
