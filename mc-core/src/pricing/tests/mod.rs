//! Tests of the price table: its text form, costs by hand, and the bound's theorem.
#![expect(clippy::arithmetic_side_effects, reason = "tests count small numbers")]

mod costs;
mod embedded;
mod form;
mod imports;
mod layers;
mod properties;
mod python_lists;
mod unknown;

use super::{ModelPrice, PriceTable};
use crate::id::ModelId;
use crate::time::Timestamp;

/// A table of one model `p/m` with the given lines in its row.
fn one(lines: &str) -> String {
    format!("{HEAD}{}{lines}\n", row("m"))
}

const HEAD: &str = "schema = 1\ncurrency = \"USD\"\nversion = \"t\"\n";

fn row(id: &str) -> String {
    format!(
        "[[model]]\nprovider = \"p\"\nid = \"{id}\"\nsource = \"s 1\"\nchecked_at = \"2026-11-20\"\n"
    )
}

/// The only model of a table.
fn only(lines: &str) -> ModelPrice {
    PriceTable::parse(&one(lines)).unwrap().models()[0].clone()
}

/// The whole error of a table that is refused, with every fault.
fn refused(text: &str) -> String {
    format!("{:?}", PriceTable::parse(text).unwrap_err())
}

fn id(text: &str) -> ModelId {
    ModelId::new(text).unwrap()
}

/// A time given as RFC 3339.
fn at(text: &str) -> Timestamp {
    let time = chrono::DateTime::parse_from_rfc3339(text).unwrap();
    Timestamp::from_unix_us(time.timestamp_micros())
}
