//! Pause, resume, unblock: an operator steers a run.

use super::View;
use crate::budget::AccountId;
use crate::error::{Error, ErrorKind, Result};
use crate::event::run::{PauseReason, RunPaused, RunResumed};
use crate::event::step::StepUnblocked;
use crate::event::{BlockReason, EventKind};
use crate::id::StepKey;
use crate::run::{Run, RunTrigger, StepTrigger, refuse_run, refuse_step, run_after};
use crate::sequencer::command::Steer;
use crate::sequencer::decision::{Decision, NewEvent, NewPart, Reply};
use crate::sequencer::family;

/// Dispatches nothing more in a run; attempts that are out go on.
///
/// # Errors
/// `NotFound`; `InvalidTransition` where it has ended.
pub fn pause(view: &View<'_>, steer: &Steer) -> Result<Decision> {
    let run = &view.resident(steer.run_id)?.run;
    check(run, RunTrigger::Pause)?;
    let reason = match &run.paused {
        // What waits for room in an account would go on by itself; from now on it waits for a
        // person.
        // What waits for the run around it would go on with that one; from now on it does not.
        None | Some(PauseReason::Budget { .. } | PauseReason::Outer { .. }) => {
            PauseReason::Operator
        }
        // It stays as it is; that somebody said so once more is kept.
        Some(
            standing @ (PauseReason::Operator
            | PauseReason::StepFailed { .. }
            | PauseReason::Halt { .. }),
        ) => standing.clone(),
    };
    Ok(Decision::events(vec![said(steer, RunPaused { reason })]))
}

/// Dispatches again, in the run and in those that are nested in it, and lets what a pause held up try
/// afresh.
///
/// # Errors
/// `NotFound`; `InvalidTransition` where it has ended, and where a run around it is paused.
pub fn resume(view: &View<'_>, steer: &Steer) -> Result<Decision> {
    let run_id = steer.run_id;
    let run = &view.resident(run_id)?.run;
    check(run, RunTrigger::Resume)?;
    let mut outer = run.created.nested_in.iter().rev();
    let outer = outer.find(|place| {
        let outer = view.workspace.runs.get(&place.run);
        outer.is_some_and(|outer| outer.run.paused.is_some())
    });
    if let Some(place) = outer {
        let message = format!(
            "the run that it is nested in is paused; resume run {}",
            place.run
        );
        return Err(Error::new(ErrorKind::InvalidTransition, message).with_context("run", run_id));
    }
    let mut events = Vec::new();
    for one in std::iter::once(&**run).chain(family::open_in(view.workspace, run)) {
        events.extend(budget_blocked(one));
        // Those that paused with a run around them go on with it.
        let own = |reason: &PauseReason| !matches!(reason, PauseReason::Outer { .. });
        if one.paused.as_ref().is_some_and(own) {
            let word = Steer {
                run_id: one.run_id,
                reason: steer.reason.clone(),
            };
            events.push(said(&word, RunResumed {}));
        }
    }
    if events.is_empty() {
        return Ok(Decision::durable(Vec::new(), Reply::Done));
    }
    Ok(Decision::events(events))
}

/// An event of a run with the operator's reason.
pub fn said(steer: &Steer, kind: impl Into<EventKind>) -> NewEvent {
    NewEvent::new(steer.run_id, kind).with(NewPart::text(&steer.reason))
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
pub fn pause_for_budget(view: &View<'_>, run: &Run, account: &AccountId) -> Option<NewEvent> {
    // The account of a run around it pauses that one.
    let mut outer = run.created.nested_in.iter();
    let outer = outer.find(|place| account.run() == Some(place.run));
    let outer = outer.and_then(|place| view.workspace.runs.get(&place.run));
    let run = outer.map_or(run, |outer| &outer.run);
    match run.paused {
        None | Some(PauseReason::Budget { .. }) => {
            let account = account.clone();
            Some(paused(run, PauseReason::Budget { account }))
        }
        Some(
            PauseReason::Operator
            | PauseReason::StepFailed { .. }
            | PauseReason::Halt { .. }
            | PauseReason::Outer { .. },
        ) => None,
    }
}

/// The run pauses; those nested in it follow where the event gets its place (`family`).
pub fn paused(run: &Run, reason: PauseReason) -> NewEvent {
    NewEvent::new(run.run_id, RunPaused { reason })
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
pub fn unblock(view: &View<'_>, steer: &Steer, key: &StepKey) -> Result<Decision> {
    let run = &view.resident(steer.run_id)?.run;
    let step = run.step(key).ok_or_else(|| Error::not_found("step", key))?;
    let Some(block) = &step.block else {
        return Err(refuse_step(step.status.0, StepTrigger::Unblock).with_context("step", key));
    };
    match block.reason {
        BlockReason::Guardrail | BlockReason::Budget => {
            let facts = StepUnblocked {
                step: key.clone(),
                reason: block.reason,
            };
            Ok(Decision::events(vec![said(steer, facts)]))
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
