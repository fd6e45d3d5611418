//! Price lists of others: the files of two packages, read into a table of ours.
//!
//! Decimal text goes in, whole pico-USD come out, rounded up. A price that is not one refuses the
//! whole file; a row that has no form here is left out. The report names every row that was left or
//! changed, and counts every key that was not used. What is *not* here: files (outside the core),
//! and what becomes of two sources that differ (`merge`).

mod genai;
mod litellm;
mod litellm_keys;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::decimal::rounded_up;
use super::fields::Faults;
use super::model::{ModelPrice, Origin};
use super::pico::PicoUsd;
use super::table::PriceTable;
use super::{check, merge};
use crate::error::{Error, Result};
use crate::id::{Digest, ModelId};
use crate::json::{escape_pointer, parse_decimals};
use crate::time::Timestamp;

pub use report::{ImportReport, LossyPrice, SkippedRow, UnusedKey};

/// The longest file, in bytes.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Pico-USD in one USD, as a power of ten.
const PICO: i32 = 12;

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PriceSource {
    /// `model_prices_and_context_window*.json` of the package `litellm`.
    Litellm,
    /// The list of providers of the package `genai-prices` (`data.json`).
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
/// `InvalidInput` with every wrong place: not JSON, not of the source's form, a price that is not a
/// number, negative or too large, no row of a provider that was asked for. Nothing is taken then.
pub fn import(bytes: &[u8], options: &ImportOptions) -> Result<Imported> {
    if bytes.len() > MAX_BYTES {
        return Err(Error::invalid(
            "",
            format!("a price list has at most {MAX_BYTES} bytes"),
        ));
    }
    let value = parse_decimals(bytes)?;
    let digest = Digest::of(&[bytes]).to_string();
    let file = digest.get(..12).unwrap_or_default();
    let source = format!("{} file {file}", options.source);
    let mut taking = Taking {
        options,
        origin: Origin {
            source: source.clone(),
            checked_at: options.checked_at,
        },
        faults: Faults::default(),
        report: ImportReport::default(),
        models: BTreeMap::new(),
    };
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

/// An import on its way.
struct Taking<'a> {
    options: &'a ImportOptions,
    origin: Origin,
    faults: Faults,
    report: ImportReport,
    models: BTreeMap<ModelId, Vec<ModelPrice>>,
}

/// One row of the file: its name for people, its place, its fields.
#[derive(Clone, Copy)]
struct Row<'a> {
    name: &'a str,
    place: &'a str,
    map: &'a Map<String, Value>,
}

impl Taking<'_> {
    /// Whether the provider is wanted, by its name in the file or here.
    fn wants(&self, theirs: &str, ours: &str) -> bool {
        let wanted = &self.options.providers;
        wanted.is_empty() || wanted.contains(theirs) || wanted.contains(ours)
    }

    /// A price: `text` USD per `10^-power` pieces; a fault where it is none.
    fn price(&mut self, row: Row<'_>, key: &str, (value, power): (&Value, i32)) -> Option<PicoUsd> {
        let place = || format!("{}/{}", row.place, escape_pointer(key));
        let Some(text) = value.as_str() else {
            self.faults.add(place(), "a price is a number");
            return None;
        };
        match rounded_up(text, PICO.saturating_sub(power)) {
            Ok(read) => {
                if read.lossy {
                    let what = format!("{text} is rounded up to {} pico-USD", read.price.as_pico());
                    self.report.lossy(row.name, key, what);
                }
                Some(read.price)
            }
            Err(fault) => {
                self.faults.add(place(), format_args!("{fault} (`{text}`)"));
                None
            }
        }
    }

    /// A count of tokens, where the key is there.
    fn tokens(&mut self, row: Row<'_>, key: &str) -> Option<u64> {
        let value = row.map.get(key).filter(|value| !value.is_null())?;
        let text = value.as_str().unwrap_or_default();
        // Some are written as a fraction.
        let whole = text.strip_suffix(".0").unwrap_or(text);
        let count = whole.parse().ok();
        if count.is_none() {
            let what = format!("`{text}` is no count of tokens; it is left out");
            self.report.lossy(row.name, key, what);
        }
        count
    }

    /// Takes a model's rows, if they keep the rules of a table.
    fn add(&mut self, name: &str, rows: Vec<ModelPrice>) {
        if let Err(error) = check::rows(&rows) {
            return self.report.skip(name, error.message());
        }
        let Some(model) = rows.first().map(|row| row.model.clone()) else {
            return;
        };
        match self.models.remove(&model) {
            Some(before) => {
                let what = format!("also a name of `{model}`: the dearer prices hold");
                self.report.lossy(name, "", what);
                self.models.insert(model, merge::both(&before, &rows));
            }
            None => {
                self.models.insert(model, rows);
            }
        }
    }

    /// Settles names that are used twice, and ends the import.
    fn end(mut self) -> Result<(Vec<ModelPrice>, ImportReport)> {
        if let Some(error) = self.faults.into_error() {
            return Err(error);
        }
        let ids: BTreeSet<ModelId> = self.models.keys().cloned().collect();
        let mut owner = BTreeMap::new();
        for row in self.models.values_mut().flatten() {
            let model = &row.model;
            row.aliases.retain(|alias| {
                let first: &mut ModelId = owner.entry(alias.clone()).or_insert(model.clone());
                first == model && !ids.contains(alias)
            });
        }
        if self.models.is_empty() {
            let asked: Vec<&str> = self.options.providers.iter().map(String::as_str).collect();
            let rule = match asked.as_slice() {
                [] => "no row has a price that can be used".to_owned(),
                asked => format!(
                    "no row of {} has a price that can be used",
                    asked.join(", ")
                ),
            };
            return Err(Error::invalid("", rule));
        }
        let rows = self.models.into_values().flatten().collect();
        Ok((rows, self.report))
    }
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
