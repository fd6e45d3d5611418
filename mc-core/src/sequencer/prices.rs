//! The prices of a workspace: their layers, the table in force, and the tables before it.
//!
//! A call is settled by the table that it was reserved by, so a table that another one replaced is
//! kept for as long as the process lives.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::decision::{NewEvent, NewPart};
use crate::error::{Error, Result};
use crate::event::MediaType;
use crate::event::workspace::{LayerVersion, PricesLoaded};
use crate::id::{Digest, RunId};
use crate::pricing::{PriceLayers, PriceTable};

/// The layers of the prices, and every table that was in force since the process opened the store.
#[derive(Clone, Debug)]
pub struct Prices {
    /// The layers.
    pub layers: PriceLayers,
    /// Tables by version; the one in force among them.
    pub known: BTreeMap<Digest, Arc<PriceTable>>,
}

impl Prices {
    /// Prices of which `table` is in force.
    pub fn new(
        layers: PriceLayers,
        table: Arc<PriceTable>,
        mut known: BTreeMap<Digest, Arc<PriceTable>>,
    ) -> Self {
        known.insert(table.version(), table);
        Self { layers, known }
    }

    /// The prices that an event puts in force, and their table.
    ///
    /// # Errors
    /// `Corrupt` for parts that are not what the facts say.
    pub(super) fn after(
        &self,
        facts: &PricesLoaded,
        parts: &[NewPart],
    ) -> Result<(Self, Arc<PriceTable>)> {
        let corrupt = || Error::corrupt("price_table", None);
        let (table, parts) = parts.split_first().ok_or_else(corrupt)?;
        let table = match self.known.get(&facts.price_version) {
            Some(known) => Arc::clone(known),
            None => Arc::new(PriceTable::from_canonical(&table.bytes)?),
        };
        let mut layers = PriceLayers::of(Arc::clone(&table));
        for (layer, part) in facts.layers.iter().zip(parts) {
            layers = layers.with_canonical(layer.layer, &part.bytes)?;
        }
        let prices = Self::new(layers, Arc::clone(&table), self.known.clone());
        Ok((prices, table))
    }
}

/// The event that puts a table of these layers in force.
///
/// # Errors
/// `Internal`, which cannot happen for these shapes.
pub(super) fn loaded(layers: &PriceLayers, table: &PriceTable) -> Result<NewEvent> {
    let part = |bytes: Vec<u8>| NewPart {
        media_type: MediaType::Json,
        bytes: bytes.into(),
        value: None,
    };
    let mut parts = vec![part(table.to_canonical()?)];
    let mut versions = Vec::new();
    if !layers.is_base_alone() {
        for (layer, version, bytes) in layers.to_canonical()? {
            versions.push(LayerVersion { layer, version });
            parts.push(part(bytes));
        }
    }
    let facts = PricesLoaded {
        price_version: table.version(),
        label: table.label().to_owned(),
        layers: versions,
    };
    let mut event = NewEvent::new(RunId::ZERO, facts);
    event.parts = parts;
    Ok(event)
}
