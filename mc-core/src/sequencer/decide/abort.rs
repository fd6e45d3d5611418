//! Abort: a run ends now, whatever its agents do.

use super::View;
use super::attempt_end::end_calls;
use crate::error::Result;
use crate::event::run::{AbortReason, RunAborted};
use crate::event::step::{
    AbandonReason, AttemptAbandoned, StepBlocked, StepCancelled, StepUnblocked,
};
use crate::event::{BlockReason, EventKind};
use crate::id::StepKey;
use crate::run::{Run, RunTrigger, Step, refuse_run, run_after};
use crate::sequencer::command::Steer;
use crate::sequencer::decision::{Decision, NewEvent, NewPart};
use crate::sequencer::resident::Resident;

/// Ends a run by an operator's word.
///
/// # Errors
/// `NotFound`; `InvalidTransition` where it has ended already.
pub fn abort(view: &View<'_>, steer: &Steer) -> Result<Decision> {
    let run_id = steer.run_id;
    let resident = view.resident(run_id)?;
    if run_after(resident.run.status, RunTrigger::Abort).is_none() {
        return Err(refuse_run(resident.run.status, RunTrigger::Abort).with_context("run", run_id));
    }
    let mut events = all(view, resident, AbortReason::Operator);
    // The reason stands with the word that ended the run.
    let end = events
        .iter_mut()
        .find(|event| matches!(event.kind, EventKind::RunAborted(_)));
    let reason = steer.reason.as_deref().map(NewPart::text);
    if let Some(end) = end {
        end.parts.extend(reason);
    }
    Ok(Decision::events(events))
}

/// Ends a run because a policy left no way on and nobody is there to decide.
pub fn by_policy(view: &View<'_>, resident: &Resident, code: &str) -> Vec<NewEvent> {
    let code = code.to_owned();
    all(view, resident, AbortReason::Policy { code })
}

/// Every event of a run's end.
pub fn all(view: &View<'_>, resident: &Resident, reason: AbortReason) -> Vec<NewEvent> {
    let run = &resident.run;
    if view.workspace.lent.contains(&run.run_id) {
        return super::recover::end_lent(run, reason);
    }
    let mut events = cancel_steps(run, None);
    events.push(NewEvent::new(run.run_id, RunAborted { reason }));
    events
}

/// Cancels every step to which something happened and that has not ended.
///
/// A step whose effect cannot be undone and whose attempt is out is in doubt instead.
pub fn cancel_steps(run: &Run, spare: Option<&StepKey>) -> Vec<NewEvent> {
    let mut events = Vec::new();
    for (key, step) in &run.steps {
        if !step.status.0.is_terminal() && Some(key) != spare {
            cancel_one(run, key, step, &mut events);
        }
    }
    events
}

/// Cancels one step that has not ended.
pub fn cancel_one(run: &Run, key: &StepKey, step: &Step, events: &mut Vec<NewEvent>) {
    let block = step.block.as_ref().map(|block| block.reason);
    if step.may_have_acted() && step.live.is_some() {
        // Its handler is still out: what it comes to is heard of, and asked for only behind it.
        let (doubts, released) = end_calls(run, key, "aborted");
        events.extend(doubts);
        let facts = AttemptAbandoned {
            step: key.clone(),
            attempt: step.attempt,
            reason: AbandonReason::Abort,
            retry_at: None,
            retry_from: None,
            released,
        };
        events.push(NewEvent::new(run.run_id, facts));
        events.push(in_doubt(run, key));
        return;
    }
    if block == Some(BlockReason::InDoubt) {
        return;
    }
    if step.cut_off().is_some() {
        let reason = block.map(|reason| StepUnblocked {
            step: key.clone(),
            reason,
        });
        events.extend(reason.map(|facts| NewEvent::new(run.run_id, facts)));
        events.push(in_doubt(run, key));
        return;
    }
    if step.live.is_some() {
        let (doubts, released) = end_calls(run, key, "aborted");
        events.extend(doubts);
        let facts = StepCancelled {
            step: key.clone(),
            released,
        };
        events.push(NewEvent::new(run.run_id, facts));
        return;
    }
    events.push(cancelled(run, key));
}

/// What a step did that was stopped is not known.
fn in_doubt(run: &Run, key: &StepKey) -> NewEvent {
    let facts = StepBlocked {
        step: key.clone(),
        reason: BlockReason::InDoubt,
        code: "aborted".to_owned(),
        failing: Vec::new(),
    };
    NewEvent::new(run.run_id, facts)
}

/// A step that nobody is at is not needed any more.
pub fn cancelled(run: &Run, key: &StepKey) -> NewEvent {
    let facts = StepCancelled {
        step: key.clone(),
        released: crate::budget::Amount::ZERO,
    };
    NewEvent::new(run.run_id, facts)
}
