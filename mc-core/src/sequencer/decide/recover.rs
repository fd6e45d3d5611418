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
    let resident = view.resident(run_id)?;
    let run = &resident.run;
    let mut events = Vec::new();
    for (key, step) in &run.steps {
        for attempt in &step.abandoned {
            if !alive.contains(&(key.clone(), *attempt)) {
                let facts = AttemptEnded {
                    step: key.clone(),
                    attempt: *attempt,
                };
                events.push(NewEvent::new(run_id, facts));
            }
        }
        if step.live.is_none() {
            continue;
        }
        if alive.contains(&(key.clone(), step.attempt)) {
            let facts = AttemptAdopted {
                step: key.clone(),
                attempt: step.attempt,
            };
            events.push(NewEvent::new(run_id, facts));
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
            events.push(NewEvent::new(run_id, facts));
        }
    }
    let session_lost = run.workflow().is_none() && !run.status.is_terminal() && alive.is_empty();
    if session_lost {
        events.extend(host_lost(run));
    }
    Ok(Decision::events(events))
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

fn host_lost(run: &Run) -> Vec<NewEvent> {
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
    events.push(NewEvent::new(
        run.run_id,
        RunAborted {
            reason: AbortReason::HostLost,
        },
    ));
    events
}
