//! Following runs event by event, and telling what each event spent.

use std::collections::BTreeMap;

use crate::budget::{AccountId, Amount, Movement};
use crate::error::Result;
use crate::event::{EventKind, Record, RunStatus};
use crate::id::{AgentName, ModelId, RunId, StepKey, WorkflowName};
use crate::run::{Run, RunEvent, read_event};
use crate::time::Timestamp;

/// What one event spent: a settlement, a late result or a reconciliation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The run.
    pub run_id: RunId,
    /// When it was decided.
    pub ts: Timestamp,
    /// The workflow; none for a session.
    pub workflow: Option<WorkflowName>,
    /// The step, with its item.
    pub step: StepKey,
    /// The agent in whose name it was spent.
    pub agent: Option<AgentName>,
    /// The model; none where a whole hold was settled and no call is named.
    pub model: Option<ModelId>,
    /// What was spent.
    pub amount: Amount,
}

/// Runs as far as their records went by.
#[derive(Clone, Debug, Default)]
pub struct RunFold {
    runs: BTreeMap<RunId, Run>,
}

impl RunFold {
    /// A fold that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next record of its run, from the run's first on; events of run zero spend nothing.
    ///
    /// # Errors
    /// `Corrupt` where a record does not follow from those before it.
    pub fn take(&mut self, record: &Record) -> Result<Vec<Spent>> {
        if record.run_id == RunId::ZERO {
            return Ok(Vec::new());
        }
        let kind = read_event(record)?;
        let event = RunEvent::of(record, &kind);
        let Some(run) = self.runs.get_mut(&record.run_id) else {
            let run = Run::create(record.run_id, &event)?;
            self.runs.insert(record.run_id, run);
            return Ok(Vec::new());
        };
        let model = model_of(run, &kind);
        let workflow = run.workflow().map(|(name, _)| name.clone());
        let postings = run.apply(&event)?;
        let Some(step) = kind.step() else {
            return Ok(Vec::new());
        };
        let spent = postings.iter().filter_map(|posting| {
            Some(Spent {
                run_id: record.run_id,
                ts: record.ts,
                workflow: workflow.clone(),
                step: step.clone(),
                agent: posting.path.iter().find_map(agent_of),
                model: model.clone(),
                amount: spent_by(&posting.movement)?,
            })
        });
        Ok(spent.collect())
    }

    /// A run as its records so far make it.
    pub fn run(&self, run_id: RunId) -> Option<&Run> {
        self.runs.get(&run_id)
    }

    /// Forgets a run whose evidence is complete: no event of it can follow.
    pub fn forget_sealed(&mut self, run_id: RunId) {
        // One that failed may be redriven.
        let over = |run: &Run| run.sealed && run.status != RunStatus::Failed;
        if self.runs.get(&run_id).is_some_and(over) {
            self.runs.remove(&run_id);
        }
    }
}

fn agent_of(account: &AccountId) -> Option<AgentName> {
    match account {
        AccountId::Agent(agent) => Some(agent.clone()),
        AccountId::Workspace
        | AccountId::Workflow(_)
        | AccountId::Tag(_)
        | AccountId::Run(_)
        | AccountId::Step(..) => None,
    }
}

fn spent_by(movement: &Movement) -> Option<Amount> {
    match movement {
        Movement::Settle { actual, .. } | Movement::SettleDoubt { actual, .. } => Some(*actual),
        Movement::Reserve(_) | Movement::Release(_) | Movement::Doubt(_) | Movement::Change(_) => {
            None
        }
    }
}

/// The model whose call an event settles: the one that was asked.
fn model_of(run: &Run, kind: &EventKind) -> Option<ModelId> {
    let asked = |step: &StepKey, ordinal: Option<u32>| {
        let call = run.step(step)?.calls.get(&ordinal?)?;
        call.model.clone()
    };
    if let EventKind::ModelCallSettled(facts) = kind {
        Some(facts.model.clone())
    } else if let EventKind::ResultLate(facts) = kind {
        asked(&facts.step, facts.ordinal)
    } else if let EventKind::BudgetReconciled(facts) = kind {
        asked(&facts.step, facts.ordinal)
    } else {
        None
    }
}
