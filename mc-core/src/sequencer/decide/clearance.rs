//! Clearance: may this act, or does a person have to be asked first?
//!
//! An approval covers exactly what was shown: the run, the step or the place of a call, the
//! parameters' bytes, the tier and the most that it may cost. What it does not cover ends it, and
//! a person is asked anew. Using it up is in the commit of the dispatch (`dispatch`, `tool`,
//! `call_asks`).

use super::View;
use crate::budget::Amount;
use crate::event::approval::{ApprovalConsumed, ApprovalRequested, ApprovalVoided, VoidReason};
use crate::id::{Actor, AgentName, Digest, ModelId, Opaque, StepKey};
use crate::policy::{OwnApproval, RiskTier};
use crate::run::{Approval, ApprovalState, Run};
use crate::sequencer::decision::{NewEvent, NewPart};
use serde_json::json;

/// What wants to act.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Its run.
    pub run: &'a Run,
    /// Its step.
    pub key: &'a StepKey,
    /// The place of the call, and what is called; none for the step itself.
    pub call: Option<(u32, Callee<'a>)>,
    /// The rule that wants a person's word, whatever the tier; the first that does.
    pub rule: Option<&'a str>,
    /// Who is to act.
    pub agent: &'a AgentName,
    /// The tier, under the policy in force.
    pub risk: RiskTier,
    /// What the step asks of its own will.
    pub own: Option<&'a OwnApproval>,
    /// The exact parameter bytes.
    pub params: &'a NewPart,
    /// The most that it may cost; none where that is not known.
    pub maximum: Option<Amount>,
}

/// What is to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callee<'a> {
    /// A tool, which asks by its tier.
    Tool(&'a Opaque),
    /// A model, of which only rules ask.
    Model(&'a ModelId, Before),
}

/// What became of the same request at the same place before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// It has not gone out, or something may have come of it.
    Nothing,
    /// It went out and nothing was billed: what a person approved has not happened yet.
    Unbilled,
}

impl Callee<'_> {
    const fn tool(&self) -> Option<&Opaque> {
        match self {
            Self::Tool(tool) => Some(tool),
            Self::Model(..) => None,
        }
    }

    const fn model(&self) -> Option<&ModelId> {
        match self {
            Self::Tool(_) => None,
            Self::Model(model, _) => Some(model),
        }
    }

    fn is_that_of(&self, approval: &Approval) -> bool {
        approval.tool.as_ref() == self.tool() && approval.model.as_ref() == self.model()
    }
}

impl Wish<'_> {
    /// Whether the tier of what it wants to do is one that a person is asked of.
    fn is_of_a_tier(&self) -> bool {
        !matches!(self.call, Some((_, Callee::Model(..))))
    }

    /// Whether an approval that was used covers this too: the step's own covers each attempt of it,
    /// and that of a model call covers it until something has come of it.
    fn uses_on(&self) -> bool {
        matches!(
            self.call,
            None | Some((_, Callee::Model(_, Before::Unbilled)))
        )
    }
}

/// Whether it may act.
#[derive(Debug)]
pub enum Clearance {
    /// Nobody has to be asked; what was asked before ends with these events.
    Free(Vec<NewEvent>),
    /// An approval covers it.
    Granted {
        /// The approval.
        number: u32,
        /// It is not used up yet: its use has to be in the commit of the dispatch.
        fresh: bool,
    },
    /// A person is asked already.
    Pending(u32),
    /// A person is asked from now on.
    Asked(u32, Vec<NewEvent>),
    /// A person said no, or nobody said anything in time.
    Denied(Denial),
}

/// Why it may not act.
#[derive(Debug)]
pub struct Denial {
    /// The approval.
    pub number: u32,
    /// `approval_rejected` or `approval_expired`.
    pub code: &'static str,
    /// What has to be written down.
    pub events: Vec<NewEvent>,
}

/// The code of what a person rejected.
pub const REJECTED: &str = "approval_rejected";
/// The code of what nobody decided, or used, in time.
pub const EXPIRED: &str = "approval_expired";

/// Whether a wish may be granted at once.
pub fn clear(view: &View<'_>, wish: &Wish<'_>) -> Clearance {
    let rules = view.workspace.policy.approvals();
    let tier_asks = wish.is_of_a_tier() && rules.asks(wish.own, wish.risk);
    if !tier_asks && wish.rule.is_none() {
        return unasked(view, wish);
    }
    let Some((number, approval)) = last(wish) else {
        return ask(view, wish, Vec::new());
    };
    let again = |reason| {
        ask(
            view,
            wish,
            vec![voided(wish.run, (number, approval), reason)],
        )
    };
    let same = |(_, callee): (u32, Callee<'_>)| {
        callee.is_that_of(approval) && approval.params_digest == digest(wish)
    };
    let same_call = wish.call.is_some_and(same);
    let denied = |code, events| {
        Clearance::Denied(Denial {
            number,
            code,
            events,
        })
    };
    match approval.state {
        ApprovalState::Pending => match outgrown(wish, approval) {
            Some(reason) => again(reason),
            None => Clearance::Pending(number),
        },
        ApprovalState::Approved if view.now >= approval.expires_at => {
            let events = vec![voided(wish.run, (number, approval), VoidReason::Expired)];
            denied(EXPIRED, events)
        }
        ApprovalState::Approved => {
            match outgrown(wish, approval).or_else(|| tightened(view, wish, approval)) {
                Some(reason) => again(reason),
                None => Clearance::Granted {
                    number,
                    fresh: true,
                },
            }
        }
        // It was given for the intent: every attempt of it is covered, but no second call.
        ApprovalState::Consumed if wish.uses_on() && outgrown(wish, approval).is_none() => {
            Clearance::Granted {
                number,
                fresh: false,
            }
        }
        ApprovalState::Rejected if same_call => denied(REJECTED, Vec::new()),
        ApprovalState::Voided(VoidReason::Expired) if same_call => denied(EXPIRED, Vec::new()),
        ApprovalState::Consumed | ApprovalState::Rejected | ApprovalState::Voided(_) => {
            ask(view, wish, Vec::new())
        }
    }
}

/// Nobody is asked any more. What is open still is used where it covers this, and ends where it does
/// not: otherwise its time would end what goes on.
fn unasked(view: &View<'_>, wish: &Wish<'_>) -> Clearance {
    let Some((number, approval)) = last(wish).filter(|(_, one)| one.is_open()) else {
        return Clearance::Free(Vec::new());
    };
    let reason = if view.now >= approval.expires_at {
        VoidReason::Expired
    } else if approval.is_pending() {
        VoidReason::PolicyChanged
    } else if let Some(reason) = outgrown(wish, approval) {
        reason
    } else {
        return Clearance::Granted {
            number,
            fresh: true,
        };
    };
    Clearance::Free(vec![voided(wish.run, (number, approval), reason)])
}

fn digest(wish: &Wish<'_>) -> Digest {
    Digest::of(&[&wish.params.bytes])
}

/// What was last asked for the same step or place.
fn last<'a>(wish: &Wish<'a>) -> Option<(u32, &'a Approval)> {
    let step = wish.run.step(wish.key)?;
    let number = match wish.call {
        None => step.approval,
        Some((ordinal, _)) => step.asked.get(&ordinal).copied(),
    };
    let number = number?;
    wish.run.approvals.get(&number).map(|one| (number, one))
}

/// What was shown is not what is wished for.
fn outgrown(wish: &Wish<'_>, approval: &Approval) -> Option<VoidReason> {
    let same = wish.call.map_or(approval.ordinal.is_none(), |(_, callee)| {
        callee.is_that_of(approval)
    });
    if approval.params_digest != digest(wish) || !same {
        Some(VoidReason::ParamsChanged)
    } else if wish.risk > approval.risk {
        Some(VoidReason::PolicyChanged)
    } else if approval.is_bounded()
        && wish
            .maximum
            .is_none_or(|most| !most.fits_in(&approval.maximum))
    {
        Some(VoidReason::OverMaximumCost)
    } else {
        None
    }
}

/// The policy in force would not have let it be given so, or for so long.
fn tightened(view: &View<'_>, wish: &Wish<'_>, approval: &Approval) -> Option<VoidReason> {
    let rules = view.workspace.policy.approvals();
    let over = view.now >= approval.requested_at.after(rules.expires_in(wish.own));
    let by = approval.decided_by.as_ref();
    let stranger = by.is_some_and(|by| !rules.may_decide(by));
    let starter = match &wish.run.started_by {
        Actor::Operator(name) => by.is_some_and(|by| by.reads_as(name.as_str())),
        Actor::Agent(_) | Actor::System => false,
    };
    let alone = starter && rules.four_eyes.contains(&approval.risk);
    (over || stranger || alone).then_some(VoidReason::PolicyChanged)
}

fn ask(view: &View<'_>, wish: &Wish<'_>, mut events: Vec<NewEvent>) -> Clearance {
    let known = u32::try_from(wish.run.approvals.len()).unwrap_or(u32::MAX);
    let number = known.saturating_add(1);
    let rules = view.workspace.policy.approvals();
    let facts = ApprovalRequested {
        number,
        step: wish.key.clone(),
        ordinal: wish.call.map(|(ordinal, _)| ordinal),
        tool: wish.call.and_then(|(_, callee)| callee.tool().cloned()),
        model: wish.call.and_then(|(_, callee)| callee.model().cloned()),
        rule: wish.rule.map(ToOwned::to_owned),
        agent: wish.agent.clone(),
        risk: wish.risk,
        params_digest: digest(wish),
        maximum: wish.maximum.unwrap_or_default(),
        unbounded: wish.maximum.is_none(),
        policy_version: view.workspace.shared.policy.map_or(0, |head| head.version),
        expires_at: view.now.after(rules.expires_in(wish.own)),
    };
    events.push(NewEvent::new(wish.run.run_id, facts).with(wish.params.clone()));
    Clearance::Asked(number, events)
}

/// It is used up, by the dispatch that follows.
pub fn consumed(run: &Run, number: u32, attempt: u32, effect_key: Digest) -> Option<NewEvent> {
    let facts = ApprovalConsumed {
        number,
        step: run.approvals.get(&number)?.step.clone(),
        attempt,
        effect_key,
    };
    Some(NewEvent::new(run.run_id, facts))
}

/// It ends unused.
pub fn voided(run: &Run, (number, approval): (u32, &Approval), reason: VoidReason) -> NewEvent {
    let facts = ApprovalVoided {
        number,
        step: approval.step.clone(),
        reason,
    };
    let told = match reason {
        VoidReason::Expired => "expired",
        VoidReason::Revoked => "revoked",
        VoidReason::ParamsChanged
        | VoidReason::PolicyChanged
        | VoidReason::OverMaximumCost
        | VoidReason::StepEnded => "voided",
    };
    let part = NewPart::json(&json!({ "approval": number, "decision": told }));
    NewEvent::new(run.run_id, facts).with(part)
}

#[cfg(test)]
#[path = "clearance_tests.rs"]
mod tests;
