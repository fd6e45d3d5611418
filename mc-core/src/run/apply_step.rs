//! How events of steps and attempts change their run.

use super::apply::RunEvent;
use super::ids::HoldKey;
use super::nested;
use super::state::{Block, CallState, Expansion, Run, Step, Suspension};
use super::transitions::StepTrigger;
use crate::budget::{Amount, Hold};
use crate::error::Result;
use crate::event::step::{
    AbandonReason, AttemptAbandoned, AttemptAdopted, AttemptEnded, AttemptFailed,
    AttemptInterrupted, DoubtEnd, HALTED, StepBlocked, StepCancelled, StepCompleted,
    StepDispatched, StepExpanded, StepFailed, StepResolved, StepSkipped, StepSuspended,
    StepUnblocked, WaitingFor,
};
use crate::event::{BlockReason, EventKind, StepStatus};
use crate::id::{StepKey, StepName};

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "`apply` sends only these kinds here"
)]
pub(super) fn apply(run: &mut Run, event: &RunEvent<'_>) -> Result<()> {
    match event.kind {
        EventKind::StepDispatched(facts) => dispatched(run, facts, event),
        EventKind::StepExpanded(facts) => expanded(run, facts, event),
        EventKind::StepComposed(facts) => nested::composed(run, facts, event),
        EventKind::NestedEnded(facts) => nested::ended(run, facts, event),
        EventKind::NestedSealed(facts) => nested::sealed(run, facts, event),
        EventKind::StepCompleted(facts) => completed(run, facts, event),
        EventKind::AttemptFailed(facts) => failed_attempt(run, facts, event),
        EventKind::AttemptAbandoned(facts) => abandoned(run, facts, event),
        EventKind::AttemptInterrupted(facts) => interrupted(run, facts, event),
        EventKind::AttemptAdopted(facts) => adopted(run, facts, event),
        EventKind::AttemptEnded(facts) => ended(run, facts, event),
        EventKind::StepSuspended(facts) => suspended(run, facts, event),
        EventKind::StepBlocked(facts) => blocked(run, facts, event),
        EventKind::StepUnblocked(facts) => unblocked(run, facts, event),
        EventKind::StepResolved(facts) => resolved(run, facts, event),
        EventKind::StepFailed(facts) => failed(run, facts, event),
        EventKind::StepSkipped(facts) => skipped(run, facts, event),
        EventKind::StepCancelled(facts) => cancelled(run, facts, event),
        EventKind::DecisionRecorded(_) | EventKind::SideEffectRecorded(_) => Ok(()),
        _ => Err(event.refuse("not_a_step_event")),
    }
}

fn dispatched(run: &mut Run, facts: &StepDispatched, event: &RunEvent<'_>) -> Result<()> {
    let path = run.path(&facts.step, &facts.agent);
    let step = run.turn_step(&facts.step, StepTrigger::Dispatch, event)?;
    if step.live.is_some() || facts.attempt != step.attempt + 1 {
        return Err(event.refuse("attempt"));
    }
    let again = std::mem::take(&mut step.again);
    step.attempt = facts.attempt;
    step.live = Some(event.epoch);
    step.agent = Some(facts.agent.clone());
    step.agent_version.clone_from(&facts.agent_version);
    step.risk = Some(facts.risk);
    step.effect_key = Some(facts.effect_key);
    step.input = Some(event.part(0));
    step.first_at = step.first_at.or(Some(event.ts));
    step.wake_at = None;
    step.retry_from = None;
    step.down = None;
    if !facts.hold.is_zero() {
        let key = HoldKey::escrow(facts.step.clone(), facts.attempt);
        let hold = Hold::open_at(path, event.ts, facts.hold)
            .map_err(|e| event.refuse("hold").with_source(e))?;
        run.holds.insert(key, hold);
    }
    if facts.attempt == 1 || again {
        count_item(run, &facts.step, |expansion| {
            begins(expansion, u32::from(again));
        });
    }
    Ok(())
}

fn expanded(run: &mut Run, facts: &StepExpanded, event: &RunEvent<'_>) -> Result<()> {
    let step = run.turn_step(&facts.step, StepTrigger::Expand, event)?;
    step.input = Some(event.part(0));
    step.again = false;
    step.expansion = Some(Expansion {
        count: facts.count,
        ended: 0,
        begun: 0,
        failed: 0,
        again: 0,
    });
    // Items of before a redrive that the list has no more.
    let beyond = |key: &StepKey| {
        key.name() == facts.step.name() && key.index().is_some_and(|index| index >= facts.count)
    };
    for (_, item) in run.steps.iter_mut().filter(|(key, _)| beyond(key)) {
        if item.status.0 == StepStatus::Waiting {
            item.status.0 = StepStatus::Skipped;
            end_step(item);
        }
    }
    let items = run.steps.iter();
    let items = items.filter(|(key, _)| key.name() == facts.step.name() && key.index().is_some());
    let again = items.filter(|(_, item)| item.again).count();
    let step = run.steps.get_mut(&facts.step);
    if let Some(expansion) = step.and_then(|step| step.expansion.as_mut()) {
        expansion.again = u32::try_from(again).unwrap_or(u32::MAX);
    }
    Ok(())
}

fn completed(run: &mut Run, facts: &StepCompleted, event: &RunEvent<'_>) -> Result<()> {
    close_escrow(run, &facts.step, facts.attempt, facts.released, event)?;
    continue_if_blocked(run, &facts.step, event)?;
    run.note_acts_out(&facts.step);
    let step = run.turn_step(&facts.step, StepTrigger::Complete, event)?;
    step.output = Some(event.part(0));
    end_step(step);
    count_item(run, &facts.step, |expansion| expansion.ended += 1);
    Ok(())
}

fn failed_attempt(run: &mut Run, facts: &AttemptFailed, event: &RunEvent<'_>) -> Result<()> {
    close_escrow(run, &facts.step, facts.attempt, facts.released, event)?;
    let step = leave_running(run, &facts.step, event)?;
    step.live = None;
    step.code.clone_from(&facts.code);
    step.wake_at = facts.retry_at;
    if facts.code == HALTED || facts.not_begun || facts.outage {
        step.forgiven += 1;
    }
    Ok(())
}

fn abandoned(run: &mut Run, facts: &AttemptAbandoned, event: &RunEvent<'_>) -> Result<()> {
    close_escrow(run, &facts.step, facts.attempt, facts.released, event)?;
    let step = leave_running(run, &facts.step, event)?;
    step.live = None;
    step.abandoned.insert(facts.attempt);
    step.wake_at = facts.retry_at;
    step.retry_from = facts.retry_from;
    let code = match facts.reason {
        AbandonReason::Timeout => "timeout",
        AbandonReason::Outage => {
            step.forgiven += 1;
            "timeout"
        }
        AbandonReason::NoProgress => "no_progress",
        AbandonReason::Guardrail => "guardrail",
        AbandonReason::Budget => "budget_exceeded",
        AbandonReason::Abort => "aborted",
        AbandonReason::Halt => {
            step.forgiven += 1;
            HALTED
        }
    };
    code.clone_into(&mut step.code);
    Ok(())
}

fn interrupted(run: &mut Run, facts: &AttemptInterrupted, event: &RunEvent<'_>) -> Result<()> {
    let key = HoldKey::escrow(facts.step.clone(), facts.attempt);
    if let Some(hold) = run.holds.get_mut(&key) {
        let doubted = hold
            .doubt_whole()
            .map_err(|e| event.refuse("hold").with_source(e))?;
        if doubted.to_doubt != facts.doubted {
            return Err(event.refuse("doubted"));
        }
        if facts.doubted.is_zero() {
            run.holds.remove(&key);
        }
    } else if !facts.doubted.is_zero() {
        return Err(event.refuse("doubted"));
    }
    let step = leave_running(run, &facts.step, event)?;
    step.live = None;
    "interrupted".clone_into(&mut step.code);
    // The agent did not fail: the attempt does not count against its retries.
    step.forgiven += 1;
    Ok(())
}

/// An attempt that waits for a breaker or for money is out although its step is blocked.
fn leave_running<'a>(
    run: &'a mut Run,
    key: &StepKey,
    event: &RunEvent<'_>,
) -> Result<&'a mut Step> {
    continue_if_blocked(run, key, event)?;
    run.turn_step(key, StepTrigger::Retry, event)
}

fn continue_if_blocked(run: &mut Run, key: &StepKey, event: &RunEvent<'_>) -> Result<()> {
    if run
        .step(key)
        .is_some_and(|step| step.block.is_some() && step.live.is_some())
    {
        run.turn_step(key, StepTrigger::Continue, event)?;
    }
    Ok(())
}

fn adopted(run: &mut Run, facts: &AttemptAdopted, event: &RunEvent<'_>) -> Result<()> {
    let step = run
        .steps
        .get_mut(&facts.step)
        .filter(|step| step.attempt == facts.attempt);
    match step {
        Some(step) if step.live.is_some() => {
            step.live = Some(event.epoch);
            Ok(())
        }
        _ => Err(event.refuse("attempt")),
    }
}

fn ended(run: &mut Run, facts: &AttemptEnded, event: &RunEvent<'_>) -> Result<()> {
    let step = run
        .steps
        .get_mut(&facts.step)
        .ok_or_else(|| event.refuse("step"))?;
    if step.abandoned.remove(&facts.attempt) {
        handler_ended(step);
        Ok(())
    } else {
        Err(event.refuse("attempt"))
    }
}

/// A retry that waited for the handlers before it need not wait out their grace.
pub(super) fn handler_ended(step: &mut Step) {
    if let (true, Some(from), Some(at)) = (step.abandoned.is_empty(), step.retry_from, step.wake_at)
    {
        step.wake_at = Some(at.min(from));
    }
}

fn suspended(run: &mut Run, facts: &StepSuspended, event: &RunEvent<'_>) -> Result<()> {
    close_escrow(run, &facts.step, facts.attempt, facts.released, event)?;
    let (trigger, wake_at) = match &facts.waiting_for {
        WaitingFor::Signal { .. } | WaitingFor::Approval { .. } => (StepTrigger::Block, None),
        WaitingFor::Time { until } => (StepTrigger::Sleep, Some(*until)),
    };
    continue_if_blocked(run, &facts.step, event)?;
    let step = run.turn_step(&facts.step, trigger, event)?;
    step.live = None;
    step.wake_at = wake_at;
    let reason = match &facts.waiting_for {
        WaitingFor::Signal { .. } => Some(BlockReason::Signal),
        WaitingFor::Approval { .. } => Some(BlockReason::Approval),
        WaitingFor::Time { .. } => None,
    };
    if let Some(reason) = reason {
        step.block = Some(Block::new(reason, String::new()));
    }
    // An attempt that waits of its own will has not failed: it does not count against the retries.
    step.forgiven = step.attempt;
    step.suspension = Some(Suspension {
        waiting_for: facts.waiting_for.clone(),
        checkpoint: event.part(0),
        signal: None,
    });
    Ok(())
}

fn blocked(run: &mut Run, facts: &StepBlocked, event: &RunEvent<'_>) -> Result<()> {
    let step = run.turn_step(&facts.step, StepTrigger::Block, event)?;
    if facts.reason != BlockReason::Circuit {
        step.wake_at = None;
    }
    // A revoked token stays revoked; only a breaker keeps the attempt out.
    if facts.reason == BlockReason::InDoubt {
        step.live = None;
    }
    step.block = Some(Block {
        failing: facts.failing.clone(),
        ..Block::new(facts.reason, facts.code.clone())
    });
    Ok(())
}

fn unblocked(run: &mut Run, facts: &StepUnblocked, event: &RunEvent<'_>) -> Result<()> {
    let live = run
        .step(&facts.step)
        .is_some_and(|step| step.live.is_some());
    let trigger = if live {
        StepTrigger::Continue
    } else {
        StepTrigger::Unblock
    };
    let step = run.turn_step(&facts.step, trigger, event)?;
    match facts.reason {
        // A person let it try afresh.
        BlockReason::Guardrail | BlockReason::InDoubt | BlockReason::Budget if !live => {
            step.forgiven = step.attempt;
        }
        BlockReason::Signal => take_signal(run, &facts.step, event)?,
        BlockReason::Approval
        | BlockReason::Budget
        | BlockReason::Guardrail
        | BlockReason::Circuit
        | BlockReason::InDoubt
        | BlockReason::AgentUnavailable => {}
    }
    Ok(())
}

/// The step gets the oldest signal of the name that it waits for.
fn take_signal(run: &mut Run, key: &StepKey, event: &RunEvent<'_>) -> Result<()> {
    let Run { steps, signals, .. } = run;
    let suspension = steps.get_mut(key).and_then(|step| step.suspension.as_mut());
    let Some(suspension) = suspension else {
        return Err(event.refuse("suspension"));
    };
    let WaitingFor::Signal { name } = &suspension.waiting_for else {
        return Err(event.refuse("signal"));
    };
    let place = signals.iter().position(|(signal, _)| signal == name);
    let Some(place) = place else {
        return Err(event.refuse("signal"));
    };
    suspension.signal = Some(signals.remove(place).1);
    Ok(())
}

/// What was in doubt is known. What follows for the step is in the next event, but for a step that
/// goes back to dispatch.
fn resolved(run: &mut Run, facts: &StepResolved, event: &RunEvent<'_>) -> Result<()> {
    let ended = run.status.is_terminal();
    let step = run.steps.get(&facts.step);
    let in_doubt = step.is_some_and(|step| step.attempt == facts.attempt);
    if !in_doubt || !run.is_in_doubt(&facts.step) {
        return Err(event.refuse("not_in_doubt"));
    }
    match facts.resolution {
        DoubtEnd::Happened if !ended => {
            run.turn_step(&facts.step, StepTrigger::Continue, event)?;
        }
        DoubtEnd::DidNotHappen if !ended => {
            let step = run.turn_step(&facts.step, StepTrigger::Unblock, event)?;
            step.forgiven = step.attempt;
            step.wake_at = facts.retry_at;
            step.retry_from = facts.retry_from;
            // The next attempt is asked for again, and so is each of its calls that was out.
            step.approval = None;
            step.asked.clear();
            step.code.clear();
            for call in step.calls.values_mut() {
                if matches!(call.state, CallState::Open { .. }) {
                    call.state = CallState::Failed;
                }
            }
        }
        DoubtEnd::Happened | DoubtEnd::DidNotHappen | DoubtEnd::Abort => {
            // What the run does no more may be asked of it again by a redrive.
            if let Some(step) = run.steps.get_mut(&facts.step) {
                step.doubt_end = Some(facts.resolution);
            }
        }
    }
    Ok(())
}

fn failed(run: &mut Run, facts: &StepFailed, event: &RunEvent<'_>) -> Result<()> {
    let step = run.turn_step(&facts.step, StepTrigger::Fail, event)?;
    // It keeps no other item from going out.
    let again = std::mem::take(&mut step.again);
    let begun = u32::from(step.attempt == 0 || again);
    step.code.clone_from(&facts.code);
    step.tolerated = facts.tolerated;
    end_step(step);
    count_item(run, &facts.step, |expansion| {
        expansion.begun += begun;
        expansion.again = expansion.again.saturating_sub(u32::from(again));
        expansion.ended += 1;
        expansion.failed += u32::from(!facts.tolerated);
    });
    Ok(())
}

fn skipped(run: &mut Run, facts: &StepSkipped, event: &RunEvent<'_>) -> Result<()> {
    let step = run.turn_step(&facts.step, StepTrigger::Skip, event)?;
    end_step(step);
    count_item(run, &facts.step, |expansion| {
        expansion.begun += 1;
        expansion.ended += 1;
    });
    Ok(())
}

fn cancelled(run: &mut Run, facts: &StepCancelled, event: &RunEvent<'_>) -> Result<()> {
    let attempt = run.step(&facts.step).map_or(0, |step| step.attempt);
    close_escrow(run, &facts.step, attempt, facts.released, event)?;
    run.note_acts_out(&facts.step);
    let step = run.turn_step(&facts.step, StepTrigger::Cancel, event)?;
    if step.live.is_some() {
        step.abandoned.insert(attempt);
    }
    end_step(step);
    count_item(run, &facts.step, |expansion| expansion.ended += 1);
    Ok(())
}

/// What a step that ended no longer needs. The journal of one that completed would only make the row
/// large; of another, what was answered serves it should the run be redriven.
fn end_step(step: &mut Step) {
    step.live = None;
    step.again = false;
    step.wake_at = None;
    step.retry_from = None;
    step.suspension = None;
    step.approval = None;
    step.asked.clear();
    let keeps = matches!(step.status.0, StepStatus::Failed | StepStatus::Cancelled);
    let answered = |state: &CallState| matches!(state, CallState::Answered { .. });
    step.calls.retain(|_, call| keeps && answered(&call.state));
}

/// An item goes out for the first time, or for the first time since it is done again.
pub(super) const fn begins(expansion: &mut Expansion, again: u32) {
    expansion.begun += 1;
    expansion.again = expansion.again.saturating_sub(again);
}

pub(super) fn count_item(run: &mut Run, key: &StepKey, count: impl FnOnce(&mut Expansion)) {
    let parent = key.index().and_then(|_| StepName::new(key.name()).ok());
    let parent = parent.and_then(|name| run.steps.get_mut(&StepKey::of(&name)));
    if let Some(expansion) = parent.and_then(|step| step.expansion.as_mut()) {
        count(expansion);
    }
}

/// Ends the hold of an attempt, in which no call is open any more.
fn close_escrow(
    run: &mut Run,
    step: &StepKey,
    attempt: u32,
    released: Amount,
    event: &RunEvent<'_>,
) -> Result<()> {
    let key = HoldKey::escrow(step.clone(), attempt);
    // What is in doubt since a crash stays until somebody settles it.
    if run.holds.get(&key).is_some_and(Hold::is_in_doubt) {
        return Ok(());
    }
    let free = match run.holds.remove(&key) {
        Some(mut hold) => hold
            .close()
            .map_err(|e| event.refuse("hold").with_source(e))?,
        None => Amount::ZERO,
    };
    if free == released {
        Ok(())
    } else {
        Err(event.refuse("released"))
    }
}
