//! Limits: an operator changes what an account may spend.

use super::View;
use super::control;
use crate::budget::{AccountId, Amount, Dimension, Staying, Verdict, check};
use crate::error::{Error, ErrorKind, FailingAccount, Result};
use crate::event::BlockReason;
use crate::event::budget::BudgetLimitSet;
use crate::event::run::{PauseReason, RunResumed};
use crate::id::{RunId, StepKey};
use crate::money::NanoUsd;
use crate::run::{Block, Step};
use crate::sequencer::command::SetLimit;
use crate::sequencer::decision::{Decision, NewEvent};
use crate::sequencer::resident::Resident;

/// Changes a limit; it may fall below what is spent, and then nothing more is admitted.
///
/// # Errors
/// `InvalidInput` for a negative limit, and for a window of a run's account; `NotFound` for the account of a run that does not exist;
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
    if run_id != RunId::ZERO && request.window.is_some() {
        let message = "a run and its steps count for as long as the run lasts";
        return Err(Error::invalid("window", message));
    }
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
        window: request.window,
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
    let blocked: Vec<(&StepKey, &Block)> = run.steps.iter().filter_map(blocked).collect();
    let fits = blocked
        .iter()
        .filter(|(_, block)| may_ask_again(view, resident, block, paused_for));
    let mut events: Vec<NewEvent> = fits
        .map(|(key, _)| control::unblocked(run, key, BlockReason::Budget))
        .collect();
    let unheld = blocked.is_empty() && paused_for.is_some_and(|id| has_room(view, resident, id));
    if paused_for.is_some() && (unheld || !events.is_empty()) {
        events.push(NewEvent::new(run.run_id, RunResumed {}));
    }
    events
}

/// A step that a budget blocks; a call that waits while its attempt is out has its own place in
/// the queue.
fn blocked<'a>((key, step): (&'a StepKey, &'a Step)) -> Option<(&'a StepKey, &'a Block)> {
    let block = step.block.as_ref()?;
    (block.reason == BlockReason::Budget && step.live.is_none()).then_some((key, block))
}

/// Whether what the step asked for now fits, or would once others' holds are let go.
fn may_ask_again(
    view: &View<'_>,
    resident: &Resident,
    block: &Block,
    paused_for: Option<&AccountId>,
) -> bool {
    if block.failing.is_empty() {
        return paused_for.is_some_and(|account| has_room(view, resident, account));
    }
    block.failing.iter().all(|failing| {
        let id = failing.account.parse::<AccountId>();
        let known = id.ok().zip(wanted(failing));
        known.is_none_or(|(id, amount)| could_fit(view, resident, &id, &amount))
    })
}

/// What was asked for in the one dimension that had no room.
fn wanted(failing: &FailingAccount) -> Option<Amount> {
    let dimension = Dimension::named(&failing.dimension)?;
    let count = u64::try_from(failing.requested).unwrap_or(0);
    let none = Amount::ZERO;
    Some(match dimension {
        Dimension::Money => Amount {
            money: NanoUsd::from_nano(failing.requested),
            ..none
        },
        Dimension::InputTokens => Amount {
            input_tokens: count,
            ..none
        },
        Dimension::OutputTokens => Amount {
            output_tokens: count,
            ..none
        },
        Dimension::Calls => Amount {
            calls: count,
            ..none
        },
    })
}

fn could_fit(view: &View<'_>, resident: &Resident, id: &AccountId, amount: &Amount) -> bool {
    let path = [id.clone()].into_iter().collect();
    match check(&view.books(resident), &path, amount, &Staying::none()) {
        Verdict::Fits
        | Verdict::Contended {
            only_doubt: false, ..
        } => true,
        Verdict::Contended { .. } | Verdict::Frozen { .. } | Verdict::Exceeded { .. } => false,
    }
}

/// Whether the account has any room at all, in every dimension.
fn has_room(view: &View<'_>, resident: &Resident, account: &AccountId) -> bool {
    let least = Amount {
        money: NanoUsd::from_nano(1),
        input_tokens: 1,
        output_tokens: 1,
        calls: 1,
    };
    could_fit(view, resident, account, &least)
}
