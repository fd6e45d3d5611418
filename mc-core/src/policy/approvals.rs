//! Who is asked before what cannot be undone: the rules of approvals.
//!
//! What is *not* here: requests and their state (`run::approval`), and decisions about them
//! (`sequencer::decide::approval`).

use std::collections::BTreeSet;
use std::time::Duration;

use super::tier::RiskTier;
use crate::id::OperatorName;

/// The time that a request stays open where nobody says otherwise.
const A_DAY: Duration = Duration::from_secs(24 * 3_600);

/// Which tiers ask a person first, whom, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRules {
    /// The lowest tier that asks; `read` never does.
    pub from: RiskTier,
    /// How long a request, and an approval that was given, may be used.
    pub expires_in: Duration,
    /// Tiers that the operator who started the run may not approve.
    pub four_eyes: BTreeSet<RiskTier>,
    /// Who may decide; all operators where none is named.
    pub operators: BTreeSet<OperatorName>,
}

impl Default for ApprovalRules {
    fn default() -> Self {
        Self {
            from: RiskTier::Irreversible,
            expires_in: A_DAY,
            four_eyes: BTreeSet::from([RiskTier::Financial]),
            operators: BTreeSet::new(),
        }
    }
}

/// What a step asks of its own will; it can only tighten what the policy says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnApproval {
    /// It asks from this tier on.
    pub from: Option<RiskTier>,
    /// Its requests stay open for so long.
    pub expires_in: Option<Duration>,
}

impl ApprovalRules {
    /// Whether what has this tier asks first.
    pub fn asks(&self, own: Option<&OwnApproval>, tier: RiskTier) -> bool {
        let earlier = own.and_then(|own| own.from).unwrap_or(self.from);
        tier > RiskTier::Read && tier >= self.from.min(earlier)
    }

    /// How long a request stays open.
    pub fn expires_in(&self, own: Option<&OwnApproval>) -> Duration {
        let shorter = own.and_then(|own| own.expires_in);
        self.expires_in.min(shorter.unwrap_or(self.expires_in))
    }

    /// Whether an operator may decide at all.
    pub fn may_decide(&self, operator: &OperatorName) -> bool {
        self.operators.is_empty() || self.operators.contains(operator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_what_cannot_be_undone_asks_and_reading_never_does() {
        let rules = ApprovalRules::default();
        let asks = RiskTier::ALL.map(|tier| rules.asks(None, tier));
        assert_eq!(asks, [false, false, true, true]);
        let rules = ApprovalRules {
            from: RiskTier::Read,
            ..rules
        };
        let asks = RiskTier::ALL.map(|tier| rules.asks(None, tier));
        assert_eq!(asks, [false, true, true, true]);
    }

    #[test]
    fn a_step_only_tightens() {
        let rules = ApprovalRules::default();
        let own = |from, hours: u64| OwnApproval {
            from: Some(from),
            expires_in: Some(Duration::from_secs(hours * 3_600)),
        };
        let (early, late) = (own(RiskTier::Write, 1), own(RiskTier::Financial, 48));
        assert!(rules.asks(Some(&early), RiskTier::Write));
        assert!(rules.asks(Some(&late), RiskTier::Irreversible));
        assert_eq!(rules.expires_in(Some(&early)), Duration::from_secs(3_600));
        assert_eq!(rules.expires_in(Some(&late)), A_DAY);
    }
}
