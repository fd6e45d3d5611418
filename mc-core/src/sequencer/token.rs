//! An attempt's token: the right to act in its name.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{RunId, StepKey};

/// The right of one attempt to call models and tools and to report.
///
/// It is revoked when the attempt times out or is superseded, when its run ends, and when the
/// epoch changes without the attempt being adopted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Token {
    /// The owner's epoch.
    pub epoch: u64,
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step: StepKey,
    /// The attempt, from 1.
    pub attempt: u32,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}#{}@{}",
            self.run_id, self.step, self.attempt, self.epoch
        )
    }
}
