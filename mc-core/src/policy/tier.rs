//! Risk tiers: how much harm a step or a tool can do.
//!
//! What is *not* here: which tier asks for an approval; that is the workspace's policy.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::resilience::RetryPolicy;

/// How much harm a step or a tool can do, least first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum RiskTier {
    /// It only looks. After a crash it is simply done again.
    Read,
    /// It changes something that can be changed back. Doing it again under the same effect key does
    /// no harm.
    #[default]
    Write,
    /// It cannot be undone. It is never done again without a person's word.
    Irreversible,
    /// It moves money. It is never done again without a person's word.
    Financial,
}

/// A text that is not a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a risk is one of read, write, irreversible, financial")]
pub struct TierFault;

impl RiskTier {
    /// Every tier, least risk first.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Irreversible, Self::Financial];

    /// The text that stands in definitions and in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Irreversible => "irreversible",
            Self::Financial => "financial",
        }
    }

    /// Whether a second go of the same intent does no harm, so that a crash may be followed by one.
    pub const fn is_repeatable(self) -> bool {
        match self {
            Self::Read | Self::Write => true,
            Self::Irreversible | Self::Financial => false,
        }
    }

    /// The retry policy of a step that names none: three attempts for what is repeatable, else one.
    pub const fn default_retry(self) -> RetryPolicy {
        if self.is_repeatable() {
            RetryPolicy::thrice()
        } else {
            RetryPolicy::once()
        }
    }
}

impl fmt::Display for RiskTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RiskTier {
    type Err = TierFault;

    fn from_str(text: &str) -> Result<Self, TierFault> {
        Self::ALL
            .into_iter()
            .find(|tier| tier.as_str() == text)
            .ok_or(TierFault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_are_ordered_by_harm_and_write_is_the_default() {
        assert!(RiskTier::ALL.is_sorted());
        assert_eq!(RiskTier::default(), RiskTier::Write);
    }

    #[test]
    fn a_tier_has_one_spelling_everywhere() {
        for tier in RiskTier::ALL {
            assert_eq!(tier.as_str().parse(), Ok(tier));
            assert_eq!(serde_json::to_value(tier).unwrap(), tier.as_str());
        }
        assert_eq!("Read".parse::<RiskTier>(), Err(TierFault));
    }

    #[test]
    fn what_cannot_be_undone_has_one_attempt() {
        let attempts = RiskTier::ALL.map(|tier| tier.default_retry().maximum_attempts());
        assert_eq!(attempts, [3, 3, 1, 1]);
    }
}
