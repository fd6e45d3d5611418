//! Halts: what is stopped by an operator's word until it is resumed.
//!
//! A halt of the workspace or of an agent keeps steps from going out (they say so, as those of an
//! agent that is not here) and refuses calls; what is out is told to stop, and loses its token at
//! the halt's deadline. A run that is halted is paused, by the same rules. Decided in `decide::halt`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Detail, Error, ErrorKind};
use crate::event::run::PauseReason;
use crate::id::{AgentName, RunId};
use crate::run::Run;
use crate::time::Timestamp;

/// What is halted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HaltScope {
    /// Everything.
    Workspace,
    /// Whatever an agent does, in every run and session.
    Agent(AgentName),
    /// One run.
    Run(RunId),
}

impl HaltScope {
    /// That of an agent; none for the workspace.
    pub fn of_agent(agent: Option<&AgentName>) -> Self {
        agent.cloned().map_or(Self::Workspace, Self::Agent)
    }
}

impl fmt::Display for HaltScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workspace => f.write_str("workspace"),
            Self::Agent(agent) => write!(f, "agent:{agent}"),
            Self::Run(run) => write!(f, "run:{run}"),
        }
    }
}

impl FromStr for HaltScope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            let message = "`workspace`, `agent:NAME` or `run:ID` is halted";
            Error::invalid("scope", message).with_context("scope", text)
        };
        match text.split_once(':') {
            None if text == "workspace" => Ok(Self::Workspace),
            Some(("agent", name)) => AgentName::new(name).map(Self::Agent).map_err(|_| wrong()),
            Some(("run", id)) => id.parse().map(Self::Run).map_err(|_| wrong()),
            Some(_) | None => Err(wrong()),
        }
    }
}

/// The halts of the workspace and of agents that are in force, as the workspace's row keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Halts {
    /// When what was out at the workspace's halt has to be gone; none where it is not halted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workspace: Option<Timestamp>,
    /// The same, by agent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    agents: BTreeMap<AgentName, Timestamp>,
}

impl Halts {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.workspace.is_none() && self.agents.is_empty()
    }

    /// Puts one into force, or takes one back; none for the workspace.
    pub fn set(&mut self, agent: Option<&AgentName>, until: Option<Timestamp>) {
        match (agent, until) {
            (None, until) => self.workspace = until,
            (Some(agent), Some(until)) => drop(self.agents.insert(agent.clone(), until)),
            (Some(agent), None) => drop(self.agents.remove(agent)),
        }
    }

    /// The deadline of a halt that is in force.
    pub fn until(&self, agent: Option<&AgentName>) -> Option<Timestamp> {
        match agent {
            None => self.workspace,
            Some(agent) => self.agents.get(agent).copied(),
        }
    }

    /// Every halt with its deadline.
    pub fn all(&self) -> impl Iterator<Item = (HaltScope, Timestamp)> + '_ {
        let workspace = self.workspace.map(|at| (HaltScope::Workspace, at));
        let agents = self.agents.iter();
        let agents = agents.map(|(agent, at)| (HaltScope::Agent(agent.clone()), *at));
        workspace.into_iter().chain(agents)
    }

    /// What of the workspace or of these agents is halted.
    pub fn of<'a>(&self, agents: impl IntoIterator<Item = &'a AgentName>) -> Option<HaltScope> {
        if self.workspace.is_some() {
            return Some(HaltScope::Workspace);
        }
        let mut agents = agents.into_iter();
        let halted = agents.find(|agent| self.agents.contains_key(*agent));
        halted.cloned().map(HaltScope::Agent)
    }

    /// Those of some agents that are not halted, directly or with the workspace.
    pub fn free<'a>(&self, agents: impl Iterator<Item = &'a AgentName>) -> BTreeSet<AgentName> {
        agents
            .filter(|agent| self.of([*agent]).is_none())
            .cloned()
            .collect()
    }
}

/// The deadline of a run's own halt; none where it is not halted.
pub(super) fn run_halt(run: &Run) -> Option<Timestamp> {
    match &run.paused {
        Some(PauseReason::Halt { until }) => Some(*until),
        Some(
            PauseReason::Operator
            | PauseReason::Budget { .. }
            | PauseReason::StepFailed { .. }
            | PauseReason::Outer { .. },
        )
        | None => None,
    }
}

/// What a halt answers to whoever asks to act.
pub(super) fn refused(scope: &HaltScope) -> Error {
    let message = format!("`{scope}` is halted: nothing goes out until an operator resumes it");
    let detail = Detail::Halted {
        scope: scope.to_string(),
    };
    Error::new(ErrorKind::Unavailable, message).with_detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_read_back_from_its_text() {
        let run = RunId::from_bytes([7; 16]);
        let agent = AgentName::new("writer").expect("a name");
        for scope in [
            HaltScope::Workspace,
            HaltScope::Agent(agent),
            HaltScope::Run(run),
        ] {
            assert_eq!(scope.to_string().parse::<HaltScope>().ok(), Some(scope));
        }
        for wrong in [
            "",
            "agent",
            "agent:",
            "agent:A B",
            "run:7",
            "step:x",
            "workspace:x",
        ] {
            assert!(wrong.parse::<HaltScope>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_workspaces_halt_stops_every_agent_and_an_agents_its_own() {
        let [one, other] = ["one", "other"].map(|name| AgentName::new(name).expect("a name"));
        let mut halts = Halts::default();
        halts.set(Some(&one), Some(Timestamp::from_unix_us(5)));
        assert_eq!(halts.of([&other]), None);
        assert_eq!(
            halts.of([&other, &one]),
            Some(HaltScope::Agent(one.clone()))
        );
        halts.set(None, Some(Timestamp::from_unix_us(9)));
        assert_eq!(halts.of([&other]), Some(HaltScope::Workspace));
        halts.set(None, None);
        halts.set(Some(&one), None);
        assert!(halts.is_empty() && halts.of([&one]).is_none());
    }
}
