//! Traffic: what rules and rates count over time, folded from the events of runs and calls.
//!
//! It is part of the workspace's row, so that it survives a crash exactly as it was committed. A rule
//! counts from its coming into force; a call whose outcome is in doubt stays counted in full. Windows
//! have sixty buckets, and the one that is partly over still counts: they never count too little.
//! What is *not* here: what follows (`decide::guard`, `turns`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::circuits::Try;
use super::limiter::Limiter;
use super::samples::Samples;
use super::window::Window;
use crate::budget::Amount;
use crate::event::EventKind;
use crate::event::call::{ModelCallSettled, THROTTLED_TOO_LONG};
use crate::event::run::Subject;
use crate::id::{AgentName, Digest, ModelId, RuleId, RunId, StepKey, WorkflowName};
use crate::policy::guard::{Checkpoint, Guardrail, Measured, Moments, Rule, Scope, Who};
use crate::policy::{Mode, OnThrottling, Policy, RateOf, RateRule};
use crate::pricing::{Named, PriceTable};
use crate::run::{CallState, Run};
use crate::time::Timestamp;

/// A minute.
const MINUTE: Duration = Duration::from_secs(60);
/// The most different requests of which a rule knows how often they went out; beyond it the one that
/// went out longest ago is forgotten.
const MAX_REQUESTS: usize = 4_096;
/// The name under which sessions are counted: no workflow has it.
const SESSIONS: &str = "";

/// A call that is out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallOut {
    /// The model.
    pub model: ModelId,
    /// In whose name.
    pub agent: Option<AgentName>,
    /// The workflow of its run.
    pub workflow: Option<WorkflowName>,
    /// What it was reserved with.
    pub amount: Amount,
    /// When it was reserved; none where that is not known any more, so that it stays counted in full.
    pub since: Option<Timestamp>,
    /// The rules that have judged its answer as it came in.
    pub told: BTreeSet<String>,
}

impl CallOut {
    /// Whether this verdict was told of before.
    pub(super) fn was_told(&self, kind: &EventKind) -> bool {
        matches!(kind, EventKind::GuardrailJudged(facts) if self.told.contains(&facts.rule))
    }
}

/// The calls that are out: kept in memory, since a crash puts every one of them in doubt.
pub type CallsOut = BTreeMap<(RunId, StepKey, u32), CallOut>;

/// What is counted over time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// Runs that have not ended, by workflow.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    live: BTreeMap<String, u64>,
    /// What rules count, by their id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    rules: BTreeMap<RuleId, Window>,
    /// When each request went out, by rule and by run and request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    requests: BTreeMap<RuleId, BTreeMap<Digest, Vec<Timestamp>>>,
    /// Calls of each rate.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    calls: BTreeMap<String, Window>,
    /// Tokens of each rate.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tokens: BTreeMap<String, Window>,
    /// What calls cost and took, for rules about anomalies.
    #[serde(default, skip_serializing_if = "Samples::is_empty")]
    samples: Samples,
    /// What was learnt of refusals.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    limiters: BTreeMap<String, Limiter>,
}

/// What an event is folded with.
#[derive(Debug)]
pub(super) struct Folding<'a> {
    pub(super) policy: &'a Policy,
    pub(super) at: Timestamp,
    pub(super) run: Option<&'a Run>,
    pub(super) attempt: Try,
    pub(super) out: &'a mut CallsOut,
    pub(super) prices: &'a PriceTable,
}

/// The digest under which the requests of a run are counted.
pub(super) fn request_key(run: RunId, request: Digest) -> Digest {
    Digest::of(&[run.to_string().as_bytes(), request.to_string().as_bytes()])
}

fn tokens(amount: &Amount) -> u64 {
    amount.input_tokens.saturating_add(amount.output_tokens)
}

fn nano(amount: &Amount) -> u64 {
    u64::try_from(amount.money.as_nano()).unwrap_or(0)
}

impl Traffic {
    /// Runs that have not ended and that a rule concerns.
    pub(super) fn runs_in_flight(&self, scope: &Scope) -> u64 {
        let named = |flow: &str| scope.workflows.iter().any(|one| one.as_ref() == flow);
        let all = self.live.iter();
        let counted = all.filter(|(flow, _)| scope.workflows.is_empty() || named(flow));
        counted.map(|(_, runs)| *runs).sum()
    }

    /// What a rule has counted in its window.
    pub(super) fn of_rule(&self, rule: &RuleId, now: Timestamp) -> u64 {
        self.rules.get(rule).map_or(0, |window| window.sum(now))
    }

    /// How often a request of a run went out since a time, as a rule counts.
    pub(super) fn repeats(&self, rule: &RuleId, key: Digest, since: Timestamp) -> u64 {
        let times = self.requests.get(rule).and_then(|all| all.get(&key));
        let recent = times.into_iter().flatten().filter(|at| **at > since);
        u64::try_from(recent.count()).unwrap_or(u64::MAX)
    }

    /// When a rate lets a call go out, as far as time decides; none for now.
    pub(super) fn opens(
        &self,
        rate: &RateRule,
        amount: &Amount,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let key = rate.of.to_string();
        let limiter = self
            .limiters
            .get(&key)
            .filter(|_| rate.on_throttling == OnThrottling::SlowDown);
        let pause = limiter
            .and_then(|one| one.not_before)
            .filter(|at| *at > now);
        let learnt = limiter.and_then(|one| one.rate);
        let per_minute = rate.requests_per_minute.into_iter().chain(learnt).min();
        let when = |windows: &BTreeMap<String, Window>, limit: Option<u64>, wanted: u64| {
            let limit = limit?;
            windows.get(&key)?.opens(now, limit, wanted.min(limit))
        };
        let calls = when(&self.calls, per_minute, 1);
        let tokens = when(&self.tokens, rate.tokens_per_minute, tokens(amount));
        [pause, calls, tokens].into_iter().flatten().max()
    }

    /// What another policy does not have, or has otherwise, is counted no more.
    pub(super) fn policy_changed(&mut self, before: &Policy, after: &Policy) {
        let same = |id: &RuleId| {
            let of = |policy: &Policy| {
                policy
                    .guardrails()
                    .iter()
                    .find(|rail| rail.id == *id)
                    .cloned()
            };
            of(after).is_some_and(|rail| of(before) == Some(rail))
        };
        self.rules.retain(|id, _| same(id));
        self.requests.retain(|id, _| same(id));
        self.samples.retain(same);
        let known = |key: &String| after.rates().iter().any(|rate| rate.of.to_string() == *key);
        self.calls.retain(|key, _| known(key));
        self.tokens.retain(|key, _| known(key));
        self.limiters.retain(|key, _| known(key));
    }

    /// Folds an event.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only runs and calls are traffic"
    )]
    pub(super) fn follow(&mut self, run_id: RunId, kind: &EventKind, folding: &mut Folding<'_>) {
        let key = |step: &StepKey, ordinal: u32| (run_id, step.clone(), ordinal);
        match kind {
            EventKind::RunCreated(_)
            | EventKind::RunRedriven(_)
            | EventKind::RunCompleted(_)
            | EventKind::RunFailed(_)
            | EventKind::RunAborted(_) => self.follow_run(kind, folding),
            EventKind::ModelCallReserved(facts) => {
                let run = folding.run;
                let own = run.and_then(|run| run.step(&facts.step)?.agent.clone());
                let flow = run
                    .and_then(|run| run.workflow())
                    .map(|(name, _)| name.clone());
                let call = CallOut {
                    model: facts.model.clone(),
                    agent: facts.agent.clone().or(own),
                    workflow: flow,
                    amount: facts.amount,
                    since: Some(folding.at),
                    told: BTreeSet::new(),
                };
                self.sent(&call, request_key(run_id, facts.request), folding);
                folding.out.insert(key(&facts.step, facts.ordinal), call);
            }
            EventKind::ModelCallSettled(facts) => {
                let call = folding.out.remove(&key(&facts.step, facts.ordinal));
                self.came(call.as_ref(), &facts.actual, folding);
                // One that failed and was billed has none.
                if facts.answer != Digest::ZERO {
                    self.sampled(call.as_ref(), facts, folding);
                }
                let since = call.and_then(|call| call.since);
                self.answered(&facts.model, since, folding);
            }
            EventKind::ModelCallThrottled(facts) => {
                let call = folding.out.remove(&key(&facts.step, facts.ordinal));
                self.came(call.as_ref(), &Amount::ZERO, folding);
                let after = facts.retry_after_ms.map(Duration::from_millis);
                self.refused(&facts.model, after, folding);
            }
            EventKind::ModelCallReleased(facts) => {
                let call = folding.out.remove(&key(&facts.step, facts.ordinal));
                self.came(call.as_ref(), &Amount::ZERO, folding);
                if facts.code == THROTTLED_TOO_LONG {
                    let after = facts.retry_after_ms.map(Duration::from_millis);
                    self.refused(&facts.model, after, folding);
                }
            }
            // Calls inside its hold are in doubt with the hold, by no event of their own.
            EventKind::AttemptInterrupted(facts) => {
                let gone = |run: RunId, step: &StepKey| run == run_id && *step == facts.step;
                folding.out.retain(|(run, step, _), _| !gone(*run, step));
            }
            EventKind::GuardrailJudged(facts) if facts.at == Checkpoint::InFlight => {
                let place = facts.ordinal.map(|ordinal| key(&facts.step, ordinal));
                if let Some(out) = place.and_then(|place| folding.out.get_mut(&place)) {
                    out.told.insert(facts.rule.clone());
                }
            }
            // What may have been billed stays counted in full.
            EventKind::ModelCallDoubted(facts) => {
                folding.out.remove(&key(&facts.step, facts.ordinal));
            }
            _ => {}
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "`follow` sends only these kinds here"
    )]
    fn follow_run(&mut self, kind: &EventKind, folding: &Folding<'_>) {
        match kind {
            EventKind::RunCreated(facts) => {
                let flow = match &facts.subject {
                    Subject::Workflow { name, .. } => Some(name),
                    Subject::Session { .. } => None,
                };
                self.begun(flow, folding);
            }
            EventKind::RunRedriven(_) => {
                let flow = folding.run.and_then(Run::workflow);
                let name = flow.map_or(SESSIONS, |(name, _)| name.as_ref());
                *self.live.entry(name.to_owned()).or_default() += 1;
            }
            EventKind::RunCompleted(_) | EventKind::RunFailed(_) | EventKind::RunAborted(_) => {
                let flow = folding
                    .run
                    .and_then(|run| run.workflow())
                    .map(|(name, _)| name);
                self.ended(flow);
            }
            _ => {}
        }
    }

    fn begun(&mut self, flow: Option<&WorkflowName>, folding: &Folding<'_>) {
        let name = flow.map_or(SESSIONS, AsRef::as_ref);
        *self.live.entry(name.to_owned()).or_default() += 1;
        let who = Who {
            workflow: flow,
            ..Who::default()
        };
        for rail in counted(folding.policy, &who) {
            if matches!(rail.rule, Rule::MaxRunsPerMinute(_)) {
                self.rule(rail, MINUTE, folding.at).add(folding.at, 1);
            }
        }
    }

    fn ended(&mut self, flow: Option<&WorkflowName>) {
        let name = flow.map_or(SESSIONS, AsRef::as_ref);
        if let Some(runs) = self.live.get_mut(name) {
            *runs = runs.saturating_sub(1);
        }
        self.live.retain(|_, runs| *runs > 0);
    }

    fn rule(&mut self, rail: &Guardrail, span: Duration, at: Timestamp) -> &mut Window {
        let fresh = || Window::new(span, at);
        self.rules.entry(rail.id.clone()).or_insert_with(fresh)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only these two rules count calls over time"
    )]
    fn sent(&mut self, call: &CallOut, request: Digest, folding: &Folding<'_>) {
        for rail in of_call(folding, call) {
            match &rail.rule {
                Rule::Velocity { window, .. } => {
                    let all = self.rule(rail, *window, folding.at);
                    all.add(folding.at, nano(&call.amount));
                }
                Rule::RepeatedPrompt { times, within } if folding.attempt == Try::First => {
                    let all = self.requests.entry(rail.id.clone()).or_default();
                    note_request(all, request, folding.at, (*times, *within));
                }
                _ => {}
            }
        }
        let model = folding.prices.named(&call.model);
        for rate in rates_of(folding.policy, model, call.agent.as_ref()) {
            let key = rate.of.to_string();
            let fresh = || Window::new(MINUTE, folding.at);
            // A rate of calls in flight alone needs no window.
            let learns = rate.on_throttling == OnThrottling::SlowDown;
            if learns || rate.requests_per_minute.is_some() {
                let calls = self.calls.entry(key.clone()).or_insert_with(fresh);
                calls.add(folding.at, 1);
            }
            if rate.tokens_per_minute.is_some() {
                let all = self.tokens.entry(key).or_insert_with(fresh);
                all.add(folding.at, tokens(&call.amount));
            }
        }
    }

    /// What a call really took stands where its worst case stood.
    fn came(&mut self, call: Option<&CallOut>, actual: &Amount, folding: &Folding<'_>) {
        let Some((call, since)) = call.and_then(|call| Some((call, call.since?))) else {
            return;
        };
        for rail in of_call(folding, call) {
            if let (Rule::Velocity { .. }, Some(window)) =
                (&rail.rule, self.rules.get_mut(&rail.id))
            {
                window.replace(since, nano(&call.amount), nano(actual));
            }
        }
        let model = folding.prices.named(&call.model);
        for rate in rates_of(folding.policy, model, call.agent.as_ref()) {
            if let Some(window) = self.tokens.get_mut(&rate.of.to_string()) {
                window.replace(since, tokens(&call.amount), tokens(actual));
            }
        }
    }

    /// What an answered call cost and took.
    fn sampled(&mut self, call: Option<&CallOut>, facts: &ModelCallSettled, folding: &Folding<'_>) {
        let measured = measured(&facts.actual, facts.latency_ms, &facts.flags);
        for rail in call.into_iter().flat_map(|call| of_call(folding, call)) {
            let Rule::Anomaly { of, .. } = &rail.rule else {
                continue;
            };
            let agent = call.and_then(|call| call.agent.as_ref());
            if let Some(value) = measured.of(*of) {
                self.samples.add(&rail.id, (agent, &facts.model), value);
            }
        }
    }

    /// What calls of an agent and a model cost and took so far, as a rule compares them.
    pub(super) fn usual(&self, rule: &RuleId, who: &Who<'_>) -> Option<Moments> {
        let model = who.model?.asked;
        Some(self.samples.of(rule, who.agents.first(), model))
    }

    fn refused(&mut self, model: &ModelId, after: Option<Duration>, folding: &Folding<'_>) {
        for rate in learning(folding.policy, folding.prices.named(model)) {
            let key = rate.of.to_string();
            let seen = self
                .calls
                .get(&key)
                .map_or(0, |window| window.sum(folding.at));
            let limiter = self.limiters.entry(key).or_default();
            limiter.refused(folding.at, after, seen);
        }
    }

    fn answered(&mut self, model: &ModelId, sent: Option<Timestamp>, folding: &Folding<'_>) {
        for rate in learning(folding.policy, folding.prices.named(model)) {
            let key = rate.of.to_string();
            let limiter = self.limiters.get_mut(&key);
            if limiter.is_some_and(|limiter| limiter.answered(sent, folding.at)) {
                self.limiters.remove(&key);
            }
        }
    }
}

/// What a call cost and took; what nobody said is not known.
pub(super) fn measured(actual: &Amount, latency_ms: u64, flags: &[String]) -> Measured {
    let missing = flags.iter().any(|flag| flag == "usage_missing");
    Measured {
        used: (!missing).then_some(*actual),
        latency_ms,
    }
}

fn note_request(
    all: &mut BTreeMap<Digest, Vec<Timestamp>>,
    request: Digest,
    at: Timestamp,
    (times, within): (u64, Duration),
) {
    all.retain(|_, times| {
        times.retain(|one| one.after(within) > at);
        !times.is_empty()
    });
    if all.len() >= MAX_REQUESTS && !all.contains_key(&request) {
        let oldest = all.iter().min_by_key(|(_, times)| times.last().copied());
        if let Some(oldest) = oldest.map(|(key, _)| *key) {
            all.remove(&oldest);
        }
    }
    // More than the rule asks for says no more.
    let most = usize::try_from(times)
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    let sent = all.entry(request).or_default();
    sent.push(at);
    sent.drain(..sent.len().saturating_sub(most));
}

fn counted<'a>(policy: &'a Policy, who: &Who<'a>) -> impl Iterator<Item = &'a Guardrail> {
    let who = *who;
    let rails = policy.guardrails().iter();
    rails.filter(move |rail| rail.mode != Mode::Off && rail.scope.holds(&who))
}

fn of_call<'a>(folding: &Folding<'a>, call: &'a CallOut) -> impl Iterator<Item = &'a Guardrail> {
    let who = Who {
        agents: call.agent.as_slice(),
        workflow: call.workflow.as_ref(),
        model: Some(folding.prices.named(&call.model)),
        tool: None,
    };
    let rails = folding.policy.guardrails().iter();
    rails.filter(move |rail| rail.mode != Mode::Off && rail.scope.holds(&who))
}

/// The rates that count a call.
pub(super) fn rates_of<'a>(
    policy: &'a Policy,
    model: Named<'a>,
    agent: Option<&'a AgentName>,
) -> impl Iterator<Item = &'a RateRule> {
    let rates = policy.rates().iter();
    rates.filter(move |rate| rate.of.counts(model, agent))
}

fn learning<'a>(policy: &'a Policy, model: Named<'a>) -> impl Iterator<Item = &'a RateRule> {
    rates_of(policy, model, None).filter(|rate| rate.on_throttling == OnThrottling::SlowDown)
}

/// The calls of a run that are out, as its state has them.
pub(super) fn calls_out(run: &Run) -> impl Iterator<Item = ((RunId, StepKey, u32), CallOut)> {
    let live = run.steps.iter().filter(|(_, step)| step.live.is_some());
    let calls = live.flat_map(|(key, step)| step.calls.iter().map(move |call| (key, step, call)));
    calls.filter_map(|(key, step, (ordinal, call))| {
        let open = CallState::Open {
            attempt: step.attempt,
        };
        let model = call.model.clone().filter(|_| call.state == open)?;
        let place = (run.run_id, key.clone(), *ordinal);
        let out = CallOut {
            model,
            agent: step.agent.clone(),
            workflow: run.workflow().map(|(name, _)| name.clone()),
            amount: Amount::ZERO,
            since: None,
            told: BTreeSet::new(),
        };
        Some((place, out))
    })
}

/// How many calls that a rate counts are out.
pub(super) fn in_flight(out: &CallsOut, of: &RateOf, prices: &PriceTable) -> u64 {
    let counted = out
        .values()
        .filter(|call| of.counts(prices.named(&call.model), call.agent.as_ref()));
    u64::try_from(counted.count()).unwrap_or(u64::MAX)
}
