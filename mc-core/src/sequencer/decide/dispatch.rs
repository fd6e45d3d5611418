//! Dispatch: a step that is ready goes out, with its hold, in one commit.
//!
//! In this order: is it needed, is its condition true, is its agent here, what is its input, can its
//! worst case ever fit, has a person to be asked, does it fit now. The first that stands in the way
//! decides.

use std::sync::Arc;

use serde_json::Value;

use super::builtin::Builtin;
use super::clearance::{self, Clearance, Denial, Wish};
use super::guard::{denying, version};
use super::refusal::{self, Asker};
use super::reserving::{self, Cover};
use super::{View, advance, approve, compose, in_time, is_waiting, observed};
use crate::budget::{Account, Amount, Verdict, Waiter};
use crate::error::Result;
use crate::event::call::GuardrailJudged;
use crate::event::run::RunStarted;
use crate::event::step::{HALTED, StepBlocked, StepDispatched};
use crate::event::{BlockReason, RunStatus};
use crate::id::{AgentName, Digest, RuleId, StepKey, StepName};
use crate::policy::guard::{self, Checkpoint};
use crate::policy::{Mode, PriceAge, RiskTier};
use crate::pricing::{CallBound, reserve_bound};
use crate::run::{Run, Step as State};
use crate::sequencer::decision::{AttemptOrder, Decision, Effect, NewEvent, NewPart, Wait};
use crate::sequencer::resident::Resident;
use crate::sequencer::token::Token;
use crate::sequencer::workspace::Dispatch;
use crate::workflow::{Scope, Step, Work, chain};

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
    pub(super) const fn run(&self) -> &Arc<Run> {
        &self.resident.run
    }

    const fn asker(&self) -> Asker<'_> {
        Asker {
            resident: self.resident,
            key: self.key,
        }
    }

    fn wish<'b>(&'b self, going: &'b Going) -> Wish<'b> {
        Wish {
            run: &self.resident.run,
            key: self.key,
            call: None,
            rule: None,
            agent: &going.agent,
            risk: going.risk,
            own: self.step.approval.as_ref(),
            params: &going.part,
            maximum: self.step.estimate.is_some().then_some(going.hold),
        }
    }

    pub(super) fn item(&self) -> Option<(&Value, u32)> {
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
    let agent = match &candidate.step.work {
        Work::Agent(agent) => agent,
        Work::Uses(uses) => return Ok(compose::compose(view, candidate, uses)),
    };
    if let Some(code) = candidate.run().step(candidate.key).and_then(State::cut_off) {
        return Ok(blocked(candidate, BlockReason::InDoubt, code));
    }
    if !view.workspace.agents.contains_key(agent) {
        return Ok(blocked(candidate, BlockReason::AgentUnavailable, ""));
    }
    if view.workspace.shared.halts.of([agent]).is_some() {
        return Ok(blocked(candidate, BlockReason::AgentUnavailable, HALTED));
    }
    if view.workspace.abandoned_of(agent) >= view.workspace.settings.max_abandoned_per_agent {
        let code = super::agents::ABANDONED_HANDLERS;
        return Ok(blocked(candidate, BlockReason::AgentUnavailable, code));
    }
    let resident = candidate.resident;
    let item = candidate.item();
    let scope = Scope {
        inputs: &resident.input,
        outputs: &resident.outputs,
        item,
    };
    match chain::bind_input(candidate.step, &scope) {
        Ok(input) => Ok(admit(view, candidate, agent, input)),
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
        && candidate.resident.out() < view.workspace.settings.max_live_per_run
}

pub(super) fn blocked(candidate: &Candidate<'_>, reason: BlockReason, code: &str) -> Dispatched {
    let facts = StepBlocked {
        step: candidate.key.clone(),
        reason,
        code: code.to_owned(),
        failing: Vec::new(),
    };
    let run = candidate.run();
    let mut events = started(run);
    events.push(NewEvent::new(run.run_id, facts));
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

/// What a step goes out with.
struct Going {
    agent: AgentName,
    input: Value,
    part: NewPart,
    hold: Amount,
    /// What was held for it so far.
    cover: Option<Cover>,
    risk: RiskTier,
    /// The approval that covers it, and whether it is used up by this.
    grant: Option<(u32, bool)>,
    /// What is told with it: the end of what was asked of a person and is not needed, and rules that would
    /// have kept it back.
    told: Vec<NewEvent>,
}

fn admit(
    view: &View<'_>,
    candidate: &Candidate<'_>,
    agent: &AgentName,
    input: Value,
) -> Dispatched {
    let part = NewPart::json(&input);
    let forbids = denying(view, (candidate.run(), Mode::Enforce), agent);
    if let Some(rule) = forbids.first() {
        let why = format!("agent `{agent}` may not act");
        let denied = step_denied("agents", (&part, &why));
        return forbidden(view, candidate, denied, Some(rule.as_ref()));
    }
    let hold = match worst_case(view, candidate.step) {
        Ok(hold) => hold,
        Err(code) => {
            let denied = step_denied(code, (&part, "its estimate has no price that may be used"));
            let own = (code == PriceAge::RULE).then_some(code);
            return forbidden(view, candidate, denied, own);
        }
    };
    let cover = reserving::cover(view, candidate.run(), candidate.key, (agent, hold));
    let verdict = judge(view, candidate, (agent, hold), cover.as_ref());
    // What can never fit is asked of nobody.
    if let Verdict::Exceeded { failing, on_exceed } = verdict {
        let mut events = started(candidate.run());
        let asker = candidate.asker();
        events.extend(refusal::exceeded(view, &asker, failing, on_exceed));
        return Dispatched::Decided(Decision::events(events));
    }
    let mut going = Going {
        agent: agent.clone(),
        part,
        input,
        hold,
        cover,
        risk: candidate.step.tier(&view.workspace.policy),
        grant: None,
        told: Vec::new(),
    };
    match clearance::clear(view, &candidate.wish(&going)) {
        Clearance::Free(ended) => going.told = ended,
        Clearance::Granted { number, fresh } => going.grant = Some((number, fresh)),
        Clearance::Pending(_) => return blocked(candidate, BlockReason::Approval, ""),
        Clearance::Asked(_, events) => return asked(candidate, events),
        Clearance::Denied(denial) => return denied(candidate, denial),
    }
    let told = would_keep_back(view, candidate, &going);
    going.told.extend(told);
    fit(view, candidate, going, verdict)
}

/// The rules that are only looked at and say that the agent may act no more.
fn would_keep_back(view: &View<'_>, candidate: &Candidate<'_>, going: &Going) -> Vec<NewEvent> {
    let run = candidate.run();
    let step = run.step(candidate.key);
    let attempt = step.map_or(0, |step| step.attempt) + 1;
    let judged = |rule: &RuleId| {
        let why = format!("agent `{}` may not act", going.agent);
        let facts = GuardrailJudged {
            step: candidate.key.clone(),
            attempt,
            ordinal: None,
            at: Checkpoint::Admission,
            rule: rule.to_string(),
            policy_version: version(view),
            mode: Mode::Observe,
            verdict: guard::Verdict::Deny.as_str().to_owned(),
            code: "agents".to_owned(),
            inputs_hash: Digest::of(&[&going.part.bytes]),
        };
        NewEvent::new(run.run_id, facts).with(NewPart::text(&why))
    };
    let rules = denying(view, (run, Mode::Observe), &going.agent);
    rules.into_iter().map(judged).collect()
}

fn step_denied<'a>(code: &'a str, (input, why): (&NewPart, &'a str)) -> Builtin<'a> {
    Builtin {
        at: Checkpoint::Admission,
        code,
        inputs: Digest::of(&[&input.bytes]),
        why,
        verdict: guard::Verdict::Deny,
    }
}

/// A rule forbids that the step goes out: it waits for a person, under the id of a rule of the policy
/// or the code of one of ours.
fn forbidden(
    view: &View<'_>,
    candidate: &Candidate<'_>,
    denied: Builtin<'_>,
    rule: Option<&str>,
) -> Dispatched {
    let place = (candidate.run().run_id, candidate.key);
    let event = denied.of_step(view, place, rule);
    let code = rule.unwrap_or(denied.code);
    let facts = StepBlocked {
        step: candidate.key.clone(),
        reason: BlockReason::Guardrail,
        code: code.to_owned(),
        failing: Vec::new(),
    };
    let run = candidate.run();
    let mut events = started(run);
    events.extend([event, NewEvent::new(run.run_id, facts)]);
    Dispatched::Decided(Decision::events(events))
}

/// Whether the hold fits; one of nothing always does.
fn judge(
    view: &View<'_>,
    candidate: &Candidate<'_>,
    (agent, hold): (&AgentName, Amount),
    cover: Option<&Cover>,
) -> Verdict {
    if hold.is_zero() && !may_be_frozen(view, candidate.run()) {
        return Verdict::Fits;
    }
    let path = candidate.run().path(candidate.key, agent);
    let waiter = Waiter {
        ticket: view.ticket(),
        path,
        amount: hold,
        owner: None,
    };
    match cover {
        Some(cover) => cover.judge(view, &waiter),
        None => view.judge(&waiter),
    }
}

/// A step that may go, as far as its money lets it: until then its approval is not used up.
fn fit(view: &View<'_>, candidate: &Candidate<'_>, going: Going, verdict: Verdict) -> Dispatched {
    let run = candidate.run();
    match verdict {
        Verdict::Fits => send(view, candidate, going),
        Verdict::Contended {
            failing,
            only_doubt: true,
        } => {
            let mut events = started(run);
            events.push(refusal::blocked(&candidate.asker(), "only_doubt", failing));
            // Who waits for a person keeps nothing from others.
            events.extend(reserving::let_go(view.workspace, run.run_id));
            Dispatched::Decided(Decision::events(events))
        }
        Verdict::Contended { .. } | Verdict::Frozen { .. } | Verdict::Exceeded { .. } => {
            Dispatched::Queued(Wait::Budget {
                path: run.path(candidate.key, &going.agent),
                amount: going.hold,
                whole: going.hold,
            })
        }
    }
}

/// A person is asked, and the step waits; where nobody answers, that is the end of its run.
fn asked(candidate: &Candidate<'_>, asked: Vec<NewEvent>) -> Dispatched {
    if candidate.run().created.policy.unattended {
        return blocked(candidate, BlockReason::Approval, "");
    }
    let mut events = started(candidate.run());
    events.extend(asked);
    let facts = StepBlocked {
        step: candidate.key.clone(),
        reason: BlockReason::Approval,
        code: String::new(),
        failing: Vec::new(),
    };
    events.push(NewEvent::new(candidate.run().run_id, facts));
    Dispatched::Decided(Decision::events(events))
}

fn denied(candidate: &Candidate<'_>, denial: Denial) -> Dispatched {
    let mut events = denial.events;
    let message = "nobody used the approval in time";
    let why = (denial.code, message);
    events.extend(approve::failed(candidate.resident, candidate.key, why));
    Dispatched::Decided(Decision::events(events))
}

/// Whether any account that the run's steps count in may be frozen: such a one admits not even a step
/// that holds nothing.
fn may_be_frozen(view: &View<'_>, run: &Run) -> bool {
    let frozen = |run: &Run| run.accounts.values().any(Account::is_frozen);
    let outer = || {
        let mut outer = run.created.nested_in.iter();
        outer.any(|place| {
            let outer = view.workspace.runs.get(&place.run);
            outer.is_some_and(|outer| frozen(&outer.run))
        })
    };
    !view.workspace.frozen.is_empty() || frozen(run) || outer()
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

/// So many of it; none where that cannot be counted.
pub(super) fn times(one: &Amount, count: u64) -> Option<Amount> {
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

fn send(view: &View<'_>, candidate: &Candidate<'_>, going: Going) -> Dispatched {
    let run = candidate.run();
    let before = run.step(candidate.key);
    let attempt = before.map_or(0, |step| step.attempt) + 1;
    let known = before.and_then(|step| step.effect_key);
    let effect_key = known.unwrap_or_else(|| effect_key(run, candidate.key, &going.part));
    let agent_version = view.workspace.version_of(&going.agent).cloned();
    let facts = StepDispatched {
        step: candidate.key.clone(),
        attempt,
        agent: going.agent.clone(),
        agent_version: agent_version.clone(),
        risk: going.risk,
        effect_key,
        hold: going.hold,
        approval: going.grant.map(|(number, _)| number),
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
        run_deadline: in_time::run_deadline(view, run, &going.agent),
        agent: going.agent,
        agent_version,
        input: Arc::new(going.input),
        effect_key,
        risk: going.risk,
        tools: candidate.step.tools.clone(),
        timeout: candidate.step.timeout,
        suspended,
    };
    // What was held for it before is counted already.
    let asked = match going.cover {
        Some(_) => Amount::ZERO,
        None => going.hold,
    };
    let judged = (!going.hold.is_zero()).then(|| {
        let path = run.path(candidate.key, &order.agent);
        let who = (candidate.key, attempt, None);
        observed::judged(view, candidate.resident, who, (&path, asked))
    });
    let judged = judged.flatten();
    let mut events = started(run);
    events.extend(going.told);
    events.extend(going.cover.map(Cover::drawn));
    let fresh = going.grant.filter(|(_, fresh)| *fresh);
    let used = |(number, _)| clearance::consumed(run, number, attempt, effect_key);
    events.extend(fresh.and_then(used));
    events.extend(judged);
    events.push(NewEvent::new(run.run_id, facts).with(going.part));
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
