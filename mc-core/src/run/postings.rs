//! What an event moves in which accounts, from its facts alone.
//!
//! This is the one place that ties events to money. The run applies a posting to its own accounts,
//! the workspace to the shared ones, an outsider to all of them: the sums are the same.

use super::HoldKey;
use super::state::Run;
use crate::budget::{AccountId, Amount, Movement, Path};
use crate::event::EventKind;
use crate::id::{AgentName, StepKey};

/// One movement in every account of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The accounts.
    pub path: Path,
    /// The movement.
    pub movement: Movement,
}

impl Posting {
    /// The accounts that belong to the run.
    pub fn own(&self) -> Path {
        self.path.iter().filter(|id| is_own(id)).cloned().collect()
    }

    /// The accounts that belong to the workspace.
    pub fn shared(&self) -> Path {
        self.path.iter().filter(|id| !is_own(id)).cloned().collect()
    }
}

const fn is_own(id: &AccountId) -> bool {
    match id {
        AccountId::Run(_) | AccountId::Step(..) => true,
        AccountId::Workspace | AccountId::Workflow(_) | AccountId::Agent(_) => false,
    }
}

/// The movements of an event, given its run as it was before.
pub fn of(run: &Run, kind: &EventKind) -> Vec<Posting> {
    let mut postings = Vec::new();
    let mut add = |path: Option<Path>, amount: Amount, movement: fn(Amount) -> Movement| {
        if let (Some(path), false) = (path, amount.is_zero()) {
            postings.push(Posting {
                path,
                movement: movement(amount),
            });
        }
    };
    let escrow = |step: &StepKey, attempt| escrow_path(run, step, attempt);
    let call = |step: &StepKey, attempt, ordinal| call_path(run, step, attempt, ordinal);
    match kind {
        EventKind::StepDispatched(f) => {
            add(Some(run.path(&f.step, &f.agent)), f.hold, Movement::Reserve);
        }
        EventKind::StepCompleted(f) => {
            add(escrow(&f.step, f.attempt), f.released, Movement::Release);
        }
        EventKind::AttemptFailed(f) => {
            add(escrow(&f.step, f.attempt), f.released, Movement::Release);
        }
        EventKind::AttemptAbandoned(f) => {
            add(escrow(&f.step, f.attempt), f.released, Movement::Release);
        }
        EventKind::StepSuspended(f) => {
            add(escrow(&f.step, f.attempt), f.released, Movement::Release);
        }
        EventKind::StepCancelled(f) => {
            let attempt = run.step(&f.step).map_or(0, |step| step.attempt);
            add(escrow(&f.step, attempt), f.released, Movement::Release);
        }
        EventKind::AttemptInterrupted(f) => {
            add(escrow(&f.step, f.attempt), f.doubted, Movement::Doubt);
        }
        EventKind::ModelCallReserved(f) => {
            let (agent, amount) = match &f.agent {
                Some(agent) => (Some(agent.clone()), f.amount),
                None => (agent_of(run, &f.step), f.extended),
            };
            add(
                agent.map(|agent| run.path(&f.step, &agent)),
                amount,
                Movement::Reserve,
            );
        }
        EventKind::ModelCallSettled(f) => {
            let path = settle_path(run, &f.step, f.attempt, f.ordinal);
            if !(f.held.is_zero() && f.actual.is_zero()) {
                let movement = Movement::Settle {
                    held: f.held,
                    actual: f.actual,
                };
                postings.extend(path.clone().map(|path| Posting { path, movement }));
            }
            if !f.released.is_zero() {
                let movement = Movement::Release(f.released);
                postings.extend(path.map(|path| Posting { path, movement }));
            }
        }
        EventKind::ModelCallThrottled(f) => {
            add(
                call(&f.step, f.attempt, f.ordinal),
                f.released,
                Movement::Release,
            );
        }
        EventKind::ModelCallReleased(f) => {
            add(
                call(&f.step, f.attempt, f.ordinal),
                f.released,
                Movement::Release,
            );
        }
        EventKind::ModelCallDoubted(f) => {
            add(
                call(&f.step, f.attempt, f.ordinal),
                f.doubted,
                Movement::Doubt,
            );
        }
        EventKind::ResultLate(f) => {
            let movement = Movement::SettleDoubt {
                held: f.held,
                actual: f.actual,
            };
            let path = late_path(run, &f.step, f.attempt, f.ordinal);
            if !(f.held.is_zero() && f.actual.is_zero()) {
                postings.extend(path.map(|path| Posting { path, movement }));
            }
        }
        EventKind::BudgetReconciled(f) => {
            let movement = Movement::SettleDoubt {
                held: f.held,
                actual: f.actual,
            };
            let path = late_path(run, &f.step, f.attempt, f.ordinal);
            postings.extend(path.map(|path| Posting { path, movement }));
        }
        EventKind::BudgetLimitSet(f) => {
            let movement = Movement::SetLimit {
                limit: f.limit,
                on_exceed: f.on_exceed,
            };
            postings.push(Posting {
                path: [f.account.clone()].into_iter().collect(),
                movement,
            });
        }
        EventKind::WorkspaceCreated(_)
        | EventKind::EpochStarted(_)
        | EventKind::ClockJumped(_)
        | EventKind::WorkflowPublished(_)
        | EventKind::WorkflowActivated(_)
        | EventKind::PricesLoaded(_)
        | EventKind::CircuitOpened(_)
        | EventKind::CircuitHalfOpened(_)
        | EventKind::CircuitClosed(_)
        | EventKind::RunCreated(_)
        | EventKind::RunStarted(_)
        | EventKind::RunPaused(_)
        | EventKind::RunResumed(_)
        | EventKind::RunCompleted(_)
        | EventKind::RunFailed(_)
        | EventKind::RunAborted(_)
        | EventKind::RunSealed(_)
        | EventKind::SignalReceived(_)
        | EventKind::StepExpanded(_)
        | EventKind::AttemptAdopted(_)
        | EventKind::AttemptEnded(_)
        | EventKind::StepBlocked(_)
        | EventKind::StepUnblocked(_)
        | EventKind::StepFailed(_)
        | EventKind::StepSkipped(_)
        | EventKind::DecisionRecorded(_)
        | EventKind::SideEffectRecorded(_)
        | EventKind::ModelCallDenied(_)
        | EventKind::ToolCallDispatched(_)
        | EventKind::ToolCallCompleted(_)
        | EventKind::ToolCallFailed(_)
        | EventKind::OnceRecorded(_)
        | EventKind::JournalDiverged(_)
        | EventKind::GuardrailJudged(_)
        | EventKind::BudgetBreached(_) => {}
    }
    postings
}

fn agent_of(run: &Run, step: &StepKey) -> Option<AgentName> {
    run.step(step).and_then(|step| step.agent.clone())
}

fn path_of(run: &Run, key: &HoldKey) -> Option<Path> {
    run.holds.get(key).map(|hold| hold.path().clone())
}

fn escrow_path(run: &Run, step: &StepKey, attempt: u32) -> Option<Path> {
    path_of(run, &HoldKey::escrow(step.clone(), attempt))
}

/// The hold that an open call is in: its own, or its attempt's.
fn call_path(run: &Run, step: &StepKey, attempt: u32, ordinal: u32) -> Option<Path> {
    path_of(run, &HoldKey::call(step.clone(), attempt, ordinal))
        .or_else(|| escrow_path(run, step, attempt))
}

/// As `call_path`; a call that held nothing counts in its step's accounts.
fn settle_path(run: &Run, step: &StepKey, attempt: u32, ordinal: u32) -> Option<Path> {
    call_path(run, step, attempt, ordinal)
        .or_else(|| agent_of(run, step).map(|agent| run.path(step, &agent)))
}

fn late_path(run: &Run, step: &StepKey, attempt: u32, ordinal: Option<u32>) -> Option<Path> {
    match ordinal {
        Some(ordinal) => settle_path(run, step, attempt, ordinal),
        None => escrow_path(run, step, attempt),
    }
}
