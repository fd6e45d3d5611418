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

impl Mode {
    /// The word that stands in a policy and in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
            Self::Off => "off",
        }
    }
}
