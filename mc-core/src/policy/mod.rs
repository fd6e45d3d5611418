//! Policy: what is allowed, and who has to be asked.
//!
//! Risk tiers are declared in a definition or in the policy file, never by an agent.
//! Read `workflow` next.

mod cut_streams;
mod mode;
mod price_age;
mod tier;

pub use cut_streams::CutStreams;
pub use mode::Mode;
pub use price_age::PriceAge;
pub use tier::{RiskTier, TierFault};
