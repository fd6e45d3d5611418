//! Policy: what is allowed, and who has to be asked.
//!
//! Risk tiers are declared in a definition or in the policy file, never by an agent.
//! Read `workflow` next.

mod mode;
mod price_age;
mod tier;

pub use mode::Mode;
pub use price_age::PriceAge;
pub use tier::{RiskTier, TierFault};
