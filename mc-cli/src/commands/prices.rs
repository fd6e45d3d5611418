//! `prices list`: the prices of this version, and which prices are in force in the store.

use mc_core::error::Error;
use mc_core::event::EventKind;
use mc_core::event::workspace::PricesLoaded;
use mc_core::ports::{EventQuery, MAX_PAGE};
use mc_core::pricing::{ModelPrice, PriceTable, Rate, TokenClass};
use mc_core::run::read_event;
use serde_json::{Value, json};

use super::Done;
use crate::args::Common;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::store;
use crate::table::{Align, Table};

pub(super) async fn execute(
    common: &Common,
    model: Option<&str>,
    console: &mut Console<'_>,
) -> Done {
    let in_force = in_force(common).await?;
    let prices = PriceTable::embedded();
    let wanted = |row: &&ModelPrice| model.is_none_or(|text| row.model.as_str().contains(text));
    let rows: Vec<&ModelPrice> = prices.models().iter().filter(wanted).collect();
    if rows.is_empty() {
        let error = Error::not_found("price of a model like", model.unwrap_or_default());
        return Err(Failure::from(error).with_next("see all: `mission-control prices list`"));
    }
    if common.json {
        let models: Vec<Value> = rows.iter().map(|row| json!(row)).collect();
        console.json(&json!({
            "label": prices.label(), "price_version": prices.version(), "in_force": in_force,
            "models": models,
        }))?;
    } else {
        console.line(text(&rows))?;
        let (label, version) = (prices.label(), prices.version());
        console.line(format_args!("\nprices {label}, version {version}"))?;
        if let Some(line) = standing(common, in_force.as_ref(), prices) {
            console.line(line)?;
        }
    }
    Ok(Exit::Done)
}

/// The prices that the store's log was last opened with; none without a store.
async fn in_force(common: &Common) -> Result<Option<PricesLoaded>, Failure> {
    if !common.db.exists() {
        return Ok(None);
    }
    let log = store::look(common).await?;
    let mut query = EventQuery {
        kind: Some("prices.loaded".into()),
        limit: MAX_PAGE,
        ..EventQuery::default()
    };
    let mut last = None;
    loop {
        let page = log.query_events(query.clone()).await?;
        for record in &page.items {
            if let EventKind::PricesLoaded(facts) = read_event(record)? {
                last = Some(facts);
            }
        }
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return Ok(last),
        }
    }
}

/// How the embedded table stands to the one of the store. The log has the version of a table, not
/// its rows.
fn standing(
    common: &Common,
    in_force: Option<&PricesLoaded>,
    embedded: &PriceTable,
) -> Option<String> {
    let facts = in_force?;
    let db = common.db.display();
    Some(if facts.price_version == embedded.version() {
        format!("in force in {db}")
    } else {
        format!(
            "not in force in {db}: its host loaded {}, version {}, whose rows only that host has; \
             `mission-control run` there loads the ones above",
            facts.label, facts.price_version
        )
    })
}

fn text(rows: &[&ModelPrice]) -> String {
    let mut table = Table::new(&[
        ("model", Align::Left),
        ("tier", Align::Left),
        ("from tokens", Align::Right),
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
                json!(rate.service_tier)
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                rate.tier_start.to_string(),
                price(rate, TokenClass::Input),
                price(rate, TokenClass::Output),
                checked.get(..10).unwrap_or_default().to_owned(),
                row.origin.source.clone(),
            ]);
        }
    }
    table.render()
}

fn price(rate: &Rate, class: TokenClass) -> String {
    rate.prices
        .get(&class)
        .map_or("-".to_owned(), ToString::to_string)
}
