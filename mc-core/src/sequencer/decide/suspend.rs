//! Suspend: an attempt ends to wait for a signal or a time; nothing of it stays in memory.

use std::sync::Arc;

use serde_json::Value;

use super::attempt_end::end_calls;
use super::{View, late, signal};
use crate::error::Result;
use crate::event::step::{StepSuspended, WaitingFor};
use crate::sequencer::decision::{Decision, NewEvent, NewPart};
use crate::sequencer::token::Token;

/// Ends the attempt and keeps its checkpoint; a signal that is there already lets it go on at once.
///
/// # Errors
/// `InvalidTransition` for a second result of the same attempt.
pub fn suspend(
    view: &View<'_>,
    token: &Token,
    checkpoint: &Arc<Value>,
    waiting_for: &WaitingFor,
) -> Result<Decision> {
    let part = NewPart::json(checkpoint);
    let Some((resident, _)) = view.live(token) else {
        return late::result(view, token, "suspended", part);
    };
    let run = &resident.run;
    let (mut events, released) = end_calls(run, &token.step, "dropped");
    let facts = StepSuspended {
        step: token.step.clone(),
        attempt: token.attempt,
        waiting_for: waiting_for.clone(),
        released,
    };
    events.push(NewEvent::new(run.run_id, facts).with(part));
    if let WaitingFor::Signal { name } = waiting_for {
        let there = run.signals.iter().any(|(signal, _)| signal == name);
        events.extend(there.then(|| signal::unblocked(run, &token.step)));
    }
    Ok(Decision::events(events))
}
