//! Reserve: a model call wants to go out; its worst case is held first.
//!
//! In this order: is the token live, was it answered before, is it told to wait, has the model a
//! price, does the breaker let it through, does it fit. Inside a durable hold the answer comes at
//! once; what the hold has to grow by waits for its commit.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::View;
use super::approved_cost::{OVER_MAXIMUM_COST, over_maximum};
use super::builtin::Builtin;
use super::clamp::Clamp;
use super::clearance::Before;
use super::guard;
use super::halt;
use super::journal::{self, Found};
use super::session::most_messages;
use super::worst_case::{amount, bound};
use crate::budget::Amount;
use crate::error::{Detail, Error, ErrorKind, FailingAccount, Result};
use crate::event::BlockReason;
use crate::event::call::{GuardrailJudged, ModelCallDenied};
use crate::event::step::{HALTED, StepBlocked};
use crate::event::workspace::CircuitHalfOpened;
use crate::id::{AgentName, ModelId, RunId};
use crate::policy::guard::{self as rules, Checkpoint};
use crate::policy::{Mode, PriceAge};
use crate::pricing::{Bound, Quote};
use crate::resilience::{Admits, Trigger};
use crate::run::{CallKind, CallState, HoldKey, Step};
use crate::sequencer::command::ReserveCall;
use crate::sequencer::decision::{Answer, CallReply, Decision, NewEvent, Reply, Wait};
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
    /// What rules said of it; it is written once the call goes out, is denied or is asked of a person.
    pub(super) judged: Vec<NewEvent>,
    /// The rule that wants a person's word.
    pub(super) asks: Option<String>,
    /// The approval that covers it, and whether it is used up by this.
    pub(super) grant: Option<(u32, bool)>,
    /// What became of the same request before.
    pub(super) before: Before,
    /// The model that a threshold suggests.
    pub(super) suggests: Option<ModelId>,
}

pub(super) fn reply(reply: CallReply) -> Reply {
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
            asking.before = Before::Unbilled;
        }
        Found::Released => asking.before = Before::Unbilled,
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
            asks: None,
            grant: None,
            before: Before::Nothing,
            suggests: None,
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
        let most = amount(&whole);
        let bound = self.clamped(&whole).unwrap_or(whole);
        // What is told is what is held.
        let max_output = bound.basis.max_output_tokens;
        self.clamped_from = asked.filter(|asked| max_output < *asked);
        let amount = amount(&bound);
        if let Some(denial) = self.guard(caller.as_ref(), amount, asked) {
            return Ok(self.denied_by_rule(denial));
        }
        if let Some(error) = over_maximum(&self.resident.run, &self.token.step, &amount) {
            return Ok(self.deny_by_builtin(OVER_MAXIMUM_COST, error));
        }
        self.thresholds(caller.as_ref());
        let held = (amount, Some(max_output));
        let mut this = match self.clear(caller.as_ref(), most, held) {
            ControlFlow::Continue(this) => this,
            ControlFlow::Break(decision) => return Ok(decision),
        };
        if let Some(decision) = this.circuit() {
            return Ok(decision);
        }
        if let Some(wait) = this.rates(caller.as_ref(), &amount) {
            return Ok(Decision {
                events: Vec::new(),
                effects: Vec::new(),
                answer: Answer::Queued(wait),
            });
        }
        Ok(this.hold(amount, Some(max_output)))
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
    pub(super) fn circuit_cleared(&self) -> Option<NewEvent> {
        self.is_blocked_by(BlockReason::Circuit)
            .then(|| self.unblocked(BlockReason::Circuit))
    }

    pub(super) fn is_blocked_by(&self, reason: BlockReason) -> bool {
        let block = self.step.block.as_ref();
        block.is_some_and(|block| block.reason == reason)
    }

    pub(super) fn unblocked(&self, reason: BlockReason) -> NewEvent {
        let run = &self.resident.run;
        super::control::unblocked(run, &self.token.step, reason)
    }

    pub(super) fn agent(&self) -> Option<&AgentName> {
        let own = self.step.agent.as_ref();
        self.call.agent.as_ref().filter(|agent| Some(*agent) != own)
    }

    pub(super) fn escrow(&self) -> HoldKey {
        HoldKey::escrow(self.token.step.clone(), self.token.attempt)
    }

    pub(super) fn denied(
        &self,
        code: &str,
        requested: Amount,
        failing: Vec<FailingAccount>,
    ) -> NewEvent {
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
            policy_version: guard::version(&self.view),
            mode,
            verdict: "deny".to_owned(),
            code: String::new(),
            inputs_hash: self.call.place.request,
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
        self.deny_by_builtin(code, error)
    }

    fn deny_by_builtin(mut self, code: &'static str, error: Error) -> Decision {
        let denied = Builtin {
            at: Checkpoint::ModelCall,
            code,
            inputs: self.call.place.request,
            why: error.message(),
            verdict: rules::Verdict::Deny,
        };
        let place = (self.token, self.call.place.ordinal);
        self.events.push(denied.of_call(&self.view, place));
        self.deny(code, error)
    }

    pub(super) fn deny(mut self, code: &str, error: Error) -> Decision {
        let event = self.denied(code, Amount::ZERO, Vec::new());
        self.events.push(event);
        Decision::durable(self.events, reply(CallReply::Denied(Arc::new(error))))
    }
}
