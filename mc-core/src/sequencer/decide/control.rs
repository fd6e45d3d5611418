//! Pause, resume, unblock: an operator steers a run.

use super::View;
use crate::budget::AccountId;
use crate::error::{Error, ErrorKind, Result};
use crate::event::run::{PauseReason, RunPaused, RunResumed};
use crate::event::step::StepUnblocked;
use crate::event::{BlockReason, EventKind};
use crate::id::{RunId, StepKey};
use crate::run::{Run, RunTrigger, StepTrigger, refuse_run, refuse_step, run_after};
use crate::sequencer::command::Steer;
use crate::sequencer::decision::{Decision, NewEvent, NewPart, Reply};

/// Dispatches nothing more in a run; attempts that are out go on.
///
/// # Errors
/// `NotFound`; `InvalidTransition` where it has ended.
pub fn pause(view: &View<'_>, steer: &Steer) -> Result<Decision> {
    let run = &view.resident(steer.run_id)?.run;
    check(run, RunTrigger::Pause)?;
    match run.paused {
        // What waits for room in an account would go on by itself; from now on it waits for a
        // person.
        None | Some(PauseReason::Budget { .. }) => {}
        Some(PauseReason::Operator | PauseReason::StepFailed { .. } | PauseReason::Halt { .. }) => {
            return Ok(Decision::durable(Vec::new(), Reply::Done));
        }
    }
    let facts = RunPaused {
        reason: PauseReason::Operator,
    };
    Ok(Decision::events(vec![said(steer, facts)]))
}

/// Dispatches again, and lets what the pause held up try afresh.
///
/// # Errors
/// `NotFound`; `InvalidTransition` where it has ended.
pub fn resume(view: &View<'_>, steer: &Steer) -> Result<Decision> {
    let run = &view.resident(steer.run_id)?.run;
    check(run, RunTrigger::Resume)?;
    let mut events: Vec<NewEvent> = budget_blocked(run).collect();
    if run.paused.is_some() {
        events.push(said(steer, RunResumed {}));
    }
    if events.is_empty() {
        return Ok(Decision::durable(Vec::new(), Reply::Done));
    }
    Ok(Decision::events(events))
}

/// An event of a run with the operator's reason.
pub fn said(steer: &Steer, kind: impl Into<EventKind>) -> NewEvent {
    let mut event = NewEvent::new(steer.run_id, kind);
    let reason = steer.reason.as_deref();
    event.parts.extend(reason.map(NewPart::text));
    event
}

/// Whether a run may be steered so.
///
/// # Errors
/// `InvalidTransition` where it has ended.
pub fn check(run: &Run, trigger: RunTrigger) -> Result<()> {
    match run_after(run.status, trigger) {
        Some(_) => Ok(()),
        None => Err(refuse_run(run.status, trigger).with_context("run", run.run_id)),
    }
}

/// The run pauses until an account has room; a pause that waits for a person stands.
pub fn pause_for_budget(run: &Run, account: AccountId) -> Option<NewEvent> {
    match run.paused {
        None | Some(PauseReason::Budget { .. }) => {
            let reason = PauseReason::Budget { account };
            Some(NewEvent::new(run.run_id, RunPaused { reason }))
        }
        Some(PauseReason::Operator | PauseReason::StepFailed { .. } | PauseReason::Halt { .. }) => {
            None
        }
    }
}

/// Lets every step that a budget blocks ask again.
pub fn budget_blocked(run: &Run) -> impl Iterator<Item = NewEvent> + '_ {
    let blocked = run.steps.iter().filter(|(_, step)| {
        step.block
            .as_ref()
            .is_some_and(|block| block.reason == BlockReason::Budget)
    });
    blocked.map(|(key, _)| unblocked(run, key, BlockReason::Budget))
}

/// What blocked a step is cleared.
pub fn unblocked(run: &Run, step: &StepKey, reason: BlockReason) -> NewEvent {
    NewEvent::new(
        run.run_id,
        StepUnblocked {
            step: step.clone(),
            reason,
        },
    )
}

/// Lets a step that a rule or a budget blocked try afresh, by an operator's word.
///
/// # Errors
/// `NotFound`; `InvalidTransition` where it is not blocked, or by something that a person cannot
/// clear in this way.
pub fn unblock(view: &View<'_>, run_id: RunId, key: &StepKey) -> Result<Decision> {
    let run = &view.resident(run_id)?.run;
    let step = run.step(key).ok_or_else(|| Error::not_found("step", key))?;
    let Some(block) = &step.block else {
        return Err(refuse_step(step.status.0, StepTrigger::Unblock).with_context("step", key));
    };
    match block.reason {
        BlockReason::Guardrail | BlockReason::Budget => {
            Ok(Decision::events(vec![unblocked(run, key, block.reason)]))
        }
        BlockReason::Approval
        | BlockReason::Circuit
        | BlockReason::InDoubt
        | BlockReason::Signal
        | BlockReason::AgentUnavailable => {
            let message = format!(
                "a step that waits for `{}` is not unblocked by hand",
                block.reason
            );
            Err(Error::new(ErrorKind::InvalidTransition, message).with_context("step", key))
        }
    }
}
