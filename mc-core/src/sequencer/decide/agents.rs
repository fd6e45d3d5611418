//! Agents: steps that wait for one go on once it is registered.

use std::collections::BTreeSet;

use super::control::unblocked;
use crate::event::BlockReason;
use crate::id::{AgentName, StepKey};
use crate::sequencer::decision::NewEvent;
use crate::sequencer::resident::Resident;
use crate::workflow::Step;

/// Lets the steps of a run go that wait for one of these agents.
pub fn available(resident: &Resident, agents: &BTreeSet<AgentName>) -> Vec<NewEvent> {
    let run = &resident.run;
    let Some(workflow) = &resident.workflow else {
        return Vec::new();
    };
    let waits = run.steps.iter().filter(|(key, step)| {
        let agent = workflow.definition().step(key.name()).and_then(Step::agent);
        let blocked = step.block.as_ref().map(|block| block.reason);
        blocked == Some(BlockReason::AgentUnavailable)
            && agent.is_some_and(|agent| agents.contains(agent))
    });
    waits
        .map(|(key, _)| unblocked(run, key, BlockReason::AgentUnavailable))
        .collect()
}

/// The steps of a run that are in doubt.
pub fn in_doubt(resident: &Resident) -> Vec<StepKey> {
    let run = &resident.run;
    let keys = run.steps.keys().filter(|key| run.is_in_doubt(key));
    keys.cloned().collect()
}

/// The code of a step that waits because too many abandoned handlers of its agent are out.
pub const ABANDONED_HANDLERS: &str = "abandoned_handlers";

/// Lets the steps of a run go that a cap on abandoned handlers of these agents held up.
pub fn freed(resident: &Resident, agents: &BTreeSet<AgentName>) -> Vec<NewEvent> {
    let run = &resident.run;
    let Some(workflow) = &resident.workflow else {
        return Vec::new();
    };
    let held_up = run.steps.iter().filter(|(key, step)| {
        let agent = workflow.definition().step(key.name());
        let capped = step.block.as_ref().is_some_and(|block| {
            block.reason == BlockReason::AgentUnavailable && block.code == ABANDONED_HANDLERS
        });
        let agent = agent.and_then(Step::agent);
        capped && agent.is_some_and(|agent| agents.contains(agent))
    });
    held_up
        .map(|(key, _)| unblocked(run, key, BlockReason::AgentUnavailable))
        .collect()
}
