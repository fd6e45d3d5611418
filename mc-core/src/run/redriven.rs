//! How a failed run is open again: the steps that go back to `waiting`, and what they keep.
//!
//! Attempt numbers go on, so that a hold or a token of before is never one of now. What was answered
//! stays in the journal; a new attempt with the same input has the same effect key and is served from
//! it. Retry counters start anew.

use std::collections::BTreeSet;

use super::apply::RunEvent;
use super::state::{CallState, Run, Status, Step};
use super::transitions::{StepTrigger, step_after};
use crate::error::Result;
use crate::event::StepStatus;
use crate::event::run::RunRedriven;
use crate::id::{StepKey, StepName};

/// Takes a run back to where it goes on.
pub(super) fn apply(run: &mut Run, facts: &RunRedriven, event: &RunEvent<'_>) -> Result<()> {
    run.sealed = false;
    run.end = None;
    run.ended_at = None;
    let reset: BTreeSet<&str> = facts.steps.iter().map(StepName::as_str).collect();
    let kept = facts.kept_items.as_ref();
    let is_kept = |key: &StepKey| kept.is_some_and(|name| name.as_str() == key.name());
    let keys: Vec<StepKey> = run.steps.keys().cloned().collect();
    for key in keys.iter().filter(|key| reset.contains(key.name())) {
        let keeps = is_kept(key);
        let Some(step) = run.steps.get_mut(key) else {
            continue;
        };
        match (key.index(), keeps) {
            (Some(_), true) if is_done(step) => {}
            (Some(_), _) => {
                back(step, event)?;
                step.again = true;
            }
            (None, true) => under_way(step, event)?,
            (None, false) => {
                back(step, event)?;
                step.again = true;
                step.expansion = None;
            }
        }
    }
    if let Some(name) = kept {
        recount(run, name);
    }
    Ok(())
}

/// An item that has ended and needs not be done again.
pub(crate) fn is_done(step: &Step) -> bool {
    match step.status.0 {
        StepStatus::Completed | StepStatus::Skipped => true,
        StepStatus::Failed => step.tolerated,
        StepStatus::Waiting | StepStatus::Running | StepStatus::Blocked | StepStatus::Cancelled => {
            false
        }
    }
}

fn back(step: &mut Step, event: &RunEvent<'_>) -> Result<()> {
    turn(step, StepTrigger::Redrive, event)?;
    step.block = None;
    step.forgiven = step.attempt;
    step.first_at = None;
    step.wake_at = None;
    step.retry_from = None;
    step.effect_key = None;
    step.output = None;
    // An attempt that was cut off and may have acted is asked about before it is done again.
    if !step.has_acted() {
        step.code.clear();
    }
    step.tolerated = false;
    step.suspension = None;
    step.approval = None;
    step.asked.clear();
    step.doubt_end = None;
    let answered = |state: &CallState| matches!(state, CallState::Answered { .. });
    step.calls.retain(|_, call| answered(&call.state));
    Ok(())
}

/// A `for_each` that goes on with the items that it has.
fn under_way(step: &mut Step, event: &RunEvent<'_>) -> Result<()> {
    back(step, event)?;
    turn(step, StepTrigger::Expand, event)
}

fn turn(step: &mut Step, trigger: StepTrigger, event: &RunEvent<'_>) -> Result<()> {
    let status = step_after(step.status.0, trigger);
    step.status = Status(status.ok_or_else(|| event.refuse("step_transition"))?);
    Ok(())
}

fn recount(run: &mut Run, name: &StepName) {
    let items = run.steps.iter();
    let items = items.filter(|(key, _)| key.name() == name.as_str() && key.index().is_some());
    let (done, again): (Vec<_>, Vec<_>) = items.partition(|(_, step)| is_done(step));
    let count = |items: usize| u32::try_from(items).unwrap_or(u32::MAX);
    let (done, again) = (count(done.len()), count(again.len()));
    let step = run.steps.get_mut(&StepKey::of(name));
    if let Some(expansion) = step.and_then(|step| step.expansion.as_mut()) {
        // Those that are done again are begun anew.
        expansion.begun = done;
        expansion.ended = done;
        expansion.failed = 0;
        expansion.again = again;
    }
}
