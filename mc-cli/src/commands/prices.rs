//! `prices`: the prices of a store, where they are from, and what changes them.
//!
//! What is *not* here: importing and overriding (`price_changes`).

use std::path::Path;
use std::str::Utf8Error;
use std::time::Duration;

use chrono::{DateTime, NaiveTime};
use mc_core::engine::{StoredPrices, stored_prices, stored_table};
use mc_core::error::{Error, ErrorKind};
use mc_core::ports::Clock as _;
use mc_core::pricing::{FieldDifference, ModelPrice, PriceTable, Rate, TokenClass, diff};
use mission_control::{SystemClock, Timestamp};
use serde_json::{Value, json};

use super::{Done, price_changes};
use crate::args::{Common, PricesCommand};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::store;
use crate::table::{Align, Table};

/// The table that comes with this version.
const EMBEDDED: &str = "embedded";

/// The age from which prices are worth a look.
const OLD: Duration = Duration::from_secs(90 * 86_400);

pub(super) async fn execute(
    common: &Common,
    command: &PricesCommand,
    console: &mut Console<'_>,
) -> Done {
    match command {
        PricesCommand::List { model, table } => {
            list(common, (model.as_deref(), table.as_deref()), console).await
        }
        PricesCommand::Versions => versions(common, console).await,
        PricesCommand::Diff { before, after } => compare(common, (before, after), console).await,
        PricesCommand::Import(args) => price_changes::import(common, args, console).await,
        PricesCommand::Override { file } => price_changes::lay_over(common, file, console).await,
        PricesCommand::Drop { layer } => price_changes::drop_layer(common, layer, console).await,
    }
}

/// The tables that the store has had in force, oldest first; none without a store.
pub(super) async fn stored(common: &Common) -> Result<Vec<StoredPrices>, Failure> {
    if !common.db.exists() {
        return Ok(Vec::new());
    }
    Ok(stored_prices(&*store::look(common).await?).await?)
}

/// A table by its name: `embedded`, a version of the store, or a file.
async fn named(common: &Common, text: &str) -> Result<PriceTable, Failure> {
    if text == EMBEDDED {
        return Ok(PriceTable::embedded().clone());
    }
    if Path::new(text).extension().is_some() {
        let path = Path::new(text);
        let bytes = std::fs::read(path).map_err(|error| Failure::file(&error, path))?;
        let text = std::str::from_utf8(&bytes).map_err(|error| no_table(error, path))?;
        return PriceTable::parse(text).map_err(|error| Failure::content(error, path));
    }
    let all = stored(common).await?;
    let of_text = |one: &&StoredPrices| one.facts.price_version.to_string().starts_with(text);
    let found = all.iter().rev().find(of_text).ok_or_else(|| {
        Failure::from(Error::not_found("price version", text))
            .with_next("see all: `mission-control prices versions`")
    })?;
    Ok(stored_table(&*store::look(common).await?, found).await?)
}

/// A file that is no text can be no table: something else was named.
fn no_table(error: Utf8Error, path: &Path) -> Failure {
    let rule = format!("not UTF-8 from byte {}", error.valid_up_to());
    let error = Error::invalid("", rule).with_context("file", path.display());
    Failure::usage(error).with_next("name a table in TOML, `embedded`, or a version of the store")
}

/// The table to list without a name: the one in force in the store, where its rows are there.
async fn current(common: &Common, last: Option<&StoredPrices>) -> Result<PriceTable, Failure> {
    let embedded = PriceTable::embedded();
    let Some(last) = last.filter(|last| last.facts.price_version != embedded.version()) else {
        return Ok(embedded.clone());
    };
    match stored_table(&*store::look(common).await?, last).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(embedded.clone()),
        other => Ok(other?),
    }
}

async fn list(
    common: &Common,
    (model, table): (Option<&str>, Option<&str>),
    console: &mut Console<'_>,
) -> Done {
    let all = stored(common).await?;
    let last = all.last();
    let prices = match table {
        Some(name) => named(common, name).await?,
        None => current(common, last).await?,
    };
    let wanted = |row: &&ModelPrice| {
        model.is_none_or(|text| {
            let mut names = row.aliases.iter().chain([&row.model]);
            names.any(|name| name.as_str().contains(text))
        })
    };
    let rows: Vec<&ModelPrice> = prices.models().iter().filter(wanted).collect();
    if rows.is_empty() {
        let error = Error::not_found("price of a model like", model.unwrap_or_default());
        return Err(Failure::from(error).with_next("see all: `mission-control prices list`"));
    }
    let old = older_than(&rows, OLD);
    if common.json {
        let models: Vec<Value> = rows.iter().map(|row| json!(row)).collect();
        console.json(&json!({
            "label": prices.label(), "price_version": prices.version(),
            "in_force": last.map(|last| &last.facts), "older_than_90_days": old, "models": models,
        }))?;
        return Ok(Exit::Done);
    }
    console.line(text(&rows))?;
    let (label, version) = (prices.label(), prices.version());
    console.line(format_args!("\nprices {label}, version {version}"))?;
    if let Some(line) = standing(common, last, &prices) {
        console.line(line)?;
    }
    if old > 0 {
        console.line(stale(old, rows.len(), OLD))?;
    }
    Ok(Exit::Done)
}

/// How many rows are older than an age.
pub(super) fn older_than(rows: &[&ModelPrice], age: Duration) -> usize {
    let now = SystemClock::new().now();
    rows.iter()
        .filter(|row| row.is_older_than(age, now))
        .count()
}

/// What to say of old rows.
pub(super) fn stale(old: usize, of: usize, age: Duration) -> String {
    let days = age.as_secs() / 86_400;
    format!(
        "warning: {old} of {of} prices were read more than {days} days ago and may lie below the truth: \
         `mission-control prices import` takes newer ones"
    )
}

/// The start of today in UTC, or of a day as given.
pub(super) fn day(text: Option<&str>) -> Result<Timestamp, Failure> {
    let now = SystemClock::new().now().as_unix_us();
    let today = DateTime::from_timestamp_micros(now).map(|now| now.date_naive());
    let day = match text {
        None => today,
        Some(text) => text.parse::<chrono::NaiveDate>().ok(),
    };
    let rule = "a day is written 2026-11-20";
    let day = day.ok_or_else(|| Failure::usage(Error::invalid("--checked-at", rule)))?;
    let start = day.and_time(NaiveTime::MIN).and_utc();
    Ok(Timestamp::from_unix_us(start.timestamp_micros()))
}

/// How the listed table stands to the one of the store.
fn standing(common: &Common, last: Option<&StoredPrices>, listed: &PriceTable) -> Option<String> {
    let facts = &last?.facts;
    let db = common.db.display();
    Some(if facts.price_version == listed.version() {
        format!("in force in {db}")
    } else {
        format!(
            "not in force in {db}: that is {}, version {}",
            facts.label, facts.price_version
        )
    })
}

fn text(rows: &[&ModelPrice]) -> String {
    let mut table = Table::new(&[
        ("model", Align::Left),
        ("tier", Align::Left),
        ("from tokens", Align::Right),
        ("hours", Align::Left),
        ("input", Align::Right),
        ("output", Align::Right),
        ("checked", Align::Left),
        ("source", Align::Left),
    ]);
    for row in rows {
        let checked = row.origin.checked_at.to_string();
        for rate in &row.rates {
            table.row([
                row.model.to_string(),
                rate.service_tier.to_string(),
                rate.tier_start.to_string(),
                rate.valid_hours_utc
                    .map_or(String::new(), |hours| hours.to_string()),
                price(rate, TokenClass::Input),
                price(rate, TokenClass::Output),
                checked.get(..10).unwrap_or_default().to_owned(),
                row.origin.source.clone(),
            ]);
        }
    }
    table.render()
}

/// A price, and in brackets what the first of several sources lists.
fn price(rate: &Rate, class: TokenClass) -> String {
    match (rate.prices.get(&class), rate.listed.get(&class)) {
        (None, _) => "-".to_owned(),
        (Some(price), None) => price.to_string(),
        (Some(price), Some(listed)) => format!("{price} ({listed})"),
    }
}

async fn versions(common: &Common, console: &mut Console<'_>) -> Done {
    let log = store::look(common).await?;
    let all = stored_prices(&*log).await?;
    if common.json {
        let rows: Vec<Value> = all
            .iter()
            .map(|one| json!({ "seq": one.seq, "at": one.at.to_string(), "facts": one.facts }))
            .collect();
        console.json(&json!({ "versions": rows }))?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        ("seq", Align::Right),
        ("in force from", Align::Left),
        ("version", Align::Left),
        ("layers", Align::Left),
        ("label", Align::Left),
    ]);
    for one in &all {
        let layers: Vec<&str> = one
            .facts
            .layers
            .iter()
            .map(|layer| layer.layer.name())
            .collect();
        let version = one.facts.price_version.to_string();
        table.row([
            one.seq.to_string(),
            one.at.to_string(),
            version.get(..12).unwrap_or_default().to_owned(),
            layers.join(", "),
            one.facts.label.clone(),
        ]);
    }
    console.line(table.render())?;
    Ok(Exit::Done)
}

async fn compare(
    common: &Common,
    (before, after): (&str, &str),
    console: &mut Console<'_>,
) -> Done {
    let (a, b) = (named(common, before).await?, named(common, after).await?);
    let differences = diff(&a, &b);
    if common.json {
        console.json(&json!({
            "before": a.version(), "after": b.version(), "same": differences.is_empty(),
            "models": differences,
        }))?;
        return Ok(Exit::Done);
    }
    if differences.is_empty() {
        console.line(format_args!("{before} and {after} have the same prices"))?;
    }
    for model in &differences {
        console.line(&model.model)?;
        for field in &model.fields {
            console.line(format_args!("  {}", line(field)))?;
        }
    }
    Ok(Exit::Done)
}

fn line(field: &FieldDifference) -> String {
    let name = &field.field;
    match (&field.before, &field.after) {
        (Some(before), Some(after)) => format!("~ {name}: {before} -> {after}"),
        (Some(before), None) => format!("- {name}: {before}"),
        (None, Some(after)) => format!("+ {name}: {after}"),
        (None, None) => name.clone(),
    }
}
