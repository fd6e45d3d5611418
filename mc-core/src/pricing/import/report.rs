//! What an import took, changed and left: nothing is dropped without a word.

use std::collections::BTreeMap;

use serde::Serialize;

/// The most rows that are named beside a count.
const MAX_EXAMPLES: usize = 3;

/// What an import took, changed and left of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// Rows of the file.
    pub rows: usize,
    /// Rows of other providers than were asked for.
    pub other_providers: usize,
    /// Models that were taken.
    pub models: usize,
    /// Rows that were not taken.
    pub skipped: Vec<SkippedRow>,
    /// Prices that are not as the file has them.
    pub lossy: Vec<LossyPrice>,
    /// Keys of rows that were taken and of which nothing was made.
    pub unused: BTreeMap<String, UnusedKey>,
}

/// A row that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SkippedRow {
    /// The row.
    pub row: String,
    /// Why.
    pub reason: String,
}

/// A price that is not as the file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LossyPrice {
    /// The row.
    pub row: String,
    /// The key, as the file has it.
    pub key: String,
    /// What became of it.
    pub what: String,
}

/// A key of which nothing was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UnusedKey {
    /// Rows with this key.
    pub count: usize,
    /// Whether it looks like a price.
    pub is_price: bool,
    /// Some of those rows.
    pub examples: Vec<String>,
}

impl ImportReport {
    /// Notes a row that is not taken.
    pub(super) fn skip(&mut self, row: &str, reason: impl Into<String>) {
        self.skipped.push(SkippedRow {
            row: row.to_owned(),
            reason: reason.into(),
        });
    }

    /// Notes a price that is not as the file has it.
    pub(super) fn lossy(&mut self, row: &str, key: &str, what: impl Into<String>) {
        self.lossy.push(LossyPrice {
            row: row.to_owned(),
            key: key.to_owned(),
            what: what.into(),
        });
    }

    /// Notes a key of which nothing is made.
    pub(super) fn unused(&mut self, row: &str, key: &str) {
        let looks = [
            "cost",
            "price",
            "pricing",
            "mtok",
            "multiplier",
            "kcount",
            "dbu",
        ];
        let entry = self.unused.entry(key.to_owned()).or_default();
        entry.count = entry.count.saturating_add(1);
        entry.is_price = looks.iter().any(|part| key.contains(part));
        if entry.examples.len() < MAX_EXAMPLES {
            entry.examples.push(row.to_owned());
        }
    }
}
