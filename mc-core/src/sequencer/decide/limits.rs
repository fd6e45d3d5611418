//! Limits: an operator changes what an account may spend, whether it admits at all, and for how long.

use super::View;
use super::{control, halt};
use crate::budget::{
    Account, AccountId, Amount, Books, Change, Dimension, Lapsing, Limit, Movement, Staying, Undo,
    Verdict, check,
};
use crate::error::{Error, ErrorKind, FailingAccount, Result};
use crate::event::budget::{BudgetFrozen, BudgetLimitSet, BudgetToppedUp, BudgetUnfrozen};
use crate::event::run::{PauseReason, RunResumed};
use crate::event::{BlockReason, EventKind};
use crate::id::{RunId, StepKey};
use crate::money::NanoUsd;
use crate::run::{Block, Step};
use crate::sequencer::command::{Adjust, Adjustment, Note, SetLimit};
use crate::sequencer::decision::{Decision, NewEvent, NewPart};
use crate::sequencer::family;
use crate::sequencer::resident::Resident;

/// Changes a limit; it may fall below what is spent, and then nothing more is admitted.
///
/// # Errors
/// `InvalidInput` for a negative limit, for a window or an expiry of a run's account, and for a time
/// that has passed; `NotFound` for the account of a run that does not exist; `InvalidTransition` for
/// that of a run that has ended.
pub fn set(view: &View<'_>, request: &SetLimit) -> Result<Decision> {
    let account = &request.account;
    let money = request.limit.money;
    if money.is_some_and(|money| money < NanoUsd::ZERO) {
        return Err(Error::invalid("limit", "a limit may not be negative"));
    }
    if account.run().is_some() && request.window.is_some() {
        let message = "a run and its steps count for as long as the run lasts";
        return Err(Error::invalid("window", message));
    }
    check_account(view, account, &request.note)?;
    let lapses = request.note.until.map(|at| {
        let now = view.workspace.accounts.get(account);
        let (limit, on_exceed, mode) = now.map_or_else(Default::default, Account::lasting_limit);
        let undo = Undo::Limit {
            limit,
            on_exceed,
            mode,
        };
        Lapsing { at, undo }
    });
    let facts = BudgetLimitSet {
        account: account.clone(),
        limit: request.limit,
        on_exceed: request.on_exceed,
        window: request.window,
        lapses,
        mode: request.mode,
        in_flight: request.in_flight,
    };
    let mut decision = one(account, facts, &request.note);
    if is_over_then(view, request)? {
        decision.events.extend(halt::cut_account(view, account));
    }
    Ok(decision)
}

/// Whether what is out is to be cut, since it is more than the new limit has room for.
fn is_over_then(view: &View<'_>, request: &SetLimit) -> Result<bool> {
    if request.in_flight.goes_on() {
        return Ok(false);
    }
    let books = match request.account.run() {
        Some(run) => view
            .books(view.resident(run)?)
            .account(&request.account)
            .cloned(),
        None => view.workspace.accounts.get(&request.account).cloned(),
    };
    let mut account = books.unwrap_or_default();
    for change in [
        Change::SetLimit {
            limit: request.limit,
            on_exceed: request.on_exceed,
        },
        Change::SetMode(request.mode),
    ] {
        account.apply(&Movement::Change(change))?;
    }
    Ok(account.is_breached())
}

/// Raises a limit, or lets an account admit nothing, or again.
///
/// # Errors
/// As [`set`]; `InvalidInput` for a top-up of what has no limit, and `InvalidTransition` for an
/// account that is to admit again and always did.
pub fn adjust(view: &View<'_>, request: &Adjust) -> Result<Decision> {
    let (id, until) = (&request.account, request.note.until);
    check_account(view, id, &request.note)?;
    let account = match id.run() {
        Some(run) => view.resident(run)?.run.accounts.get(id),
        None => view.workspace.accounts.get(id),
    };
    let kind: EventKind = match request.how {
        Adjustment::TopUp(by) => {
            check_top_up(account.map(Account::limit), &by)?;
            let account = id.clone();
            BudgetToppedUp { account, by, until }.into()
        }
        Adjustment::Freeze => {
            // One without an end is not ended by one for a time.
            let until = until.filter(|_| !account.is_some_and(Account::is_frozen_for_good));
            let account = id.clone();
            BudgetFrozen { account, until }.into()
        }
        Adjustment::Unfreeze if account.is_some_and(Account::is_frozen) => {
            let account = id.clone();
            BudgetUnfrozen { account }.into()
        }
        Adjustment::Unfreeze => {
            let message = format!("`{id}` is not frozen");
            return Err(Error::new(ErrorKind::InvalidTransition, message));
        }
    };
    Ok(one(id, kind, &request.note))
}

fn one(account: &AccountId, kind: impl Into<EventKind>, note: &Note) -> Decision {
    let event = NewEvent::new(account.run().unwrap_or(RunId::ZERO), kind);
    Decision::events(vec![event.with(NewPart::text(&note.reason))])
}

/// Whether the rules of an account may be changed now, and for this long.
fn check_account(view: &View<'_>, account: &AccountId, note: &Note) -> Result<()> {
    if let Some(until) = note.until {
        if account.run().is_some() {
            let message = "what is changed about a run lasts as long as the run";
            return Err(Error::invalid("until", message));
        }
        if until <= view.now {
            return Err(Error::invalid("until", "the time has passed already"));
        }
    }
    let Some(run_id) = account.run() else {
        return Ok(());
    };
    let status = view.resident(run_id)?.run.status;
    // Its evidence ends with its seal, and it admits nothing that a limit could stop.
    if status.is_terminal() {
        let message = format!("the run is {status}; its limits stay as they are");
        let error = Error::new(ErrorKind::InvalidTransition, message);
        return Err(error.with_context("run", run_id));
    }
    Ok(())
}

/// What has no limit cannot be raised; and a top-up of nothing is a mistake.
fn check_top_up(limit: Option<&Limit>, by: &Limit) -> Result<()> {
    let limit = limit.copied().unwrap_or_default();
    let named = Dimension::ALL.into_iter().filter(|d| by.of(*d).is_some());
    let mut any = false;
    for dimension in named {
        any |= by.of(dimension) > Some(0);
        if by.of(dimension) < Some(0) {
            return Err(Error::invalid("by", "a top-up may not be negative"));
        }
        if limit.of(dimension).is_none() {
            let message = format!("the account has no limit of {}", dimension.name());
            return Err(Error::invalid("by", message));
        }
    }
    if any {
        Ok(limit.plus(by).map(drop)?)
    } else {
        Err(Error::invalid("by", "a top-up is of more than nothing"))
    }
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
        Some(
            PauseReason::Operator
            | PauseReason::StepFailed { .. }
            | PauseReason::Halt { .. }
            | PauseReason::Outer { .. },
        ) => return Vec::new(),
    };
    let mut held_up = vec![resident];
    if paused_for.is_some() {
        // What is nested in it paused with it, and its steps may be the ones that asked.
        let nested = family::open_in(view.workspace, run);
        let with_it = nested
            .into_iter()
            .filter(|one| matches!(one.paused, Some(PauseReason::Outer { .. })));
        held_up.extend(with_it.filter_map(|one| view.workspace.runs.get(&one.run_id)));
    }
    let (mut events, mut waits) = (Vec::new(), false);
    for one in held_up {
        for (key, block) in one.run.steps.iter().filter_map(blocked) {
            waits = true;
            if may_ask_again(view, one, block, paused_for) {
                events.push(control::unblocked(&one.run, key, BlockReason::Budget));
            }
        }
    }
    let unheld = !waits && paused_for.is_some_and(|id| has_room(view, resident, id));
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
