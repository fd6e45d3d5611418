//! Recover: what was out when its process died is in doubt; what is still alive is adopted.

use super::View;
use super::attempt_end::end_calls;
use crate::budget::Amount;
use crate::error::Result;
use crate::event::run::{AbortReason, RunAborted};
use crate::event::step::{
    AttemptAdopted, AttemptEnded, AttemptInterrupted, StepBlocked, StepCancelled,
};
use crate::event::{BlockReason, EventKind};
use crate::id::{RunId, StepKey};
use crate::run::{HoldKey, Run};
use crate::sequencer::decision::{Decision, NewEvent};

/// Takes a run up; `alive` are its attempts that this process still has.
///
/// # Errors
/// `NotFound`.
pub fn recover(view: &View<'_>, run_id: RunId, alive: &[(StepKey, u32)]) -> Result<Decision> {
    let run = &view.resident(run_id)?.run;
    let is_gone = |key: &StepKey, attempt: u32| !alive.contains(&(key.clone(), attempt));
    let mut events = take_up(run, is_gone);
    for (key, step) in &run.steps {
        if step.live.is_some() && !is_gone(key, step.attempt) {
            let facts = AttemptAdopted {
                step: key.clone(),
                attempt: step.attempt,
            };
            events.push(NewEvent::new(run_id, facts));
        }
    }
    let session_lost = run.workflow().is_none() && !run.status.is_terminal() && alive.is_empty();
    if session_lost {
        events.extend(host_lost(run, AbortReason::HostLost));
    }
    Ok(Decision::events(events))
}

/// Attempts of a run are gone with the process that had them: as after a crash, and only they.
///
/// # Errors
/// `NotFound`.
pub fn lost(view: &View<'_>, run_id: RunId, gone: &[(StepKey, u32)]) -> Result<Decision> {
    let run = &view.resident(run_id)?.run;
    let mut events = take_up(run, |key, attempt| gone.contains(&(key.clone(), attempt)));
    if run.workflow().is_none() && !run.status.is_terminal() {
        events.extend(host_lost(run, AbortReason::HostLost));
    }
    Ok(Decision::events(events))
}

/// A session whose block a joined process has in hand ends: what that process has drawn of it is not
/// known here, so all of it is in doubt.
pub fn end_lent(run: &Run, reason: AbortReason) -> Vec<NewEvent> {
    let mut events = take_up(run, |_, _| true);
    events.extend(host_lost(run, reason));
    events
}

/// What becomes of a run's attempts that are gone.
fn take_up(run: &Run, is_gone: impl Fn(&StepKey, u32) -> bool) -> Vec<NewEvent> {
    let mut events = Vec::new();
    for (key, step) in &run.steps {
        for attempt in &step.abandoned {
            if is_gone(key, *attempt) {
                let facts = AttemptEnded {
                    step: key.clone(),
                    attempt: *attempt,
                };
                events.push(NewEvent::new(run.run_id, facts));
            }
        }
        if step.live.is_none() || !is_gone(key, step.attempt) {
            continue;
        }
        events.extend(interrupt(run, key, "crashed"));
        if step.may_have_acted() {
            let facts = StepBlocked {
                step: key.clone(),
                reason: BlockReason::InDoubt,
                code: "crashed".to_owned(),
                failing: Vec::new(),
            };
            events.push(NewEvent::new(run.run_id, facts));
        }
    }
    events
}

/// An attempt is gone and nobody knows what it did: its whole hold is in doubt.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "`end_calls` gives only doubts"
)]
pub fn interrupt(run: &Run, key: &StepKey, code: &str) -> Vec<NewEvent> {
    let Some(step) = run.step(key) else {
        return Vec::new();
    };
    // Calls with a hold of their own go in doubt by events of their own; the escrow goes whole.
    let (calls, _) = end_calls(run, key, code);
    let own = |event: &NewEvent| match &event.kind {
        EventKind::ModelCallDoubted(facts) => {
            run.holds
                .contains_key(&HoldKey::call(key.clone(), step.attempt, facts.ordinal))
        }
        _ => false,
    };
    let mut events: Vec<NewEvent> = calls.into_iter().filter(own).collect();
    let escrow = run.holds.get(&HoldKey::escrow(key.clone(), step.attempt));
    let escrow = escrow.filter(|hold| !hold.is_in_doubt());
    let facts = AttemptInterrupted {
        step: key.clone(),
        attempt: step.attempt,
        doubted: escrow.map_or(Amount::ZERO, |hold| *hold.amount()),
    };
    events.push(NewEvent::new(run.run_id, facts));
    events
}

fn host_lost(run: &Run, reason: AbortReason) -> Vec<NewEvent> {
    let open = run
        .steps
        .iter()
        .filter(|(_, step)| !step.status.0.is_terminal());
    let mut events: Vec<NewEvent> = open
        .map(|(key, _)| {
            let facts = StepCancelled {
                step: key.clone(),
                released: Amount::ZERO,
            };
            NewEvent::new(run.run_id, facts)
        })
        .collect();
    events.push(NewEvent::new(run.run_id, RunAborted { reason }));
    events
}
