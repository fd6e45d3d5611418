//! The layers of a store's prices: the host's table, imports, overrides; and the table in force.
//!
//! The host's table and the imports are merged in this order (`merge`), the overrides are laid over
//! the result. What is *not* here: the event that puts them in force (`sequencer`).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::import::PriceSource;
use super::merge::Disagreement;
use super::overrides::Overrides;
use super::table::PriceTable;
use crate::error::Result;
use crate::id::Digest;

/// One layer, in the order in which they lie on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PriceLayer {
    /// The table that the host opened the store with; the embedded one by default.
    Base,
    /// An import from litellm.
    Litellm,
    /// An import from genai-prices.
    GenaiPrices,
    /// The workspace's own prices.
    Overrides,
}

impl PriceLayer {
    /// Every layer, from below.
    pub const ALL: &'static [Self] = &[
        Self::Base,
        Self::Litellm,
        Self::GenaiPrices,
        Self::Overrides,
    ];

    /// The layer's name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Litellm => "litellm",
            Self::GenaiPrices => "genai-prices",
            Self::Overrides => "overrides",
        }
    }
}

impl fmt::Display for PriceLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PriceLayer {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|layer| layer.name() == text);
        found
            .copied()
            .ok_or("one of base, litellm, genai-prices, overrides")
    }
}

impl From<PriceSource> for PriceLayer {
    fn from(source: PriceSource) -> Self {
        match source {
            PriceSource::Litellm => Self::Litellm,
            PriceSource::GenaiPrices => Self::GenaiPrices,
        }
    }
}

/// A change of the layers above the host's table.
#[derive(Clone, Debug)]
pub enum PriceChange {
    /// An import takes the place of the last one of its source.
    Import(PriceSource, Arc<PriceTable>),
    /// Overrides take the place of the last ones.
    Override(Arc<Overrides>),
    /// The import of a source is taken away.
    DropImport(PriceSource),
    /// The overrides are taken away.
    DropOverrides,
}

/// The layers of a store's prices.
#[derive(Clone, Debug)]
pub struct PriceLayers {
    base: Arc<PriceTable>,
    imports: BTreeMap<PriceSource, Arc<PriceTable>>,
    overrides: Option<Arc<Overrides>>,
}

/// The table that layers come to.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The table.
    pub table: Arc<PriceTable>,
    /// Where its sources differ.
    pub disagreements: Vec<Disagreement>,
}

impl PriceLayers {
    /// The host's table alone.
    pub const fn of(base: Arc<PriceTable>) -> Self {
        Self {
            base,
            imports: BTreeMap::new(),
            overrides: None,
        }
    }

    /// Whether there is more than the host's table.
    pub fn is_base_alone(&self) -> bool {
        self.imports.is_empty() && self.overrides.is_none()
    }

    /// The layers after a change.
    #[must_use]
    pub fn after(&self, change: &PriceChange) -> Self {
        let mut layers = self.clone();
        match change {
            PriceChange::Import(source, table) => {
                layers.imports.insert(*source, Arc::clone(table));
            }
            PriceChange::Override(overrides) => layers.overrides = Some(Arc::clone(overrides)),
            PriceChange::DropImport(source) => {
                layers.imports.remove(source);
            }
            PriceChange::DropOverrides => layers.overrides = None,
        }
        layers
    }

    /// The table in force.
    ///
    /// # Errors
    /// `InvalidInput` where the layers do not fit together: a discount of a model without a price.
    pub fn in_force(&self) -> Result<InForce> {
        let mut table = Arc::clone(&self.base);
        let mut disagreements = Vec::new();
        for import in self.imports.values() {
            let merged = table.merged(import)?;
            table = Arc::new(merged.table);
            disagreements.extend(merged.disagreements);
        }
        if let Some(overrides) = &self.overrides {
            table = Arc::new(overrides.over(&table)?);
        }
        Ok(InForce {
            table,
            disagreements,
        })
    }

    /// Each layer's version, from below.
    ///
    /// # Errors
    /// `Internal`, which cannot happen for these shapes.
    pub fn versions(&self) -> Result<Vec<(PriceLayer, Digest)>> {
        let mut all = vec![(PriceLayer::Base, self.base.version())];
        for (source, table) in &self.imports {
            all.push(((*source).into(), table.version()));
        }
        if let Some(overrides) = &self.overrides {
            all.push((PriceLayer::Overrides, overrides.digest()?));
        }
        Ok(all)
    }

    /// Each layer with its version and canonical bytes, from below.
    ///
    /// # Errors
    /// `Internal`, which cannot happen for these shapes.
    pub fn to_canonical(&self) -> Result<Vec<(PriceLayer, Digest, Vec<u8>)>> {
        let mut all = vec![(
            PriceLayer::Base,
            self.base.version(),
            self.base.to_canonical()?,
        )];
        for (source, table) in &self.imports {
            all.push(((*source).into(), table.version(), table.to_canonical()?));
        }
        if let Some(overrides) = &self.overrides {
            all.push((
                PriceLayer::Overrides,
                overrides.digest()?,
                overrides.to_canonical()?,
            ));
        }
        Ok(all)
    }

    /// Adds a layer from its canonical bytes.
    ///
    /// # Errors
    /// `Corrupt` for what is not of the layer's form.
    pub fn with_canonical(mut self, layer: PriceLayer, bytes: &[u8]) -> Result<Self> {
        let table = || PriceTable::from_canonical(bytes).map(Arc::new);
        match layer {
            PriceLayer::Base => self.base = table()?,
            PriceLayer::Litellm => {
                self.imports.insert(PriceSource::Litellm, table()?);
            }
            PriceLayer::GenaiPrices => {
                self.imports.insert(PriceSource::GenaiPrices, table()?);
            }
            PriceLayer::Overrides => {
                self.overrides = Some(Arc::new(Overrides::from_canonical(bytes)?));
            }
        }
        Ok(self)
    }
}
