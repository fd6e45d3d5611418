//! Overrides: a workspace's own prices, laid over all others.
//!
//! A discount is a factor on a known model's prices; a model's own rows stand instead of all that is
//! known of it. What is *not* here: the form of rows (`read`), the order of layers (`layers`).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::{Faults, Fields};
use super::model::{ModelPrice, Ratio};
use super::pico::PicoUsd;
use super::table::PriceTable;
use super::{check, read};
use crate::error::{Error, Result};
use crate::id::{Digest, ModelId};
use crate::{json, yaml};

const KEYS: &[&str] = &["schema", "currency", "version", "discount", "model"];

/// A factor on a model's prices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discount {
    /// The model, by its id or an alias.
    pub model: ModelId,
    /// The factor on all its prices, units too; what it leaves is rounded up to 1e-12 USD.
    pub factor: Ratio,
}

/// A workspace's own prices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overrides {
    /// The name that the file gives itself.
    pub version: String,
    /// Factors on known models' prices.
    pub discounts: Vec<Discount>,
    /// Rows that stand instead of what is known of their models.
    pub models: Vec<ModelPrice>,
}

impl Overrides {
    /// Reads overrides from TOML of the form in `docs/prices.md`.
    ///
    /// # Errors
    /// `InvalidInput` with every wrong place: as [`PriceTable::parse`], a factor that is not two
    /// whole numbers or is zero, a model with two overrides.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > read::MAX_BYTES {
            let rule = format!("overrides have at most {} bytes", read::MAX_BYTES);
            return Err(Error::invalid("", rule));
        }
        let value = toml::from_str(text).map_err(|error| read::not_toml(text, &error))?;
        Self::from_value(&value)
    }

    /// Reads overrides from YAML of the same form.
    ///
    /// # Errors
    /// As [`Self::parse`], and what strict YAML refuses.
    pub fn parse_yaml(bytes: &[u8]) -> Result<Self> {
        Self::from_value(&yaml::parse(bytes)?)
    }

    fn from_value(value: &Value) -> Result<Self> {
        let faults = Faults::default();
        let overrides = document(value, &faults);
        if let Some(error) = faults.into_error() {
            return Err(error);
        }
        check::rows(&overrides.models)?;
        Ok(overrides)
    }

    /// The hash of the content.
    ///
    /// # Errors
    /// `Internal`, which cannot happen for this shape.
    pub fn digest(&self) -> Result<Digest> {
        Ok(json::digest(&self.to_value()?))
    }

    /// The canonical bytes; [`Self::from_canonical`] reads them back.
    ///
    /// # Errors
    /// `Internal`, which cannot happen for this shape.
    pub fn to_canonical(&self) -> Result<Vec<u8>> {
        Ok(json::canonical(&self.to_value()?))
    }

    fn to_value(&self) -> Result<Value> {
        serde_json::to_value(self)
            .map_err(|e| Error::internal("overrides have no canonical form").with_source(e))
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// `Corrupt` for what is not of this form.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes)
            .map_err(|e| Error::corrupt("price_overrides", None).with_source(e))
    }

    /// Lays these over a table.
    ///
    /// # Errors
    /// `InvalidInput` with every discount of a model that the table does not have, or that has one
    /// already by another of its names, and where a name of one model is that of another.
    pub fn over(&self, table: &PriceTable) -> Result<PriceTable> {
        let faults = Faults::default();
        let own: BTreeSet<&ModelId> = self.models.iter().map(|row| &row.model).collect();
        let mut rows: Vec<ModelPrice> = Vec::new();
        for row in table
            .models()
            .iter()
            .filter(|row| !own.contains(&row.model))
        {
            let mut row = row.clone();
            row.aliases.retain(|alias| !own.contains(alias));
            rows.push(row);
        }
        let mut lowered: BTreeSet<ModelId> = BTreeSet::new();
        for (index, discount) in self.discounts.iter().enumerate() {
            let named = |row: &ModelPrice| {
                row.model == discount.model || row.aliases.contains(&discount.model)
            };
            let models: BTreeSet<ModelId> = { rows.iter() }
                .filter(|row| named(row))
                .map(|row| row.model.clone())
                .collect();
            if let Some(model) = models.intersection(&lowered).next() {
                let rule = format!("`{model}` has a discount already, by another of its names");
                faults.add(format!("/discount/{index}/model"), rule);
                continue;
            }
            // A model's rows of other periods may lack the alias: it is the same model.
            for row in rows.iter_mut().filter(|row| models.contains(&row.model)) {
                self.lower(row, discount.factor);
            }
            if models.is_empty() {
                let rule = format!(
                    "`{}` has no price: give it a [[model]] of its own",
                    discount.model
                );
                faults.add(format!("/discount/{index}/model"), rule);
            }
            lowered.extend(models);
        }
        if let Some(error) = faults.into_error() {
            return Err(error);
        }
        rows.extend(self.models.iter().cloned());
        PriceTable::of_rows(format!("{} + {}", table.label(), self.version), rows)
    }

    fn lower(&self, row: &mut ModelPrice, factor: Ratio) {
        let scaled = |price: &mut PicoUsd| *price = price.scaled_up(factor);
        for rate in &mut row.rates {
            rate.prices.values_mut().for_each(scaled);
            rate.listed.values_mut().for_each(scaled);
        }
        row.units.values_mut().for_each(scaled);
        let source = &mut row.origin.source;
        *source = format!("{source}; times {factor} by {}", self.version);
    }
}

fn document(value: &Value, faults: &Faults) -> Overrides {
    let mut overrides = Overrides {
        version: String::new(),
        discounts: Vec::new(),
        models: Vec::new(),
    };
    let Some(fields) = Fields::of(value, String::new(), KEYS, faults) else {
        return overrides;
    };
    fields.require("schema");
    fields.require("version");
    if fields.count("schema").is_some_and(|schema| schema != 1) {
        fields.fault("schema", "only schema 1 is known");
    }
    if fields
        .text("currency")
        .is_some_and(|currency| currency != "USD")
    {
        fields.fault("currency", "only USD is known");
    }
    fields
        .text("version")
        .unwrap_or_default()
        .clone_into(&mut overrides.version);
    for (path, value) in fields.list("model") {
        overrides.models.extend(read::model(value, path, faults));
    }
    let mut seen: BTreeSet<ModelId> = overrides
        .models
        .iter()
        .map(|row| row.model.clone())
        .collect();
    for (path, value) in fields.list("discount") {
        let Some(discount) = discount(value, path.clone(), faults) else {
            continue;
        };
        if !seen.insert(discount.model.clone()) {
            faults.add(path, "this model has two overrides");
        }
        overrides.discounts.push(discount);
    }
    overrides
}

fn discount(value: &Value, path: String, faults: &Faults) -> Option<Discount> {
    let fields = Fields::of(value, path, &["model", "factor"], faults)?;
    fields.require("model");
    fields.require("factor");
    let factor = fields.parsed("factor", |text| {
        let ratio = Ratio::parse(text).ok_or("a factor is two whole numbers, e.g. 4/5")?;
        // A price of zero has to be written as one.
        (ratio.numerator() > 0)
            .then_some(ratio)
            .ok_or("a factor is more than zero")
    });
    let model = fields.parsed("model", ModelId::new);
    Some(Discount {
        model: model?,
        factor: factor?,
    })
}
