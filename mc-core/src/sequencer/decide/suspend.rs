//! Suspend: an attempt ends to wait for a signal or a time; nothing of it stays in memory.

use std::sync::Arc;

use serde_json::Value;

use super::attempt_end::end_calls;
use super::{View, control, fail, late, signal};
use crate::error::Result;
use crate::event::BlockReason;
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
    let Some((resident, step)) = view.live(token) else {
        return late::result(view, token, "suspended", part);
    };
    if step.has_lasting_call_out() {
        return fail::fail(view, token, &fail::tool_call_out("suspended"), None);
    }
    let run = &resident.run;
    let (mut events, released) = end_calls(run, &token.step, "dropped");
    let facts = StepSuspended {
        step: token.step.clone(),
        attempt: token.attempt,
        waiting_for: waiting_for.clone(),
        released,
    };
    events.push(NewEvent::new(run.run_id, facts).with(part));
    match waiting_for {
        WaitingFor::Signal { name } => {
            let there = run.signals.iter().any(|(signal, _)| signal == name);
            events.extend(there.then(|| signal::unblocked(run, &token.step)));
        }
        // What is decided already, or is no request of this step, keeps nobody waiting.
        WaitingFor::Approval { number } => {
            let asked = run.approvals.get(number);
            let waits = asked.is_some_and(|one| one.is_pending() && one.step == token.step);
            let reason = BlockReason::Approval;
            events.extend((!waits).then(|| control::unblocked(run, &token.step, reason)));
        }
        WaitingFor::Time { .. } => {}
    }
    Ok(Decision::events(events))
}
