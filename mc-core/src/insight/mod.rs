//! Insight: what the log says about money and steps, for whoever only reads.
//!
//! Everything is a fold over records and can be thrown away: `fold` follows runs and tells what each
//! event spent, `costs` sums that by agent, model, workflow, day or step. The sums are those of the
//! accounts, because they come from the same postings.
//! What is *not* here: reading the log (`ports`) and printing.

mod costs;
mod fold;

#[cfg(test)]
mod tests;

pub use costs::{CostBy, CostRow, CostTable, Costs};
pub use fold::{RunFold, Spent};
