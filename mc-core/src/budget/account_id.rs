//! The names of accounts: `workspace`, `workflow:NAME`, `agent:NAME`, `tag:NAME`, `run:UUID`,
//! `step:UUID/KEY`.
//!
//! What is *not* here: what an account counts (`account`). Read `path` next.

use std::fmt;
use std::str::FromStr;

use crate::id::wire::as_text;
use crate::id::{AgentName, NameFault, RunId, StepKey, TagName, WorkflowName};

/// What an account counts for.
///
/// The order (workspace first, steps last) is the order in which accounts are listed everywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccountId {
    /// The whole workspace.
    Workspace,
    /// All runs of a workflow.
    Workflow(WorkflowName),
    /// All work of an agent, in any workflow.
    Agent(AgentName),
    /// All runs and sessions that carry a tag.
    Tag(TagName),
    /// One run.
    Run(RunId),
    /// One step of a run, over all of its attempts.
    Step(RunId, StepKey),
}

/// Why a text is not the name of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountIdFault {
    /// The part before the colon is not a scope.
    #[error(
        "an account is workspace, workflow:NAME, agent:NAME, tag:NAME, run:UUID or step:UUID/KEY"
    )]
    NotAScope,
    /// The text means an account but is not its one spelling.
    #[error("an id is written in lower case, as 8-4-4-4-12 digits")]
    OtherSpelling,
    /// The part after the colon is not a name.
    #[error(transparent)]
    Name(#[from] NameFault),
}

impl AccountId {
    /// The run that this account lives and dies with, if it is not shared.
    pub const fn run(&self) -> Option<RunId> {
        match self {
            Self::Workspace | Self::Workflow(_) | Self::Agent(_) | Self::Tag(_) => None,
            Self::Run(run) | Self::Step(run, _) => Some(*run),
        }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workspace => f.write_str("workspace"),
            Self::Workflow(name) => write!(f, "workflow:{name}"),
            Self::Agent(name) => write!(f, "agent:{name}"),
            Self::Tag(name) => write!(f, "tag:{name}"),
            Self::Run(run) => write!(f, "run:{run}"),
            Self::Step(run, step) => write!(f, "step:{run}/{step}"),
        }
    }
}

fn run_id(text: &str) -> Result<RunId, AccountIdFault> {
    let run: RunId = text.parse()?;
    // One spelling only, so that equal accounts are equal texts.
    if run.to_string() == text {
        Ok(run)
    } else {
        Err(AccountIdFault::OtherSpelling)
    }
}

impl FromStr for AccountId {
    type Err = AccountIdFault;

    fn from_str(text: &str) -> Result<Self, AccountIdFault> {
        if text == "workspace" {
            return Ok(Self::Workspace);
        }
        match text.split_once(':') {
            Some(("workflow", name)) => Ok(Self::Workflow(name.parse()?)),
            Some(("agent", name)) => Ok(Self::Agent(name.parse()?)),
            Some(("tag", name)) => Ok(Self::Tag(name.parse()?)),
            Some(("run", id)) => run_id(id).map(Self::Run),
            Some(("step", place)) => {
                let (run, step) = place.split_once('/').ok_or(AccountIdFault::NotAScope)?;
                Ok(Self::Step(run_id(run)?, step.parse()?))
            }
            _ => Err(AccountIdFault::NotAScope),
        }
    }
}

as_text!(AccountId, |id, serializer| serializer.collect_str(id));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_account_reads_back_from_its_text() {
        let run = RunId::from_bytes([7; 16]);
        let step: StepKey = "angle[3]".parse().unwrap();
        for (id, text) in [
            (AccountId::Workspace, "workspace"),
            (
                AccountId::Workflow("qa-1".parse().unwrap()),
                "workflow:qa-1",
            ),
            (AccountId::Agent("writer".parse().unwrap()), "agent:writer"),
            (AccountId::Tag("acme".parse().unwrap()), "tag:acme"),
            (
                AccountId::Run(run),
                "run:07070707-0707-0707-0707-070707070707",
            ),
            (
                AccountId::Step(run, step),
                "step:07070707-0707-0707-0707-070707070707/angle[3]",
            ),
        ] {
            assert_eq!(id.to_string(), text);
            assert_eq!(text.parse(), Ok(id.clone()));
            assert_eq!(serde_json::to_string(&id).unwrap(), format!("{text:?}"));
            assert_eq!(
                serde_json::from_str::<AccountId>(&format!("{text:?}")).unwrap(),
                id
            );
        }
    }

    #[test]
    fn an_account_has_one_spelling() {
        for bad in [
            "",
            "Workspace",
            "workspace:",
            "tag:X",
            "agent:",
            "agent:A",
            "workflow:a b",
            "run:07070707070707070707070707070707",
            "run:AB070707-0707-0707-0707-070707070707",
            "run:{07070707-0707-0707-0707-070707070707}",
            "step:07070707-0707-0707-0707-070707070707",
            "step:07070707-0707-0707-0707-070707070707/angle[03]",
        ] {
            assert!(bad.parse::<AccountId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_run_and_step_accounts_belong_to_a_run() {
        let run = RunId::from_bytes([1; 16]);
        assert_eq!(AccountId::Step(run, "a".parse().unwrap()).run(), Some(run));
        assert_eq!(AccountId::Workspace.run(), None);
    }
}
