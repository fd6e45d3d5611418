//! Prices: a table of models, what a call costs by it, and the most that a call can cost.
//!
//! Decimal text goes in, integers of pico-USD per token are inside, one rounding up to nano-USD per
//! call comes out. The same rounding serves the bound before a call and the cost after it, so a call
//! that keeps within what was asked never costs more than its bound.
//! What is *not* here: accounts and holds (`budget`), files (outside the core).
//! `docs/prices.md` tells the table's schema. Read `pico`, `class`, `model`, `table`, `cost`,
//! `bound`, `unknown` in this order, `import`, `merge`, `overrides`, `layers` for what a store adds
//! to the table that it was opened with; then `resilience`.
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
mod decimal;
mod diff;
mod fields;
mod import;
mod layers;
mod merge;
mod model;
mod overrides;
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
pub use diff::{FieldDifference, PriceDifference, diff};
pub use import::{
    ImportOptions, ImportReport, Imported, LossyPrice, PriceSource, SkippedRow, UnusedKey, import,
};
pub use layers::{InForce, PriceChange, PriceLayer, PriceLayers};
pub use merge::{Disagreement, Merged};
pub use model::{Hours, InputBound, ModelPrice, Origin, Rate, Ratio, ReasoningLimit, TierEdge};
pub use overrides::{Discount, Overrides};
pub use pico::{PicoUsd, PriceFault};
pub use table::{Named, PriceTable};
pub use terms::{Answered, CallTerms, TierChoice, charge_on_terms};
pub use unknown::{Charged, Quote, UnknownModels, charge};
