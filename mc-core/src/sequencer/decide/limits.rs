//! Limits: an operator changes what an account may spend.

use super::View;
use super::{control, dispatch};
use crate::budget::{AccountId, Staying, Verdict, check};
use crate::error::{Error, ErrorKind, Result};
use crate::event::BlockReason;
use crate::event::budget::BudgetLimitSet;
use crate::event::run::{PauseReason, RunResumed};
use crate::id::{RunId, StepKey};
use crate::money::NanoUsd;
use crate::sequencer::command::SetLimit;
use crate::sequencer::decision::{Decision, NewEvent};
use crate::sequencer::resident::Resident;

/// Changes a limit; it may fall below what is spent, and then nothing more is admitted.
///
/// # Errors
/// `InvalidInput` for a negative limit; `NotFound` for the account of a run that does not exist;
/// `InvalidTransition` for that of a run that has ended.
pub fn set(view: &View<'_>, request: &SetLimit) -> Result<Decision> {
    if request
        .limit
        .money
        .is_some_and(|money| money < NanoUsd::ZERO)
    {
        return Err(Error::invalid("limit", "a limit may not be negative"));
    }
    let run_id = request.account.run().unwrap_or(RunId::ZERO);
    if run_id != RunId::ZERO {
        let status = view.resident(run_id)?.run.status;
        // Its evidence ends with its seal, and it admits nothing that a limit could stop.
        if status.is_terminal() {
            let message = format!("the run is {status}; its limits stay as they are");
            return Err(
                Error::new(ErrorKind::InvalidTransition, message).with_context("run", run_id)
            );
        }
    }
    let facts = BudgetLimitSet {
        account: request.account.clone(),
        limit: request.limit,
        on_exceed: request.on_exceed,
    };
    Ok(Decision::events(vec![NewEvent::new(run_id, facts)]))
}

/// Lets a run go on that waits for room in an account, once there is some.
pub fn room(view: &View<'_>, resident: &Resident) -> Vec<NewEvent> {
    let run = &resident.run;
    if run.status.is_terminal() {
        return Vec::new();
    }
    let paused_for = match &run.paused {
        None => None,
        Some(PauseReason::Budget { account }) => Some(account),
        Some(PauseReason::Operator | PauseReason::StepFailed { .. }) => return Vec::new(),
    };
    if paused_for.is_some_and(|account| !has_room(view, resident, account)) {
        return Vec::new();
    }
    if paused_for.is_some() {
        let mut events: Vec<NewEvent> = control::budget_blocked(run).collect();
        events.push(NewEvent::new(run.run_id, RunResumed {}));
        return events;
    }
    let blocked = run.steps.iter().filter(|(_, step)| {
        let budget = step
            .block
            .as_ref()
            .is_some_and(|b| b.reason == BlockReason::Budget);
        // A call that waits while its attempt is out has its own place in the queue.
        budget && step.live.is_none()
    });
    let fits = blocked.filter(|(key, _)| may_ask_again(view, resident, key));
    fits.map(|(key, _)| control::unblocked(run, key, BlockReason::Budget))
        .collect()
}

/// Whether the step's worst case no longer stands behind money in doubt alone.
fn may_ask_again(view: &View<'_>, resident: &Resident, key: &StepKey) -> bool {
    let step = resident
        .workflow
        .as_ref()
        .and_then(|w| w.definition().step(key.name()));
    let Some(step) = step else { return true };
    let Ok(amount) = dispatch::worst_case(view, step) else {
        return false;
    };
    let path = resident.run.path(key, &step.agent);
    match check(&view.books(resident), &path, &amount, &Staying::none()) {
        Verdict::Fits
        | Verdict::Contended {
            only_doubt: false, ..
        } => true,
        Verdict::Contended { .. } | Verdict::Frozen { .. } | Verdict::Exceeded { .. } => false,
    }
}

fn has_room(view: &View<'_>, resident: &Resident, account: &AccountId) -> bool {
    let path = [account.clone()].into_iter().collect();
    let one = crate::budget::Amount {
        money: NanoUsd::from_nano(1),
        ..crate::budget::Amount::ZERO
    };
    check(&view.books(resident), &path, &one, &Staying::none()) == Verdict::Fits
}
