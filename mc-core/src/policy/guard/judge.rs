//! Judging: every rule of a checkpoint against what is asked, as a pure function.
//!
//! A rule that cannot be answered (a predicate that has no value, a count that is not there) errs,
//! and a rule that errs denies. Starts, model calls and tool calls have files of their own:
//! `judge_start`, `judge_call`, `judge_tool`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::anomaly::{Measured, Moments};
use super::detector::{self, Detector};
use super::judge_call::of_call;
use super::judge_start::{expand, start};
use super::judge_tool::of_tool;
use super::rule::{Checkpoint, Guardrail, OnBreach, Rule, Verdict, Who};
use crate::budget::Amount;
use crate::id::{LabelKey, ModelId, Opaque, RuleId};
use crate::json;
use crate::money::NanoUsd;
use crate::policy::{Mode, RiskTier};
use crate::pricing::{CallTerms, Named};

/// The code of a rule that erred.
pub(super) const RULE_ERROR: &str = "rule_error";

/// What somebody asks for at a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The checkpoint.
    pub at: Checkpoint,
    /// Who asks.
    pub who: Who<'a>,
    /// What for.
    pub asked: Asked<'a>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// A run is to start.
    Start(Start<'a>),
    /// A `for_each` has so many items.
    Expand(u64),
    /// A model call is to go out.
    Call(Call<'a>),
    /// A tool call is to go out.
    Tool(Tool<'a>),
    /// So much of an answer has come.
    Progress(Progress<'a>),
    /// A call was answered.
    Answer(Answer<'a>),
}

/// A run, or a session, that is to start.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// How many runs it is nested in.
    pub depth: u64,
    /// Its labels.
    pub labels: &'a BTreeMap<LabelKey, Arc<str>>,
    /// The models of its estimates, those of workflows that it uses among them.
    pub prices: &'a BTreeMap<ModelId, Priced>,
}

/// How old the price of a model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priced {
    /// It has none.
    Unknown,
    /// The policy states it: it has no age.
    Stated,
    /// It was checked so long ago.
    Checked(Duration),
}

/// A model call.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Its worst case.
    pub amount: Amount,
    /// The most output tokens of one answer; none where nothing bounds them.
    pub max_output: Option<u64>,
    /// Its terms.
    pub terms: &'a CallTerms,
    /// The messages.
    pub messages: &'a [Value],
    /// The labels of its run.
    pub labels: &'a BTreeMap<LabelKey, Arc<str>>,
    /// How long ago its run was started.
    pub age: Duration,
}

/// A tool call.
#[derive(Clone, Copy, Debug)]
pub struct Tool<'a> {
    /// The exact parameters.
    pub params: &'a [u8],
    /// What one call costs at most, as the policy says.
    pub price: NanoUsd,
    /// Its tier.
    pub risk: RiskTier,
}

/// How far an answer has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Output tokens so far.
    pub output_tokens: u64,
    /// What they cost, with the whole input; none where that cannot be told.
    pub cost: Option<NanoUsd>,
    /// Since when it is out.
    pub elapsed: Duration,
    /// What has come, where the host tells.
    pub text: Option<&'a str>,
}

/// Whether what was used lies within what was held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fits {
    /// It does.
    Within,
    /// It is more.
    Over,
    /// The provider did not say what was used.
    Unknown,
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The answer; none where it cannot be kept.
    pub answer: Option<&'a Value>,
    /// The reasoning.
    pub reasoning: Option<&'a Value>,
    /// The model that answered, where it was another.
    pub served: Option<Named<'a>>,
    /// Whether what it used was held; none for a tool.
    pub fits: Option<Fits>,
    /// What it cost and took; none for a tool.
    pub measured: Option<Measured>,
    /// Whether a person has approved the call.
    pub approved: bool,
}

/// What rules have to know of what went before; none where it is not known.
pub trait Counts {
    /// Runs that have not ended, of those that a rule concerns.
    fn runs_in_flight(&self, rail: &Guardrail) -> Option<u64>;
    /// What the window of a rule has counted.
    fn in_window(&self, rail: &Guardrail) -> Option<u64>;
    /// How often the request went out in the stretch of a rule.
    fn repeats(&self, rail: &Guardrail) -> Option<u64>;
    /// What the step has used, all its attempts and items together.
    fn of_step(&self) -> Option<Amount>;
    /// Whether a rule about runs concerns the run, or one that it is nested in.
    fn concerns_around(&self, rail: &Guardrail) -> bool;
    /// What the run has used. This and what follows is of the outermost run that the rule concerns, with
    /// everything that is nested in it.
    fn of_run(&self, rail: &Guardrail) -> Option<Amount>;
    /// How often the run has called the tool.
    fn uses(&self, rail: &Guardrail) -> Option<u64>;
    /// Whether the run has made the same tool call with the same parameters, or has it out.
    fn is_repeated(&self, rail: &Guardrail) -> Option<bool>;
    /// The detector that the host has registered under this name.
    fn detector(&self, name: &Opaque) -> Option<&dyn Detector>;
    /// What the calls before this one cost or took, as a rule compares them.
    fn usual(&self, rail: &Guardrail, who: &Who<'_>) -> Option<Moments>;
}

/// A verdict other than a plain allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: RuleId,
    /// How it acts.
    pub mode: Mode,
    /// The verdict.
    pub verdict: Verdict,
    /// The rule's kind, or `rule_error`.
    pub code: &'static str,
    /// Why, without any content.
    pub reason: String,
}

impl Finding {
    /// Whether it is obeyed and answers in a tool's place.
    pub const fn is_dry_run(&self) -> bool {
        matches!(self.mode, Mode::Enforce) && matches!(self.verdict, Verdict::DryRun)
    }

    /// Whether it is obeyed and wants a person's word.
    pub const fn asks(&self) -> bool {
        matches!(self.mode, Mode::Enforce) && matches!(self.verdict, Verdict::NeedsApproval)
    }

    /// Whether it is obeyed and forbids.
    pub const fn forbids(&self) -> bool {
        matches!(self.mode, Mode::Enforce) && matches!(self.verdict, Verdict::Deny | Verdict::Halt)
    }
}

/// Judges: what is found, in the order of the rules. A rule that is off is not asked.
pub fn judge<'a>(
    rails: impl IntoIterator<Item = &'a Guardrail>,
    asking: &Asking<'_>,
    counts: &dyn Counts,
) -> Vec<Finding> {
    let asked = |rail: &&Guardrail| {
        let served = asking.at == Checkpoint::After && matches!(rail.rule, Rule::Models(_));
        let here = rail.mode != Mode::Off && (rail.at == asking.at || served);
        let around = || rail.rule.counts_runs() && counts.concerns_around(rail);
        here && (rail.scope.holds(&asking.who) || around())
    };
    let rails = rails.into_iter().filter(asked);
    rails
        .filter_map(|rail| look(rail, asking, counts))
        .collect()
}

fn look(rail: &Guardrail, asking: &Asking<'_>, counts: &dyn Counts) -> Option<Finding> {
    let found = match &asking.asked {
        Asked::Start(new) => start(rail, asking, new, counts),
        Asked::Expand(items) => expand(rail, *items),
        Asked::Call(call) => of_call(rail, asking, call, counts),
        Asked::Tool(tool) => of_tool(rail, asking, tool, counts),
        Asked::Progress(progress) => in_flight(rail, progress),
        Asked::Answer(answer) => after(rail, asking, answer, counts),
    };
    let breach = match (rail.on_breach, &asking.asked) {
        // A person was asked of the call; one that nobody was asked of is answered already.
        (OnBreach::NeedsApproval, Asked::Answer(answer)) if answer.approved => return None,
        (OnBreach::Deny, _) | (OnBreach::NeedsApproval, Asked::Answer(_)) => Verdict::Deny,
        (OnBreach::Halt, _) => Verdict::Halt,
        (OnBreach::NeedsApproval, _) => Verdict::NeedsApproval,
    };
    let (verdict, code, reason) = match found {
        Ok(None) => return None,
        Ok(Some(Broken::Output(most))) => {
            let clamp = rail.clamps().then_some(Verdict::Clamp(most));
            let reason = "more output than allowed".to_owned();
            (clamp.unwrap_or(breach), rail.rule.key(), reason)
        }
        Ok(Some(Broken::Unreal)) => (
            Verdict::DryRun,
            rail.rule.key(),
            "the tool is not called".to_owned(),
        ),
        Ok(Some(Broken::Why(reason))) => (breach, rail.rule.key(), reason),
        // Nobody can judge what a rule could not.
        Err(erred) => (breach.at_least_deny(), RULE_ERROR, erred.0),
    };
    Some(Finding {
        rule: rail.id.clone(),
        mode: rail.mode,
        verdict,
        code,
        reason,
    })
}

/// How a rule is broken.
pub(super) enum Broken {
    /// By the output that is asked for.
    Output(u64),
    /// By a tool that would be called.
    Unreal,
    /// In words.
    Why(String),
}

/// A rule has no answer.
pub(super) struct Erred(pub(super) String);

pub(super) type Found = Result<Option<Broken>, Erred>;

#[expect(
    clippy::unnecessary_wraps,
    reason = "rules that may err share its type"
)]
pub(super) fn broken(is: bool, why: impl FnOnce() -> String) -> Found {
    Ok(is.then(|| Broken::Why(why())))
}

pub(super) fn known<T>(count: Option<T>) -> Result<T, Erred> {
    count.ok_or_else(|| Erred("what it counts is not known".to_owned()))
}

pub(super) fn misplaced(rail: &Guardrail) -> Found {
    let rule = rail.rule.key();
    Err(Erred(format!("`{rule}` says nothing about this")))
}

pub(super) fn agents(rail: &Guardrail, asking: &Asking<'_>) -> Found {
    let Rule::Agents(names) = &rail.rule else {
        return misplaced(rail);
    };
    let mut all = asking.who.agents.iter();
    match all.find(|agent| names.denies(|one| one == *agent)) {
        Some(agent) => Ok(Some(Broken::Why(format!("agent `{agent}` may not act")))),
        None => Ok(None),
    }
}

/// The rules about content, for values that are looked at together.
pub(super) fn content<'a>(
    rail: &Guardrail,
    values: impl IntoIterator<Item = &'a Value>,
    counts: &dyn Counts,
) -> Found {
    let values: Vec<&Value> = values.into_iter().collect();
    if let Rule::Pii(names) = &rail.rule {
        return detected(names, &values, counts);
    }
    let any = |finds: &dyn Fn(&str) -> bool| values.iter().any(|value| holds(value, finds));
    if let Rule::MaxBytes(most) = &rail.rule {
        let bytes: usize = values
            .iter()
            .map(|value| json::canonical(value).len())
            .sum();
        let over = u64::try_from(bytes).map_or(true, |bytes| bytes > *most);
        return broken(over, || format!("{bytes} bytes; {most} are allowed"));
    }
    if let Rule::Forbidden(patterns) = &rail.rule {
        let found = patterns.iter().position(|one| any(&|text| one.is_in(text)));
        let number = found.map_or(0, |index| index + 1);
        return broken(found.is_some(), || {
            format!("a text holds forbidden pattern {number}")
        });
    }
    let Rule::Secrets(kinds) = &rail.rule else {
        return misplaced(rail);
    };
    let found = kinds.iter().find(|kind| any(&|text| kind.is_in(text)));
    Ok(found.map(|kind| Broken::Why(format!("a text holds a secret: {kind}"))))
}

/// The first detector that finds something; one that is not there errs, whatever the others say.
fn detected(names: &BTreeSet<Opaque>, values: &[&Value], counts: &dyn Counts) -> Found {
    let mut found = None;
    for name in names {
        let missing = || Erred(format!("no detector `{name}` is registered here"));
        let detector = counts.detector(name).ok_or_else(missing)?;
        let erred = RefCell::new(None);
        let finds = |text: &str| {
            let said = detector::ask(detector, text);
            said.unwrap_or_else(|fault| {
                erred.replace(Some(fault));
                true
            })
        };
        let is_in = values.iter().any(|value| holds(value, &finds));
        if let Some(fault) = erred.take() {
            return Err(fault);
        }
        found = found.or_else(|| is_in.then_some(name));
    }
    Ok(found.map(|name| Broken::Why(format!("a text holds what `{name}` looks for"))))
}

/// Whether any text of a value, the names of its fields among them, is of this kind.
fn holds(value: &Value, finds: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => finds(text),
        Value::Array(items) => items.iter().any(|one| holds(one, finds)),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, one)| finds(name) || holds(one, finds)),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a rule that cannot stand here errs"
)]
fn in_flight(rail: &Guardrail, progress: &Progress<'_>) -> Found {
    match &rail.rule {
        Rule::MaxOutputTokens(most) => {
            let tokens = progress.output_tokens;
            broken(tokens > *most, || {
                format!("{tokens} output tokens; {most} are allowed")
            })
        }
        Rule::MaxCostPerCall(most) => {
            let cost = known(progress.cost)?;
            broken(cost > *most, || {
                format!("{cost} USD so far; {most} are allowed")
            })
        }
        Rule::MaxDuration(most) => {
            let (now, most) = (progress.elapsed.as_millis(), most.as_millis());
            broken(now > most, || {
                format!("it takes {now} ms; {most} are allowed")
            })
        }
        Rule::Forbidden(patterns) => {
            let text = progress.text.unwrap_or_default();
            let found = patterns.iter().any(|one| one.is_in(text));
            broken(found, || {
                "what has come holds a forbidden pattern".to_owned()
            })
        }
        _ => misplaced(rail),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a rule that cannot stand here errs"
)]
fn after(rail: &Guardrail, asking: &Asking<'_>, answer: &Answer<'_>, counts: &dyn Counts) -> Found {
    match &rail.rule {
        Rule::Models(names) => match answer.served {
            Some(model) => {
                let denied = names.denies(|one| model.is(|id| one.matches(id)));
                let model = model.asked;
                broken(denied, || format!("model `{model}` answered and may not"))
            }
            None => Ok(None),
        },
        Rule::UsageWithinHold => match answer.fits {
            None | Some(Fits::Within) => Ok(None),
            Some(Fits::Over) => broken(true, || "more was used than was held".to_owned()),
            Some(Fits::Unknown) => broken(true, || "it is not known what was used".to_owned()),
        },
        Rule::MaxBytes(_) | Rule::Forbidden(_) | Rule::Secrets(_) | Rule::Pii(_) => {
            let all = answer.answer.into_iter().chain(answer.reasoning);
            content(rail, all, counts)
        }
        Rule::Anomaly { of, sigma, least } => {
            let Some(value) = answer.measured.and_then(|all| all.of(*of)) else {
                return Ok(None);
            };
            let usual = known(counts.usual(rail, &asking.who))?;
            let (of, calls) = (of.as_str(), usual.count());
            let far = calls >= *least && usual.is_exceeded_by(value, *sigma);
            broken(far, || {
                format!("{of} {value} is over {sigma} deviations above the mean of {calls} calls")
            })
        }
        _ => misplaced(rail),
    }
}
