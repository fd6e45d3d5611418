//! Guardrails: what the policy's rules say at each checkpoint, as events and perhaps a denial.
//!
//! The rules themselves are `policy::guard`; what they count is `traffic`. Every verdict other than
//! a plain allow is an event, and a rule in mode `observe` leaves it at that.

use super::attempt_end::end_calls;
use super::reach::{Reach, drawn};
use super::{View, abort, fail};
use crate::budget::{AccountId, Amount, Books};
use crate::error::{Detail, Error, ErrorKind};
use crate::event::call::GuardrailJudged;
use crate::event::step::{AbandonReason, AttemptAbandoned};
use crate::event::workspace::AdmissionJudged;
use crate::id::{
    AgentName, Digest, LabelKey, ModelId, Opaque, RuleId, RunId, StepKey, StepName, WorkflowName,
};
use crate::json;
use crate::policy::Mode;
use crate::policy::guard::{
    Asked, Asking, Checkpoint, Counts, Detector, Finding, Guardrail, Moments, Priced, Rule, Start,
    Verdict, Who, judge,
};
use crate::run::Run;
use crate::sequencer::decision::{NewEvent, NewPart};
use crate::sequencer::resident::Resident;
use crate::sequencer::token::Token;
use crate::sequencer::traffic::request_key;
use crate::workflow::{Definition, Uses, Work};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the rules of a checkpoint say.
#[derive(Debug, Default)]
pub struct Judged {
    /// Every verdict other than a plain allow.
    pub events: Vec<NewEvent>,
    /// The first rule that forbids.
    pub denial: Option<Denial>,
    /// Whether a rule answers in the place of a tool.
    pub unreal: bool,
    /// The first rule that wants a person's word.
    pub asks: Option<String>,
}

/// A rule forbids.
#[derive(Debug)]
pub struct Denial {
    /// The rule.
    pub rule: RuleId,
    /// Whether what is in flight is cut too.
    pub verdict: Verdict,
    /// The error that names it.
    pub error: Error,
}

/// The place in a run at which a rule is asked.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The attempt.
    pub token: &'a Token,
    /// The run.
    pub resident: &'a Resident,
    /// The call's place in the journal.
    pub ordinal: u32,
    /// The hash of what is judged.
    pub inputs: Digest,
}

struct Known<'a> {
    view: &'a View<'a>,
    place: Option<Place<'a>>,
    who: Who<'a>,
}

impl<'a> Known<'a> {
    /// What a rule about runs counts here.
    fn reach(&'a self, rail: &Guardrail) -> Option<Reach<'a>> {
        Reach::of(self.view, self.place?.resident, (rail, &self.who))
    }
}

impl Counts for Known<'_> {
    fn runs_in_flight(&self, rail: &Guardrail) -> Option<u64> {
        Some(
            self.view
                .workspace
                .shared
                .traffic
                .runs_in_flight(&rail.scope),
        )
    }

    fn in_window(&self, rail: &Guardrail) -> Option<u64> {
        let traffic = &self.view.workspace.shared.traffic;
        Some(traffic.of_rule(&rail.id, self.view.now))
    }

    fn repeats(&self, rail: &Guardrail) -> Option<u64> {
        let (place, Rule::RepeatedPrompt { within, .. }) = (self.place?, &rail.rule) else {
            return None;
        };
        let within = i64::try_from(within.as_micros()).unwrap_or(i64::MAX);
        let now = self.view.now.as_unix_us();
        let since = crate::time::Timestamp::from_unix_us(now.saturating_sub(within));
        let key = request_key(place.token.run_id, place.inputs);
        let traffic = &self.view.workspace.shared.traffic;
        Some(traffic.repeats(&rail.id, key, since))
    }

    fn of_step(&self) -> Option<Amount> {
        let token = self.place?.token;
        let name = StepName::new(token.step.name()).ok()?;
        let account = AccountId::Step(token.run_id, StepKey::of(&name));
        let resident = self.place?.resident;
        let books = self.view.books(resident);
        let account = books.account(&account).cloned().unwrap_or_default();
        let gone = account.spent().saturating_add(account.in_doubt());
        let drawn = drawn(resident, |key| key.name() == token.step.name());
        Some(gone.saturating_add(&drawn))
    }

    fn concerns_around(&self, rail: &Guardrail) -> bool {
        self.reach(rail).is_some()
    }

    fn of_run(&self, rail: &Guardrail) -> Option<Amount> {
        Some(self.reach(rail)?.used())
    }

    fn is_repeated(&self, rail: &Guardrail) -> Option<bool> {
        let (place, tool) = (self.place?, self.who.tool?);
        let own = (place.resident, (&place.token.step, place.ordinal));
        Some(self.reach(rail)?.has_or_made((tool, place.inputs), own))
    }

    fn detector(&self, name: &Opaque) -> Option<&dyn Detector> {
        let detectors = &self.view.workspace.settings.detectors;
        detectors.get(name).map(AsRef::as_ref)
    }

    fn usual(&self, rail: &Guardrail, who: &Who<'_>) -> Option<Moments> {
        let traffic = &self.view.workspace.shared.traffic;
        traffic.usual(&rail.id, who)
    }

    fn uses(&self, rail: &Guardrail) -> Option<u64> {
        Some(self.reach(rail)?.uses(self.who.tool?))
    }
}

/// Judges at a place in a run.
pub fn at_place(view: &View<'_>, place: Place<'_>, asking: &Asking<'_>) -> Judged {
    let rails = view.workspace.policy.guardrails();
    if rails.is_empty() {
        return Judged::default();
    }
    let known = Known {
        view,
        place: Some(place),
        who: asking.who,
    };
    let findings = judge(rails, asking, &known);
    let subject = match (asking.who.tool, asking.who.model) {
        (Some(tool), _) => tool.to_string(),
        (None, Some(model)) => model.asked.to_string(),
        (None, None) => place.token.step.to_string(),
    };
    let version = version(view);
    let event = |finding: &Finding| {
        let facts = GuardrailJudged {
            step: place.token.step.clone(),
            attempt: place.token.attempt,
            ordinal: Some(place.ordinal),
            at: asking.at,
            rule: finding.rule.to_string(),
            policy_version: version,
            mode: finding.mode,
            verdict: finding.verdict.as_str().to_owned(),
            code: finding.code.to_owned(),
            inputs_hash: place.inputs,
        };
        let event = NewEvent::new(place.token.run_id, facts);
        event.with(NewPart::text(&finding.reason))
    };
    Judged {
        events: findings.iter().map(event).collect(),
        unreal: findings.iter().any(Finding::is_dry_run),
        asks: { findings.iter() }
            .find(|one| one.asks())
            .map(|one| one.rule.to_string()),
        denial: denial(findings, subject),
    }
}

/// The version of the policy in force; 0 for the default policy.
pub fn version(view: &View<'_>) -> u32 {
    view.workspace.shared.policy.map_or(0, |head| head.version)
}

fn denial(findings: Vec<Finding>, subject: String) -> Option<Denial> {
    let first = findings.into_iter().find(Finding::forbids)?;
    let message = format!("{}: {}: {}", first.rule, first.code, first.reason);
    let detail = Detail::Rule {
        rule: first.rule.to_string(),
        subject,
    };
    Some(Denial {
        rule: first.rule,
        verdict: first.verdict,
        error: Error::new(ErrorKind::PolicyDenied, message).with_detail(detail),
    })
}

/// A run that is to start, or a session.
#[derive(Clone, Copy, Debug)]
pub struct Starting<'a> {
    /// Its workflow with its definition; none for a session.
    pub flow: Option<(&'a WorkflowName, &'a Definition)>,
    /// Its agents.
    pub agents: &'a [AgentName],
    /// Its labels.
    pub labels: &'a BTreeMap<LabelKey, Arc<str>>,
    /// How many runs it is nested in.
    pub depth: usize,
}

/// The models of a workflow's estimates, and how old their prices are.
fn estimated<'a>(
    view: &View<'a>,
    definition: &'a Definition,
    (found, seen): (&mut BTreeMap<ModelId, Priced>, &mut BTreeSet<&'a Uses>),
) {
    let workspace = view.workspace;
    for step in definition.steps().values() {
        if let Work::Uses(uses) = &step.work
            && let Some(inner) = workspace.definition(uses)
            && seen.insert(uses)
        {
            estimated(view, inner, (found, seen));
        }
        let Some(estimate) = &step.estimate else {
            continue;
        };
        let prices = &workspace.settings.prices;
        let quote = prices.quote(&estimate.model, view.now, workspace.unknown_models());
        let age = match quote {
            None => Priced::Unknown,
            Some(quote) => quote.of_table().map_or(Priced::Stated, |row| {
                Priced::Checked(view.now.since(row.origin.checked_at))
            }),
        };
        found.insert(estimate.model.clone(), age);
    }
}

/// Judges a run before it starts, or a session before it opens.
pub fn at_start(view: &View<'_>, new: &Starting<'_>) -> Judged {
    let (flow, agents) = (new.flow.map(|(name, _)| name), new.agents);
    let rails = view.workspace.policy.guardrails();
    if rails.is_empty() {
        return Judged::default();
    }
    let mut prices = BTreeMap::new();
    let asks = |rail: &Guardrail| matches!(rail.rule, Rule::FreshPrices(_));
    if let Some((_, definition)) = new.flow
        && rails.iter().any(asks)
    {
        estimated(view, definition, (&mut prices, &mut BTreeSet::new()));
    }
    let asking = Asking {
        at: Checkpoint::Admission,
        who: Who {
            agents,
            workflow: flow,
            ..Who::default()
        },
        asked: Asked::Start(Start {
            depth: u64::try_from(new.depth).unwrap_or(u64::MAX),
            labels: new.labels,
            prices: &prices,
        }),
    };
    let known = Known {
        view,
        place: None,
        who: asking.who,
    };
    let findings = judge(rails, &asking, &known);
    let names: Vec<&str> = agents.iter().map(AsRef::as_ref).collect();
    let inputs = serde_json::json!({ "workflow": flow.map(ToString::to_string), "agents": names });
    let inputs_hash = json::digest(&inputs);
    let event = |finding: &Finding| {
        let facts = AdmissionJudged {
            workflow: flow.cloned(),
            agent: agents.first().filter(|_| flow.is_none()).cloned(),
            rule: finding.rule.clone(),
            policy_version: version(view),
            mode: finding.mode,
            verdict: finding.verdict.as_str().to_owned(),
            code: finding.code.to_owned(),
            inputs_hash,
        };
        let event = NewEvent::new(RunId::ZERO, facts);
        event.with(NewPart::text(&finding.reason))
    };
    let subject = flow.map_or_else(|| names.join(", "), ToString::to_string);
    Judged {
        events: findings.iter().map(event).collect(),
        unreal: false,
        asks: None,
        denial: denial(findings, subject),
    }
}

/// Judges the items of a step before the first of them goes out.
pub fn at_expansion(
    view: &View<'_>,
    run: &Run,
    (key, agents): (&StepKey, &[AgentName]),
    items: &Value,
) -> Judged {
    let rails = view.workspace.policy.guardrails();
    let count = items.as_array().map_or(0, Vec::len);
    let asking = Asking {
        at: Checkpoint::Admission,
        who: Who {
            agents,
            workflow: run.workflow().map(|(name, _)| name),
            ..Who::default()
        },
        asked: Asked::Expand(u64::try_from(count).unwrap_or(u64::MAX)),
    };
    let known = Known {
        view,
        place: None,
        who: asking.who,
    };
    let findings = judge(rails, &asking, &known);
    if findings.is_empty() {
        return Judged::default();
    }
    let inputs_hash = json::digest(items);
    let event = |finding: &Finding| {
        let facts = GuardrailJudged {
            step: key.clone(),
            attempt: 0,
            ordinal: None,
            at: asking.at,
            rule: finding.rule.to_string(),
            policy_version: version(view),
            mode: finding.mode,
            verdict: finding.verdict.as_str().to_owned(),
            code: finding.code.to_owned(),
            inputs_hash,
        };
        NewEvent::new(run.run_id, facts).with(NewPart::text(&finding.reason))
    };
    Judged {
        events: findings.iter().map(event).collect(),
        unreal: false,
        asks: None,
        denial: denial(findings, key.to_string()),
    }
}

/// The rules of a mode that let an agent act no more: asked again whenever a step is to be dispatched, since
/// the policy may have changed since the run started.
pub fn denying<'a>(
    view: &View<'a>,
    (run, mode): (&Run, Mode),
    agent: &AgentName,
) -> Vec<&'a RuleId> {
    let who = Who {
        agents: std::slice::from_ref(agent),
        workflow: run.workflow().map(|(name, _)| name),
        ..Who::default()
    };
    let rails = view.workspace.policy.guardrails().iter();
    let asked = move |rail: &&Guardrail| {
        rail.at == Checkpoint::Admission && rail.mode == mode && rail.scope.holds(&who)
    };
    let denies = move |rail: &&Guardrail| {
        let rule = &rail.rule;
        matches!(rule, Rule::Agents(names) if names.denies(|one| one == agent))
    };
    let rules = rails.filter(asked).filter(denies);
    rules.map(|rail| &rail.id).collect()
}

/// The most output tokens that rules let a call have.
pub fn output_cap(view: &View<'_>, who: &Who<'_>) -> Option<u64> {
    let rails = view.workspace.policy.guardrails().iter();
    let obeyed = rails.filter(|rail| {
        rail.at == Checkpoint::ModelCall
            && rail.mode == Mode::Enforce
            && rail.clamps()
            && rail.scope.holds(who)
    });
    let most = obeyed.filter_map(|rail| {
        let Rule::MaxOutputTokens(most) = &rail.rule else {
            return None;
        };
        Some(*most)
    });
    most.min()
}

/// The attempt ends here, and its step waits for a person; a session ends. `run` is its run as the
/// events before leave it.
pub fn cut(
    view: &View<'_>,
    resident: &Resident,
    run: &Run,
    token: &Token,
    rule: &RuleId,
) -> Vec<NewEvent> {
    let code = rule.as_ref();
    if run.workflow().is_none() {
        let mut after = resident.clone();
        after.run = Arc::new(run.clone());
        return abort::by_policy(view, &after, code);
    }
    let (mut events, released) = end_calls(run, &token.step, "abandoned");
    let facts = AttemptAbandoned {
        step: token.step.clone(),
        attempt: token.attempt,
        reason: AbandonReason::Guardrail,
        retry_at: None,
        retry_from: None,
        released,
    };
    events.push(NewEvent::new(run.run_id, facts));
    events.push(fail::guardrail(run, &token.step, code));
    events
}
