//! What lets a run go on that waits for somebody, as a command of the command line.
//!
//! The commands are those that `mission-control` itself names; the store's path is left out, since the
//! engine does not know it. What is *not* here: when this is said (`position`).

use crate::event::BlockReason;
use crate::event::run::PauseReason;
use crate::event::step::{HALTED, WaitingFor};
use crate::id::{AgentName, Opaque, RunId, StepKey};
use crate::run::{Run, Step};

/// A step that is blocked, as far as a command has to name it.
#[derive(Clone, Debug)]
pub(super) struct Blocked<'a> {
    run: RunId,
    key: &'a StepKey,
    attempt: u32,
    agent: Option<&'a AgentName>,
    awaits: Option<&'a Opaque>,
    reason: BlockReason,
    code: &'a str,
}

impl<'a> Blocked<'a> {
    /// A step of a run, if it is blocked.
    pub(super) fn of(run: &'a Run, key: &'a StepKey) -> Option<Self> {
        let step = run.step(key)?;
        let block = step.block.as_ref()?;
        Some(Self {
            run: run.run_id,
            key,
            attempt: step.attempt,
            agent: step.agent.as_ref(),
            awaits: awaited(step),
            reason: block.reason,
            code: &block.code,
        })
    }

    /// What clears the block.
    pub(super) fn way_out(&self) -> String {
        let (run, key) = (self.run, self.key);
        let next = match self.reason {
            BlockReason::Approval => {
                "`mission-control approvals` shows what is asked, `mission-control approve` or \
                 `mission-control reject` decides it"
                    .to_owned()
            }
            BlockReason::Budget if self.code == "only_doubt" => {
                format!("`mission-control reconcile --run {run}` settles what is in doubt")
            }
            BlockReason::Budget => more_room("ACCOUNT"),
            BlockReason::Guardrail => {
                format!("`mission-control unblock {run} '{key}'` lets it try afresh")
            }
            BlockReason::InDoubt => format!(
                "`mission-control resolve {run} '{key}' --attempt {}` says whether it happened",
                self.attempt
            ),
            BlockReason::Signal => {
                let name = self.awaits.map_or("NAME", Opaque::as_str);
                format!("`mission-control signal {run} '{name}' JSON` lets it go on")
            }
            BlockReason::AgentUnavailable if self.code == HALTED => format!(
                "`mission-control resume agent:{}` lets it go on, or `mission-control resume \
                 workspace` where all is halted",
                self.agent()
            ),
            BlockReason::AgentUnavailable => format!(
                "its host has to register agent `{}` (`register_agent`, or the agents file)",
                self.agent()
            ),
            BlockReason::Circuit => {
                return "it goes on when the provider answers again".to_owned();
            }
        };
        or_end(run, &next)
    }

    fn agent(&self) -> &str {
        self.agent.map_or("NAME", AgentName::as_str)
    }
}

/// What lets a paused run go on.
pub(super) fn from_pause(run: RunId, why: &PauseReason) -> String {
    match why {
        PauseReason::Operator | PauseReason::Halt { .. } | PauseReason::StepFailed { .. } => {
            or_end(
                run,
                &format!("`mission-control resume run:{run}` lets it go on"),
            )
        }
        PauseReason::Budget { account } => or_end(run, &more_room(&account.to_string())),
        PauseReason::Outer { run } => format!("it goes on with run {run}"),
    }
}

fn more_room(account: &str) -> String {
    format!("`mission-control budgets top-up '{account}' --usd USD` gives it more")
}

fn or_end(run: RunId, next: &str) -> String {
    format!("{next}; or end it with `mission-control abort {run}`")
}

fn awaited(step: &Step) -> Option<&Opaque> {
    match &step.suspension.as_ref()?.waiting_for {
        WaitingFor::Signal { name } => Some(name),
        WaitingFor::Time { .. } | WaitingFor::Approval { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::AccountId;

    const RUN: RunId = RunId::from_bytes([7; 16]);

    fn way_out(reason: BlockReason, code: &str) -> String {
        let (agent, awaits) = ("writer".parse().unwrap(), "go".parse().unwrap());
        let blocked = Blocked {
            run: RUN,
            key: &"a[3]".parse().unwrap(),
            attempt: 2,
            agent: Some(&agent),
            awaits: Some(&awaits),
            reason,
            code,
        };
        blocked.way_out()
    }

    #[test]
    fn every_reason_that_waits_for_somebody_names_the_command_that_ends_it() {
        for (reason, code, command) in [
            (BlockReason::Approval, "", "approve`".to_owned()),
            (
                BlockReason::Budget,
                "only_doubt",
                format!("reconcile --run {RUN}`"),
            ),
            (
                BlockReason::Budget,
                "",
                "budgets top-up 'ACCOUNT' --usd USD`".to_owned(),
            ),
            (
                BlockReason::Guardrail,
                "r",
                format!("unblock {RUN} 'a[3]'`"),
            ),
            (
                BlockReason::InDoubt,
                "crashed",
                format!("resolve {RUN} 'a[3]' --attempt 2`"),
            ),
            (BlockReason::Signal, "", format!("signal {RUN} 'go' JSON`")),
            (
                BlockReason::AgentUnavailable,
                HALTED,
                "resume agent:writer`".to_owned(),
            ),
        ] {
            let told = way_out(reason, code);
            assert!(
                told.contains(&format!("`mission-control {command}")),
                "{told}"
            );
            assert!(
                told.ends_with(&format!("`mission-control abort {RUN}`")),
                "{told}"
            );
        }
        assert!(way_out(BlockReason::AgentUnavailable, "").contains("agent `writer`"));
    }

    #[test]
    fn a_pause_names_the_command_that_lets_the_run_go_on() {
        let resume = format!("`mission-control resume run:{RUN}`");
        assert!(from_pause(RUN, &PauseReason::Operator).starts_with(&resume));
        let account = AccountId::Workspace;
        let told = from_pause(RUN, &PauseReason::Budget { account });
        assert!(told.starts_with("`mission-control budgets top-up 'workspace' --usd USD`"));
    }
}
