//! Prices: a table of models, what a call costs by it, and the most that a call can cost.
//!
//! Decimal text goes in, integers of pico-USD per token are inside, one rounding up to nano-USD per
//! call comes out. The same rounding serves the bound before a call and the cost after it, so a call
//! that keeps within what was asked never costs more than its bound.
//! What is *not* here: accounts and holds (`budget`), files and importers (outside the core).
//! `docs/prices.md` tells the table's schema. Read `pico`, `class`, `model`, `table`, `cost`,
//! `bound`, `unknown` in this order, then `resilience`.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    clippy::as_conversions
)]

mod bound;
mod check;
mod class;
mod cost;
mod fields;
mod model;
mod pico;
mod read;
mod table;
mod terms;
mod unknown;

#[cfg(test)]
mod tests;

pub use bound::{Basis, Bound, CallBound, input_bound, reserve_bound};
pub use class::{ServiceTier, Side, TokenClass, Unit};
pub use cost::{Cost, CostFault, CostFlag, Missing, Terms, cost};
pub use model::{Hours, InputBound, ModelPrice, Origin, Rate, Ratio, ReasoningLimit, TierEdge};
pub use pico::{PicoUsd, PriceFault};
pub use table::PriceTable;
pub use terms::{Answered, CallTerms, TierChoice, charge_on_terms};
pub use unknown::{Charged, Quote, UnknownModels, charge};
