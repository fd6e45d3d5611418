//! The price table: rows by exact model id or alias, and a version that names its content.
//!
//! There is no matching by part of a name: an id is in the table or it is unknown (`unknown` says
//! what happens then). What is *not* here: the text form (`read`).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::model::ModelPrice;
use super::{check, read};
use crate::error::{Error, Result};
use crate::id::{Digest, ModelId};
use crate::json;
use crate::time::Timestamp;

/// The text of the embedded table.
const EMBEDDED: &str = include_str!("table.toml");

/// Prices of models, never changed once made.
///
/// The version is the SHA-256 of the table's canonical bytes: compact JSON, sorted keys, defaults
/// left out, integers only (pico-USD, Unix microseconds). The order of rows in a file and the way
/// in which a number is written do not change it.
#[derive(Clone, Debug)]
pub struct PriceTable {
    label: String,
    version: Digest,
    rows: Vec<ModelPrice>,
    index: BTreeMap<ModelId, Vec<usize>>,
}

/// What is hashed.
#[derive(Serialize)]
struct Canonical<'a> {
    schema: u32,
    currency: &'static str,
    version: &'a str,
    model: &'a [ModelPrice],
}

/// What is read back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    schema: u32,
    currency: String,
    version: String,
    model: Vec<ModelPrice>,
}

impl PriceTable {
    /// Reads a table from TOML of the schema in `docs/prices.md`.
    ///
    /// # Errors
    /// `InvalidInput` with every wrong place: not TOML, an unknown or missing key, a price that is
    /// negative, not decimal text or finer than six decimals, a model given twice for one time,
    /// an alias that names two models, overlapping tiers, a row without a source.
    pub fn parse(text: &str) -> Result<Self> {
        let (label, rows) = read::table(text)?;
        Self::new(label, rows)
    }

    /// The table that comes with this version of the software.
    pub fn embedded() -> &'static Self {
        static TABLE: LazyLock<PriceTable> = LazyLock::new(|| {
            // A test parses the constant. Were it damaged all the same, an empty table denies
            // every model, which is the safe side.
            PriceTable::parse(EMBEDDED).unwrap_or_else(|_| PriceTable {
                label: "unreadable".to_owned(),
                version: Digest::ZERO,
                rows: Vec::new(),
                index: BTreeMap::new(),
            })
        });
        &TABLE
    }

    /// Lays `over` on this table: each model that it names has its rows only.
    ///
    /// # Errors
    /// `InvalidInput` where an alias of one table is a different model of the other.
    pub fn layered(&self, over: &Self) -> Result<Self> {
        let kept = self
            .rows
            .iter()
            .filter(|row| !over.rows.iter().any(|new| new.model == row.model));
        let rows: Vec<ModelPrice> = kept.chain(&over.rows).cloned().collect();
        Self::of_rows(format!("{} + {}", self.label, over.label), rows)
    }

    /// A table of rows, all rules checked.
    ///
    /// # Errors
    /// `InvalidInput` with every rule that they break.
    pub fn of_rows(label: String, rows: Vec<ModelPrice>) -> Result<Self> {
        check::rows(&rows)?;
        Self::new(label, rows)
    }

    /// The canonical bytes, of which the version is the hash.
    ///
    /// # Errors
    /// `Internal`, which cannot happen for this shape.
    pub fn to_canonical(&self) -> Result<Vec<u8>> {
        Ok(json::canonical(&canonical(&self.label, &self.rows)?))
    }

    /// Reads canonical bytes back; the version is the same.
    ///
    /// # Errors
    /// `Corrupt` for what is not of this form.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self> {
        let corrupt = || Error::corrupt("price_table", None);
        let stored: Stored =
            serde_json::from_slice(bytes).map_err(|error| corrupt().with_source(error))?;
        if stored.schema != 1 || stored.currency != "USD" {
            return Err(corrupt());
        }
        Self::of_rows(stored.version, stored.model).map_err(|error| corrupt().with_source(error))
    }

    fn new(label: String, mut rows: Vec<ModelPrice>) -> Result<Self> {
        rows.sort_by(|a, b| (&a.model, a.effective_from).cmp(&(&b.model, b.effective_from)));
        let version = json::digest(&canonical(&label, &rows)?);
        let mut index: BTreeMap<ModelId, Vec<usize>> = BTreeMap::new();
        for (place, row) in rows.iter().enumerate() {
            for id in row.aliases.iter().chain([&row.model]) {
                index.entry(id.clone()).or_default().push(place);
            }
        }
        Ok(Self {
            label,
            version,
            rows,
            index,
        })
    }

    /// The name that the table gives itself.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The SHA-256 of the table's content; every charge stores it.
    pub const fn version(&self) -> Digest {
        self.version
    }

    /// Every row, sorted by model and time.
    pub fn models(&self) -> &[ModelPrice] {
        &self.rows
    }

    /// The prices of a model at a time, by its exact id or a listed alias.
    pub fn find(&self, model: &ModelId, at: Timestamp) -> Option<&ModelPrice> {
        let places = self.index.get(model)?;
        places
            .iter()
            .filter_map(|place| self.rows.get(*place))
            .find(|row| row.holds_at(at))
    }

    /// A model by every name that its prices go by.
    pub fn named<'a>(&'a self, model: &'a ModelId) -> Named<'a> {
        let first = self.index.get(model).and_then(|places| places.first());
        let row = first.and_then(|place| self.rows.get(*place));
        Named {
            asked: model,
            row: row.map_or(model, |row| &row.model),
        }
    }

    /// Whether the model has prices at some time, if not now.
    pub fn has(&self, model: &ModelId) -> bool {
        self.index.contains_key(model)
    }
}

/// A model as it was asked for, and as the table calls it: a snapshot has its own id and the prices of
/// another, and what is said of the one is said of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// The id that was asked for.
    pub asked: &'a ModelId,
    /// The id of the row that prices it; the same where there is none.
    pub row: &'a ModelId,
}

impl Named<'_> {
    /// Whether something is true of it under any name.
    pub fn is(&self, test: impl Fn(&ModelId) -> bool) -> bool {
        test(self.asked) || test(self.row)
    }
}

/// What is hashed, as a value.
fn canonical(label: &str, rows: &[ModelPrice]) -> Result<serde_json::Value> {
    let canonical = Canonical {
        schema: 1,
        currency: "USD",
        version: label,
        model: rows,
    };
    serde_json::to_value(canonical)
        .map_err(|e| Error::internal("a price table has no canonical form").with_source(e))
}

/// As the text of its canonical bytes, so that it keeps its version.
impl Serialize for PriceTable {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        let bytes = self.to_canonical().map_err(serde::ser::Error::custom)?;
        let text = std::str::from_utf8(&bytes).map_err(serde::ser::Error::custom)?;
        to.serialize_str(text)
    }
}

impl<'de> Deserialize<'de> for PriceTable {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::from_canonical(text.as_bytes()).map_err(serde::de::Error::custom)
    }
}
