//! What a composed step runs instead of an agent: a version of another workflow.
//!
//! Here is only what one definition says. Whether that version exists, and whether it leads back to
//! where it began, is known where versions are stored: `composition`.

use std::fmt;
use std::str::FromStr;

use crate::id::{AgentName, WorkflowName};

/// A version of a workflow, written `name@version`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uses {
    /// The workflow.
    pub workflow: WorkflowName,
    /// Its version, from 1.
    pub version: u32,
}

/// A text is no `name@version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsesFault;

impl fmt::Display for UsesFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "another workflow is used by its name and version: \"name@version\", e.g. \"quality-gate@3\"",
        )
    }
}

impl std::error::Error for UsesFault {}

impl FromStr for Uses {
    type Err = UsesFault;

    fn from_str(text: &str) -> Result<Self, UsesFault> {
        let (name, version) = text.split_once('@').ok_or(UsesFault)?;
        let uses = Self {
            workflow: WorkflowName::new(name).map_err(|_| UsesFault)?,
            version: version.parse().ok().filter(|v| *v > 0).ok_or(UsesFault)?,
        };
        // One spelling only: `gate@03` and `gate@+3` are none.
        if uses.to_string() == text {
            Ok(uses)
        } else {
            Err(UsesFault)
        }
    }
}

impl fmt::Display for Uses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.workflow, self.version)
    }
}

/// Who does a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// An agent.
    Agent(AgentName),
    /// Another workflow, as a run of its own that is nested in this one.
    Uses(Uses),
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(agent) => agent.fmt(f),
            Self::Uses(uses) => uses.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_of_a_workflow_has_one_spelling() {
        let uses: Uses = "quality-gate@3".parse().unwrap();
        assert_eq!((uses.workflow.as_str(), uses.version), ("quality-gate", 3));
        assert_eq!(uses.to_string(), "quality-gate@3");
        for bad in [
            "gate",
            "gate@",
            "gate@0",
            "gate@03",
            "gate@+3",
            "Gate@1",
            "@1",
            "gate@latest",
            "a@1@2",
        ] {
            assert_eq!(bad.parse::<Uses>(), Err(UsesFault), "{bad}");
        }
    }
}
