//! Price lists of others: the files of two packages, read into a table of ours.
//!
//! Decimal text goes in, whole pico-USD come out, rounded up. A price that is not one refuses the
//! whole file; a row that has no form here is left out. The report names every row that was left or
//! changed, and counts every key that was not used. What is *not* here: files (outside the core),
//! and what becomes of two sources that differ (`merge`).

mod genai;
mod litellm;
mod litellm_keys;
mod python;
mod python_text;
mod report;
mod taking;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::table::PriceTable;
use crate::error::{Error, Result};
use crate::id::{Digest, ModelId};
use crate::json::{self, parse_decimals};
use crate::time::Timestamp;

use taking::{Row, Taking};

pub use report::{ImportReport, LossyPrice, SkippedRow, UnusedKey};

/// The longest file, in bytes.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Whose file it is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum PriceSource {
    /// `model_prices_and_context_window*.json` of the package `litellm`.
    Litellm,
    /// The list of providers of the package `genai-prices`: `data.json`, or the package's own `data.py`.
    GenaiPrices,
}

impl PriceSource {
    /// Every source.
    pub const ALL: &'static [Self] = &[Self::Litellm, Self::GenaiPrices];

    /// The package's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Litellm => "litellm",
            Self::GenaiPrices => "genai-prices",
        }
    }
}

impl fmt::Display for PriceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PriceSource {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|source| source.name() == text);
        found.copied().ok_or("one of litellm, genai-prices")
    }
}

/// How a file is to be read.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Whose file it is.
    pub source: PriceSource,
    /// The providers to take, by their name here or in the file; none for all.
    pub providers: BTreeSet<String>,
    /// The day as of which the prices are known: that of the import.
    pub checked_at: Timestamp,
}

/// A file that was read.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The table.
    pub table: PriceTable,
    /// What was taken, changed and left.
    pub report: ImportReport,
}

/// Reads a price list.
///
/// # Errors
/// `InvalidInput` with every wrong place: neither JSON nor the source's own
/// file, not of its form, a price that is not a
/// number, negative or too large, no row of a provider that was asked for. Nothing is taken then.
pub fn import(bytes: &[u8], options: &ImportOptions) -> Result<Imported> {
    if bytes.len() > MAX_BYTES {
        return Err(Error::invalid(
            "",
            format!("a price list has at most {MAX_BYTES} bytes"),
        ));
    }
    let value = document(bytes, options.source)?;
    let digest = Digest::of(&[bytes]).to_string();
    let file = digest.get(..12).unwrap_or_default();
    let source = format!("{} file {file}", options.source);
    let mut taking = Taking::new(options, source.clone());
    match options.source {
        PriceSource::Litellm => litellm::take(&mut taking, &value),
        PriceSource::GenaiPrices => genai::take(&mut taking, &value),
    }
    let (rows, mut report) = taking.end()?;
    let models: BTreeSet<&ModelId> = rows.iter().map(|row| &row.model).collect();
    report.models = models.len();
    let table = PriceTable::of_rows(source, rows)?;
    Ok(Imported { table, report })
}

/// What the file says, with numbers as their digits.
fn document(bytes: &[u8], source: PriceSource) -> Result<Value> {
    if source == PriceSource::GenaiPrices {
        let text = json::text(bytes)?;
        if let Some(start) = python::assignment(text, "providers") {
            return python::read(text, start);
        }
    }
    parse_decimals(bytes)
}

/// The name here of a provider that has another one there.
fn provider(theirs: &str) -> &str {
    match theirs {
        "gemini" => "google",
        "x-ai" => "xai",
        "aws" | "bedrock_converse" => "bedrock",
        "cohere_chat" => "cohere",
        "fireworks" => "fireworks_ai",
        "moonshotai" => "moonshot",
        "text-completion-openai" => "openai",
        "together" => "together_ai",
        other if other.starts_with("vertex_ai-") => "vertex_ai",
        other => other,
    }
}
