//! Abort: a run ends now, whatever its agents do.

use super::View;
use super::attempt_end::end_calls;
use crate::budget::AccountId;
use crate::error::Result;
use crate::event::run::{AbortReason, RunAborted};
use crate::event::step::{
    AbandonReason, AttemptAbandoned, StepBlocked, StepCancelled, StepUnblocked,
};
use crate::event::{BlockReason, EventKind};
use crate::id::{RunId, StepKey};
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
    if let Some(end) = end {
        end.parts.push(NewPart::text(&steer.reason));
    }
    Ok(Decision::events(events))
}

/// Ends a run because a policy left no way on and nobody is there to decide.
pub fn by_policy(view: &View<'_>, resident: &Resident, code: &str) -> Vec<NewEvent> {
    let code = code.to_owned();
    all(view, resident, AbortReason::Policy { code })
}

/// Ends the run to which an account belongs that refused for good: the one that asked, or one that
/// it is nested in.
pub fn by_budget(view: &View<'_>, resident: &Resident, account: AccountId) -> Vec<NewEvent> {
    let outer = resident.run.created.nested_in.iter();
    let mut outer = outer.filter(|place| account.run() == Some(place.run));
    let outer = outer.find_map(|place| view.workspace.runs.get(&place.run));
    let changed = Some(resident);
    let ends = Ends { view, changed };
    ends.run(outer.unwrap_or(resident), AbortReason::Budget { account })
}

/// Every event of a run's end, and of the ends of those that are nested in it.
pub fn all(view: &View<'_>, resident: &Resident, reason: AbortReason) -> Vec<NewEvent> {
    let changed = Some(resident);
    Ends { view, changed }.run(resident, reason)
}

/// Ends runs and steps, as they are but for a run that the same decision has changed.
#[derive(Clone, Copy)]
struct Ends<'a> {
    view: &'a View<'a>,
    /// That run as it is now.
    changed: Option<&'a Resident>,
}

impl<'a> Ends<'a> {
    fn resident(&self, run: RunId) -> Option<&'a Resident> {
        let changed = self.changed.filter(|resident| resident.run.run_id == run);
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
