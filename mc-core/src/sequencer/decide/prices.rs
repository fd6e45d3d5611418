//! Change prices: an import or overrides become the table in force, or nothing changes.

use super::View;
use crate::error::Result;
use crate::pricing::PriceChange;
use crate::sequencer::decision::{Decision, Reply};
use crate::sequencer::prices::loaded;

/// Puts the layers after a change in force; what leads to the same table is no event.
///
/// # Errors
/// `InvalidInput` where the layers do not fit together.
pub fn change(view: &View<'_>, change: &PriceChange) -> Result<Decision> {
    let layers = view.workspace.prices.layers.after(change);
    let in_force = layers.in_force()?;
    let version = in_force.table.version();
    let reply = Reply::Prices(version);
    // Layers may differ and come to the same table all the same: what is in them decides later.
    if layers.versions()? == view.workspace.prices.layers.versions()? {
        return Ok(Decision::now(reply));
    }
    let event = loaded(&layers, &in_force.table)?;
    Ok(Decision::durable(vec![event], reply))
}
