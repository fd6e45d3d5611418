//! Policy: what is allowed, and who has to be asked.
//!
//! Risk tiers are declared in a definition or in the policy file, never by an agent. [`Policy`] is
//! the policy file, a section a field: `read` (with `read_budgets`) and `write` are its two forms;
//! `guard` has its rules, `rates` its rates.
//! Read `workflow` next.

mod approvals;
pub(crate) mod as_canonical;
mod cut_streams;
mod file;
pub mod guard;
mod mode;
mod price_age;
mod rates;
mod read;
mod read_budgets;
mod sections;
mod tier;
mod write;

#[cfg(test)]
mod tests;

pub use approvals::{ApprovalRules, OwnApproval};
pub use cut_streams::CutStreams;
pub use file::{MAX_POLICY_BYTES, POLICY_SCHEMA_VERSION, Policy};
pub use mode::Mode;
pub use price_age::PriceAge;
pub use rates::{OnThrottling, RateOf, RateRule};
pub(crate) use read::{asking_tier, expires_in};
pub use sections::{BudgetRule, ToolRule};
pub use tier::{RiskTier, TierFault};
