//! Tool calls: written down before they act; an answered one is not made again.

use super::View;
use super::call_settle::{no_progress, times};
use super::journal::{self, Found};
use super::late;
use crate::budget::Amount;
use crate::error::{Detail, Error, ErrorKind, Result};
use crate::event::PartRef;
use crate::event::call::{ToolCallCompleted, ToolCallDispatched, ToolCallFailed};
use crate::event::step::ResultLate;
use crate::id::Digest;
use crate::policy::RiskTier;
use crate::resilience::REPEATS;
use crate::run::{Call, CallKind, CallState};
use crate::sequencer::command::{BeginTool, EndTool};
use crate::sequencer::decision::{Answer, Decision, NewEvent, NewPart, Reply, ToolReply};
use crate::sequencer::token::Token;

/// Lets a tool call go out, once its event is durable where it can change anything.
///
/// # Errors
/// `Cancelled` where the token was revoked.
pub fn begin(view: &View<'_>, token: &Token, request: &BeginTool) -> Result<Decision> {
    let (_, step) = view.require_live(token)?;
    let mut events = Vec::new();
    match journal::look_up(token, step, CallKind::Tool, request.place) {
        Found::Answered { seq } => {
            let there = PartRef { seq, part: 0 };
            return Ok(Decision::now(Reply::Tool(ToolReply::Answered(there))));
        }
        Found::Diverged(event) => events.push(*event),
        Found::Throttled(_) | Found::Nothing => {}
    }
    if request.risk >= RiskTier::Irreversible {
        return Ok(Decision::durable(
            events,
            Reply::Tool(ToolReply::NeedsApproval),
        ));
    }
    let facts = ToolCallDispatched {
        step: token.step.clone(),
        attempt: token.attempt,
        ordinal: request.place.ordinal,
        tool: request.tool.clone(),
        risk: request.risk,
        params_digest: request.place.request,
    };
    let params = NewPart::octets(request.params.clone());
    events.push(NewEvent::new(token.run_id, facts).with(params));
    let reply = Reply::Tool(ToolReply::Allowed);
    let answer = match request.risk {
        RiskTier::Read => Answer::Now(reply),
        RiskTier::Write | RiskTier::Irreversible | RiskTier::Financial => Answer::Durable(reply),
    };
    Ok(Decision {
        events,
        effects: Vec::new(),
        answer,
    })
}

/// Takes a tool call's result or error.
///
/// # Errors
/// `InvalidTransition` for a call that is not open; `NotFound` for an attempt that never was.
pub fn end(view: &View<'_>, token: &Token, request: &EndTool) -> Result<Decision> {
    let Some((resident, step)) = view.live(token) else {
        return end_late(view, token, request);
    };
    let calls = &step.calls;
    let open = CallState::Open {
        attempt: token.attempt,
    };
    let call = step.calls.get(&request.ordinal);
    if call.is_none_or(|call| call.kind != CallKind::Tool || call.state != open) {
        let message = format!("tool call {} is not open", request.ordinal);
        return Err(Error::new(ErrorKind::InvalidTransition, message)
            .with_context("token", token)
            .with_detail(Detail::AlreadyCompleted));
    }
    let begun = calls.get(&request.ordinal);
    let (step, attempt, ordinal) = (token.step.clone(), token.attempt, request.ordinal);
    let mut same = 0;
    let event = match &request.result {
        Ok(value) => {
            let part = NewPart::json(value);
            let answer = Digest::of(&[&part.bytes]);
            same = repeats(calls.values(), begun, answer);
            let facts = ToolCallCompleted {
                step,
                attempt,
                ordinal,
                answer,
            };
            NewEvent::new(token.run_id, facts).with(part)
        }
        Err((code, message)) => {
            let facts = ToolCallFailed {
                step,
                attempt,
                ordinal,
                code: code.to_string(),
            };
            NewEvent::new(token.run_id, facts).with(NewPart::text(message))
        }
    };
    let mut events = vec![event];
    if same > 0 && same.is_multiple_of(REPEATS) && resident.run.workflow().is_some() {
        let ended = (request.ordinal, Amount::ZERO);
        let inputs = begun.map_or(Digest::ZERO, |call| call.request);
        events.extend(no_progress(view, resident, (token, ended), inputs));
    }
    Ok(Decision::events(events))
}

/// What a tool did after its attempt had lost its token: written down, and the state stays.
fn end_late(view: &View<'_>, token: &Token, request: &EndTool) -> Result<Decision> {
    let run = late::known(view, token)?;
    let (outcome, part) = match &request.result {
        Ok(value) => ("tool_completed", NewPart::json(value)),
        Err((_, message)) => ("tool_failed", NewPart::text(message)),
    };
    let facts = ResultLate {
        step: token.step.clone(),
        attempt: token.attempt,
        outcome: outcome.to_owned(),
        ordinal: Some(request.ordinal),
        held: Amount::ZERO,
        actual: Amount::ZERO,
        used: None,
    };
    let event = NewEvent::new(late::chain_of(run), facts).with(part);
    Ok(Decision::durable(vec![event], Reply::Done))
}

/// How often the same tool gave this answer to the same parameters, this time included.
fn repeats<'a>(calls: impl Iterator<Item = &'a Call>, begun: Option<&Call>, answer: Digest) -> u32 {
    let Some(begun) = begun else { return 0 };
    let same = |call: &&Call| call.kind == CallKind::Tool && call.tool == begun.tool;
    times(calls.filter(same), begun.request, answer)
}
