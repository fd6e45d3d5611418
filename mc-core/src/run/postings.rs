//! What an event moves in which accounts, from its facts alone.
//!
//! This is the one place that ties events to money. The run applies a posting to its own accounts,
//! the workspace to the shared ones, an outsider to all of them: the sums are the same.

use super::HoldKey;
use super::state::Run;
use crate::budget::{AccountId, Amount, Change, Lapsing, Movement, Path, Shares, Undo};
use crate::event::{EventKind, Topic};
use crate::id::{AgentName, RunId, StepKey};
use crate::time::Timestamp;

/// One movement in every account of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The accounts.
    pub path: Path,
    /// When what moves was reserved: in an account with a window it moves in that period.
    pub at: Timestamp,
    /// The movement.
    pub movement: Movement,
}

impl Posting {
    /// The accounts that belong to a run.
    pub fn own(&self, run: RunId) -> Path {
        let ids = self.path.iter();
        ids.filter(|id| id.run() == Some(run)).cloned().collect()
    }

    /// The accounts that belong to the workspace.
    pub fn shared(&self) -> Path {
        let ids = self.path.iter();
        ids.filter(|id| id.run().is_none()).cloned().collect()
    }
}

/// What an operator decides, or time, about one account.
fn changes<const N: usize>(account: &AccountId, changes: [Option<Change>; N]) -> Vec<Posting> {
    let posting = |change| Posting {
        path: [account.clone()].into_iter().collect(),
        at: Timestamp::EPOCH,
        movement: Movement::Change(change),
    };
    changes.into_iter().flatten().map(posting).collect()
}

/// The movements that an event makes in accounts by itself, whosever it is.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only these kinds are about accounts alone"
)]
pub fn of_account(kind: &EventKind) -> Vec<Posting> {
    match kind {
        EventKind::BudgetLimitSet(f) => {
            let limit = Change::SetLimit {
                limit: f.limit,
                on_exceed: f.on_exceed,
            };
            let window = f.window.map(Change::SetWindow);
            let lapses = f.lapses.map(Change::Lapses);
            let mode = Some(Change::SetMode(f.mode));
            let in_flight = Some(Change::SetInFlight(f.in_flight));
            changes(&f.account, [Some(limit), mode, in_flight, window, lapses])
        }
        EventKind::BudgetToppedUp(f) => {
            let undo = Undo::TopUp(f.by);
            let after = match f.until {
                Some(at) => Change::Lapses(Lapsing { at, undo }),
                None => Change::RaiseLasting(f.by),
            };
            changes(&f.account, [Some(Change::TopUp(f.by)), Some(after)])
        }
        EventKind::BudgetFrozen(f) => {
            let undo = Undo::Freeze;
            let lapses = f.until.map(|at| Change::Lapses(Lapsing { at, undo }));
            changes(&f.account, [Some(Change::Freeze), lapses])
        }
        EventKind::BudgetUnfrozen(f) => changes(&f.account, [Some(Change::Unfreeze)]),
        EventKind::BudgetLapsed(f) => changes(&f.account, [Some(Change::Lapse(f.lapsing))]),
        EventKind::BudgetThresholdReached(f) => {
            changes(&f.account, [Some(Change::Reach(f.percent))])
        }
        EventKind::BudgetWindowOpened(f) => {
            let change = Change::OpenWindow {
                window: f.window,
                period: f.period,
            };
            changes(&f.account, [Some(change)])
        }
        EventKind::BudgetWindowClosed(f) => {
            changes(&f.account, [Some(Change::CloseWindow(f.period))])
        }
        _ => Vec::new(),
    }
}

/// The movements of an event that was decided at a time, given its run as it was before.
pub fn of(run: &Run, kind: &EventKind, at: Timestamp) -> Vec<Posting> {
    match kind.topic() {
        Topic::Attempt => of_attempt(run, kind, at),
        Topic::Plan => of_plan(run, kind, at),
        Topic::Billing => of_call(run, kind, at),
        Topic::Account | Topic::SharedAccount => of_account(kind),
        Topic::Workspace
        | Topic::Run
        | Topic::Note
        | Topic::Step
        | Topic::Journal
        | Topic::Approval => Vec::new(),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "`of` sends only these kinds here"
)]
fn of_attempt(run: &Run, kind: &EventKind, at: Timestamp) -> Vec<Posting> {
    match kind {
        EventKind::StepDispatched(f) => reserve(Some(run.path(&f.step, &f.agent)), f.hold, at),
        EventKind::StepCompleted(f) => escrow(run, &f.step, f.attempt, f.released),
        EventKind::AttemptFailed(f) => escrow(run, &f.step, f.attempt, f.released),
        EventKind::AttemptAbandoned(f) => escrow(run, &f.step, f.attempt, f.released),
        EventKind::StepSuspended(f) => escrow(run, &f.step, f.attempt, f.released),
        EventKind::StepCancelled(f) => {
            let attempt = run.step(&f.step).map_or(0, |step| step.attempt);
            escrow(run, &f.step, attempt, f.released)
        }
        EventKind::AttemptInterrupted(f) => leave(
            &mut escrow_of(run, &f.step, f.attempt),
            Movement::Doubt(f.doubted),
            at,
        ),
        _ => Vec::new(),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "`of` sends only these kinds here"
)]
fn of_plan(run: &Run, kind: &EventKind, at: Timestamp) -> Vec<Posting> {
    match kind {
        EventKind::RunPlanned(f) => {
            let holds = f.reserved.iter();
            holds
                .flat_map(|one| reserve(Some(run.planned_path(one)), one.amount, at))
                .collect()
        }
        EventKind::PlanReleased(f) => {
            let mut from = hold_of(run, &HoldKey::planned(&f.step, f.hold), None);
            leave(&mut from, Movement::Release(f.amount), at)
        }
        _ => Vec::new(),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "`of` sends only these kinds here"
)]
fn of_call(run: &Run, kind: &EventKind, at: Timestamp) -> Vec<Posting> {
    match kind {
        EventKind::ModelCallReserved(f) => {
            let (agent, amount) = match &f.agent {
                Some(agent) => (Some(agent.clone()), f.amount),
                None => (agent_of(run, &f.step), f.extended),
            };
            reserve(agent.map(|agent| run.path(&f.step, &agent)), amount, at)
        }
        EventKind::ModelCallSettled(f) => {
            let mut from = settled_of(run, &f.step, f.attempt, f.ordinal);
            let settle = Movement::Settle {
                held: f.held,
                actual: f.actual,
            };
            let mut postings = leave(&mut from, settle, at);
            postings.extend(leave(&mut from, Movement::Release(f.released), at));
            postings
        }
        EventKind::ModelCallThrottled(f) => leave(
            &mut call_of(run, &f.step, f.attempt, f.ordinal),
            Movement::Release(f.released),
            at,
        ),
        EventKind::ModelCallReleased(f) => leave(
            &mut call_of(run, &f.step, f.attempt, f.ordinal),
            Movement::Release(f.released),
            at,
        ),
        EventKind::ModelCallDoubted(f) => leave(
            &mut call_of(run, &f.step, f.attempt, f.ordinal),
            Movement::Doubt(f.doubted),
            at,
        ),
        EventKind::ResultLate(f) => {
            let movement = Movement::SettleDoubt {
                held: f.held,
                actual: f.actual,
            };
            let mut from = late_of(run, &f.step, f.attempt, f.ordinal);
            leave(&mut from, movement, at)
        }
        EventKind::BudgetReconciled(f) => {
            let movement = Movement::SettleDoubt {
                held: f.held,
                actual: f.actual,
            };
            let mut from = late_of(run, &f.step, f.attempt, f.ordinal);
            leave(&mut from, movement, at)
        }
        _ => Vec::new(),
    }
}

/// Where money is held, and when it was reserved.
type Source = Option<(Path, Shares)>;

/// What a hold opens or grows by counts in the periods of now.
fn reserve(path: Option<Path>, amount: Amount, at: Timestamp) -> Vec<Posting> {
    let movement = Movement::Reserve(amount);
    path.filter(|_| !amount.is_zero())
        .map(|path| Posting { path, at, movement })
        .into_iter()
        .collect()
}

/// What leaves a hold moves in the periods in which it was reserved.
fn leave(from: &mut Source, movement: Movement, now: Timestamp) -> Vec<Posting> {
    let Some((path, shares)) = from.as_mut().filter(|_| !moves_nothing(&movement)) else {
        return Vec::new();
    };
    let parts = shares.split(&movement, now).into_iter();
    parts
        .map(|(at, movement)| Posting {
            path: path.clone(),
            at,
            movement,
        })
        .collect()
}

fn moves_nothing(movement: &Movement) -> bool {
    match movement {
        Movement::Reserve(held) | Movement::Release(held) | Movement::Doubt(held) => held.is_zero(),
        Movement::Settle { held, actual } | Movement::SettleDoubt { held, actual } => {
            held.is_zero() && actual.is_zero()
        }
        Movement::Change(_) => false,
    }
}

/// What the end of an attempt gives back.
fn escrow(run: &Run, step: &StepKey, attempt: u32, released: Amount) -> Vec<Posting> {
    let mut from = escrow_of(run, step, attempt);
    leave(&mut from, Movement::Release(released), Timestamp::EPOCH)
}

fn agent_of(run: &Run, step: &StepKey) -> Option<AgentName> {
    run.step(step).and_then(|step| step.agent.clone())
}

fn hold_of(run: &Run, key: &HoldKey, ordinal: Option<u32>) -> Source {
    let hold = run.holds.get(key)?;
    Some((hold.path().clone(), hold.leaving(ordinal)))
}

fn escrow_of(run: &Run, step: &StepKey, attempt: u32) -> Source {
    hold_of(run, &HoldKey::escrow(step.clone(), attempt), None)
}

/// The hold that an open call is in: its own, or its attempt's.
fn call_of(run: &Run, step: &StepKey, attempt: u32, ordinal: u32) -> Source {
    let own = HoldKey::call(step.clone(), attempt, ordinal);
    let escrow = || HoldKey::escrow(step.clone(), attempt);
    hold_of(run, &own, Some(ordinal)).or_else(|| hold_of(run, &escrow(), Some(ordinal)))
}

/// As `call_of`; a call that held nothing counts in its step's accounts.
fn settled_of(run: &Run, step: &StepKey, attempt: u32, ordinal: u32) -> Source {
    call_of(run, step, attempt, ordinal).or_else(|| {
        let agent = agent_of(run, step)?;
        Some((run.path(step, &agent), Shares::default()))
    })
}

fn late_of(run: &Run, step: &StepKey, attempt: u32, ordinal: Option<u32>) -> Source {
    match ordinal {
        Some(ordinal) => settled_of(run, step, attempt, ordinal),
        None => escrow_of(run, step, attempt),
    }
}
