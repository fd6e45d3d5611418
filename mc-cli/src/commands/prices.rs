//! `prices list`: the prices in force.

use mc_core::pricing::{ModelPrice, PriceTable, Rate, TokenClass};
use serde_json::{Value, json};

use super::Done;
use crate::args::Common;
use crate::console::Console;
use crate::exit::Exit;
use crate::table::{Align, Table};

pub(super) fn execute(common: &Common, model: Option<&str>, console: &mut Console<'_>) -> Done {
    let prices = PriceTable::embedded();
    let wanted = |row: &&ModelPrice| model.is_none_or(|text| row.model.as_str().contains(text));
    let rows: Vec<&ModelPrice> = prices.models().iter().filter(wanted).collect();
    if common.json {
        let models: Vec<Value> = rows.iter().map(|row| json!(row)).collect();
        console.json(&json!({
            "label": prices.label(), "price_version": prices.version(), "models": models,
        }))?;
    } else {
        console.line(text(&rows))?;
        console.line(format_args!(
            "\nprices {}, version {}",
            prices.label(),
            prices.version()
        ))?;
    }
    Ok(if rows.is_empty() {
        Exit::Negative
    } else {
        Exit::Done
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
