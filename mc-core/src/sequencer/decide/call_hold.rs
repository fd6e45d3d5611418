//! The hold of a model call: what of it no hold has yet, whether that fits, and what a refusal does.
//!
//! Inside a durable hold the answer comes at once; what the hold has to grow by waits for its commit. What
//! is *not* here: what comes before (`call_reserve`).

use std::sync::Arc;

use super::attempt_end::end_calls;
use super::call_reserve::{Asking, reply};
use super::session_block::block;
use super::{observed, refusal};
use crate::budget::{Amount, Dimension, Hold, OnExceed, Owner, Verdict, Waiter, would_refuse};
use crate::error::FailingAccount;
use crate::event::BlockReason;
use crate::event::call::ModelCallReserved;
use crate::event::step::{AbandonReason, AttemptAbandoned};
use crate::sequencer::command::PricedBy;
use crate::sequencer::decision::{Answer, CallReply, Decision, NewEvent, NewPart, Wait};

impl Asking<'_> {
    /// What of it no hold has yet; none where all of it lies in the step's own.
    fn short(&self, amount: Amount) -> Option<Amount> {
        if self.agent().is_some() {
            return Some(amount);
        }
        let escrow = self.resident.run.holds.get(&self.escrow());
        let short = escrow.map_or(amount, |hold| hold.shortfall(&amount));
        (!short.is_zero()).then_some(short)
    }

    /// It asks for room; none where nobody is to make the call.
    fn waiter(&self, short: Amount) -> Option<Waiter> {
        let run = &self.resident.run;
        let agent = self.agent().or(self.step.agent.as_ref())?;
        Some(Waiter {
            ticket: self.view.ticket(),
            path: run.path(&self.token.step, agent),
            amount: short,
            owner: Some(Owner {
                run: run.run_id,
                step: self.token.step.clone(),
            }),
        })
    }

    /// Whether it would not fit, whatever comes of others.
    pub(super) fn can_never_fit(&self, amount: Amount) -> bool {
        let waiter = self.short(amount).and_then(|short| self.waiter(short));
        let verdict = waiter.map(|waiter| self.view.judge(&waiter));
        matches!(verdict, Some(Verdict::Exceeded { .. }))
    }

    pub(super) fn hold(mut self, amount: Amount, max_output: Option<u64>) -> Decision {
        let run = &self.resident.run;
        let Some(short) = self.short(amount) else {
            return self.allow(amount, Amount::ZERO, max_output);
        };
        let Some(mut waiter) = self.waiter(short) else {
            return self.deny_by_policy("no_agent");
        };
        if self.agent().is_none()
            && run.workflow().is_none()
            && self.view.turn.is_none()
            && let Some(block) = block(&self.view, &waiter.path, short)
        {
            let wanted = Waiter {
                amount: block,
                ..waiter.clone()
            };
            // A block is for calls to come: a limit that is only looked at bounds it too.
            let books = self.view.books(self.resident);
            let fits = would_refuse(&books, &wanted.path, &block).is_none();
            if fits && self.view.judge(&wanted) == Verdict::Fits {
                waiter.amount = block;
            }
        }
        match self.view.judge(&waiter) {
            Verdict::Fits => {
                let who = (
                    &self.token.step,
                    self.token.attempt,
                    Some(self.call.place.ordinal),
                );
                let asked = (&waiter.path, waiter.amount);
                let judged = observed::judged(&self.view, self.resident, who, asked);
                self.judged.extend(judged);
                self.allow(amount, waiter.amount, max_output)
            }
            Verdict::Contended {
                only_doubt,
                failing,
            } => {
                // A breaker clears by itself; doubt takes a person, so that is what the step says.
                let cleared = self.circuit_cleared();
                let stuck = only_doubt && (self.step.block.is_none() || cleared.is_some());
                if !stuck {
                    return queued(waiter, amount, Vec::new());
                }
                if run.created.policy.unattended {
                    return self.exceeded(amount, &failing, OnExceed::Abort);
                }
                let events = cleared.into_iter().chain([self.blocked(failing)]);
                queued(waiter, amount, events.collect())
            }
            Verdict::Frozen { .. } => queued(waiter, amount, Vec::new()),
            Verdict::Exceeded { failing, on_exceed } => self.exceeded(amount, &failing, on_exceed),
        }
    }

    fn blocked(&self, failing: Vec<FailingAccount>) -> NewEvent {
        let asker = refusal::Asker {
            resident: self.resident,
            key: &self.token.step,
        };
        refusal::blocked(&asker, "only_doubt", failing)
    }

    pub(super) fn allow(
        mut self,
        amount: Amount,
        extended: Amount,
        max_output: Option<u64>,
    ) -> Decision {
        if self.is_blocked_by(BlockReason::Budget) {
            self.events.push(self.unblocked(BlockReason::Budget));
        }
        let own = self.agent().cloned();
        let inside = own.is_none() && extended.is_zero() && self.is_durable();
        let durable = inside && self.grant.is_none();
        let price_version = self.view.workspace.settings.prices.version();
        let facts = ModelCallReserved {
            step: self.token.step.clone(),
            attempt: self.token.attempt,
            ordinal: self.call.place.ordinal,
            extended: if own.is_some() {
                Amount::ZERO
            } else {
                extended
            },
            agent: own,
            model: self.call.model.clone(),
            request: self.call.place.request,
            terms: self.call.terms.clone(),
            amount,
            max_output_tokens: max_output,
            unheld: Amount::ZERO,
            clamped_from: self.clamped_from,
            price_version,
            approval: self.grant.map(|(number, _)| number),
        };
        self.events.append(&mut self.judged);
        self.events.extend(self.used_up());
        let mut event = NewEvent::new(self.token.run_id, facts);
        event.parts = self.call.messages.iter().map(NewPart::json).collect();
        self.events.push(event);
        let by = PricedBy {
            version: price_version,
            at: self.view.now,
        };
        let reply = reply(self.admitted(max_output, by));
        let answer = if durable {
            Answer::Now(reply)
        } else {
            Answer::Durable(reply)
        };
        Decision {
            events: self.events,
            effects: Vec::new(),
            answer,
        }
    }

    /// Whether the hold that the call lies in is on disk.
    fn is_durable(&self) -> bool {
        self.resident
            .hold_seq
            .get(&self.escrow())
            .is_none_or(|seq| *seq < self.view.durable)
    }

    /// The budget refuses for good: the call is denied, and the account says what becomes of the
    /// run.
    fn exceeded(
        mut self,
        requested: Amount,
        failing: &[FailingAccount],
        on_exceed: OnExceed,
    ) -> Decision {
        self.events.append(&mut self.judged);
        let event = self.denied("budget_exceeded", requested, failing.to_vec());
        self.events.push(event);
        if self.resident.run.workflow().is_some() {
            let more = self.end_run(failing, on_exceed);
            self.events.extend(more);
        }
        let error = Arc::new(refusal::exceeded_error(failing));
        Decision::durable(self.events, reply(CallReply::Denied(error)))
    }

    fn end_run(&self, failing: &[FailingAccount], on_exceed: OnExceed) -> Vec<NewEvent> {
        let account = refusal::account(&self.view, self.resident, failing);
        let run = &self.resident.run;
        if on_exceed == OnExceed::Abort || run.created.policy.unattended {
            return super::abort::by_budget(&self.view, self.resident, account);
        }
        let (mut events, released) = end_calls(run, &self.token.step, "abandoned");
        let facts = AttemptAbandoned {
            step: self.token.step.clone(),
            attempt: self.token.attempt,
            reason: AbandonReason::Budget,
            retry_at: None,
            retry_from: None,
            released,
        };
        events.push(NewEvent::new(run.run_id, facts));
        let asker = refusal::Asker {
            resident: self.resident,
            key: &self.token.step,
        };
        let hold = run.holds.get(&self.escrow());
        let failing = hold.map_or_else(|| failing.to_vec(), |hold| with_hold(failing, hold));
        events.push(refusal::blocked(&asker, "exceeded", failing));
        events.extend(super::control::pause_for_budget(&self.view, run, &account));
        events
    }
}

/// What the step needs to get as far again: its hold, which it gives back now, and what was
/// refused beyond it. Less room would only let it out to be refused once more.
fn with_hold(failing: &[FailingAccount], hold: &Hold) -> Vec<FailingAccount> {
    let both = |one: &FailingAccount| {
        let back = hold
            .path()
            .iter()
            .any(|id| id.to_string() == one.account)
            .then(|| Dimension::named(&one.dimension))
            .flatten()
            .map_or(0, |dimension| hold.amount().of(dimension));
        let requested = i128::from(one.requested).saturating_add(back);
        FailingAccount {
            requested: i64::try_from(requested).unwrap_or(i64::MAX),
            ..one.clone()
        }
    };
    failing.iter().map(both).collect()
}

/// The call waits for its turn. What was found on the way (a diverged journal, a breaker that is
/// due) is not written: it is found again when the call is let through.
fn queued(waiter: Waiter, whole: Amount, events: Vec<NewEvent>) -> Decision {
    let wait = Wait::Budget {
        path: waiter.path,
        amount: waiter.amount,
        whole,
    };
    Decision {
        events,
        effects: Vec::new(),
        answer: Answer::Queued(wait),
    }
}
