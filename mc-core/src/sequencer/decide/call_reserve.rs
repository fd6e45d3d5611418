//! Reserve: a model call wants to go out; its worst case is held first.
//!
//! In this order: is the token live, was it answered before, is it told to wait, has the model a
//! price, does the breaker let it through, does it fit. Inside a durable hold the answer comes at
//! once; what the hold has to grow by waits for its commit.

use std::sync::Arc;

use super::approved_cost::{OVER_MAXIMUM_COST, over_maximum};
use super::attempt_end::end_calls;
use super::clamp::Clamp;
use super::guard;
use super::halt;
use super::journal::{self, Found};
use super::session::most_messages;
use super::session_block::block;
use super::worst_case::{amount, bound};
use super::{View, observed, refusal};
use crate::budget::{Amount, Dimension, Hold, OnExceed, Owner, Verdict, Waiter, would_refuse};
use crate::error::{Detail, Error, ErrorKind, FailingAccount, Result};
use crate::event::BlockReason;
use crate::event::call::{GuardrailJudged, ModelCallDenied, ModelCallReserved};
use crate::event::step::{AbandonReason, AttemptAbandoned, HALTED, StepBlocked};
use crate::event::workspace::CircuitHalfOpened;
use crate::id::{AgentName, RunId};
use crate::policy::guard::Checkpoint;
use crate::policy::{Mode, PriceAge};
use crate::pricing::{Bound, Quote};
use crate::resilience::{Admits, Trigger};
use crate::run::{CallKind, CallState, HoldKey, Step};
use crate::sequencer::command::{PricedBy, ReserveCall};
use crate::sequencer::decision::{Answer, CallReply, Decision, NewEvent, NewPart, Reply, Wait};
use crate::sequencer::resident::Resident;
use crate::sequencer::token::Token;
use crate::time::as_ms;

/// A call under way through the checks.
pub(super) struct Asking<'a> {
    pub(super) view: View<'a>,
    pub(super) token: &'a Token,
    pub(super) call: &'a ReserveCall,
    pub(super) resident: &'a Resident,
    pub(super) step: &'a Step,
    /// The output limit that it asked for, where it is to go out with a smaller one.
    pub(super) clamped_from: Option<u64>,
    pub(super) events: Vec<NewEvent>,
    /// What rules said of it; it is written once the call goes out or is denied.
    pub(super) judged: Vec<NewEvent>,
}

fn reply(reply: CallReply) -> Reply {
    Reply::Call(reply)
}

/// Admits a call, or says what it has to wait for, or why it may not go out.
///
/// # Errors
/// `Cancelled` where the token was revoked; `InvalidInput` for a bound that cannot be priced.
pub fn reserve(view: &View<'_>, token: &Token, call: &Arc<ReserveCall>) -> Result<Decision> {
    let mut asking = Asking::new(view, token, call)?;
    let (resident, step) = (asking.resident, asking.step);
    match journal::look_up(token, step, CallKind::Model, call.place) {
        Found::Answered { seq } => {
            return Ok(Decision::now(reply(CallReply::Answered { seq })));
        }
        Found::Throttled(before) => {
            if let CallState::Throttled { retry_at, .. } = before.state
                && retry_at > view.now
            {
                return Ok(Decision::now(reply(CallReply::WaitUntil(retry_at))));
            }
        }
        Found::Diverged(event) => asking.events.push(*event),
        Found::Nothing => {}
    }
    match halt::forbids(view, &resident.run, step, call.agent.as_ref()) {
        Some(error) => Ok(asking.deny(HALTED, error)),
        None => asking.price(),
    }
}

/// Refuses a place whose call this attempt has out.
fn not_out(token: &Token, step: &Step, ordinal: u32) -> Result<()> {
    let out = CallState::Open {
        attempt: token.attempt,
    };
    if step
        .calls
        .get(&ordinal)
        .is_none_or(|call| call.state != out)
    {
        return Ok(());
    }
    let message = format!("call {ordinal} is out already");
    let error = Error::new(ErrorKind::InvalidTransition, message);
    Err(error.with_context("token", token))
}

impl<'a> Asking<'a> {
    /// A call of a live attempt at a place that is free.
    pub(super) fn new(view: &View<'a>, token: &'a Token, call: &'a ReserveCall) -> Result<Self> {
        let (resident, step) = view.require_live(token)?;
        most_messages(&call.messages)?;
        not_out(token, step, call.place.ordinal)?;
        Ok(Self {
            view: *view,
            token,
            call,
            resident,
            step,
            clamped_from: None,
            events: Vec::new(),
            judged: Vec::new(),
        })
    }
}

impl Asking<'_> {
    fn price(mut self) -> Result<Decision> {
        let settings = &self.view.workspace.settings;
        let quote = settings.prices.quote(
            &self.call.model,
            self.view.now,
            self.view.workspace.unknown_models(),
        );
        let Some(quote) = quote else {
            return Ok(self.deny_by_policy("unknown_model"));
        };
        if let Some(error) = self.stale(&quote) {
            return Ok(self.deny(PriceAge::RULE, error));
        }
        let asked = self.call.bound.max_output_tokens;
        let asked = asked.or(quote.price.max_output_tokens);
        let caller = self.caller();
        let cap = guard::output_cap(&self.view, &self.who(caller.as_ref()));
        let whole = bound(&quote, self.call, cap)?;
        let bound = self.clamped(&whole).unwrap_or(whole);
        // What is told is what is held.
        let max_output = bound.basis.max_output_tokens;
        self.clamped_from = asked.filter(|asked| max_output < *asked);
        let amount = amount(&bound);
        if let Some(denial) = self.guard(caller.as_ref(), amount, asked) {
            return Ok(self.denied_by_rule(denial));
        }
        if let Some(error) = over_maximum(&self.resident.run, &self.token.step, &amount) {
            return Ok(self.deny(OVER_MAXIMUM_COST, error));
        }
        if let Some(decision) = self.circuit() {
            return Ok(decision);
        }
        if let Some(wait) = self.rates(caller.as_ref(), &amount) {
            return Ok(Decision {
                events: Vec::new(),
                effects: Vec::new(),
                answer: Answer::Queued(wait),
            });
        }
        Ok(self.hold(amount, Some(max_output)))
    }

    /// The call with a smaller output limit, where it has no room as it is and may have one.
    fn clamped(&self, whole: &Bound) -> Option<Bound> {
        let least = self.call.bound.min_output_tokens?;
        let run = &self.resident.run;
        let other = self.agent();
        let agent = other.or(self.step.agent.as_ref())?;
        let hold = run.holds.get(&self.escrow());
        let clamp = Clamp {
            resident: self.resident,
            path: run.path(&self.token.step, agent),
            hold: hold.filter(|_| other.is_none()),
            least,
        };
        clamp.bound(&self.view, whole)
    }

    /// What the model's breaker says, if it does not let the call through.
    fn circuit(&mut self) -> Option<Decision> {
        let model = &self.call.model;
        let settings = &self.view.workspace.settings.breaker;
        let breaker = self.view.workspace.shared.circuits.breaker(model);
        if breaker
            .decide(Trigger::Due, self.view.now, settings)
            .is_some()
        {
            let facts = CircuitHalfOpened {
                model: model.clone(),
            };
            self.events.push(NewEvent::new(RunId::ZERO, facts));
            self.events.extend(self.circuit_cleared());
            return None;
        }
        let Admits::No { until } = breaker.admits(settings) else {
            self.events.extend(self.circuit_cleared());
            return None;
        };
        let mut events = std::mem::take(&mut self.events);
        if self.step.block.is_none() {
            let facts = StepBlocked {
                step: self.token.step.clone(),
                reason: BlockReason::Circuit,
                code: model.to_string(),
                failing: Vec::new(),
            };
            events.push(NewEvent::new(self.token.run_id, facts));
        }
        let answer = match until {
            Some(until) => Answer::Now(reply(CallReply::WaitUntil(until))),
            None => Answer::Queued(Wait::Circuit),
        };
        Some(Decision {
            events,
            effects: Vec::new(),
            answer,
        })
    }

    /// The step is no longer held up by a breaker.
    fn circuit_cleared(&self) -> Option<NewEvent> {
        self.is_blocked_by(BlockReason::Circuit)
            .then(|| self.unblocked(BlockReason::Circuit))
    }

    fn is_blocked_by(&self, reason: BlockReason) -> bool {
        let block = self.step.block.as_ref();
        block.is_some_and(|block| block.reason == reason)
    }

    fn unblocked(&self, reason: BlockReason) -> NewEvent {
        let run = &self.resident.run;
        super::control::unblocked(run, &self.token.step, reason)
    }

    fn agent(&self) -> Option<&AgentName> {
        let own = self.step.agent.as_ref();
        self.call.agent.as_ref().filter(|agent| Some(*agent) != own)
    }

    fn escrow(&self) -> HoldKey {
        HoldKey::escrow(self.token.step.clone(), self.token.attempt)
    }

    fn hold(mut self, amount: Amount, max_output: Option<u64>) -> Decision {
        let run = &self.resident.run;
        let other = self.agent().cloned();
        let escrow = run.holds.get(&self.escrow());
        let short = match (&other, escrow) {
            (Some(_), _) | (None, None) => amount,
            (None, Some(hold)) => hold.shortfall(&amount),
        };
        if other.is_none() && short.is_zero() {
            return self.allow(amount, Amount::ZERO, max_output);
        }
        let Some(agent) = other.clone().or_else(|| self.step.agent.clone()) else {
            return self.deny_by_policy("no_agent");
        };
        let path = run.path(&self.token.step, &agent);
        let owner = Owner {
            run: run.run_id,
            step: self.token.step.clone(),
        };
        let ticket = self.view.ticket();
        let mut waiter = Waiter {
            ticket,
            path,
            amount: short,
            owner: Some(owner),
        };
        if other.is_none()
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
        let durable = own.is_none() && extended.is_zero() && self.is_durable();
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
        };
        self.events.append(&mut self.judged);
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

    fn denied(&self, code: &str, requested: Amount, failing: Vec<FailingAccount>) -> NewEvent {
        let facts = ModelCallDenied {
            step: self.token.step.clone(),
            attempt: self.token.attempt,
            ordinal: self.call.place.ordinal,
            agent: self.agent().cloned(),
            model: self.call.model.clone(),
            code: code.to_owned(),
            requested,
            failing,
        };
        NewEvent::new(self.token.run_id, facts)
    }

    /// Why a price is too old, where it is and that is no mere warning; every verdict is written.
    fn stale(&mut self, quote: &Quote<'_>) -> Option<Error> {
        let workspace = self.view.workspace;
        let age = workspace.settings.price_age?;
        let mode = age.judge(quote, self.view.now);
        if mode == Mode::Off {
            return None;
        }
        let version = workspace.settings.prices.version();
        let judged = GuardrailJudged {
            step: self.token.step.clone(),
            attempt: self.token.attempt,
            ordinal: Some(self.call.place.ordinal),
            at: Checkpoint::ModelCall,
            rule: PriceAge::RULE.to_owned(),
            policy_version: 0,
            mode,
            verdict: "deny".to_owned(),
            code: String::new(),
            inputs_hash: version,
        };
        self.events.push(NewEvent::new(self.token.run_id, judged));
        let checked_at = quote.price.origin.checked_at;
        let message = format!(
            "{}: the price of `{}` in table {version} is of {checked_at}, older than allowed",
            PriceAge::RULE,
            self.call.model
        );
        let detail = Detail::StalePrice {
            model: self.call.model.to_string(),
            price_version: version.to_string(),
            checked_at: checked_at.to_string(),
            max_age_ms: as_ms(age.max()),
        };
        let error = Error::new(ErrorKind::PolicyDenied, message).with_detail(detail);
        (mode == Mode::Enforce).then_some(error)
    }

    pub(super) fn deny_by_policy(self, code: &'static str) -> Decision {
        let message = match code {
            "unknown_model" => format!("{code}: model `{}` has no price", self.call.model),
            _ => format!("{code}: model `{}` may not be called", self.call.model),
        };
        let error = Error::new(ErrorKind::PolicyDenied, message).with_detail(Detail::Rule {
            rule: code.to_owned(),
            subject: self.call.model.to_string(),
        });
        self.deny(code, error)
    }

    pub(super) fn deny(mut self, code: &str, error: Error) -> Decision {
        let event = self.denied(code, Amount::ZERO, Vec::new());
        self.events.push(event);
        Decision::durable(self.events, reply(CallReply::Denied(Arc::new(error))))
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
