//! Approve, reject, revoke, expire: what a person or time does to a request, and what that lets go.
//!
//! A word that does not count is written down too. What is *not* here: whether anybody has to be
//! asked, and what an approval covers (`clearance`).

use serde_json::json;

use super::clearance::{EXPIRED, REJECTED, voided};
use super::{View, advance, control, late};
use crate::error::{ApprovalFault, Detail, Error, ErrorKind, Result};
use crate::event::approval::{
    ApprovalDecided, ApprovalRefusal, ApprovalRefused, ApprovalVerdict, VoidReason,
};
use crate::event::step::{StepFailed, WaitingFor};
use crate::event::{BlockReason, StepStatus};
use crate::id::{Actor, ApprovalId, StepKey};
use crate::money::NanoUsd;
use crate::run::{Approval, ApprovalState, Block, Run, Step};
use crate::sequencer::command::{DecideApproval, OperatorWord};
use crate::sequencer::decision::{Decision, NewEvent, NewPart, Reply};
use crate::sequencer::resident::Resident;
use crate::workflow::OnFailure;

/// A request or an approval with its number.
type Numbered<'a> = (u32, &'a Approval);

/// What a request comes to, for what waits for it.
#[derive(Clone, Copy)]
enum End<'a> {
    /// It may go, or has to ask anew.
    Go,
    /// It fails with this code.
    Fail(&'static str, &'a str),
}

fn find<'a>(view: &View<'a>, id: ApprovalId) -> Result<(&'a Resident, Numbered<'a>)> {
    let resident = view.resident(id.run_id)?;
    let approval = resident.run.approvals.get(&id.number);
    let approval = approval.ok_or_else(|| Error::not_found("approval", id))?;
    Ok((resident, (id.number, approval)))
}

/// Takes an operator's decision.
///
/// # Errors
/// `NotFound`. A decision that does not count is answered with a refusal, and written down.
pub fn decide(view: &View<'_>, request: &DecideApproval) -> Result<Decision> {
    let (resident, numbered) = find(view, request.word.approval)?;
    let run = &resident.run;
    if let Some(reason) = refusal(view, resident, numbered.1, request) {
        let ended = match reason {
            ApprovalRefusal::Expired if numbered.1.is_open() => expire(resident, numbered),
            ApprovalRefusal::PolicyChanged if numbered.1.is_open() => {
                end(resident, numbered, VoidReason::PolicyChanged, End::Go)
            }
            ApprovalRefusal::OverMaximumCost if numbered.1.is_open() => {
                end(resident, numbered, VoidReason::OverMaximumCost, End::Go)
            }
            ApprovalRefusal::Decided
            | ApprovalRefusal::Used
            | ApprovalRefusal::Expired
            | ApprovalRefusal::Revoked
            | ApprovalRefusal::ParamsChanged
            | ApprovalRefusal::PolicyChanged
            | ApprovalRefusal::OverMaximumCost
            | ApprovalRefusal::StepEnded
            | ApprovalRefusal::FourEyes
            | ApprovalRefusal::Requester
            | ApprovalRefusal::NotAnOperator
            | ApprovalRefusal::Pending => Vec::new(),
        };
        return Ok(refused(run, numbered, &request.word, (reason, ended)));
    }
    let (number, approval) = numbered;
    let verdict = request.verdict;
    let word = match verdict {
        ApprovalVerdict::Approved => "approved",
        ApprovalVerdict::Rejected => "rejected",
    };
    let told = json!({
        "approval": number, "decision": word, "reason": &*request.word.reason,
        "by": request.word.operator.as_ref(),
    });
    let facts = ApprovalDecided {
        number,
        step: approval.step.clone(),
        verdict,
    };
    let event = NewEvent::new(run.run_id, facts).with(NewPart::json(&told));
    let outcome = match verdict {
        ApprovalVerdict::Approved => End::Go,
        ApprovalVerdict::Rejected => End::Fail(REJECTED, &request.word.reason),
    };
    let mut events = vec![event];
    events.extend(follow(resident, numbered, outcome));
    Ok(Decision::events(events))
}

/// Why a decision does not count, if it does not.
fn refusal(
    view: &View<'_>,
    resident: &Resident,
    approval: &Approval,
    request: &DecideApproval,
) -> Option<ApprovalRefusal> {
    if let Some(ended) = ended(approval.state) {
        return Some(ended);
    }
    if approval.state == ApprovalState::Approved {
        return Some(ApprovalRefusal::Decided);
    }
    if view.now >= approval.expires_at {
        return Some(ApprovalRefusal::Expired);
    }
    let rules = view.workspace.policy.approvals();
    let operator = &request.word.operator;
    if !rules.may_decide(operator) {
        return Some(ApprovalRefusal::NotAnOperator);
    }
    match request.verdict {
        ApprovalVerdict::Rejected => return None,
        ApprovalVerdict::Approved => {}
    }
    if operator.reads_as(approval.agent.as_str()) {
        return Some(ApprovalRefusal::Requester);
    }
    let starter = match &resident.run.started_by {
        Actor::Operator(name) => operator.reads_as(name.as_str()),
        Actor::Agent(_) | Actor::System => false,
    };
    if starter && rules.four_eyes.contains(&approval.risk) {
        return Some(ApprovalRefusal::FourEyes);
    }
    tighter(view, resident, approval)
}

/// What was shown is less than what the policy in force says.
fn tighter(view: &View<'_>, resident: &Resident, approval: &Approval) -> Option<ApprovalRefusal> {
    let policy = &view.workspace.policy;
    let workflow = resident.workflow.as_ref();
    let definition = workflow.and_then(|w| w.definition().step(approval.step.name()));
    let (tier, price) = match &approval.tool {
        // A model call has no tier; what it would cost now is known once it is asked for again.
        None if approval.model.is_some() => (None, NanoUsd::ZERO),
        None => (definition.map(|step| step.tier(policy)), NanoUsd::ZERO),
        Some(tool) => {
            let rule = policy.tool(tool.as_str());
            (
                rule.map(|rule| rule.risk),
                rule.map_or(NanoUsd::ZERO, |rule| rule.price),
            )
        }
    };
    let own = definition.and_then(|step| step.approval.as_ref());
    let open_for = policy.approvals().expires_in(own);
    if tier.is_some_and(|tier| tier > approval.risk)
        || view.now >= approval.requested_at.after(open_for)
    {
        Some(ApprovalRefusal::PolicyChanged)
    } else if price > approval.maximum.money {
        Some(ApprovalRefusal::OverMaximumCost)
    } else {
        None
    }
}

/// How it ended, in the words of a refusal; none while it is open.
const fn ended(state: ApprovalState) -> Option<ApprovalRefusal> {
    match state {
        ApprovalState::Pending | ApprovalState::Approved => None,
        ApprovalState::Rejected => Some(ApprovalRefusal::Decided),
        ApprovalState::Consumed => Some(ApprovalRefusal::Used),
        ApprovalState::Voided(reason) => Some(match reason {
            VoidReason::Expired => ApprovalRefusal::Expired,
            VoidReason::Revoked => ApprovalRefusal::Revoked,
            VoidReason::ParamsChanged => ApprovalRefusal::ParamsChanged,
            VoidReason::PolicyChanged => ApprovalRefusal::PolicyChanged,
            VoidReason::OverMaximumCost => ApprovalRefusal::OverMaximumCost,
            VoidReason::StepEnded => ApprovalRefusal::StepEnded,
        }),
    }
}

fn refused(
    run: &Run,
    (number, approval): Numbered<'_>,
    word: &OperatorWord,
    (reason, mut events): (ApprovalRefusal, Vec<NewEvent>),
) -> Decision {
    let facts = ApprovalRefused {
        number,
        step: approval.step.clone(),
        reason,
    };
    let event = NewEvent::new(late::chain_of(run), facts).with(NewPart::text(&word.reason));
    events.push(event);
    Decision::durable(
        events,
        Reply::Refused(refusal_error(word.approval, reason).into()),
    )
}

/// What an operator is told whose word does not count.
pub fn refusal_error(approval: ApprovalId, reason: ApprovalRefusal) -> Error {
    let fault = fault(reason);
    let message = format!("{fault}: approval `{approval}`");
    let kind = match reason {
        ApprovalRefusal::FourEyes | ApprovalRefusal::Requester | ApprovalRefusal::NotAnOperator => {
            ErrorKind::PolicyDenied
        }
        ApprovalRefusal::Decided
        | ApprovalRefusal::Used
        | ApprovalRefusal::Expired
        | ApprovalRefusal::Revoked
        | ApprovalRefusal::ParamsChanged
        | ApprovalRefusal::PolicyChanged
        | ApprovalRefusal::OverMaximumCost
        | ApprovalRefusal::StepEnded
        | ApprovalRefusal::Pending => ErrorKind::ApprovalInvalid,
    };
    Error::new(kind, message).with_detail(Detail::Approval { reason: fault })
}

const fn fault(reason: ApprovalRefusal) -> ApprovalFault {
    match reason {
        ApprovalRefusal::Decided => ApprovalFault::Decided,
        ApprovalRefusal::Used => ApprovalFault::Used,
        ApprovalRefusal::Expired => ApprovalFault::Expired,
        ApprovalRefusal::Revoked => ApprovalFault::Revoked,
        ApprovalRefusal::ParamsChanged => ApprovalFault::ParamsChanged,
        ApprovalRefusal::PolicyChanged => ApprovalFault::PolicyChanged,
        ApprovalRefusal::OverMaximumCost => ApprovalFault::OverMaximumCost,
        ApprovalRefusal::StepEnded => ApprovalFault::StepEnded,
        ApprovalRefusal::FourEyes => ApprovalFault::FourEyes,
        ApprovalRefusal::Requester => ApprovalFault::Requester,
        ApprovalRefusal::NotAnOperator => ApprovalFault::NotAnOperator,
        ApprovalRefusal::Pending => ApprovalFault::Pending,
    }
}

/// Takes an approval back that was given and not used yet.
///
/// # Errors
/// `NotFound`. One that is not to be taken back is answered with a refusal, and written down.
pub fn revoke(view: &View<'_>, word: &OperatorWord) -> Result<Decision> {
    let (resident, numbered) = find(view, word.approval)?;
    let run = &resident.run;
    let state = numbered.1.state;
    let not_now = match state {
        ApprovalState::Pending => Some(ApprovalRefusal::Pending),
        ApprovalState::Approved => None,
        ApprovalState::Rejected | ApprovalState::Consumed | ApprovalState::Voided(_) => {
            ended(state)
        }
    };
    let rules = view.workspace.policy.approvals();
    let stranger = !rules.may_decide(&word.operator);
    let stranger = stranger.then_some(ApprovalRefusal::NotAnOperator);
    match not_now.or(stranger) {
        Some(reason) => Ok(refused(run, numbered, word, (reason, Vec::new()))),
        None => Ok(Decision::events(vec![voided(
            run,
            numbered,
            VoidReason::Revoked,
        )])),
    }
}

/// The first request or approval of a run whose time is over ends; nothing where there is none.
pub fn expired(view: &View<'_>, resident: &Resident) -> Vec<NewEvent> {
    let all = resident.run.approvals.iter();
    let over = |one: &Approval| one.is_open() && one.expires_at <= view.now;
    let mut all = all.filter(|(_, one)| over(one));
    let first = all.next().map(|(number, one)| (*number, one));
    first.map_or_else(Vec::new, |numbered| expire(resident, numbered))
}

fn expire(resident: &Resident, numbered: Numbered<'_>) -> Vec<NewEvent> {
    let outcome = End::Fail(EXPIRED, "nobody decided, or used it, in time");
    end(resident, numbered, VoidReason::Expired, outcome)
}

fn end(
    resident: &Resident,
    numbered: Numbered<'_>,
    reason: VoidReason,
    outcome: End<'_>,
) -> Vec<NewEvent> {
    let mut events = vec![voided(&resident.run, numbered, reason)];
    events.extend(follow(resident, numbered, outcome));
    events
}

/// What is still open of steps and runs that have ended ends with them.
pub fn leftovers(run: &Run) -> Vec<NewEvent> {
    let over = |one: &Approval| {
        let step = run.step_status(&one.step).is_terminal();
        one.is_open() && (step || run.status.is_terminal())
    };
    let all = run.approvals.iter().filter(|(_, one)| over(one));
    all.map(|(number, one)| voided(run, (*number, one), VoidReason::StepEnded))
        .collect()
}

/// What is open of a step ends unused.
pub fn open_of(run: &Run, key: &StepKey) -> Vec<NewEvent> {
    let open = |one: &Approval| one.is_open() && one.step == *key;
    let all = run.approvals.iter().filter(|(_, one)| open(one));
    all.map(|(number, one)| voided(run, (*number, one), VoidReason::StepEnded))
        .collect()
}

/// What a request's end does to what waits for it.
fn follow(resident: &Resident, numbered: Numbered<'_>, outcome: End<'_>) -> Vec<NewEvent> {
    let run = &resident.run;
    let (number, approval) = numbered;
    let Some(step) = run.step(&approval.step) else {
        return Vec::new();
    };
    match (approval.ordinal, outcome) {
        (None, End::Fail(code, message)) if waits(step) => {
            failed(resident, &approval.step, (code, message))
        }
        // It went out without it, or something else stands in its way.
        (None, End::Fail(..)) => Vec::new(),
        // The call that asked is told by its own question; other calls may still wait.
        (Some(_), End::Go | End::Fail(..)) if waits_for_others(run, step, number) => Vec::new(),
        (None, End::Go) | (Some(_), End::Go | End::Fail(..)) => {
            unblocked(run, &approval.step, step)
        }
    }
}

/// Whether a step is still to go out, and nothing but a person's word may stand in its way.
fn waits(step: &Step) -> bool {
    let clear = |block: &Block| block.reason == BlockReason::Approval;
    step.live.is_none()
        && match &step.block {
            Some(block) => clear(block),
            None => step.status.0 == StepStatus::Waiting,
        }
}

fn unblocked(run: &Run, key: &StepKey, step: &Step) -> Vec<NewEvent> {
    let block = step.block.as_ref();
    let blocked = block.is_some_and(|block| block.reason == BlockReason::Approval);
    let event = blocked.then(|| control::unblocked(run, key, BlockReason::Approval));
    event.into_iter().collect()
}

/// Whether the step waits for another request than this one.
fn waits_for_others(run: &Run, step: &Step, number: u32) -> bool {
    if step.live.is_none() {
        let waiting = step.suspension.as_ref().map(|one| &one.waiting_for);
        return waiting != Some(&WaitingFor::Approval { number });
    }
    let pending = |other: &u32| run.approvals.get(other).is_some_and(Approval::is_pending);
    step.asked
        .values()
        .any(|other| *other != number && pending(other))
}

/// A step that a person, or time, does not let go.
pub fn failed(
    resident: &Resident,
    key: &StepKey,
    (code, message): (&'static str, &str),
) -> Vec<NewEvent> {
    let run = &resident.run;
    let Some(step) = run.step(key).filter(|step| !step.status.0.is_terminal()) else {
        return Vec::new();
    };
    let failed = |tolerated| {
        let facts = StepFailed {
            step: key.clone(),
            code: code.to_owned(),
            tolerated,
        };
        NewEvent::new(run.run_id, facts).with(NewPart::text(message))
    };
    match advance::after_failure(resident, key) {
        // It asks anew once somebody lets the run go on.
        Some(OnFailure::Pause) => {
            let mut events = unblocked(run, key, step);
            events.extend(advance::pause_after_failure(run, key.clone()));
            events
        }
        Some(OnFailure::Continue) => vec![failed(true)],
        Some(OnFailure::Fail) | None => vec![failed(false)],
    }
}
