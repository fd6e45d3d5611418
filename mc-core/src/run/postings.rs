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
    match kind {
        EventKind::StepDispatched(f) => {
            one(Some(run.path(&f.step, &f.agent)), f.hold, Movement::Reserve)
        }
        EventKind::StepCompleted(f) => escrow(run, &f.step, f.attempt, f.released),
        EventKind::AttemptFailed(f) => escrow(run, &f.step, f.attempt, f.released),
        EventKind::AttemptAbandoned(f) => escrow(run, &f.step, f.attempt, f.released),
        EventKind::StepSuspended(f) => escrow(run, &f.step, f.attempt, f.released),
        EventKind::StepCancelled(f) => {
            let attempt = run.step(&f.step).map_or(0, |step| step.attempt);
            escrow(run, &f.step, attempt, f.released)
        }
        EventKind::AttemptInterrupted(f) => one(
            escrow_path(run, &f.step, f.attempt),
            f.doubted,
            Movement::Doubt,
        ),
        EventKind::ModelCallReserved(_)
        | EventKind::ModelCallSettled(_)
        | EventKind::ModelCallThrottled(_)
        | EventKind::ModelCallReleased(_)
        | EventKind::ModelCallDoubted(_)
        | EventKind::ResultLate(_)
        | EventKind::BudgetReconciled(_) => of_call(run, kind),
        EventKind::BudgetLimitSet(f) => {
            let movement = Movement::SetLimit {
                limit: f.limit,
                on_exceed: f.on_exceed,
            };
            vec![Posting {
                path: [f.account.clone()].into_iter().collect(),
                movement,
            }]
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
        | EventKind::BudgetBreached(_) => Vec::new(),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "`of` sends only these kinds here"
)]
fn of_call(run: &Run, kind: &EventKind) -> Vec<Posting> {
    match kind {
        EventKind::ModelCallReserved(f) => {
            let (agent, amount) = match &f.agent {
                Some(agent) => (Some(agent.clone()), f.amount),
                None => (agent_of(run, &f.step), f.extended),
            };
            one(
                agent.map(|agent| run.path(&f.step, &agent)),
                amount,
                Movement::Reserve,
            )
        }
        EventKind::ModelCallSettled(f) => {
            let path = settle_path(run, &f.step, f.attempt, f.ordinal);
            let movement = Movement::Settle {
                held: f.held,
                actual: f.actual,
            };
            let mut postings = moved(path.clone(), f.held, f.actual, movement);
            postings.extend(one(path, f.released, Movement::Release));
            postings
        }
        EventKind::ModelCallThrottled(f) => one(
            call_path(run, &f.step, f.attempt, f.ordinal),
            f.released,
            Movement::Release,
        ),
        EventKind::ModelCallReleased(f) => one(
            call_path(run, &f.step, f.attempt, f.ordinal),
            f.released,
            Movement::Release,
        ),
        EventKind::ModelCallDoubted(f) => one(
            call_path(run, &f.step, f.attempt, f.ordinal),
            f.doubted,
            Movement::Doubt,
        ),
        EventKind::ResultLate(f) => {
            let movement = Movement::SettleDoubt {
                held: f.held,
                actual: f.actual,
            };
            moved(
                late_path(run, &f.step, f.attempt, f.ordinal),
                f.held,
                f.actual,
                movement,
            )
        }
        EventKind::BudgetReconciled(f) => {
            let movement = Movement::SettleDoubt {
                held: f.held,
                actual: f.actual,
            };
            moved(
                late_path(run, &f.step, f.attempt, f.ordinal),
                f.held,
                f.actual,
                movement,
            )
        }
        _ => Vec::new(),
    }
}

/// One movement of an amount, if there is one to move.
fn one(path: Option<Path>, amount: Amount, movement: fn(Amount) -> Movement) -> Vec<Posting> {
    moved(path, amount, Amount::ZERO, movement(amount))
}

fn moved(path: Option<Path>, held: Amount, actual: Amount, movement: Movement) -> Vec<Posting> {
    let nothing = held.is_zero() && actual.is_zero();
    path.filter(|_| !nothing)
        .map(|path| Posting { path, movement })
        .into_iter()
        .collect()
}

/// What the end of an attempt gives back.
fn escrow(run: &Run, step: &StepKey, attempt: u32, released: Amount) -> Vec<Posting> {
    one(escrow_path(run, step, attempt), released, Movement::Release)
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
