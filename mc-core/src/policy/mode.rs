//! How a rule acts.

use serde::{Deserialize, Serialize};

/// What a rule's verdict does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is obeyed.
    #[default]
    Enforce,
    /// It is written down and changes nothing.
    Observe,
    /// The rule is not asked.
    Off,
}
