//! What the policy says of a model call before it goes out: its rules, and its rates.

use std::collections::BTreeSet;

use super::call_reserve::Asking;
use super::guard::{self, Denial};
use super::in_time;
use crate::budget::{Amount, Ticket};
use crate::id::AgentName;
use crate::policy::guard::{self as rules, Asked, Call, Checkpoint, Verdict, Who};
use crate::pricing::Named;
use crate::sequencer::command::PricedBy;
use crate::sequencer::decision::{CallReply, Decision, Wait};
use crate::sequencer::traffic::{in_flight, rates_of};

impl Asking<'_> {
    /// The model, by every name of it.
    fn named(&self) -> Named<'_> {
        let prices = &self.view.workspace.settings.prices;
        prices.named(&self.call.model)
    }

    /// In whose name it goes.
    pub(super) fn caller(&self) -> Option<AgentName> {
        let stated = self.call.agent.as_ref();
        stated.or(self.step.agent.as_ref()).cloned()
    }

    pub(super) fn who<'b>(&'b self, caller: Option<&'b AgentName>) -> Who<'b> {
        Who {
            agents: caller.map_or(&[], std::slice::from_ref),
            workflow: self.resident.run.workflow().map(|(name, _)| name),
            model: Some(self.named()),
            tool: None,
        }
    }

    /// It may go out, with what its host has to know.
    pub(super) fn admitted(&self, max_output: Option<u64>, by: PricedBy) -> CallReply {
        let looks = in_time::looks(&self.view, &self.who(self.caller().as_ref()));
        match (self.clamped_from, max_output) {
            (Some(_), Some(max_output_tokens)) => CallReply::Clamped {
                max_output_tokens,
                by,
                looks,
                suggests: self.suggests.clone(),
            },
            (_, max_output_tokens) => CallReply::Allowed {
                max_output_tokens,
                by,
                looks,
                suggests: self.suggests.clone(),
            },
        }
    }

    /// What the policy's rules say against it.
    pub(super) fn guard(
        &mut self,
        caller: Option<&AgentName>,
        amount: Amount,
        max_output: Option<u64>,
    ) -> Option<Denial> {
        let asking = rules::Asking {
            at: Checkpoint::ModelCall,
            who: self.who(caller),
            asked: Asked::Call(Call {
                amount,
                max_output,
                terms: &self.call.terms,
                messages: &self.call.messages,
                labels: &self.resident.run.created.labels,
                age: self.view.now.since(self.resident.run.started_at),
            }),
        };
        let place = guard::Place {
            token: self.token,
            resident: self.resident,
            ordinal: self.call.place.ordinal,
            inputs: self.call.place.request,
        };
        let judged = guard::at_place(&self.view, place, &asking);
        self.judged = judged.events;
        self.asks = judged.asks;
        judged.denial
    }

    pub(super) fn denied_by_rule(mut self, denial: Denial) -> Decision {
        let more = match denial.verdict {
            Verdict::Halt => {
                let run = &self.resident.run;
                guard::cut(&self.view, self.resident, run, self.token, &denial.rule)
            }
            Verdict::Allow
            | Verdict::Clamp(_)
            | Verdict::DryRun
            | Verdict::NeedsApproval
            | Verdict::Deny => Vec::new(),
        };
        self.events.append(&mut self.judged);
        let mut decision = self.deny(denial.rule.as_ref(), denial.error);
        decision.events.extend(more);
        decision
    }

    /// The rates that hold it back: those that are full, and those for which others wait already.
    pub(super) fn rates(&self, caller: Option<&AgentName>, amount: &Amount) -> Option<Wait> {
        let workspace = self.view.workspace;
        let prices = &workspace.settings.prices;
        let (mut of, mut until, mut others) = (BTreeSet::new(), None, false);
        let earlier = |ticket: &Ticket| self.view.in_turn.is_none_or(|own| *ticket < own);
        for rate in rates_of(&workspace.policy, self.named(), caller) {
            let opens = workspace.shared.traffic.opens(rate, amount, self.view.now);
            let out = |most: u64| in_flight(&workspace.calls_out, &rate.of, prices) >= most;
            let full = rate.in_flight.is_some_and(out);
            let before = workspace.turns.iter().filter(|(ticket, _)| earlier(ticket));
            let mut before = before.filter(|(_, turn)| turn.of.contains(&rate.of));
            let barred = before.next().is_some();
            if opens.is_some() || full || barred {
                of.insert(rate.of.clone());
                until = until.max(opens);
                others |= full || barred;
            }
        }
        // One that depends on others is asked again when they move, and by then time may be over too.
        let until = until.filter(|_| !others);
        (!of.is_empty()).then_some(Wait::Turn { of, until })
    }
}
