//! Agents: steps that wait for one go on once it is registered.

use std::collections::BTreeSet;

use super::control::unblocked;
use crate::event::BlockReason;
use crate::id::AgentName;
use crate::sequencer::decision::NewEvent;
use crate::sequencer::resident::Resident;

/// Lets the steps of a run go that wait for one of these agents.
pub fn available(resident: &Resident, agents: &BTreeSet<AgentName>) -> Vec<NewEvent> {
    let run = &resident.run;
    let Some(workflow) = &resident.workflow else {
        return Vec::new();
    };
    let waits = run.steps.iter().filter(|(key, step)| {
        let agent = workflow
            .definition()
            .step(key.name())
            .map(|step| &step.agent);
        let blocked = step.block.as_ref().map(|block| block.reason);
        blocked == Some(BlockReason::AgentUnavailable)
            && agent.is_some_and(|agent| agents.contains(agent))
    });
    waits
        .map(|(key, _)| unblocked(run, key, BlockReason::AgentUnavailable))
        .collect()
}
