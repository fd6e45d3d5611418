//! Tool calls: written down before they act; an answered one is not made again.

use super::View;
use super::journal::{self, Found};
use crate::error::{Detail, Error, ErrorKind, Result};
use crate::event::PartRef;
use crate::event::call::{ToolCallCompleted, ToolCallDispatched, ToolCallFailed};
use crate::id::Digest;
use crate::policy::RiskTier;
use crate::run::{CallKind, CallState};
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
/// `Cancelled` where the token was revoked; `InvalidTransition` for a call that is not open.
pub fn end(view: &View<'_>, token: &Token, request: &EndTool) -> Result<Decision> {
    let (_, step) = view.require_live(token)?;
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
    let (step, attempt, ordinal) = (token.step.clone(), token.attempt, request.ordinal);
    let event = match &request.result {
        Ok(value) => {
            let part = NewPart::json(value);
            let answer = Digest::of(&[&part.bytes]);
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
    Ok(Decision::events(vec![event]))
}
