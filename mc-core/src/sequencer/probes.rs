//! Probes: agents are asked what became of steps in doubt.

use super::core::Sequencer;
use super::decision::{Effect, ProbeOrder};
use crate::event::EventKind;
use crate::id::{RunId, StepKey};
use crate::run::BlockReason;

impl Sequencer {
    /// A step that has come into doubt, or whose last handler has ended: its agent may know.
    pub(super) fn probe_after(&mut self, run_id: RunId, kind: &EventKind) {
        let doubted = matches!(kind, EventKind::StepBlocked(f) if f.reason == BlockReason::InDoubt);
        let late = matches!(kind, EventKind::ResultLate(f) if f.ordinal.is_none());
        let may_know = doubted || late || matches!(kind, EventKind::AttemptEnded(_));
        if let Some(key) = kind.step().filter(|_| may_know) {
            self.probe(run_id, key);
        }
    }

    /// Asks the agent of a step in doubt, where it is here and no handler of the step is out, here
    /// or in any other process.
    pub(super) fn probe(&mut self, run_id: RunId, key: &StepKey) {
        let Some(resident) = self.workspace.runs.get(&run_id) else {
            return;
        };
        let in_doubt = resident.run.is_in_doubt(key);
        let step = resident.run.step(key).filter(|_| in_doubt);
        let Some(step) = step.filter(|step| step.abandoned.is_empty()) else {
            return;
        };
        let known = step.agent.as_ref().zip(step.effect_key).zip(step.input);
        let Some(((agent, effect_key), input)) = known else {
            return;
        };
        if !self.workspace.agents.contains_key(agent) {
            return;
        }
        let order = ProbeOrder {
            run_id,
            step: key.clone(),
            attempt: step.attempt,
            agent: agent.clone(),
            effect_key,
            input,
        };
        if self.may_ask(run_id, key, &order.agent) {
            self.batch.effects.push(Effect::Probe(Box::new(order)));
        }
    }
}
