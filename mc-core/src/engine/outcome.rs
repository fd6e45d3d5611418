//! How a run stands, for those who wait for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::inner::{Inner, lock};
use super::port::{Peek, Peeked};
use crate::budget::Amount;
use crate::error::{Error, ErrorKind, Result};
use crate::event::run::AbortReason;
use crate::event::{EventKind, PartRef, StepStatus};
use crate::id::{RunId, StepKey, StepName};
use crate::run::{End, HoldKey, Run};
use crate::workflow::Workflow;

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It completed; the outputs of its last steps, by step.
    Completed(BTreeMap<StepName, Value>),
    /// A step failed for good.
    Failed {
        /// The step.
        step: StepKey,
        /// Its code.
        code: String,
        /// In words, for people: what the agent or the engine said. Empty where nothing was said.
        message: String,
    },
    /// An operator, a budget or a policy ended it.
    Aborted(AbortReason),
}

impl Outcome {
    /// The output of a run with one last step; none for another.
    pub fn output(&self) -> Option<&Value> {
        match self {
            Self::Completed(outputs) if outputs.len() == 1 => outputs.values().next(),
            Self::Completed(_) | Self::Failed { .. } | Self::Aborted(_) => None,
        }
    }
}

/// Holds that are in doubt, and what they hold.
pub(super) type Doubts = Vec<(HoldKey, Amount)>;

/// Events that are read at a time, from a run's end back to its failure.
const FAILURE_PAGE: u64 = 64;

impl Inner {
    /// A run's state, if all of it is on disk; none where a commit is on its way, after which
    /// whoever watches the run is told.
    pub(super) async fn settled_state(&self, run_id: RunId) -> Result<Option<Arc<Run>>> {
        {
            let live = lock(&self.live);
            if let Some(sequencer) = &live.sequencer
                && let Some(resident) = sequencer.workspace().runs.get(&run_id)
            {
                let durable = resident.last_seq < sequencer.durable();
                return Ok(durable.then(|| Arc::clone(&resident.run)));
            }
        }
        self.durable_run(run_id).await.map(Some)
    }

    /// A run's state, as far as it is on disk.
    pub(super) async fn durable_run(&self, run_id: RunId) -> Result<Arc<Run>> {
        {
            let live = lock(&self.live);
            if let Some(sequencer) = &live.sequencer
                && let Some(resident) = sequencer.workspace().runs.get(&run_id)
                && resident.last_seq < sequencer.durable()
            {
                return Ok(Arc::clone(&resident.run));
            }
        }
        let row = self.log.run_row(run_id).await?;
        let row = row.ok_or_else(|| Error::not_found("run", run_id))?;
        Run::decode(&row.state).map(Arc::new)
    }

    /// Money of one step of a run that is in doubt.
    ///
    /// # Errors
    /// `Unavailable` while nobody knows: no money is not the same as none that is known of.
    pub(super) async fn doubts(&self, run: RunId, step: &StepKey) -> Result<Doubts> {
        let here = match self.joined() {
            Some(owner) => match owner.port.ask(Peek::Doubts(run, Some(step.clone()))).await {
                Ok(Peeked::Doubts(doubts)) => doubts,
                Ok(_) | Err(_) => None,
            },
            None => self.doubts_here(run, Some(step)),
        };
        here.ok_or_else(|| {
            let message = "the engine takes the log over; ask again what is in doubt";
            Error::new(ErrorKind::Unavailable, message)
        })
    }

    /// As [`doubts`](Self::doubts), of what is in memory; none while the state is taken over.
    pub(super) fn doubts_here(&self, run: RunId, step: Option<&StepKey>) -> Option<Doubts> {
        let live = lock(&self.live);
        let workspace = live.sequencer.as_ref()?.workspace();
        let holds = workspace.runs.get(&run).map(|one| one.run.holds.iter());
        let holds = holds.into_iter().flatten();
        let holds = holds
            .filter(|(key, hold)| hold.is_in_doubt() && step.is_none_or(|step| key.step == *step));
        Some(
            holds
                .map(|(key, hold)| (key.clone(), *hold.amount()))
                .collect(),
        )
    }

    /// How a run ended, with its outputs from the log; none while it goes on.
    pub(super) async fn outcome(&self, run: &Run) -> Result<Option<Outcome>> {
        Ok(match &run.end {
            None => None,
            Some(End::Failed { step, code }) => Some(Outcome::Failed {
                step: step.clone(),
                code: code.clone(),
                message: self.failure_message(run, step).await?,
            }),
            Some(End::Aborted { reason }) => Some(Outcome::Aborted(reason.clone())),
            Some(End::Completed) => Some(Outcome::Completed(self.outputs(run).await?)),
        })
    }

    /// What was said when a step failed for good; it stands near the end of the run.
    async fn failure_message(&self, run: &Run, step: &StepKey) -> Result<String> {
        let mut until = run.events;
        while until > 0 {
            let from = until.saturating_sub(FAILURE_PAGE);
            let page = usize::try_from(until - from).unwrap_or(usize::MAX);
            let records = self.log.read_run(run.run_id, from, page).await?;
            for record in records.iter().rev() {
                let kind = crate::run::read_event(record)?;
                let failed = if let EventKind::StepFailed(facts) = &kind {
                    // Of a `for_each` it only says that an item failed.
                    let failed = run.step(&facts.step);
                    failed.is_none_or(|one| one.expansion.is_none())
                } else {
                    matches!(kind, EventKind::AttemptFailed(_))
                };
                // The last item of a `for_each` speaks for its step.
                let is_its = kind.step().is_some_and(|key| key.name() == step.name());
                if failed && is_its && !record.parts.is_empty() {
                    let (seq, part) = (record.seq, 0);
                    let text = self.log.read_part(PartRef { seq, part }).await?;
                    return Ok(String::from_utf8_lossy(&text).into_owned());
                }
            }
            until = from;
        }
        Ok(String::new())
    }

    async fn outputs(&self, run: &Run) -> Result<BTreeMap<StepName, Value>> {
        let mut outputs = BTreeMap::new();
        let Some(workflow) = self.workflow_of(run).await? else {
            return match run.created.definition_hash {
                None => Ok(outputs),
                // Which steps are the last ones is not known while there is no state.
                Some(_) => Err(Error::new(
                    ErrorKind::Unavailable,
                    "the engine takes the log over; ask again",
                )),
            };
        };
        let at_hand = self.outputs_at_hand(run.run_id);
        for (name, after) in workflow.definition().dependents() {
            let step = run.step(&StepKey::of(name));
            let done = step.filter(|step| step.status.0 == StepStatus::Completed);
            if let (true, Some(place)) = (after.is_empty(), done.and_then(|step| step.output)) {
                let output = match at_hand.get(name) {
                    Some(output) => output.as_ref().clone(),
                    None => self.read_value(place).await?,
                };
                outputs.insert(name.clone(), output);
            }
        }
        Ok(outputs)
    }

    /// The outputs of a run's steps that are in memory.
    fn outputs_at_hand(&self, run: RunId) -> BTreeMap<StepName, Arc<Value>> {
        let live = lock(&self.live);
        let sequencer = live.sequencer.as_ref();
        let resident = sequencer.and_then(|s| s.workspace().runs.get(&run));
        resident.map(|run| run.outputs.clone()).unwrap_or_default()
    }

    /// The workflow that a run is pinned to.
    async fn workflow_of(&self, run: &Run) -> Result<Option<Arc<Workflow>>> {
        let Some(hash) = run.created.definition_hash else {
            return Ok(None);
        };
        if let Some(owner) = self.joined() {
            let told = owner.port.ask(Peek::Definition(hash)).await;
            let Ok(Peeked::Definition(Some(text))) = told else {
                return Ok(None);
            };
            return Workflow::from_canonical(text.as_bytes())
                .map(|workflow| Some(Arc::new(workflow)));
        }
        let live = lock(&self.live);
        let sequencer = live.sequencer.as_ref();
        Ok(sequencer.and_then(|s| s.workspace().compiled.get(&hash).cloned()))
    }
}
