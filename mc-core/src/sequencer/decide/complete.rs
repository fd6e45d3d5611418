//! Complete: an attempt has an output.

use super::attempt_end::end_calls;
use super::{View, fail, late};
use crate::error::Result;
use crate::event::step::StepCompleted;
use crate::sequencer::command::{AttemptFailure, Retry};
use crate::sequencer::decision::{Decision, NewEvent};
use crate::sequencer::output::Output;
use crate::sequencer::token::Token;

/// Takes an output, after its schema was asked; from a dead token it is only written down.
///
/// # Errors
/// `InvalidTransition` with `AlreadyCompleted` for a second result of the same attempt.
pub fn complete(view: &View<'_>, token: &Token, output: &Output) -> Result<Decision> {
    let part = output.part();
    let Some((resident, step)) = view.live(token) else {
        return late::result(view, token, "completed", part);
    };
    // What it was at may have happened; the output is kept for whoever finds out.
    if step.has_lasting_call_out() {
        return fail::fail(view, token, &fail::tool_call_out("ended"), Some(part));
    }
    let workflow = resident.workflow.as_ref();
    let violations = workflow
        .map(|workflow| output.violations(workflow, token.step.name()))
        .unwrap_or_default();
    if !violations.is_empty() {
        let all: Vec<String> = violations
            .iter()
            .take(20)
            .map(|v| format!("{}: {}", v.path, v.rule))
            .collect();
        return fail::fail(
            view,
            token,
            &failure("invalid_output", all.join("; ")),
            Some(part),
        );
    }
    let run = &resident.run;
    let (mut events, released) = end_calls(run, &token.step, "dropped");
    let facts = StepCompleted {
        step: token.step.clone(),
        attempt: token.attempt,
        released,
    };
    events.push(NewEvent::new(run.run_id, facts).with(part));
    Ok(Decision::events(events))
}

fn failure(code: &str, message: String) -> AttemptFailure {
    AttemptFailure {
        code: code.into(),
        message: message.into(),
        retry: Retry::AsPolicy,
    }
}
