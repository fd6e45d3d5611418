//! Fail: an attempt ended with an error; the policy says what follows.

use super::again::Ended;
use super::attempt_end::end_calls;
use super::{View, advance, halt, late, timeout};
use crate::error::Result;
use crate::event::BlockReason;
use crate::event::step::{AttemptFailed, HALTED, StepBlocked, StepFailed};
use crate::id::StepKey;
use crate::run::{Run, Step};
use crate::sequencer::command::{AttemptFailure, Retry};
use crate::sequencer::decision::{Decision, NewEvent, NewPart};
use crate::sequencer::resident::Resident;
use crate::sequencer::token::Token;
use crate::workflow::OnFailure;

/// The code of a failure that a refusal by policy caused.
pub const POLICY_DENIED: &str = "policy_denied";

/// An attempt ended in some way while a tool call was out that cannot be undone: nobody knows what
/// became of that.
pub fn tool_call_out(ended: &str) -> AttemptFailure {
    AttemptFailure {
        code: "tool_call_out".into(),
        message: format!("it {ended} while a tool call was out that cannot be undone").into(),
        retry: Retry::Never,
    }
}

/// Takes an attempt's failure, and keeps what it gave where an output was due as evidence.
///
/// # Errors
/// `InvalidTransition` with `AlreadyCompleted` for a second result of the same attempt.
pub fn fail(
    view: &View<'_>,
    token: &Token,
    failure: &AttemptFailure,
    raw: Option<NewPart>,
) -> Result<Decision> {
    let message = NewPart::text(&failure.message);
    let Some((resident, step)) = view.live(token) else {
        return late::result(view, token, "failed", message);
    };
    let run = &resident.run;
    if halt::in_force(view, run, step, None).is_some() {
        return Ok(stopped(view, token, run, (message, raw)));
    }
    let (mut events, released) = end_calls(run, &token.step, "dropped");
    let denied = &*failure.code == POLICY_DENIED;
    let acting = step.has_lasting_call_out();
    let ended = Ended {
        view,
        resident,
        key: &token.step,
        step,
        failure,
    };
    let goes_on = !denied && !acting;
    let uncounted = (goes_on && ended.met_an_outage()).then(|| ended.next_uncounted());
    let uncounted = uncounted.flatten();
    let outage = uncounted.is_some();
    let retry_at = uncounted.or_else(|| goes_on.then(|| ended.next())?);
    let facts = AttemptFailed {
        step: token.step.clone(),
        attempt: token.attempt,
        code: failure.code.to_string(),
        not_begun: false,
        outage,
        retry_at,
        released,
    };
    let mut event = NewEvent::new(run.run_id, facts).with(message);
    event.parts.extend(raw);
    events.push(event);
    if acting {
        // What it was at may have happened: it is not simply done again.
        events.push(in_doubt(run, &token.step));
    } else if denied {
        let code = failure.message.split(':').next().unwrap_or(POLICY_DENIED);
        events.push(guardrail(run, &token.step, code));
    } else if retry_at.is_none() {
        events.extend(exhausted(resident, &token.step, &failure.code));
    }
    Ok(Decision::events(events))
}

/// An attempt ended because it was told to stop: it is made again once what was halted goes on, unless
/// it may have done what cannot be undone.
pub fn stopped(
    view: &View<'_>,
    token: &Token,
    run: &Run,
    (message, raw): (NewPart, Option<NewPart>),
) -> Decision {
    let (mut events, released) = end_calls(run, &token.step, HALTED);
    let acted = run.step(&token.step).is_some_and(Step::may_have_acted);
    let facts = AttemptFailed {
        step: token.step.clone(),
        attempt: token.attempt,
        code: HALTED.to_owned(),
        not_begun: false,
        outage: false,
        retry_at: (!acted).then_some(view.now),
        released,
    };
    let mut event = NewEvent::new(run.run_id, facts).with(message);
    event.parts.extend(raw);
    events.push(event);
    events.extend(acted.then(|| halt::in_doubt(run, &token.step)));
    Decision::events(events)
}

/// An attempt that nobody began does not count, and its approval still covers the step; which waits
/// for the agent.
///
/// # Errors
/// `NotFound`.
pub fn not_begun(view: &View<'_>, token: &Token) -> Result<Decision> {
    let Some((resident, _)) = view.live(token) else {
        return timeout::ended(view, token);
    };
    let run = &resident.run;
    let (mut events, released) = end_calls(run, &token.step, "dropped");
    let reason = BlockReason::AgentUnavailable;
    let failed = AttemptFailed {
        step: token.step.clone(),
        attempt: token.attempt,
        code: reason.as_str().to_owned(),
        not_begun: true,
        outage: false,
        retry_at: None,
        released,
    };
    let message = NewPart::text("whoever has the agent was gone before it was told");
    events.push(NewEvent::new(run.run_id, failed).with(message));
    let blocked = StepBlocked {
        step: token.step.clone(),
        reason,
        code: String::new(),
        failing: Vec::new(),
    };
    events.push(NewEvent::new(run.run_id, blocked));
    Ok(Decision::events(events))
}

/// What follows when there is no further attempt.
pub fn exhausted(resident: &Resident, key: &StepKey, code: &str) -> Vec<NewEvent> {
    let run = &resident.run;
    let failed = |tolerated| {
        let facts = StepFailed {
            step: key.clone(),
            code: code.to_owned(),
            tolerated,
        };
        NewEvent::new(run.run_id, facts)
    };
    match advance::after_failure(resident, key) {
        Some(OnFailure::Pause) => Vec::from_iter(advance::pause_after_failure(run, key.clone())),
        Some(OnFailure::Continue) => vec![failed(true)],
        Some(OnFailure::Fail) | None => vec![failed(false)],
    }
}

fn in_doubt(run: &Run, key: &StepKey) -> NewEvent {
    let facts = StepBlocked {
        step: key.clone(),
        reason: BlockReason::InDoubt,
        code: "tool_call_out".to_owned(),
        failing: Vec::new(),
    };
    NewEvent::new(run.run_id, facts)
}

/// The step waits for a person because a rule stopped it.
pub fn guardrail(run: &Run, key: &StepKey, code: &str) -> NewEvent {
    let facts = StepBlocked {
        step: key.clone(),
        reason: BlockReason::Guardrail,
        code: code.to_owned(),
        failing: Vec::new(),
    };
    NewEvent::new(run.run_id, facts)
}
