//! Abort: a run ends now, whatever its agents do.

use super::View;
use super::attempt_end::end_calls;
use crate::budget::AccountId;
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

/// Ends the run to which an account belongs that refused for good: the one that asked, or one that
/// it is nested in. `blocked` is as of [`all`].
pub fn by_budget(
    view: &View<'_>,
    resident: &Resident,
    account: AccountId,
    blocked: Option<&StepKey>,
) -> Vec<NewEvent> {
    let outer = resident.run.created.nested_in.iter();
    let mut outer = outer.filter(|place| account.run() == Some(place.run));
    let outer = outer.find_map(|place| view.workspace.runs.get(&place.run));
    let ends = Ends {
        view,
        changed: Some((resident, blocked)),
    };
    ends.run(outer.unwrap_or(resident), AbortReason::Budget { account })
}

/// Every event of a run's end, and of the ends of those that are nested in it.
///
/// `blocked` names a step that the same decision has just blocked, without an attempt out.
pub fn all(
    view: &View<'_>,
    resident: &Resident,
    reason: AbortReason,
    blocked: Option<&StepKey>,
) -> Vec<NewEvent> {
    let ends = Ends {
        view,
        changed: Some((resident, blocked)),
    };
    ends.run(resident, reason)
}

/// Ends runs and steps, as they are but for a run that the same decision has changed.
#[derive(Clone, Copy)]
struct Ends<'a> {
    view: &'a View<'a>,
    /// That run as it is now, and the step of it that was blocked.
    changed: Option<(&'a Resident, Option<&'a StepKey>)>,
}

impl<'a> Ends<'a> {
    fn resident(&self, run: RunId) -> Option<&'a Resident> {
        let changed = self.changed.map(|(resident, _)| resident);
        let changed = changed.filter(|resident| resident.run.run_id == run);
        changed.or_else(|| self.view.workspace.runs.get(&run))
    }

    fn run(&self, resident: &Resident, reason: AbortReason) -> Vec<NewEvent> {
        let run = &resident.run;
        if self.view.workspace.lent.contains(&run.run_id) {
            return super::recover::end_lent(run, reason);
        }
        let mut events = self.steps(run, None);
        events.push(NewEvent::new(run.run_id, RunAborted { reason }));
        events
    }

    fn steps(&self, run: &Run, spare: Option<&StepKey>) -> Vec<NewEvent> {
        let mut events = Vec::new();
        for (key, step) in &run.steps {
            if !step.status.0.is_terminal() && Some(key) != spare {
                self.step(run, (key, step), &mut events);
            }
        }
        let changed = self.changed.filter(|(one, _)| one.run.run_id == run.run_id);
        let blocked = changed.and_then(|(_, blocked)| blocked);
        if let Some(key) = blocked.filter(|key| !run.steps.contains_key(*key)) {
            events.push(cancelled(run, key));
        }
        events
    }

    /// The run that is nested for a step ends before it.
    fn step(&self, run: &Run, (key, step): (&StepKey, &Step), events: &mut Vec<NewEvent>) {
        let nested = step.composing().and_then(|nested| self.resident(nested));
        if let Some(nested) = nested.filter(|nested| !nested.run.status.is_terminal()) {
            let reason = AbortReason::Outer { run: run.run_id };
            events.extend(self.run(nested, reason));
        }
        cancel_alone(run, key, step, events);
    }
}

/// Cancels every step to which something happened and that has not ended.
///
/// A step whose effect cannot be undone and whose attempt is out is in doubt instead.
pub fn cancel_steps(view: &View<'_>, run: &Run, spare: Option<&StepKey>) -> Vec<NewEvent> {
    let changed = None;
    Ends { view, changed }.steps(run, spare)
}

/// Cancels one step that has not ended, and the run that is nested for it.
pub fn cancel_one(view: &View<'_>, run: &Run, step: (&StepKey, &Step), events: &mut Vec<NewEvent>) {
    let changed = None;
    Ends { view, changed }.step(run, step, events);
}

fn cancel_alone(run: &Run, key: &StepKey, step: &Step, events: &mut Vec<NewEvent>) {
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
