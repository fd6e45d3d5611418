//! Model calls of which a rule wants a person's word: asked for, waited for, and let go once.
//!
//! What is shown is the whole request, byte by byte, with the most that it may cost; an approval covers
//! these bytes at this place of the journal. What is *not* here: what an approval covers (`clearance`),
//! and which rule asks (`guard`).

use std::ops::ControlFlow;

use super::builtin::{self, Builtin};
use super::call_reserve::Asking;
use super::clearance::{self, Callee, Clearance, Wish};
use crate::budget::Amount;
use crate::error::{ApprovalFault, Detail, Error, ErrorKind};
use crate::event::BlockReason;
use crate::event::step::StepBlocked;
use crate::id::{AgentName, ApprovalId, Digest};
use crate::policy::RiskTier;
use crate::policy::guard::{Checkpoint, Verdict};
use crate::sequencer::command::Patience;
use crate::sequencer::decision::{CallReply, Decision, NewEvent, NewPart, Reply};

/// The code of a step that waits for a person's word on a model call.
const MODEL: &str = "model";
/// The kind of rule that asks once a threshold was reached.
const THRESHOLD: &str = "budget_threshold";

impl Asking<'_> {
    /// What the thresholds of its accounts that were reached say: a person has to be asked of it, or
    /// another model is suggested.
    pub(super) fn thresholds(&mut self, caller: Option<&AgentName>) {
        let lasting = self.view.workspace.has_lasting_thresholds();
        let Some(agent) = caller.filter(|_| lasting) else {
            return;
        };
        let path = self.resident.run.path(&self.token.step, agent);
        let (asks, suggests) = self.view.workspace.standing(&path);
        let other = suggests.filter(|model| **model != self.call.model);
        self.suggests = other.cloned();
        let Some((account, percent)) = asks else {
            return;
        };
        let why = format!("{account} has reached {percent} hundredths of its limit");
        let asked = Builtin {
            at: Checkpoint::ModelCall,
            code: THRESHOLD,
            inputs: self.call.place.request,
            why: &why,
            verdict: Verdict::NeedsApproval,
        };
        let place = (self.token, self.call.place.ordinal);
        self.judged.push(asked.of_call(&self.view, place));
        let rule = || builtin::id(THRESHOLD);
        self.asks.get_or_insert_with(rule);
    }

    /// Goes on where nobody has to be asked, or a person has approved it; `most` is what it may cost
    /// with all the output that it asks for.
    pub(super) fn clear(
        mut self,
        caller: Option<&AgentName>,
        most: Amount,
        held: (Amount, Option<u64>),
    ) -> ControlFlow<Decision, Self> {
        let ordinal = self.call.place.ordinal;
        let known = self.step.asked.contains_key(&ordinal);
        let (Some(agent), true) = (caller, known || self.asks.is_some()) else {
            return ControlFlow::Continue(self);
        };
        let rule = self.asks.take();
        let workflow = self.resident.workflow.as_ref();
        let definition = workflow.and_then(|w| w.definition().step(self.token.step.name()));
        let params = NewPart::json(&self.call.whole());
        let wish = Wish {
            run: &self.resident.run,
            key: &self.token.step,
            call: Some((ordinal, Callee::Model(&self.call.model, self.before))),
            rule: rule.as_deref(),
            agent,
            risk: RiskTier::Write,
            own: definition.and_then(|step| step.approval.as_ref()),
            params: &params,
            maximum: Some(most),
        };
        match clearance::clear(&self.view, &wish) {
            Clearance::Free(ended) => {
                self.events.extend(ended);
                ControlFlow::Continue(self)
            }
            Clearance::Granted { number, fresh } => {
                self.grant = Some((number, fresh));
                ControlFlow::Continue(self)
            }
            Clearance::Pending(number) => ControlFlow::Break(self.wait(number, Vec::new())),
            // What can never fit is asked of nobody.
            Clearance::Asked(..) if self.can_never_fit(held.0) => {
                ControlFlow::Break(self.hold(held.0, held.1))
            }
            Clearance::Asked(..) if self.resident.run.created.policy.unattended => {
                ControlFlow::Break(self.nobody_there())
            }
            Clearance::Asked(number, asked) => {
                let mut events = std::mem::take(&mut self.events);
                events.append(&mut self.judged);
                events.extend(asked);
                ControlFlow::Break(self.wait(number, events))
            }
            Clearance::Denied(denial) => ControlFlow::Break(self.not_approved(denial)),
        }
    }

    /// It waits for a person, and so does its step where it waits for nothing else.
    fn wait(&self, number: u32, mut events: Vec<NewEvent>) -> Decision {
        if self.call.patience == Patience::Waits && self.step.block.is_none() {
            let facts = StepBlocked {
                step: self.token.step.clone(),
                reason: BlockReason::Approval,
                code: MODEL.to_owned(),
                failing: Vec::new(),
            };
            events.push(NewEvent::new(self.token.run_id, facts));
        }
        let id = ApprovalId {
            run_id: self.token.run_id,
            number,
        };
        Decision::durable(events, Reply::Call(CallReply::NeedsApproval(id)))
    }

    /// A person said no, or nobody said anything in time.
    fn not_approved(mut self, denial: clearance::Denial) -> Decision {
        let reason = match denial.code {
            clearance::REJECTED => ApprovalFault::Rejected,
            _ => ApprovalFault::Expired,
        };
        let message = format!("model `{}` may not be called: {reason}", self.call.model);
        let error = Error::new(ErrorKind::ApprovalInvalid, message)
            .with_detail(Detail::Approval { reason });
        self.events.append(&mut self.judged);
        self.events.extend(denial.events);
        self.deny(denial.code, error)
    }

    /// Nobody answers: that is the end of the run.
    fn nobody_there(mut self) -> Decision {
        let message = format!(
            "model `{}` needs an approval: nobody is there to give it",
            self.call.model
        );
        let error = Error::new(ErrorKind::ApprovalRequired, message);
        self.events.append(&mut self.judged);
        let code = BlockReason::Approval.as_str();
        let ended = super::abort::by_policy(&self.view, self.resident, code);
        self.events.extend(ended);
        let denied = CallReply::Denied(error.into());
        Decision::durable(self.events, Reply::Call(denied))
    }

    /// The call goes out: its approval is used up in the same commit.
    pub(super) fn used_up(&self) -> Option<NewEvent> {
        let (number, _) = self.grant.filter(|(_, fresh)| *fresh)?;
        let effect_key = self.step.effect_key.unwrap_or(Digest::ZERO);
        let run = &self.resident.run;
        clearance::consumed(run, number, self.token.attempt, effect_key)
    }
}
