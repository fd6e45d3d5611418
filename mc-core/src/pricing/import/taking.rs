//! An import on its way: what was taken so far, what was wrong, what was left.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{ImportOptions, ImportReport};
use crate::error::{Error, Result};
use crate::id::ModelId;
use crate::json::escape_pointer;
use crate::pricing::decimal::rounded_up;
use crate::pricing::fields::Faults;
use crate::pricing::model::{ModelPrice, Origin};
use crate::pricing::pico::PicoUsd;
use crate::pricing::{check, merge};

/// Pico-USD in one USD, as a power of ten.
const PICO: i32 = 12;

/// An import on its way.
pub(super) struct Taking<'a> {
    pub(super) options: &'a ImportOptions,
    pub(super) origin: Origin,
    pub(super) faults: Faults,
    pub(super) report: ImportReport,
    pub(super) models: BTreeMap<ModelId, Vec<ModelPrice>>,
}

/// One row of the file: its name for people, its place, its fields.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) name: &'a str,
    pub(super) place: &'a str,
    pub(super) map: &'a Map<String, Value>,
}

impl<'a> Taking<'a> {
    /// Begins an import from a source of this name.
    pub(super) fn new(options: &'a ImportOptions, source: String) -> Self {
        Self {
            options,
            origin: Origin {
                source,
                checked_at: options.checked_at,
            },
            faults: Faults::default(),
            report: ImportReport::default(),
            models: BTreeMap::new(),
        }
    }

    /// Whether the provider is wanted, by its name in the file or here.
    pub(super) fn wants(&self, theirs: &str, ours: &str) -> bool {
        let wanted = &self.options.providers;
        wanted.is_empty() || wanted.contains(theirs) || wanted.contains(ours)
    }

    /// A price: `text` USD per `10^-power` pieces; a fault where it is none.
    pub(super) fn price(
        &mut self,
        row: Row<'_>,
        key: &str,
        (value, power): (&Value, i32),
    ) -> Option<PicoUsd> {
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
    pub(super) fn tokens(&mut self, row: Row<'_>, key: &str) -> Option<u64> {
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
    pub(super) fn add(&mut self, name: &str, rows: Vec<ModelPrice>) {
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
    pub(super) fn end(mut self) -> Result<(Vec<ModelPrice>, ImportReport)> {
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
