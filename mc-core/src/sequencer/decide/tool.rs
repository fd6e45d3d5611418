//! Tool calls: written down before they act; an answered one is not made again.

use std::sync::Arc;

use super::builtin::Builtin;
use super::call_settle::{no_progress, times};
use super::clearance::{self, Callee, Clearance, Wish};
use super::journal::{self, Found};
use super::late;
use super::{View, guard, halt, in_time};
use crate::budget::Amount;
use crate::error::{ApprovalFault, Detail, Error, ErrorKind, Result};
use crate::event::BlockReason;
use crate::event::PartRef;
use crate::event::call::{ToolCallCompleted, ToolCallDenied, ToolCallDispatched, ToolCallFailed};
use crate::event::step::{HALTED, ResultLate, StepBlocked};
use crate::id::{ApprovalId, Digest, Opaque};
use crate::policy::RiskTier;
use crate::policy::guard::{self as rules, Asked, Asking, Checkpoint, Verdict, Who};
use crate::resilience::REPEATS;
use crate::run::{ApprovalState, Call, CallKind, CallState, Run, Step};
use crate::sequencer::command::{BeginTool, EndTool, Patience};
use crate::sequencer::decision::{Answer, Decision, NewEvent, NewPart, Reply, ToolReply};
use crate::sequencer::resident::Resident;
use crate::sequencer::token::Token;
use crate::workflow::Step as StepDefinition;
use serde_json::Value;

/// Lets a tool call go out, once its event is durable where it can change anything; or says that a
/// person has to be asked first, or why it may not go out at all.
///
/// # Errors
/// `Cancelled` where the token was revoked.
pub fn begin(view: &View<'_>, token: &Token, request: &BeginTool) -> Result<Decision> {
    let (resident, step) = view.require_live(token)?;
    let mut events = Vec::new();
    match journal::look_up(token, step, CallKind::Tool, request.place) {
        Found::Answered { seq } => {
            let there = PartRef { seq, part: 0 };
            return Ok(Decision::now(Reply::Tool(ToolReply::Answered(there))));
        }
        Found::Diverged(event) => events.push(*event),
        Found::Throttled(_) | Found::Released | Found::Nothing => {}
    }
    let workflow = resident.workflow.as_ref();
    let calling = Calling {
        resident,
        step,
        definition: workflow.and_then(|w| w.definition().step(token.step.name())),
        token,
        request,
        risk: request
            .risk
            .max(view.workspace.policy.tier_of(request.tool.as_str())),
        params: NewPart::octets(request.params.clone()),
    };
    if let Some(error) = halt::forbids(view, &resident.run, step, None) {
        return Ok(calling.deny((HALTED, error), events));
    }
    if let Some((code, error)) = calling.forbidden(view) {
        let denied = Builtin {
            at: Checkpoint::ToolCall,
            code,
            inputs: request.place.request,
            why: error.message(),
            verdict: Verdict::Deny,
        };
        events.push(denied.of_call(view, (token, request.place.ordinal)));
        return Ok(calling.deny((code, error), events));
    }
    let judged = calling.guard(view);
    events.extend(judged.events);
    if let Some(denial) = judged.denial {
        let more = match denial.verdict {
            Verdict::Halt => guard::cut(view, resident, &resident.run, token, &denial.rule),
            Verdict::Allow
            | Verdict::Clamp(_)
            | Verdict::DryRun
            | Verdict::NeedsApproval
            | Verdict::Deny => Vec::new(),
        };
        let mut decision = calling.deny((denial.rule.as_ref(), denial.error), events);
        decision.events.extend(more);
        return Ok(decision);
    }
    Ok(if judged.unreal {
        calling.dry_run(events)
    } else {
        calling.clear(view, (judged.asks.as_deref(), events))
    })
}

/// What an agent gets in place of the answer of a tool that a rule does not let be called.
pub fn dry_run_answer() -> Value {
    serde_json::json!({ "dry_run": true })
}

fn asking<'a>(
    (resident, step): (&'a Resident, &'a Step),
    tool: &'a Opaque,
    (at, asked): (Checkpoint, Asked<'a>),
) -> Asking<'a> {
    let who = Who {
        agents: step.agent.as_slice(),
        workflow: resident.run.workflow().map(|(name, _)| name),
        model: None,
        tool: Some(tool),
    };
    Asking { at, who, asked }
}

/// A tool call under way through the checks.
struct Calling<'a> {
    resident: &'a Resident,
    step: &'a Step,
    definition: Option<&'a StepDefinition>,
    token: &'a Token,
    request: &'a BeginTool,
    risk: RiskTier,
    params: NewPart,
}

impl Calling<'_> {
    /// What the definition or the policy says against it.
    fn forbidden(&self, view: &View<'_>) -> Option<(&'static str, Error)> {
        let tool = &self.request.tool;
        let named = self.definition.and_then(|step| step.tools.as_ref());
        if named.is_some_and(|tools| !tools.contains(tool)) {
            let message = format!(
                "tool_not_allowed: step `{}` names no tool `{tool}`",
                self.token.step.name()
            );
            return Some(("tool_not_allowed", refused("tools", tool, message)));
        }
        let schema = view.workspace.policy.tool(tool.as_str())?.parameters()?;
        let params = serde_json::from_slice(&self.request.params).unwrap_or(Value::Null);
        let violations = schema.violations(&params);
        let first = violations.first()?;
        let message = format!(
            "tool_schema: the parameters of tool `{tool}` are not as the policy says at {}: {}",
            first.path, first.rule
        );
        Some(("tool_schema", refused("tool_schema", tool, message)))
    }

    /// What the policy's rules say against it.
    fn guard(&self, view: &View<'_>) -> guard::Judged {
        let tool = view.workspace.policy.tool(self.request.tool.as_str());
        let asked = Asked::Tool(rules::Tool {
            params: &self.request.params,
            price: tool.map(|rule| rule.price).unwrap_or_default(),
            risk: self.risk,
        });
        let asking = asking(
            (self.resident, self.step),
            &self.request.tool,
            (Checkpoint::ToolCall, asked),
        );
        let place = guard::Place {
            token: self.token,
            resident: self.resident,
            ordinal: self.request.place.ordinal,
            inputs: self.request.place.request,
        };
        guard::at_place(view, place, &asking)
    }

    /// The tool is not called, so that nothing is asked of a person and nothing acts: the journal has
    /// the answer that says so, and a later attempt finds it there.
    fn dry_run(self, mut events: Vec<NewEvent>) -> Decision {
        let (step, token) = (&self.token.step, self.token);
        let (attempt, ordinal) = (token.attempt, self.request.place.ordinal);
        let answer = NewPart::json(&dry_run_answer());
        let dispatched = ToolCallDispatched {
            step: step.clone(),
            attempt,
            ordinal,
            tool: self.request.tool.clone(),
            risk: RiskTier::Read,
            params_digest: self.request.place.request,
            approval: None,
        };
        let completed = ToolCallCompleted {
            step: step.clone(),
            attempt,
            ordinal,
            answer: Digest::of(&[&answer.bytes]),
        };
        events.push(NewEvent::new(token.run_id, dispatched).with(self.params));
        events.push(NewEvent::new(token.run_id, completed).with(answer));
        Decision::durable(events, Reply::Tool(ToolReply::DryRun))
    }

    fn clear(self, view: &View<'_>, (rule, mut events): (Option<&str>, Vec<NewEvent>)) -> Decision {
        let tool = &self.request.tool;
        let agent = self.step.agent.clone();
        let Some(agent) = agent.or_else(|| self.definition?.agent().cloned()) else {
            let error = refused("tools", tool, "nobody calls it".to_owned());
            return self.deny(("no_agent", error), events);
        };
        let price = view
            .workspace
            .policy
            .tool(tool.as_str())
            .map(|rule| rule.price);
        let wish = Wish {
            run: &self.resident.run,
            key: &self.token.step,
            call: Some((self.request.place.ordinal, Callee::Tool(tool))),
            rule,
            agent: &agent,
            risk: self.risk,
            own: self.definition.and_then(|step| step.approval.as_ref()),
            params: &self.params,
            maximum: Some(Amount {
                money: price.unwrap_or_default(),
                ..Amount::ZERO
            }),
        };
        match clearance::clear(view, &wish) {
            Clearance::Free(ended) => {
                events.extend(ended);
                self.send(view, None, events)
            }
            Clearance::Granted { number, .. } => self.send(view, Some(number), events),
            Clearance::Pending(number) => self.wait(number, events),
            Clearance::Asked(number, asked) => {
                if self.resident.run.created.policy.unattended {
                    return self.nobody_there(view, events);
                }
                events.extend(asked);
                self.wait(number, events)
            }
            Clearance::Denied(denial) => {
                events.extend(denial.events);
                let reason = match denial.code {
                    clearance::REJECTED => ApprovalFault::Rejected,
                    _ => ApprovalFault::Expired,
                };
                let message = format!("tool `{tool}` may not be called: {reason}");
                let error = Error::new(ErrorKind::ApprovalInvalid, message)
                    .with_detail(Detail::Approval { reason });
                self.deny((denial.code, error), events)
            }
        }
    }

    fn send(self, view: &View<'_>, approval: Option<u32>, mut events: Vec<NewEvent>) -> Decision {
        let (run, token) = (&self.resident.run, self.token);
        let effect_key = self.step.effect_key.unwrap_or(Digest::ZERO);
        let used = |number| clearance::consumed(run, number, token.attempt, effect_key);
        events.extend(approval.and_then(used));
        let facts = ToolCallDispatched {
            step: token.step.clone(),
            attempt: token.attempt,
            ordinal: self.request.place.ordinal,
            tool: self.request.tool.clone(),
            risk: self.risk,
            params_digest: self.request.place.request,
            approval,
        };
        events.push(NewEvent::new(token.run_id, facts).with(self.params));
        let who = Who {
            agents: self.step.agent.as_slice(),
            workflow: run.workflow().map(|(name, _)| name),
            model: None,
            tool: Some(&self.request.tool),
        };
        let looks = in_time::looks(view, &who);
        let reply = Reply::Tool(ToolReply::Allowed(looks));
        let answer = match self.risk {
            RiskTier::Read => Answer::Now(reply),
            RiskTier::Write | RiskTier::Irreversible | RiskTier::Financial => {
                Answer::Durable(reply)
            }
        };
        Decision {
            events,
            effects: Vec::new(),
            answer,
        }
    }

    /// It waits for a person, and so does its step where it waits for nothing else.
    fn wait(&self, number: u32, mut events: Vec<NewEvent>) -> Decision {
        let waits = self.request.patience == Patience::Waits;
        if waits && self.step.block.is_none() {
            let facts = StepBlocked {
                step: self.token.step.clone(),
                reason: BlockReason::Approval,
                code: "tool".to_owned(),
                failing: Vec::new(),
            };
            events.push(NewEvent::new(self.token.run_id, facts));
        }
        let id = ApprovalId {
            run_id: self.token.run_id,
            number,
        };
        Decision::durable(events, Reply::Tool(ToolReply::NeedsApproval(id)))
    }

    /// Nobody answers: that is the end of the run.
    fn nobody_there(&self, view: &View<'_>, mut events: Vec<NewEvent>) -> Decision {
        let code = BlockReason::Approval.as_str();
        events.extend(super::abort::by_policy(view, self.resident, code));
        let tool = &self.request.tool;
        let message = format!(
            "tool `{tool}` is {}: nobody is there to approve it",
            self.risk
        );
        let error = Error::new(ErrorKind::ApprovalRequired, message);
        Decision::durable(events, Reply::Tool(ToolReply::Denied(error.into())))
    }

    fn deny(&self, (code, error): (&str, Error), mut events: Vec<NewEvent>) -> Decision {
        let facts = ToolCallDenied {
            step: self.token.step.clone(),
            attempt: self.token.attempt,
            ordinal: self.request.place.ordinal,
            tool: self.request.tool.clone(),
            params_digest: self.request.place.request,
            code: code.to_owned(),
        };
        let part = NewPart::text(error.message());
        events.push(NewEvent::new(self.token.run_id, facts).with(part));
        Decision::durable(events, Reply::Tool(ToolReply::Denied(error.into())))
    }
}

fn refused(rule: &str, tool: &Opaque, message: String) -> Error {
    Error::new(ErrorKind::PolicyDenied, message).with_detail(Detail::Rule {
        rule: rule.to_owned(),
        subject: tool.to_string(),
    })
}

/// The code of a call whose tool said that it failed.
pub const FAILED: &str = "tool_failed";
/// The code of a call whose tool ended with an error once its attempt was to stop.
pub const STOPPED: &str = "stopped";
/// The code of a call that was answered, and whose answer cannot be kept.
pub const NOT_KEPT: &str = "invalid_output";

/// Whether a call may have done, unknown to the log, what cannot be undone: then it stays open, and its
/// step is in doubt once its attempt has ended.
fn may_have_acted(begun: Option<&Call>, request: &EndTool) -> bool {
    let lasting = begun.and_then(|call| call.risk);
    let lasting = lasting.is_some_and(|risk| !risk.is_repeatable());
    let unknown = |(code, _): &(Arc<str>, Arc<str>)| [STOPPED, NOT_KEPT].contains(&&**code);
    lasting && request.result.as_ref().is_err_and(unknown)
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
    if may_have_acted(begun, request) {
        return Ok(Decision::events(Vec::new()));
    }
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
    let judged = answered(view, (token, resident), begun, request);
    events.extend(judged.events);
    if let Some(denial) = judged.denial {
        events.extend(guard::cut(
            view,
            resident,
            &resident.run,
            token,
            &denial.rule,
        ));
        return Ok(Decision::durable(
            events,
            Reply::Refused(denial.error.into()),
        ));
    }
    if same > 0 && same.is_multiple_of(REPEATS) && resident.run.workflow().is_some() {
        let ended = (request.ordinal, Amount::ZERO);
        let inputs = begun.map_or(Digest::ZERO, |call| call.request);
        events.extend(no_progress(view, resident, (token, ended), inputs));
    }
    Ok(Decision::events(events))
}

/// What the rules say of a tool's result.
fn answered(
    view: &View<'_>,
    (token, resident): (&Token, &Resident),
    begun: Option<&Call>,
    request: &EndTool,
) -> guard::Judged {
    let known = begun.and_then(|call| Some((call, call.tool.as_ref()?)));
    let run = &resident.run;
    let step = run.step(&token.step);
    let (Some((call, tool)), Some(step), Ok(result)) = (known, step, &request.result) else {
        return guard::Judged::default();
    };
    let asked = Asked::Answer(rules::Answer {
        answer: Some(result),
        reasoning: None,
        served: None,
        fits: None,
        measured: None,
        approved: has_approved(step, (run, request.ordinal)),
    });
    let asking = asking((resident, step), tool, (Checkpoint::After, asked));
    let place = guard::Place {
        token,
        resident,
        ordinal: request.ordinal,
        inputs: call.request,
    };
    guard::at_place(view, place, &asking)
}

/// Whether a person has approved a call that has gone out.
pub fn has_approved(step: &Step, (run, ordinal): (&Run, u32)) -> bool {
    let number = step.asked.get(&ordinal);
    let approval = number.and_then(|number| run.approvals.get(number));
    approval.is_some_and(|one| one.state == ApprovalState::Consumed)
}

/// What a tool did after its attempt had lost its token: written down, and the state stays.
fn end_late(view: &View<'_>, token: &Token, request: &EndTool) -> Result<Decision> {
    let run = late::known(view, token)?;
    let (outcome, part) = match &request.result {
        Ok(value) => ("tool_completed", NewPart::json(value)),
        Err((_, message)) => (FAILED, NewPart::text(message)),
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
