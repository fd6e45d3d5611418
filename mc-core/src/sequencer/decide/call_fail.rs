//! Fail a call: what happened decides what becomes of its money, in one place for all hosts.

use std::time::Duration;

use super::billed::{Billed, Charge, PRICE_ROSE, charge};
use super::call_settle::Holding;
use super::{View, late};
use crate::budget::Amount;
use crate::error::{Detail, Error, ErrorKind, Result};
use crate::event::call::{
    ModelCallDoubted, ModelCallReleased, ModelCallSettled, ModelCallThrottled, THROTTLED_TOO_LONG,
};
use crate::event::step::{LateUsage, ResultLate};
use crate::id::{Digest, ModelId};
use crate::policy::CutStreams;
use crate::pricing::Answered;
use crate::resilience::{CallFailure, CallOutcome, ModelRetry, SettleFlag};
use crate::run::{Call, CallState, HoldKey, Step};
use crate::sequencer::command::{FailCall, Observed, PricedBy};
use crate::sequencer::decision::{Answer, CallEnd, Decision, NewEvent, NewPart, Reply};
use crate::sequencer::resident::Resident;
use crate::sequencer::token::Token;
use crate::time::Timestamp;
use crate::usage::Usage;

/// A failed call of a live attempt.
struct Failed<'a> {
    view: &'a View<'a>,
    token: &'a Token,
    request: &'a FailCall,
    resident: &'a Resident,
    step: &'a Step,
    call: &'a Call,
    model: &'a ModelId,
    hold: Holding,
}

/// Ends a call that failed.
///
/// # Errors
/// `InvalidTransition` for a call that is not open.
pub fn fail(view: &View<'_>, token: &Token, request: &FailCall) -> Result<Decision> {
    let Some((resident, step)) = view.live(token) else {
        return fail_late(view, token, request);
    };
    let open = CallState::Open {
        attempt: token.attempt,
    };
    let call = step
        .calls
        .get(&request.ordinal)
        .filter(|call| call.state == open);
    let (Some(call), Some(model)) = (call, call.and_then(|call| call.model.as_ref())) else {
        let message = format!("call {} is not open", request.ordinal);
        return Err(Error::new(ErrorKind::InvalidTransition, message)
            .with_context("token", token)
            .with_detail(Detail::AlreadyCompleted));
    };
    let hold = Holding::of(&resident.run, token, request.ordinal);
    let failed = Failed {
        view,
        token,
        request,
        resident,
        step,
        call,
        model,
        hold,
    };
    Ok(failed.decide())
}

fn now(events: Vec<NewEvent>, end: CallEnd) -> Decision {
    Decision {
        events,
        effects: Vec::new(),
        answer: Answer::Now(Reply::CallEnded(end)),
    }
}

impl Failed<'_> {
    fn decide(&self) -> Decision {
        match self.request.failure.outcome() {
            CallOutcome::Release => now(vec![self.released(None)], CallEnd::Released),
            CallOutcome::Throttled => self.throttled(),
            CallOutcome::SettleReserved(flag) => now(vec![self.settled(flag)], CallEnd::Settled),
            CallOutcome::InDoubt => now(vec![self.doubted()], CallEnd::InDoubt),
        }
    }

    fn released(&self, code: Option<&str>) -> NewEvent {
        let facts = ModelCallReleased {
            step: self.token.step.clone(),
            attempt: self.token.attempt,
            ordinal: self.request.ordinal,
            model: self.model.clone(),
            code: code.map_or_else(|| self.request.failure.code(), str::to_owned),
            released: self.given_back(),
            retry_after_ms: code.and(self.request.retry_after_ms),
        };
        NewEvent::new(self.token.run_id, facts).with(NewPart::text(&self.request.message))
    }

    fn throttled(&self) -> Decision {
        // The state before this reservation knows since when, and how often, it was refused.
        let (since, refusals) = self.refused_before();
        match self.retry_at(since, refusals) {
            Some(retry_at) => {
                let facts = ModelCallThrottled {
                    step: self.token.step.clone(),
                    attempt: self.token.attempt,
                    ordinal: self.request.ordinal,
                    model: self.model.clone(),
                    status: status(self.request.failure),
                    refusals: refusals + 1,
                    since,
                    retry_at,
                    retry_after_ms: self.request.retry_after_ms,
                    released: self.given_back(),
                };
                let event = NewEvent::new(self.token.run_id, facts);
                now(vec![event], CallEnd::Throttled(retry_at))
            }
            None => now(
                vec![self.released(Some(THROTTLED_TOO_LONG))],
                CallEnd::GaveUp,
            ),
        }
    }

    /// What the accounts get back for a call that was not billed: its own hold, or what its step's
    /// hold grew by for it. A session keeps its block for the calls to come.
    fn given_back(&self) -> Amount {
        match self.resident.run.workflow() {
            Some(_) if !self.call.extended.is_zero() => self.call.extended,
            Some(_) | None => self.hold.own_amount(),
        }
    }

    fn refused_before(&self) -> (Timestamp, u32) {
        self.call
            .refused
            .map_or((self.view.now, 0), |refused| (refused.since, refused.times))
    }

    fn retry_at(&self, since: Timestamp, refusals: u32) -> Option<Timestamp> {
        let defined = self
            .resident
            .workflow
            .as_ref()
            .map(|w| w.definition().model_retry());
        let defined = defined.unwrap_or_default();
        let max_elapsed =
            Duration::from_millis(self.resident.run.created.policy.model_retry_max_elapsed_ms);
        let policy = ModelRetry::new(*defined.backoff(), max_elapsed).unwrap_or(defined);
        let now = self.view.now;
        let asked = self.request.retry_after_ms.map(Duration::from_millis);
        let delay = policy.next_delay(refusals + 1, now.since(since), asked, self.view.random)?;
        let planned = self
            .view
            .workspace
            .shared
            .circuits
            .plan(self.model, now.after(delay));
        Some(planned)
    }

    fn settled(&self, flag: SettleFlag) -> NewEvent {
        let billed = billed(self.view, (self.request, flag), self.hold.drawn);
        let (held, released) = self.hold.settle(self.request.ordinal, billed.actual);
        let facts = ModelCallSettled {
            step: self.token.step.clone(),
            attempt: self.token.attempt,
            ordinal: self.request.ordinal,
            model: self.model.clone(),
            served: None,
            service_tier: None,
            answer: Digest::ZERO,
            usage: billed.usage,
            entries: Vec::new(),
            held,
            actual: billed.actual,
            released,
            price_version: billed.price_version,
            latency_ms: 0,
            flags: billed.flags,
        };
        NewEvent::new(self.token.run_id, facts).with(NewPart::text(&self.request.message))
    }

    fn doubted(&self) -> NewEvent {
        let _ = self.step;
        let facts = ModelCallDoubted {
            step: self.token.step.clone(),
            attempt: self.token.attempt,
            ordinal: self.request.ordinal,
            model: self.model.clone(),
            code: self.request.failure.code(),
            doubted: self.hold.drawn,
        };
        NewEvent::new(self.token.run_id, facts)
    }
}

/// What a call costs whose usage never came: all that was held for it, unless the workspace believes
/// what was seen of a stream that was cut. That is a bound as what was held is one: the lower counts.
fn billed(view: &View<'_>, (request, flag): (&FailCall, SettleFlag), held: Amount) -> Billed {
    let mut billed = Billed {
        actual: held,
        usage: Usage::default(),
        price_version: view.workspace.prices_of(request.by.version).version(),
        flags: vec![flag.code().to_owned()],
    };
    let believed = view.workspace.settings.cut_streams == CutStreams::AsObserved;
    let observed = request.observed.as_ref();
    if let Some(observed) = observed.filter(|_| believed && flag == SettleFlag::Cut)
        && let Some(cost) = cost_of(view, observed, request.by)
    {
        let seen = Amount {
            calls: 1,
            ..cost.amount
        };
        billed.actual = seen.min(&held);
        let rose = cost.flags.get(PRICE_ROSE).map(|flag| (*flag).to_owned());
        billed.flags.extend(rose);
        billed.price_version = cost.version;
        billed.usage = observed.usage;
        billed.flags.push("observed".to_owned());
    }
    billed
}

/// What was seen costs so much; none where it has no price.
fn cost_of(view: &View<'_>, observed: &Observed, by: PricedBy) -> Option<Charge> {
    let call = Answered {
        request: &observed.model,
        response: None,
        usage: &observed.usage,
        terms: &observed.terms,
        served: None,
        at: by.at,
        largest_input: None,
    };
    charge(view, by.version, &[call]).ok()
}

const fn status(failure: CallFailure) -> u16 {
    match failure {
        CallFailure::Status { code, .. } => code,
        CallFailure::NotSent
        | CallFailure::Unreachable
        | CallFailure::Timeout
        | CallFailure::Reset
        | CallFailure::Cut
        | CallFailure::UsageMissing
        | CallFailure::Abandoned
        | CallFailure::Crashed => 0,
    }
}

/// A dead token's call that turns out unbilled frees what was in doubt for it.
fn fail_late(view: &View<'_>, token: &Token, request: &FailCall) -> Result<Decision> {
    let run = late::known(view, token)?;
    let key = HoldKey::call(token.step.clone(), token.attempt, request.ordinal);
    let doubt = run.holds.get(&key).filter(|hold| hold.is_in_doubt());
    let (held, billed, outcome) = match (request.failure.outcome(), doubt) {
        (CallOutcome::Release | CallOutcome::Throttled, Some(hold)) => {
            (*hold.amount(), None, "released")
        }
        (CallOutcome::SettleReserved(flag), Some(hold)) => {
            let amount = *hold.amount();
            let cost = billed(view, (request, flag), amount);
            (amount, Some(cost), "settled")
        }
        (CallOutcome::InDoubt, _) | (_, None) => {
            return Ok(Decision::now(Reply::CallEnded(CallEnd::InDoubt)));
        }
    };
    let actual = billed.as_ref().map_or(Amount::ZERO, |cost| cost.actual);
    let observed = request.observed.as_ref();
    let used = observed.zip(billed).map(|(observed, billed)| LateUsage {
        model: observed.model.clone(),
        service_tier: None,
        usage: billed.usage,
        entries: Vec::new(),
        price_version: billed.price_version,
        flags: billed.flags,
    });
    let facts = ResultLate {
        step: token.step.clone(),
        attempt: token.attempt,
        outcome: outcome.to_owned(),
        ordinal: Some(request.ordinal),
        held,
        actual,
        used,
    };
    let event = NewEvent::new(late::chain_of(run), facts).with(NewPart::text(&request.message));
    Ok(now(vec![event], CallEnd::Released))
}
