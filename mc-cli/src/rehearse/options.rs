//! How a file is rehearsed: plain data.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use mc_agents::recorded::Sent;
use mission_control::core::money::parse_decimal;
use mission_control::{NanoUsd, Policy};

/// Parts of one in which a fraction counts.
const ONE: u32 = 1_000_000;

/// A part of a run's cost, as its limit.
///
/// # Units
/// Millionths, from 0.000001 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetFraction(u32);

/// A text is not a fraction of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a budget fraction is a decimal from 0.000001 to 1000, like 0.6")]
pub struct FractionFault;

impl BudgetFraction {
    /// That part of a cost, rounded down.
    pub fn of(self, cost: NanoUsd) -> NanoUsd {
        let part = i128::from(cost.as_nano()) * i128::from(self.0) / i128::from(ONE);
        i64::try_from(part).map_or(NanoUsd::MAX, NanoUsd::from_nano)
    }
}

impl FromStr for BudgetFraction {
    type Err = FractionFault;

    fn from_str(text: &str) -> Result<Self, FractionFault> {
        let parts = parse_decimal(text, 6).map_err(|_| FractionFault)?;
        let parts = u32::try_from(parts).map_err(|_| FractionFault)?;
        let known = 1..=1_000 * ONE;
        if known.contains(&parts) {
            Ok(Self(parts))
        } else {
            Err(FractionFault)
        }
    }
}

impl fmt::Display for BudgetFraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / ONE, self.0 % ONE)
    }
}

/// What happens to models of the file that have no price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownIds {
    /// Their calls are denied.
    #[default]
    Deny,
    /// They are listed as free, each by its id.
    ListAsFree,
}

impl UnknownIds {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::ListAsFree => "free",
        }
    }
}

/// How the result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Report {
    /// A line a run, and a summary.
    #[default]
    Text,
    /// One line of JSON.
    Json,
}

/// Is told how the rehearsal goes on.
pub type Progress = Arc<dyn Fn(&Sent<'_>) + Send + Sync>;

/// How a file is rehearsed.
#[derive(Clone)]
pub struct RehearseOptions {
    /// The recorded runs: JSON lines, plain or gzip.
    pub file: PathBuf,
    /// The store; made where there is none.
    pub db: PathBuf,
    /// Each run's limit as a part of its cost at our prices; none for no limit.
    pub budget_fraction: Option<BudgetFraction>,
    /// What happens to models without a price.
    pub unknown_ids: UnknownIds,
    /// The policy whose rules judge every call; none leaves the one that the store has in force.
    pub policy: Option<Policy>,
    /// How the result is printed.
    pub report: Report,
    /// Who starts the runs.
    pub operator: String,
    /// Draws the order of what happens at one moment, and the jitter of retries, again and again
    /// the same; none for chance.
    pub seed: Option<u64>,
    /// Is told of each call that reaches the recorded provider.
    pub progress: Option<Progress>,
}

impl RehearseOptions {
    /// A file on a store, with everything else at its default.
    pub fn new(file: impl Into<PathBuf>, db: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            db: db.into(),
            budget_fraction: None,
            unknown_ids: UnknownIds::default(),
            policy: None,
            report: Report::default(),
            operator: super::operator_name(),
            seed: None,
            progress: None,
        }
    }
}

impl fmt::Debug for RehearseOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RehearseOptions")
            .field("file", &self.file)
            .field("db", &self.db)
            .field("budget_fraction", &self.budget_fraction)
            .field("unknown_ids", &self.unknown_ids)
            .field("policy", &self.policy.as_ref().map(Policy::hash))
            .field("report", &self.report)
            .field("operator", &self.operator)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_is_a_positive_decimal() {
        let limit = |text: &str| {
            Some(
                text.parse::<BudgetFraction>()
                    .ok()?
                    .of(NanoUsd::from_nano(1_001)),
            )
        };
        assert_eq!(limit("0.6"), Some(NanoUsd::from_nano(600)));
        assert_eq!(limit("2"), Some(NanoUsd::from_nano(2_002)));
        for wrong in ["0", "-1", "1001", "0.0000001", "half", ""] {
            assert_eq!(limit(wrong), None, "{wrong}");
        }
    }
}
