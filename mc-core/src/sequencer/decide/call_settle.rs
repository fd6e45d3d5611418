//! Settle: a model call was answered; what it cost is spent in full.

use std::sync::Arc;

use super::attempt_end::end_calls;
use super::billed::{Billed, price_of};
use super::tool::has_approved;
use super::{View, breach, fail, guard, late};
use crate::budget::{AccountId, Amount, Books, Hold};
use crate::error::{Error, ErrorKind, Result};
use crate::event::budget::BudgetBreached;
use crate::event::call::{GuardrailJudged, ModelCallSettled};
use crate::event::step::{AbandonReason, AttemptAbandoned, LateUsage, ResultLate};
use crate::id::{Digest, ModelId, StepKey};
use crate::json;
use crate::policy::Mode;
use crate::policy::guard::{self as rules, Asked, Asking, Checkpoint, Fits, Who};
use crate::resilience::{NoProgress, REPEATS};
use crate::run::{Call, CallKind, CallState, HoldKey, Run};
use crate::sequencer::command::SettleCall;
use crate::sequencer::decision::{Answer, Decision, NewEvent, NewPart, Reply};
use crate::sequencer::resident::Resident;
use crate::sequencer::token::Token;
use crate::sequencer::traffic::measured;

/// Settles a call; one of a dead token is charged as a late result. A second time gives the first result,
/// and changes nothing.
///
/// # Errors
/// `InvalidTransition` for a call that is not open, with `AlreadyCompleted` where it has ended; `InvalidInput` for usage that has no price.
pub fn settle(view: &View<'_>, token: &Token, answer: &Arc<SettleCall>) -> Result<Decision> {
    let Some((resident, step)) = view.live(token) else {
        return settle_late(view, token, answer);
    };
    let run = &resident.run;
    if was_settled(view, resident, step.calls.get(&answer.ordinal)) {
        return Ok(Decision::now(Reply::Done));
    }
    let (call, model) = open_call(step.calls.get(&answer.ordinal), token, answer.ordinal)?;
    let hold = Holding::of(run, token, answer.ordinal);
    let cost = price_of(view, model, answer, hold.drawn)?;
    countable(view, resident, &token.step, &cost.actual)?;
    let mut events = vec![settled((token, model), answer, (&hold, &cost))];
    let same = repeats(step.calls.values(), call.request, digest(answer));
    let breached = breach::breaches(view, (resident, token), (&hold, answer.ordinal), &cost);
    let judged = judged(view, (token, resident), (call, model), answer, &cost);
    events.extend(judged.events);
    let mut reply = Reply::Done;
    let over = breached
        .first()
        .map(|(account, on_exceed, _)| (account.clone(), *on_exceed));
    events.extend(
        breached
            .into_iter()
            .map(|(account, _, over)| NewEvent::new(run.run_id, BudgetBreached { account, over })),
    );
    if let Some((account, on_exceed)) = over.filter(|_| run.workflow().is_some()) {
        events.extend(breach::halt(
            view,
            resident,
            (token, (answer.ordinal, cost.actual)),
            (&account, on_exceed),
        ));
    } else if let Some(denial) = judged.denial {
        let after = after_settling(run, token, (answer.ordinal, cost.actual));
        // A session is told, and goes on; a step of a workflow is cut, since its agent has the answer.
        if run.workflow().is_some() || denial.verdict == rules::Verdict::Halt {
            events.extend(guard::cut(view, resident, &after, token, &denial.rule));
        }
        reply = Reply::Refused(denial.error.into());
    } else if same > 0 && same.is_multiple_of(REPEATS) && run.workflow().is_some() {
        let ended = (answer.ordinal, cost.actual);
        events.extend(no_progress(view, resident, (token, ended), digest(answer)));
    }
    let answer = if matches!(reply, Reply::Refused(_)) {
        Answer::Durable(reply)
    } else {
        Answer::Now(reply)
    };
    Ok(Decision {
        events,
        effects: Vec::new(),
        answer,
    })
}

/// What the rules say of an answer; it is paid for whatever they say.
fn judged(
    view: &View<'_>,
    (token, resident): (&Token, &Resident),
    (call, model): (&Call, &ModelId),
    answer: &SettleCall,
    cost: &Billed,
) -> guard::Judged {
    let key = (token.run_id, token.step.clone(), answer.ordinal);
    let out = view.workspace.calls_out.get(&key);
    let step = resident.run.step(&token.step);
    let own = step.and_then(|step| step.agent.clone());
    let agent = out.and_then(|out| out.agent.clone()).or(own);
    let fits = match (
        &answer.usage,
        cost.flags.iter().any(|flag| flag == "overrun"),
    ) {
        (None, _) => Fits::Unknown,
        (Some(_), true) => Fits::Over,
        (Some(_), false) => Fits::Within,
    };
    let prices = &view.workspace.settings.prices;
    let served = answer.model.as_ref().filter(|served| *served != model);
    let asking = Asking {
        at: Checkpoint::After,
        who: Who {
            agents: agent.as_slice(),
            workflow: resident.run.workflow().map(|(name, _)| name),
            model: Some(prices.named(model)),
            tool: None,
        },
        asked: Asked::Answer(rules::Answer {
            answer: answer.answer.as_ref(),
            reasoning: answer.reasoning.as_ref(),
            served: served.map(|served| prices.named(served)),
            fits: Some(fits),
            measured: Some(measured(&cost.actual, answer.latency_ms, &cost.flags)),
            approved: step.is_some_and(|step| has_approved(step, (&resident.run, answer.ordinal))),
        }),
    };
    let place = guard::Place {
        token,
        resident,
        ordinal: answer.ordinal,
        inputs: call.request,
    };
    guard::at_place(view, place, &asking)
}

/// More tokens, or calls, than any call has: what is beyond is a fault of the one who counts.
const MOST_COUNTED: u64 = 1 << 53;

/// Refuses an amount that no call has, or that the accounts of a step have no numbers for.
///
/// # Errors
/// `InvalidInput`.
pub fn countable(
    view: &View<'_>,
    resident: &Resident,
    step: &StepKey,
    actual: &Amount,
) -> Result<()> {
    let counts = [actual.input_tokens, actual.output_tokens, actual.calls];
    if counts.into_iter().any(|count| count > MOST_COUNTED) {
        let rule = "more tokens than any call has: at most 2^53 are counted";
        return Err(Error::invalid("usage", rule));
    }
    let books = view.books(resident);
    let agent = resident.run.step(step).and_then(|one| one.agent.as_ref());
    let path = agent.map(|agent| resident.run.path(step, agent));
    let fits = |id: &AccountId| {
        let spent = books.account(id).map(|account| *account.spent());
        spent.unwrap_or_default().checked_add(actual).is_some()
    };
    if path.iter().flatten().all(fits) {
        return Ok(());
    }
    let rule = "more than can be counted beside what was spent before";
    Err(Error::invalid("usage", rule))
}

/// Whether a call was settled before, and whoever settled it was told nothing else. A refused answer cuts
/// its step, so that nobody asks under a live token; a session goes on behind one.
fn was_settled(view: &View<'_>, resident: &Resident, call: Option<&Call>) -> bool {
    let answered = call.is_some_and(|call| {
        call.kind == CallKind::Model && matches!(call.state, CallState::Answered { .. })
    });
    let never_refused =
        resident.run.workflow().is_some() || view.workspace.policy.guardrails().is_empty();
    answered && never_refused
}

fn open_call<'a>(
    call: Option<&'a Call>,
    token: &Token,
    ordinal: u32,
) -> Result<(&'a Call, &'a ModelId)> {
    let open = call.filter(|call| {
        call.state
            == CallState::Open {
                attempt: token.attempt,
            }
    });
    open.and_then(|call| call.model.as_ref().map(|model| (call, model)))
        .ok_or_else(|| {
            let message = format!("call {ordinal} is not open: it was never reserved or has ended");
            Error::new(ErrorKind::InvalidTransition, message)
                .with_context("token", token)
                .with_detail(crate::error::Detail::AlreadyCompleted)
        })
}

/// What holds a call's money.
#[derive(Clone, Debug)]
pub struct Holding {
    /// What the call was reserved with.
    pub drawn: Amount,
    pub(super) hold: Option<Hold>,
    /// What the step's hold grew by for it.
    grown: Amount,
    own: Own,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    Yes,
    No,
}

impl Holding {
    /// The hold of an open call of a live attempt.
    pub fn of(run: &Run, token: &Token, ordinal: u32) -> Self {
        let key = HoldKey::call(token.step.clone(), token.attempt, ordinal);
        if let Some(hold) = run.holds.get(&key) {
            return Self {
                drawn: *hold.amount(),
                hold: Some(hold.clone()),
                grown: Amount::ZERO,
                own: Own::Yes,
            };
        }
        let escrow = run
            .holds
            .get(&HoldKey::escrow(token.step.clone(), token.attempt));
        let drawn = escrow.and_then(|hold| hold.draws().get(&ordinal)).copied();
        let hold = drawn.and(escrow.cloned());
        Self {
            drawn: drawn.unwrap_or_default(),
            hold,
            grown: run.grown_for(&token.step, ordinal),
            own: Own::No,
        }
    }

    /// What leaves the hold for a cost, and what is then given back: the rest of a hold of its own, or of
    /// what the step's hold grew by for it.
    pub fn settle(&self, ordinal: u32, actual: Amount) -> (Amount, Amount) {
        let Some(mut hold) = self.hold.clone() else {
            return (Amount::ZERO, Amount::ZERO);
        };
        let taken = hold
            .settle(ordinal, actual)
            .map(|s| s.held)
            .unwrap_or_default();
        let released = match self.own {
            Own::Yes => hold.close().unwrap_or_default(),
            Own::No => hold.shrink(&self.grown).unwrap_or_default(),
        };
        (taken, released)
    }

    /// What a hold of its own gives back when nothing was billed.
    pub const fn own_amount(&self) -> Amount {
        match self.own {
            Own::Yes => self.drawn,
            Own::No => Amount::ZERO,
        }
    }
}

/// Zero for an answer that cannot be kept: it is none to give again.
fn digest(answer: &SettleCall) -> Digest {
    answer.answer.as_ref().map_or(Digest::ZERO, json::digest)
}

/// The answer as content.
fn content(answer: &SettleCall) -> NewPart {
    answer.answer.as_ref().map_or_else(
        || NewPart::text("the answer is nested too deeply or too large to be kept"),
        NewPart::json,
    )
}

fn settled(
    (token, model): (&Token, &ModelId),
    answer: &SettleCall,
    (source, billed): (&Holding, &Billed),
) -> NewEvent {
    let (out, released) = source.settle(answer.ordinal, billed.actual);
    let facts = ModelCallSettled {
        step: token.step.clone(),
        attempt: token.attempt,
        ordinal: answer.ordinal,
        model: model.clone(),
        served: answer.model.clone().filter(|served| served != model),
        service_tier: answer.service_tier,
        answer: digest(answer),
        usage: billed.usage,
        entries: answer.entries.clone(),
        held: out,
        actual: billed.actual,
        released,
        price_version: billed.price_version,
        latency_ms: answer.latency_ms,
        flags: billed.flags.clone(),
    };
    let mut event = NewEvent::new(token.run_id, facts).with(content(answer));
    event
        .parts
        .extend(answer.reasoning.as_ref().map(NewPart::json));
    event
}

/// How often this answer to this request was seen in the step, this time included.
fn repeats<'a>(calls: impl Iterator<Item = &'a Call>, request: Digest, answer: Digest) -> u32 {
    let calls = calls.filter(|call| call.kind == CallKind::Model);
    times(calls, request, answer)
}

/// How often the request of these calls had this answer, this time included.
pub fn times<'a>(calls: impl Iterator<Item = &'a Call>, request: Digest, answer: Digest) -> u32 {
    let mut seen = NoProgress::default();
    for call in calls {
        if let CallState::Answered { answer, .. } = call.state {
            seen.observe(call.request, answer);
        }
    }
    seen.observe(request, answer)
        .map_or(0, |repeats| repeats.times)
}

/// What follows where a call was answered in the same way again and again: the rule is asked at
/// every third time, so that a step that was let go on has as many tries again.
pub fn no_progress(
    view: &View<'_>,
    resident: &Resident,
    (token, ended): (&Token, (u32, Amount)),
    inputs_hash: Digest,
) -> Vec<NewEvent> {
    let run = &resident.run;
    let (mode, policy_version) = view.workspace.no_progress(&run.created.policy);
    let judged = GuardrailJudged {
        step: token.step.clone(),
        attempt: token.attempt,
        ordinal: Some(ended.0),
        at: Checkpoint::After,
        rule: "no_progress".to_owned(),
        policy_version,
        mode,
        verdict: "deny".to_owned(),
        code: String::new(),
        inputs_hash,
    };
    let judged = NewEvent::new(run.run_id, judged);
    match mode {
        Mode::Off => Vec::new(),
        Mode::Observe => vec![judged],
        Mode::Enforce => {
            let mut events = vec![judged];
            events.extend(stop(run, token, ended, AbandonReason::NoProgress));
            events.push(fail::guardrail(run, &token.step, "no_progress"));
            events
        }
    }
}

/// Ends the attempt whose call `settled` has just been settled by the same decision.
pub(super) fn stop(
    run: &Run,
    token: &Token,
    settled: (u32, Amount),
    reason: AbandonReason,
) -> Vec<NewEvent> {
    let after = after_settling(run, token, settled);
    let (mut events, released) = end_calls(&after, &token.step, "abandoned");
    let facts = AttemptAbandoned {
        step: token.step.clone(),
        attempt: token.attempt,
        reason,
        retry_at: None,
        retry_from: None,
        released,
    };
    events.push(NewEvent::new(run.run_id, facts));
    events
}

/// The run as the settlement leaves it, as far as holds and calls go.
pub(super) fn after_settling(run: &Run, token: &Token, (ordinal, actual): (u32, Amount)) -> Run {
    let mut after = run.clone();
    let key = |ordinal| HoldKey {
        step: token.step.clone(),
        attempt: token.attempt,
        ordinal,
    };
    if after.holds.remove(&key(Some(ordinal))).is_none()
        && let Some(hold) = after.holds.get_mut(&key(None))
    {
        // A call that drew nothing leaves the hold as it is.
        let settled = hold.settle(ordinal, actual);
        let _ = settled.and_then(|_| hold.shrink(&run.grown_for(&token.step, ordinal)));
    }
    if let Some(step) = after.steps.get_mut(&token.step) {
        step.calls.remove(&ordinal);
    }
    after
}

/// What a dead token reports of a call that nothing was ever held for: it is charged.
///
/// # Errors
/// `InvalidInput` for usage that has no price; `NotFound`.
pub fn settle_reported(view: &View<'_>, token: &Token, answer: &SettleCall) -> Result<Decision> {
    let run = late::known(view, token)?;
    let billed = price_of(view, &answer.asked, answer, Amount::ZERO)?;
    let resident = view.resident(token.run_id)?;
    countable(view, resident, &token.step, &billed.actual)?;
    // The accounts of a run that is sealed are closed.
    let actual = if run.sealed {
        Amount::ZERO
    } else {
        billed.actual
    };
    Ok(charged_late(
        (run, token),
        answer,
        (Amount::ZERO, actual, Some(billed)),
    ))
}

fn settle_late(view: &View<'_>, token: &Token, answer: &SettleCall) -> Result<Decision> {
    let run = late::known(view, token)?;
    let key = HoldKey::call(token.step.clone(), token.attempt, answer.ordinal);
    let doubt = run.holds.get(&key).filter(|hold| hold.is_in_doubt());
    let held = doubt.map(|one| *one.amount()).unwrap_or_default();
    let billed = price_of(view, &answer.asked, answer, held);
    if let (Some(_), Ok(billed)) = (doubt, &billed) {
        countable(
            view,
            view.resident(token.run_id)?,
            &token.step,
            &billed.actual,
        )?;
    }
    // What somebody settled before is settled: a hold ends once. What it used is written down all
    // the same, as far as it has a price.
    let billed = match doubt {
        Some(_) => Some(billed?),
        None => billed.ok(),
    };
    let actual = billed.as_ref().filter(|_| doubt.is_some());
    let actual = actual.map_or(Amount::ZERO, |billed| billed.actual);
    let charged = (held, actual, billed);
    Ok(charged_late((run, token), answer, charged))
}

fn charged_late(
    (run, token): (&Run, &Token),
    answer: &SettleCall,
    (held, actual, billed): (Amount, Amount, Option<Billed>),
) -> Decision {
    let used = billed.map(|billed| LateUsage {
        model: answer.asked.clone(),
        service_tier: answer.service_tier,
        usage: billed.usage,
        entries: answer.entries.clone(),
        price_version: billed.price_version,
        flags: billed.flags,
    });
    let facts = ResultLate {
        step: token.step.clone(),
        attempt: token.attempt,
        outcome: "settled".to_owned(),
        ordinal: Some(answer.ordinal),
        held,
        actual,
        used,
    };
    let event = NewEvent::new(late::chain_of(run), facts).with(content(answer));
    Decision::events(vec![event])
}
