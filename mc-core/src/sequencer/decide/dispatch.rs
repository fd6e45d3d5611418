//! Dispatch: a step that is ready goes out, with its hold, in one commit.
//!
//! In this order: is it needed, is its condition true, may its tier act, is its agent here, what is
//! its input, does its worst case fit. The first that stands in the way decides.

use std::sync::Arc;

use serde_json::Value;

use super::refusal::{self, Asker};
use super::{View, advance, is_waiting};
use crate::budget::{Amount, Verdict, Waiter};
use crate::error::Result;
use crate::event::run::RunStarted;
use crate::event::step::{StepBlocked, StepDispatched};
use crate::event::{BlockReason, RunStatus};
use crate::id::{Digest, StepKey, StepName};
use crate::policy::{Mode, PriceAge, RiskTier};
use crate::pricing::{CallBound, reserve_bound};
use crate::run::Run;
use crate::sequencer::decision::{AttemptOrder, Decision, Effect, NewEvent, NewPart, Wait};
use crate::sequencer::resident::Resident;
use crate::sequencer::token::Token;
use crate::sequencer::workspace::Dispatch;
use crate::workflow::{Scope, Step, chain};

/// One step, or one item of a `for_each`, that is to go out.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The run.
    pub resident: &'a Resident,
    /// The step's name.
    pub name: &'a StepName,
    /// Its key: with the index, for an item.
    pub key: &'a StepKey,
    /// Its definition.
    pub step: &'a Step,
}

impl Candidate<'_> {
    const fn run(&self) -> &Arc<Run> {
        &self.resident.run
    }

    fn item(&self) -> Option<(&Value, u32)> {
        let index = self.key.index()?;
        let list = self.resident.items.get(self.name)?;
        list.get(usize::try_from(index).ok()?)
            .map(|item| (item, index))
    }
}

/// What came of a candidate.
#[derive(Debug)]
pub enum Dispatched {
    /// It stays as it is: something clears by itself.
    NotNow,
    /// Events.
    Decided(Decision),
    /// It waits for its turn.
    Queued(Wait),
}

/// Sends a step out, or says what stands in the way.
///
/// # Errors
/// Only defects.
pub fn dispatch(view: &View<'_>, candidate: &Candidate<'_>) -> Result<Dispatched> {
    if !may_go(view, candidate) {
        return Ok(Dispatched::NotNow);
    }
    if candidate.step.risk >= RiskTier::Irreversible {
        return Ok(blocked(view, candidate, BlockReason::Approval, ""));
    }
    let agent = &candidate.step.agent;
    if !view.workspace.agents.contains_key(agent) {
        return Ok(blocked(view, candidate, BlockReason::AgentUnavailable, ""));
    }
    if view.workspace.abandoned_of(agent) >= view.workspace.settings.max_abandoned_per_agent {
        let code = super::agents::ABANDONED_HANDLERS;
        return Ok(blocked(
            view,
            candidate,
            BlockReason::AgentUnavailable,
            code,
        ));
    }
    let resident = candidate.resident;
    let item = candidate.item();
    let scope = Scope {
        inputs: &resident.input,
        outputs: &resident.outputs,
        item,
    };
    match chain::bind_input(candidate.step, &scope) {
        Ok(input) => Ok(admit(view, candidate, input)),
        Err(fault) => {
            let key = candidate.key.clone();
            Ok(advance::fail(resident, key, "binding", &fault.to_string()))
        }
    }
}

fn may_go(view: &View<'_>, candidate: &Candidate<'_>) -> bool {
    let run = candidate.run();
    let step = run.step(candidate.key);
    let due = step.and_then(|s| s.wake_at).is_none_or(|at| at <= view.now);
    view.workspace.dispatch == Dispatch::On
        && !run.status.is_terminal()
        && run.paused.is_none()
        && is_waiting(step)
        && due
        && candidate.resident.live.len() < view.workspace.settings.max_live_per_run
}

fn blocked(
    view: &View<'_>,
    candidate: &Candidate<'_>,
    reason: BlockReason,
    code: &str,
) -> Dispatched {
    let facts = StepBlocked {
        step: candidate.key.clone(),
        reason,
        code: code.to_owned(),
        failing: Vec::new(),
    };
    let run = candidate.run();
    let mut events = started(run);
    events.push(NewEvent::new(run.run_id, facts));
    let code = if code.is_empty() {
        reason.as_str()
    } else {
        code
    };
    let needs_person = reason != BlockReason::AgentUnavailable;
    if needs_person && run.created.policy.unattended {
        events.extend(super::abort::by_policy(
            view,
            candidate.resident,
            code,
            Some(candidate.key),
        ));
    }
    Dispatched::Decided(Decision::events(events))
}

pub(super) fn started(run: &Run) -> Vec<NewEvent> {
    match run.status {
        RunStatus::Pending => vec![NewEvent::new(run.run_id, RunStarted {})],
        RunStatus::Running | RunStatus::Completed | RunStatus::Failed | RunStatus::Aborted => {
            Vec::new()
        }
    }
}

fn admit(view: &View<'_>, candidate: &Candidate<'_>, input: Value) -> Dispatched {
    let run = candidate.run();
    let hold = match worst_case(view, candidate.step) {
        Ok(hold) => hold,
        Err(code) => return blocked(view, candidate, BlockReason::Guardrail, code),
    };
    if hold.is_zero() {
        return send(view, candidate, input, hold);
    }
    let path = run.path(candidate.key, &candidate.step.agent);
    let wait = Wait::Budget {
        path: path.clone(),
        amount: hold,
        whole: hold,
    };
    let ticket = view.ticket();
    let waiter = Waiter {
        ticket,
        path,
        amount: hold,
        owner: None,
    };
    let asker = Asker {
        resident: candidate.resident,
        key: candidate.key,
    };
    match view.judge(&waiter) {
        Verdict::Fits => send(view, candidate, input, hold),
        Verdict::Contended {
            failing,
            only_doubt: true,
        } => {
            let mut events = started(run);
            events.push(refusal::blocked(&asker, "only_doubt", failing));
            if run.created.policy.unattended {
                events.extend(super::abort::by_policy(
                    view,
                    candidate.resident,
                    "in_doubt",
                    Some(candidate.key),
                ));
            }
            Dispatched::Decided(Decision::events(events))
        }
        Verdict::Contended { .. } | Verdict::Frozen { .. } => Dispatched::Queued(wait),
        Verdict::Exceeded { failing, on_exceed } => {
            let mut events = started(run);
            events.extend(refusal::exceeded(view, &asker, failing, on_exceed));
            Dispatched::Decided(Decision::events(events))
        }
    }
}

/// The step's worst case; or the code of the rule that forbids to price it.
pub fn worst_case(view: &View<'_>, step: &Step) -> Result<Amount, &'static str> {
    let Some(estimate) = &step.estimate else {
        return Ok(Amount::ZERO);
    };
    let settings = &view.workspace.settings;
    let quote = settings
        .prices
        .quote(&estimate.model, view.now, view.workspace.unknown_models());
    let quote = quote.ok_or("unknown_model")?;
    let age = settings.price_age;
    if age.is_some_and(|age| age.judge(&quote, view.now) == Mode::Enforce) {
        return Err(PriceAge::RULE);
    }
    let call = CallBound {
        input_tokens: Some(estimate.input_tokens),
        max_output_tokens: Some(estimate.max_output_tokens),
        ..CallBound::default()
    };
    let bound = reserve_bound(&quote.price, &call).map_err(|_| "price")?;
    let one = Amount {
        money: bound.money,
        input_tokens: bound.input_tokens,
        output_tokens: bound.output_tokens,
        calls: 1,
    };
    times(&one, estimate.calls).ok_or("estimate_overflow")
}

fn times(one: &Amount, count: u64) -> Option<Amount> {
    let money = one
        .money
        .as_nano()
        .checked_mul(i64::try_from(count).ok()?)?;
    Some(Amount {
        money: crate::money::NanoUsd::from_nano(money),
        input_tokens: one.input_tokens.checked_mul(count)?,
        output_tokens: one.output_tokens.checked_mul(count)?,
        calls: one.calls.checked_mul(count)?,
    })
}

fn send(view: &View<'_>, candidate: &Candidate<'_>, input: Value, hold: Amount) -> Dispatched {
    let run = candidate.run();
    let before = run.step(candidate.key);
    let attempt = before.map_or(0, |step| step.attempt) + 1;
    let part = NewPart::json(&input);
    let known = before.and_then(|step| step.effect_key);
    let effect_key = known.unwrap_or_else(|| effect_key(run, candidate.key, &part));
    let agent_version = view.workspace.version_of(&candidate.step.agent).cloned();
    let facts = StepDispatched {
        step: candidate.key.clone(),
        attempt,
        agent: candidate.step.agent.clone(),
        agent_version: agent_version.clone(),
        risk: candidate.step.risk,
        effect_key,
        hold,
    };
    let token = Token {
        epoch: view.workspace.epoch,
        run_id: run.run_id,
        step: candidate.key.clone(),
        attempt,
    };
    let suspended = before
        .and_then(|step| step.suspension.as_ref())
        .map(|s| (s.waiting_for.clone(), s.checkpoint, s.signal));
    let order = AttemptOrder {
        token,
        agent: candidate.step.agent.clone(),
        agent_version,
        input: Arc::new(input),
        effect_key,
        risk: candidate.step.risk,
        timeout: candidate.step.timeout,
        suspended,
    };
    let mut events = started(run);
    events.push(NewEvent::new(run.run_id, facts).with(part));
    Dispatched::Decided(Decision::events(events).and(Effect::Start(Box::new(order))))
}

/// SHA-256 of run, step key, definition hash and input digest.
fn effect_key(run: &Run, key: &StepKey, input: &NewPart) -> Digest {
    let (definition, input) = (run.definition_hash(), Digest::of(&[&input.bytes]));
    let pieces: [&[u8]; 4] = [
        run.run_id.as_bytes(),
        key.as_str().as_bytes(),
        definition.as_bytes(),
        input.as_bytes(),
    ];
    Digest::of(&pieces)
}
