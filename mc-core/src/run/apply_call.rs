//! How events of calls, and of money in doubt, change their run.

use super::apply::RunEvent;
use super::apply_step::handler_ended;
use super::ids::HoldKey;
use super::state::{Call, CallKind, CallState, Refused, Run};
use crate::budget::{Amount, Hold, HoldState, LedgerFault};
use crate::error::Result;
use crate::event::EventKind;
use crate::event::budget::BudgetReconciled;
use crate::event::call::{
    JournalDiverged, ModelCallDoubted, ModelCallReserved, ModelCallSettled, ModelCallThrottled,
    OnceRecorded, ToolCallDispatched,
};
use crate::event::step::ResultLate;
use crate::id::{Digest, ModelId, StepKey};

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "`apply` sends only these kinds here"
)]
pub(super) fn apply(run: &mut Run, event: &RunEvent<'_>) -> Result<()> {
    match event.kind {
        EventKind::ModelCallReserved(facts) => reserved(run, facts, event),
        EventKind::ModelCallSettled(facts) => settled(run, facts, event),
        EventKind::ModelCallThrottled(facts) => throttled(run, facts, event),
        EventKind::ModelCallReleased(facts) => {
            release(
                run,
                (&facts.step, facts.attempt, facts.ordinal),
                facts.released,
                event,
            )?;
            answer(run, &facts.step, facts.ordinal, CallState::Released);
            let down = facts.tells_of_outage().then(|| facts.model.clone());
            note_down(run, &facts.step, down);
            Ok(())
        }
        EventKind::ModelCallDoubted(facts) => doubted(run, facts, event),
        EventKind::ToolCallDispatched(facts) => {
            tool_dispatched(run, facts);
            Ok(())
        }
        EventKind::ToolCallCompleted(facts) => {
            let state = CallState::Answered {
                seq: event.seq,
                answer: facts.answer,
            };
            run.note_act(&facts.step, facts.ordinal);
            answer(run, &facts.step, facts.ordinal, state);
            Ok(())
        }
        EventKind::ToolCallFailed(facts) => {
            answer(run, &facts.step, facts.ordinal, CallState::Failed);
            Ok(())
        }
        EventKind::OnceRecorded(facts) => {
            once(run, facts, event);
            Ok(())
        }
        EventKind::JournalDiverged(facts) => {
            diverged(run, facts);
            Ok(())
        }
        EventKind::ResultLate(facts) => late(run, facts, event),
        EventKind::BudgetReconciled(facts) => reconciled(run, facts, event),
        EventKind::ModelCallDenied(_)
        | EventKind::ToolCallDenied(_)
        | EventKind::BudgetJudged(_)
        | EventKind::GuardrailJudged(_) => Ok(()),
        _ => Err(event.refuse("not_a_call_event")),
    }
}

fn ledger(event: &RunEvent<'_>) -> impl Fn(LedgerFault) -> crate::error::Error {
    |fault| event.refuse("hold").with_source(fault)
}

fn reserved(run: &mut Run, facts: &ModelCallReserved, event: &RunEvent<'_>) -> Result<()> {
    let fault = ledger(event);
    let step = run.step(&facts.step).ok_or_else(|| event.refuse("step"))?;
    let agent = facts.agent.clone().or_else(|| step.agent.clone());
    let agent = agent.ok_or_else(|| event.refuse("agent"))?;
    let path = run.path(&facts.step, &agent);
    if facts.agent.is_some() {
        let key = HoldKey::call(facts.step.clone(), facts.attempt, facts.ordinal);
        let mut hold = Hold::open_at(path, event.ts, facts.amount).map_err(&fault)?;
        hold.draw(facts.ordinal, facts.amount).map_err(&fault)?;
        run.holds.insert(key, hold);
    } else if !(facts.amount.is_zero() && facts.extended.is_zero()) {
        let key = HoldKey::escrow(facts.step.clone(), facts.attempt);
        if !run.holds.contains_key(&key) {
            run.holds.insert(
                key.clone(),
                Hold::open_at(path, event.ts, Amount::ZERO).map_err(&fault)?,
            );
        }
        if let Some(hold) = run.holds.get_mut(&key) {
            hold.extend_at(event.ts, facts.extended).map_err(&fault)?;
            hold.draw(facts.ordinal, facts.amount).map_err(&fault)?;
        }
    }
    let before = run
        .step(&facts.step)
        .and_then(|step| step.calls.get(&facts.ordinal));
    let call = Call {
        kind: CallKind::Model,
        request: facts.request,
        tool: None,
        model: Some(facts.model.clone()),
        risk: None,
        refused: before
            .filter(|call| call.request == facts.request)
            .and_then(|c| c.refused),
        extended: facts.extended,
        state: CallState::Open {
            attempt: facts.attempt,
        },
    };
    put_call(run, &facts.step, facts.ordinal, call);
    Ok(())
}

fn put_call(run: &mut Run, key: &StepKey, ordinal: u32, call: Call) {
    if let Some(step) = run.steps.get_mut(key) {
        step.calls.insert(ordinal, call);
    }
}

/// A workflow's call stays in the journal with its answer; a session is never re-entered.
fn answer(run: &mut Run, key: &StepKey, ordinal: u32, state: CallState) {
    let journaled = run.workflow().is_some();
    let Some(step) = run.steps.get_mut(key) else {
        return;
    };
    if !journaled {
        step.calls.remove(&ordinal);
    } else if let Some(call) = step.calls.get_mut(&ordinal) {
        call.extended = Amount::ZERO;
        call.state = state;
    }
}

/// What the last call told of the provider of its model.
fn note_down(run: &mut Run, key: &StepKey, down: Option<ModelId>) {
    if let Some(step) = run.steps.get_mut(key) {
        step.down = down;
    }
}

fn settled(run: &mut Run, facts: &ModelCallSettled, event: &RunEvent<'_>) -> Result<()> {
    let fault = ledger(event);
    let key = HoldKey::call(facts.step.clone(), facts.attempt, facts.ordinal);
    let escrow = HoldKey::escrow(facts.step.clone(), facts.attempt);
    let mut held = Amount::ZERO;
    let mut released = Amount::ZERO;
    let grown = run.grown_for(&facts.step, facts.ordinal);
    if let Some(mut hold) = run.holds.remove(&key) {
        held = hold
            .settle(facts.ordinal, facts.actual)
            .map_err(&fault)?
            .held;
        released = hold.close().map_err(&fault)?;
    } else if let Some(hold) = run.holds.get_mut(&escrow)
        && hold.draws().contains_key(&facts.ordinal)
    {
        held = hold
            .settle(facts.ordinal, facts.actual)
            .map_err(&fault)?
            .held;
        released = hold.shrink(&grown).map_err(&fault)?;
    }
    if held != facts.held || released != facts.released {
        return Err(event.refuse("held"));
    }
    // A call that was billed and gave nothing is no answer to give again.
    let state = if facts.answer == Digest::ZERO {
        CallState::Failed
    } else {
        CallState::Answered {
            seq: event.seq,
            answer: facts.answer,
        }
    };
    answer(run, &facts.step, facts.ordinal, state);
    note_down(run, &facts.step, None);
    bill(run, (&facts.step, facts.attempt), &facts.actual);
    Ok(())
}

/// Counts what was billed of what a person approved.
fn bill(run: &mut Run, (key, attempt): (&StepKey, u32), actual: &Amount) {
    let Run {
        steps, approvals, ..
    } = run;
    let Some(step) = steps.get_mut(key) else {
        return;
    };
    let approval = step.approval.and_then(|number| approvals.get(&number));
    let since = approval.and_then(|one| one.used_by);
    if since.is_some_and(|since| attempt >= since) {
        step.billed = step.billed.saturating_add(actual.money);
    }
}

fn throttled(run: &mut Run, facts: &ModelCallThrottled, event: &RunEvent<'_>) -> Result<()> {
    release(
        run,
        (&facts.step, facts.attempt, facts.ordinal),
        facts.released,
        event,
    )?;
    let step = run
        .steps
        .get_mut(&facts.step)
        .ok_or_else(|| event.refuse("step"))?;
    let call = step
        .calls
        .get_mut(&facts.ordinal)
        .ok_or_else(|| event.refuse("call"))?;
    call.refused = Some(Refused {
        since: facts.since,
        times: facts.refusals,
    });
    call.extended = Amount::ZERO;
    call.state = CallState::Throttled {
        retry_at: facts.retry_at,
    };
    Ok(())
}

/// A call is over and nothing was billed.
fn release(
    run: &mut Run,
    (step, attempt, ordinal): (&StepKey, u32, u32),
    released: Amount,
    event: &RunEvent<'_>,
) -> Result<()> {
    let fault = ledger(event);
    let escrow = HoldKey::escrow(step.clone(), attempt);
    let mut free = Amount::ZERO;
    if let Some(mut hold) = run
        .holds
        .remove(&HoldKey::call(step.clone(), attempt, ordinal))
    {
        hold.release(ordinal).map_err(&fault)?;
        free = hold.close().map_err(&fault)?;
    } else if let Some(hold) = run.holds.get_mut(&escrow)
        && hold.draws().contains_key(&ordinal)
    {
        hold.release(ordinal).map_err(&fault)?;
        // What the escrow grew by for this call alone.
        hold.give_back(released).map_err(&fault)?;
        free = released;
    }
    if free == released {
        Ok(())
    } else {
        Err(event.refuse("released"))
    }
}

/// The call's part of the hold becomes a doubt of its own, so that it can be settled alone.
fn doubted(run: &mut Run, facts: &ModelCallDoubted, event: &RunEvent<'_>) -> Result<()> {
    let fault = ledger(event);
    let key = HoldKey::call(facts.step.clone(), facts.attempt, facts.ordinal);
    let escrow = HoldKey::escrow(facts.step.clone(), facts.attempt);
    let mut amount = Amount::ZERO;
    if let Some(hold) = run.holds.get_mut(&key) {
        amount = hold.doubt_split().map_err(&fault)?.to_doubt;
    } else if let Some(hold) = run.holds.get_mut(&escrow)
        && hold.draws().contains_key(&facts.ordinal)
    {
        let doubt = hold.split_doubt(facts.ordinal).map_err(&fault)?;
        amount = *doubt.amount();
        run.holds.insert(key.clone(), doubt);
    }
    if amount != facts.doubted {
        return Err(event.refuse("doubted"));
    }
    if amount.is_zero() {
        run.holds.remove(&key);
    }
    answer(run, &facts.step, facts.ordinal, CallState::Failed);
    let down = facts.tells_of_outage().then(|| facts.model.clone());
    note_down(run, &facts.step, down);
    Ok(())
}

fn tool_dispatched(run: &mut Run, facts: &ToolCallDispatched) {
    let before = run.step(&facts.step);
    let before = before.and_then(|step| step.calls.get(&facts.ordinal));
    let again = before.is_some_and(|call| {
        let open = matches!(call.state, CallState::Open { .. });
        open && call.request == facts.params_digest && call.tool.as_ref() == Some(&facts.tool)
    });
    if let Some(step) = run.steps.get_mut(&facts.step) {
        step.acted |= !facts.risk.is_repeatable();
    }
    let call = Call {
        kind: CallKind::Tool,
        request: facts.params_digest,
        tool: Some(facts.tool.clone()),
        model: None,
        risk: Some(facts.risk),
        refused: None,
        extended: Amount::ZERO,
        state: CallState::Open {
            attempt: facts.attempt,
        },
    };
    put_call(run, &facts.step, facts.ordinal, call);
    if !again {
        *run.tool_uses.entry(facts.tool.clone()).or_default() += 1;
    }
}

fn once(run: &mut Run, facts: &OnceRecorded, event: &RunEvent<'_>) {
    if run.workflow().is_none() {
        return;
    }
    let call = Call {
        kind: CallKind::Once,
        request: facts.request,
        tool: None,
        model: None,
        risk: None,
        refused: None,
        extended: Amount::ZERO,
        state: CallState::Answered {
            seq: event.seq,
            answer: facts.answer,
        },
    };
    put_call(run, &facts.step, facts.ordinal, call);
}

/// From here on the journal of earlier attempts does not apply.
fn diverged(run: &mut Run, facts: &JournalDiverged) {
    if let Some(step) = run.steps.get_mut(&facts.step) {
        let out = CallState::Open {
            attempt: facts.attempt,
        };
        // Calls that this attempt has out at the same time are its own.
        step.calls
            .retain(|ordinal, call| *ordinal < facts.ordinal || call.state == out);
    }
}

fn late(run: &mut Run, facts: &ResultLate, event: &RunEvent<'_>) -> Result<()> {
    if facts.ordinal.is_some() {
        let place = (&facts.step, facts.attempt, facts.ordinal);
        settle_doubt(run, place, (facts.held, facts.actual), event)?;
        bill(run, (&facts.step, facts.attempt), &facts.actual);
        return Ok(());
    }
    // The attempt itself has ended: it is no longer out.
    if let Some(step) = run.steps.get_mut(&facts.step) {
        step.abandoned.remove(&facts.attempt);
        handler_ended(step);
    }
    Ok(())
}

fn reconciled(run: &mut Run, facts: &BudgetReconciled, event: &RunEvent<'_>) -> Result<()> {
    let place = (&facts.step, facts.attempt, facts.ordinal);
    settle_doubt(run, place, (facts.held, facts.actual), event)?;
    bill(run, (&facts.step, facts.attempt), &facts.actual);
    Ok(())
}

fn settle_doubt(
    run: &mut Run,
    (step, attempt, ordinal): (&StepKey, u32, Option<u32>),
    (doubted, billed): (Amount, Amount),
    event: &RunEvent<'_>,
) -> Result<()> {
    let fault = ledger(event);
    let key = HoldKey {
        step: step.clone(),
        attempt,
        ordinal,
    };
    let Some(hold) = run.holds.get_mut(&key) else {
        // A late answer to a call that held nothing, or whose doubt was settled before.
        return if doubted.is_zero() {
            Ok(())
        } else {
            Err(event.refuse("no_such_doubt"))
        };
    };
    if doubted.is_zero() && !hold.is_in_doubt() {
        return Ok(());
    }
    let ended = hold.reconcile(billed).map_err(&fault)?;
    if ended.held != doubted || !matches!(hold.state(), HoldState::Reconciled) {
        return Err(event.refuse("held"));
    }
    run.holds.remove(&key);
    Ok(())
}
