//! The prices of a store: those in force, a change of them, and every version that ever was.
//!
//! Each `prices.loaded` event has its table and its layers as parts, so a charge can be worked out
//! again by the very table that it was made by, however often prices have changed since.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::calls::unexpected;
use super::control::MissionControl;
use super::inner::{Inner, lock};
use super::options::operator;
use crate::error::{Error, Result};
use crate::event::workspace::PricesLoaded;
use crate::event::{EventKind, PartRef};
use crate::id::{Actor, Digest};
use crate::ports::{EventLog, EventQuery, MAX_PAGE, Recovered};
use crate::pricing::{InForce, PriceChange, PriceLayer, PriceLayers, PriceTable};
use crate::run::read_event;
use crate::sequencer::{Prices, Reply, Request, Settings, shared};
use crate::time::Timestamp;

/// A price table that a store has had in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPrices {
    /// The event that put it in force.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What it is, and what it is made of.
    pub facts: PricesLoaded,
}

/// Every price table that a store has had in force, oldest first.
///
/// # Errors
/// `Unavailable`, `Corrupt`.
pub async fn stored_prices(log: &dyn EventLog) -> Result<Vec<StoredPrices>> {
    let mut query = EventQuery {
        kind: Some("prices.loaded".into()),
        limit: MAX_PAGE,
        ..EventQuery::default()
    };
    let mut all = Vec::new();
    loop {
        let page = log.query_events(query.clone()).await?;
        for record in &page.items {
            if let EventKind::PricesLoaded(facts) = read_event(record)? {
                let (seq, at) = (record.seq, record.ts);
                all.push(StoredPrices { seq, at, facts });
            }
        }
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return Ok(all),
        }
    }
}

/// The table that an event put in force.
///
/// # Errors
/// `NotFound` where the event is of a version of this software that did not store it, `Corrupt`
/// where what is stored is another table.
pub async fn stored_table(log: &dyn EventLog, stored: &StoredPrices) -> Result<PriceTable> {
    let seq = stored.seq;
    let bytes = log.read_part(PartRef { seq, part: 0 }).await?;
    let table = PriceTable::from_canonical(&bytes)?;
    if table.version() == stored.facts.price_version {
        Ok(table)
    } else {
        Err(Error::corrupt("price_table", Some(seq)))
    }
}

/// The layers that an event put in force, over another table of the host's.
///
/// # Errors
/// As [`stored_table`].
pub async fn stored_layers(
    log: &dyn EventLog,
    stored: &StoredPrices,
    base: Arc<PriceTable>,
) -> Result<PriceLayers> {
    let mut layers = PriceLayers::of(base);
    for (part, layer) in (1..).zip(&stored.facts.layers) {
        if layer.layer != PriceLayer::Base {
            let place = PartRef {
                seq: stored.seq,
                part,
            };
            layers = layers.with_canonical(layer.layer, &log.read_part(place).await?)?;
        }
    }
    Ok(layers)
}

impl Inner {
    /// The settings with the prices in force: the host's table under what the store has over it.
    pub(super) async fn prices_at_open(
        &self,
        found: &Recovered,
        known: BTreeMap<Digest, Arc<PriceTable>>,
    ) -> Result<(Settings, Prices)> {
        let mut settings = self.settings.clone();
        let base = Arc::clone(&settings.prices);
        let Some(seq) = shared(found)?.price_layers_at else {
            let layers = PriceLayers::of(Arc::clone(&base));
            return Ok((settings, Prices::new(layers, base, known)));
        };
        let records = self.log.read_workspace(seq, 1).await?;
        let record = records
            .first()
            .ok_or_else(|| Error::corrupt("prices", Some(seq)))?;
        let EventKind::PricesLoaded(facts) = read_event(record)? else {
            return Err(Error::corrupt("prices", Some(seq)));
        };
        let at = record.ts;
        let stored = StoredPrices { seq, at, facts };
        let layers = stored_layers(self.log.as_ref(), &stored, base).await?;
        settings.prices = match layers.in_force() {
            Ok(InForce { table, .. }) => table,
            // Another table of the host's, over which a layer does not fit: what was in force stays.
            Err(error) => {
                tracing::warn!(%error, "the prices of the store do not fit over the host's table; those last in force stay");
                Arc::new(stored_table(self.log.as_ref(), &stored).await?)
            }
        };
        let table = Arc::clone(&settings.prices);
        Ok((settings, Prices::new(layers, table, known)))
    }
}

impl MissionControl {
    /// The prices in force: the host's table, with what the store has imported and overridden.
    pub fn prices(&self) -> Arc<PriceTable> {
        let live = lock(&self.inner.live);
        let sequencer = live.sequencer.as_ref();
        let settings = sequencer.map_or(&self.inner.settings, |live| &live.workspace().settings);
        Arc::clone(&settings.prices)
    }

    /// Changes what lies over the host's prices; the answer is the version in force from now on.
    ///
    /// Calls that are out keep the prices that they were reserved by.
    ///
    /// # Errors
    /// `InvalidInput` where the layers do not fit together, and then nothing changes; `Unavailable`
    /// while the store refuses.
    pub async fn change_prices(&self, by: &str, change: PriceChange) -> Result<Digest> {
        let actor = Actor::Operator(operator(by)?);
        let request = Request::ChangePrices(change);
        let reply = self.inner.submit(actor, request).await?;
        let Reply::Prices(version) = reply else {
            return Err(unexpected(&reply));
        };
        Ok(version)
    }

    /// A price table that was in force once, by its version, as every charge names it.
    ///
    /// # Errors
    /// `NotFound` where this store never had it.
    pub async fn price_table(&self, version: Digest) -> Result<PriceTable> {
        let log = self.inner.log.as_ref();
        let stored = stored_prices(log).await?;
        let found = stored
            .iter()
            .rev()
            .find(|one| one.facts.price_version == version);
        let found = found.ok_or_else(|| Error::not_found("price version", version))?;
        stored_table(log, found).await
    }
}
