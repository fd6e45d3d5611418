//! How events of approvals change their run.

use super::apply::RunEvent;
use super::approval::{Approval, ApprovalState, ApprovalTrigger, approval_after};
use super::state::Run;
use crate::error::Result;
use crate::event::EventKind;
use crate::event::approval::{ApprovalRequested, ApprovalVerdict};
use crate::event::step::WaitingFor;
use crate::id::Actor;
use crate::money::NanoUsd;

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "`apply` sends only these kinds here"
)]
pub(super) fn apply(run: &mut Run, event: &RunEvent<'_>) -> Result<()> {
    match event.kind {
        EventKind::ApprovalRequested(facts) => requested(run, facts, event),
        EventKind::ApprovalDecided(facts) => {
            let trigger = match facts.verdict {
                ApprovalVerdict::Approved => ApprovalTrigger::Approve,
                ApprovalVerdict::Rejected => ApprovalTrigger::Reject,
            };
            end(run, facts.number, trigger, event)
        }
        EventKind::ApprovalVoided(facts) => end(
            run,
            facts.number,
            ApprovalTrigger::Void(facts.reason),
            event,
        ),
        EventKind::ApprovalConsumed(facts) => {
            let approval = turn(run, facts.number, ApprovalTrigger::Consume, event)?;
            if approval.ordinal.is_none() {
                approval.used_by = Some(facts.attempt);
                let key = approval.step.clone();
                if let Some(step) = run.steps.get_mut(&key) {
                    step.billed = NanoUsd::ZERO;
                }
            }
            Ok(())
        }
        EventKind::ApprovalRefused(_) => Ok(()),
        _ => Err(event.refuse("not_of_an_approval")),
    }
}

fn requested(run: &mut Run, facts: &ApprovalRequested, event: &RunEvent<'_>) -> Result<()> {
    let known = u32::try_from(run.approvals.len()).unwrap_or(u32::MAX);
    if facts.number != known.saturating_add(1) {
        return Err(event.refuse("number"));
    }
    let approval = Approval {
        state: ApprovalState::Pending,
        step: facts.step.clone(),
        ordinal: facts.ordinal,
        tool: facts.tool.clone(),
        model: facts.model.clone(),
        rule: facts.rule.clone(),
        agent: facts.agent.clone(),
        risk: facts.risk,
        params_digest: facts.params_digest,
        params: event.part(0),
        maximum: facts.maximum,
        unbounded: facts.unbounded,
        used_by: None,
        requested_at: event.ts,
        expires_at: facts.expires_at,
        decided_by: None,
        decision: None,
    };
    run.approvals.insert(facts.number, approval);
    let step = run.steps.entry(facts.step.clone()).or_default();
    match facts.ordinal {
        None => step.approval = Some(facts.number),
        Some(ordinal) => drop(step.asked.insert(ordinal, facts.number)),
    }
    Ok(())
}

fn turn<'a>(
    run: &'a mut Run,
    number: u32,
    trigger: ApprovalTrigger,
    event: &RunEvent<'_>,
) -> Result<&'a mut Approval> {
    let approval = run.approvals.get_mut(&number);
    let approval = approval.ok_or_else(|| event.refuse("number"))?;
    let after = approval_after(approval.state, trigger);
    approval.state = after.ok_or_else(|| event.refuse("approval_transition"))?;
    Ok(approval)
}

/// It is decided, or ends unused: whoever waits for that finds it with its checkpoint.
fn end(run: &mut Run, number: u32, trigger: ApprovalTrigger, event: &RunEvent<'_>) -> Result<()> {
    let place = event.part(0);
    let approval = turn(run, number, trigger, event)?;
    approval.decision = Some(place);
    if let (Actor::Operator(name), ApprovalTrigger::Approve | ApprovalTrigger::Reject) =
        (event.actor, trigger)
    {
        approval.decided_by = Some(name.clone());
    }
    let key = approval.step.clone();
    let suspension = run
        .steps
        .get_mut(&key)
        .and_then(|step| step.suspension.as_mut());
    if let Some(suspension) = suspension
        && suspension.waiting_for == (WaitingFor::Approval { number })
    {
        suspension.signal = Some(place);
    }
    Ok(())
}
