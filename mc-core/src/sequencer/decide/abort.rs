//! Abort: a run ends now, whatever its agents do.

use super::View;
use super::attempt_end::end_calls;
use crate::error::Result;
use crate::event::BlockReason;
use crate::event::run::{AbortReason, RunAborted};
use crate::event::step::{StepBlocked, StepCancelled};
use crate::id::{RunId, StepKey};
use crate::run::{Run, RunTrigger, Step, refuse_run, run_after};
use crate::sequencer::decision::{Decision, NewEvent};
use crate::sequencer::resident::Resident;

/// Ends a run by an operator's word.
///
/// # Errors
/// `NotFound`; `InvalidTransition` where it has ended already.
pub fn abort(view: &View<'_>, run_id: RunId) -> Result<Decision> {
    let resident = view.resident(run_id)?;
    if run_after(resident.run.status, RunTrigger::Abort).is_none() {
        return Err(refuse_run(resident.run.status, RunTrigger::Abort).with_context("run", run_id));
    }
    Ok(Decision::events(all(
        view,
        resident,
        AbortReason::Operator,
        None,
    )))
}

/// Ends a run because a policy left no way on and nobody is there to decide.
pub fn by_policy(
    view: &View<'_>,
    resident: &Resident,
    code: &str,
    blocked: Option<&StepKey>,
) -> Vec<NewEvent> {
    all(
        view,
        resident,
        AbortReason::Policy {
            code: code.to_owned(),
        },
        blocked,
    )
}

/// Every event of a run's end.
///
/// `blocked` names a step that the same decision has just blocked, after it ended its attempt.
pub fn all(
    view: &View<'_>,
    resident: &Resident,
    reason: AbortReason,
    blocked: Option<&StepKey>,
) -> Vec<NewEvent> {
    let run = &resident.run;
    if view.workspace.lent.contains(&run.run_id) {
        return super::recover::end_lent(run, reason);
    }
    let mut events = cancel_steps(run, blocked, None);
    events.push(NewEvent::new(run.run_id, RunAborted { reason }));
    events
}

/// Cancels every step to which something happened and that has not ended.
///
/// A step whose effect cannot be undone and whose attempt is out is in doubt instead.
pub fn cancel_steps(
    run: &Run,
    just_blocked: Option<&StepKey>,
    spare: Option<&StepKey>,
) -> Vec<NewEvent> {
    let mut events = Vec::new();
    for (key, step) in &run.steps {
        if step.status.0.is_terminal() || Some(key) == spare {
            continue;
        }
        if Some(key) == just_blocked {
            // Its attempt and its calls ended in events of this decision, which `run` has not seen.
            events.push(cancelled(run, key));
        } else {
            cancel_one(run, key, step, &mut events);
        }
    }
    if let Some(key) = just_blocked.filter(|key| !run.steps.contains_key(*key)) {
        events.push(cancelled(run, key));
    }
    events
}

/// Cancels one step that has not ended.
pub fn cancel_one(run: &Run, key: &StepKey, step: &Step, events: &mut Vec<NewEvent>) {
    if step.may_have_acted() && step.live.is_some() {
        let facts = StepBlocked {
            step: key.clone(),
            reason: BlockReason::InDoubt,
            code: "aborted".to_owned(),
            failing: Vec::new(),
        };
        events.extend(super::recover::interrupt(run, key, "aborted"));
        events.push(NewEvent::new(run.run_id, facts));
        return;
    }
    if step
        .block
        .as_ref()
        .is_some_and(|block| block.reason == BlockReason::InDoubt)
    {
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

fn cancelled(run: &Run, key: &StepKey) -> NewEvent {
    let facts = StepCancelled {
        step: key.clone(),
        released: crate::budget::Amount::ZERO,
    };
    NewEvent::new(run.run_id, facts)
}
