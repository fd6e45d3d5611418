//! `prices import`, `override` and `drop`: what lies over the host's prices in a store.
//!
//! A file is read and held against the store's other layers before anything is written: a bad one
//! stores nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mc_core::engine::stored_layers;
use mc_core::error::Error;
use mc_core::pricing::{
    Disagreement, ImportOptions, ImportReport, Overrides, PriceChange, PriceLayer, PriceLayers,
    PriceSource, PriceTable, import as read_prices,
};
use mission_control::{Digest, Settings};
use serde_json::json;

use super::prices::{day, stored};
use super::{Done, operator};
use crate::args::{Common, ImportArgs};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::store::{self, Opened};

/// The most of a list that is shown to a person.
const SHOWN: usize = 10;

pub(super) async fn import(common: &Common, args: &ImportArgs, console: &mut Console<'_>) -> Done {
    let operator = operator(common)?;
    let source = args.from.parse::<PriceSource>();
    let source = source.map_err(|rule| Failure::usage(Error::invalid("--from", rule)))?;
    let options = ImportOptions {
        source,
        providers: args.providers.iter().cloned().collect(),
        checked_at: day(args.checked_at.as_deref())?,
    };
    let file = &args.file;
    let bytes = std::fs::read(file).map_err(|error| Failure::file(&error, file))?;
    let read = read_prices(&bytes, &options).map_err(|error| Failure::content(error, file))?;
    let change = PriceChange::Import(source, Arc::new(read.table));
    let disagreements = fits(common, &change).await?;
    let version = if args.dry_run {
        None
    } else {
        Some(put_in_force(common, (&operator, change)).await?)
    };
    if common.json {
        console.json(&json!({
            "price_version": version, "report": read.report, "disagreements": disagreements,
        }))?;
        return Ok(Exit::Done);
    }
    tell(&read.report, &disagreements, console)?;
    match version {
        Some(version) => {
            console.line(format_args!(
                "in force in {}: version {version}",
                common.db.display()
            ))?;
        }
        None => console.line("nothing was stored: --dry-run")?,
    }
    Ok(Exit::Done)
}

pub(super) async fn lay_over(common: &Common, file: &Path, console: &mut Console<'_>) -> Done {
    let operator = operator(common)?;
    let bytes = std::fs::read(file).map_err(|error| Failure::file(&error, file))?;
    let extension = file
        .extension()
        .and_then(|text| text.to_str())
        .unwrap_or_default();
    let overrides = match extension {
        "yaml" | "yml" => Overrides::parse_yaml(&bytes),
        _ => std::str::from_utf8(&bytes)
            .map_err(|error| {
                Error::invalid("", format!("not UTF-8 from byte {}", error.valid_up_to()))
            })
            .and_then(Overrides::parse),
    };
    let overrides = overrides.map_err(|error| Failure::content(error, file))?;
    let counts = (overrides.discounts.len(), overrides.models.len());
    let change = PriceChange::Override(Arc::new(overrides));
    fits(common, &change).await.map_err(|failure| {
        failure.with_next("give the model rates of its own, or mend its name")
    })?;
    let version = put_in_force(common, (&operator, change)).await?;
    if common.json {
        console.json(&json!({
            "price_version": version, "discounts": counts.0, "models": counts.1,
        }))?;
    } else {
        let db = common.db.display();
        console.line(format_args!(
            "{} discounts and {} rows lie over the prices",
            counts.0, counts.1
        ))?;
        console.line(format_args!("in force in {db}: version {version}"))?;
    }
    Ok(Exit::Done)
}

pub(super) async fn drop_layer(common: &Common, layer: &str, console: &mut Console<'_>) -> Done {
    let operator = operator(common)?;
    let parsed = layer.parse::<PriceLayer>();
    let change = match parsed.map_err(|rule| Failure::usage(Error::invalid("LAYER", rule)))? {
        PriceLayer::Litellm => PriceChange::DropImport(PriceSource::Litellm),
        PriceLayer::GenaiPrices => PriceChange::DropImport(PriceSource::GenaiPrices),
        PriceLayer::Overrides => PriceChange::DropOverrides,
        PriceLayer::Base => {
            let rule = "the host's own table is no layer to drop";
            return Err(Failure::usage(Error::invalid("LAYER", rule)));
        }
    };
    let all = stored(common).await?;
    let has = all.last().is_some_and(|last| {
        let mut layers = last.facts.layers.iter();
        layers.any(|one| one.layer.name() == layer)
    });
    if !has {
        return Err(Failure::from(Error::not_found("price layer", layer))
            .with_next("see all: `mission-control prices versions`"));
    }
    fits(common, &change).await?;
    let version = put_in_force(common, (&operator, change)).await?;
    if common.json {
        console.json(&json!({ "price_version": version, "dropped": layer }))?;
    } else {
        let db = common.db.display();
        console.line(format_args!(
            "{layer} is dropped; in force in {db}: version {version}"
        ))?;
    }
    Ok(Exit::Done)
}

/// What the layers of the store after a change disagree on; a failure where they do not fit.
async fn fits(common: &Common, change: &PriceChange) -> Result<Vec<Disagreement>, Failure> {
    let base = Arc::new(PriceTable::embedded().clone());
    let layers = match stored(common).await?.last() {
        Some(last) => stored_layers(&store::look(common)?, last, base).await?,
        None => PriceLayers::of(base),
    };
    Ok(layers.after(change).in_force()?.disagreements)
}

async fn put_in_force(
    common: &Common,
    (operator, change): (&str, PriceChange),
) -> Result<Digest, Failure> {
    let opened = Opened::open(common, Settings::default()).await?;
    let changed = opened.control.change_prices(operator, change).await;
    opened.close(Duration::ZERO).await?;
    Ok(changed?)
}

/// The report for people: counts, and the first of each.
fn tell(
    report: &ImportReport,
    disagreements: &[Disagreement],
    console: &mut Console<'_>,
) -> std::io::Result<()> {
    console.line(format_args!(
        "{} rows: {} models taken, {} rows not taken, {} of other providers",
        report.rows,
        report.models,
        report.skipped.len(),
        report.other_providers
    ))?;
    let skipped = report
        .skipped
        .iter()
        .map(|row| format!("{}: {}", row.row, row.reason));
    some("rows not taken", &skipped.collect::<Vec<_>>(), console)?;
    let lossy = report
        .lossy
        .iter()
        .map(|one| format!("{} {}: {}", one.row, one.key, one.what));
    some(
        "prices not as in the file",
        &lossy.collect::<Vec<_>>(),
        console,
    )?;
    let unused = report.unused.iter().map(|(key, one)| {
        let kind = if one.is_price { ", a price" } else { "" };
        format!(
            "{key}{kind}: {} rows, e.g. {}",
            one.count,
            one.examples.join(", ")
        )
    });
    let (prices, other): (Vec<String>, Vec<String>) =
        unused.partition(|line| line.contains(", a price: "));
    some(
        "keys that were not used",
        &[prices, other].concat(),
        console,
    )?;
    let differing = disagreements.iter().map(|one| {
        format!(
            "{} {}: {} listed, {} by the other; the dearer holds",
            one.model, one.what, one.first, one.other
        )
    });
    some(
        "disagreements of the sources",
        &differing.collect::<Vec<_>>(),
        console,
    )
}

fn some(what: &str, lines: &[String], console: &mut Console<'_>) -> std::io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    console.line(format_args!("{} {what}:", lines.len()))?;
    for line in lines.iter().take(SHOWN) {
        console.line(format_args!("  {line}"))?;
    }
    let more = lines.len().saturating_sub(SHOWN);
    if more > 0 {
        console.line(format_args!("  and {more} more: all of them with --json"))?;
    }
    Ok(())
}
