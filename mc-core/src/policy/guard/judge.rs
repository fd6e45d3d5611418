//! Judging: every rule of a checkpoint against what is asked, as a pure function.
//!
//! A rule that cannot be answered (a predicate that has no value, a count that is not there) errs,
//! and a rule that errs denies.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;

use super::rule::{Checkpoint, Guardrail, OnBreach, Rule, TierName, Verdict, Who};
use crate::budget::Amount;
use crate::expression::{Expression, Scope as Seen};
use crate::form::Schema;
use crate::id::RuleId;
use crate::json;
use crate::money::NanoUsd;
use crate::policy::Mode;
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
    Start,
    /// A model call is to go out.
    Call(Call<'a>),
    /// A tool call is to go out.
    Tool(Tool<'a>),
    /// So much of an answer has come.
    Progress(Progress<'a>),
    /// A call was answered.
    Answer(Answer<'a>),
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
}

/// A tool call.
#[derive(Clone, Copy, Debug)]
pub struct Tool<'a> {
    /// The exact parameters.
    pub params: &'a [u8],
    /// What one call costs at most, as the policy says.
    pub price: NanoUsd,
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
    /// What it used; none for a tool.
    pub fits: Option<Fits>,
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
    /// What the run has used.
    fn of_run(&self) -> Option<Amount>;
    /// How often the run has called the tool.
    fn uses(&self) -> Option<u64>;
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
        rail.mode != Mode::Off && (rail.at == asking.at || served) && rail.scope.holds(&asking.who)
    };
    let rails = rails.into_iter().filter(asked);
    rails
        .filter_map(|rail| look(rail, asking, counts))
        .collect()
}

fn look(rail: &Guardrail, asking: &Asking<'_>, counts: &dyn Counts) -> Option<Finding> {
    let found = match &asking.asked {
        Asked::Start => start(rail, asking, counts),
        Asked::Call(call) => of_call(rail, asking, call, counts),
        Asked::Tool(tool) => of_tool(rail, asking, tool, counts),
        Asked::Progress(progress) => in_flight(rail, progress),
        Asked::Answer(answer) => after(rail, answer),
    };
    let breach = match rail.on_breach {
        OnBreach::Deny => Verdict::Deny,
        OnBreach::Halt => Verdict::Halt,
    };
    let (verdict, code, reason) = match found {
        Ok(None) => return None,
        Ok(Some(Broken::Output(most))) => (
            Verdict::Clamp(most),
            rail.rule.key(),
            "more output than allowed".to_owned(),
        ),
        Ok(Some(Broken::Why(reason))) => (breach, rail.rule.key(), reason),
        Err(erred) => (breach, RULE_ERROR, erred.0),
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
enum Broken {
    /// By the output that is asked for.
    Output(u64),
    /// In words.
    Why(String),
}

/// A rule has no answer.
struct Erred(String);

type Found = Result<Option<Broken>, Erred>;

#[expect(
    clippy::unnecessary_wraps,
    reason = "rules that may err share its type"
)]
fn broken(is: bool, why: impl FnOnce() -> String) -> Found {
    Ok(is.then(|| Broken::Why(why())))
}

fn known<T>(count: Option<T>) -> Result<T, Erred> {
    count.ok_or_else(|| Erred("what it counts is not known".to_owned()))
}

fn misplaced(rail: &Guardrail) -> Found {
    let rule = rail.rule.key();
    Err(Erred(format!("`{rule}` says nothing about this")))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a rule that cannot stand here errs"
)]
fn start(rail: &Guardrail, asking: &Asking<'_>, counts: &dyn Counts) -> Found {
    match &rail.rule {
        Rule::MaxRunsInFlight(most) => {
            let now = known(counts.runs_in_flight(rail))?;
            broken(now >= *most, || {
                format!("{now} runs have not ended; {most} may be")
            })
        }
        Rule::MaxRunsPerMinute(most) => {
            let now = known(counts.in_window(rail))?;
            broken(now >= *most, || {
                format!("{now} runs began within a minute; {most} may")
            })
        }
        Rule::Workflows(names) => {
            let flow = asking.who.workflow;
            let denied = flow.is_some_and(|flow| names.denies(|one| one == flow));
            broken(denied, || "this workflow may not be started".to_owned())
        }
        Rule::Agents(_) => agents(rail, asking),
        _ => misplaced(rail),
    }
}

fn agents(rail: &Guardrail, asking: &Asking<'_>) -> Found {
    let Rule::Agents(names) = &rail.rule else {
        return misplaced(rail);
    };
    let mut all = asking.who.agents.iter();
    match all.find(|agent| names.denies(|one| one == *agent)) {
        Some(agent) => Ok(Some(Broken::Why(format!("agent `{agent}` may not act")))),
        None => Ok(None),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a rule that cannot stand here errs"
)]
fn of_call(rail: &Guardrail, asking: &Asking<'_>, call: &Call<'_>, counts: &dyn Counts) -> Found {
    let money = |before: Amount, most: NanoUsd| {
        let all = before.money.saturating_add(call.amount.money);
        broken(all > most, || {
            format!("it may cost {all} USD in all; {most} are allowed")
        })
    };
    match &rail.rule {
        Rule::Agents(_) => agents(rail, asking),
        Rule::Models(names) => {
            let model = known(asking.who.model)?;
            let denied = names.denies(|one| model.is(|id| one.matches(id)));
            let model = model.asked;
            broken(denied, || format!("model `{model}` may not be called"))
        }
        Rule::ServiceTiers(names) => {
            let tier = TierName(call.terms.service_tier);
            let denied = names.denies(|one| *one == tier);
            broken(denied, || format!("service tier `{tier}` may not be used"))
        }
        Rule::Regions(names) => {
            let region = call.terms.region.as_ref();
            let denied = names.denies(|one| Some(one) == region);
            broken(denied, || "this region may not be used".to_owned())
        }
        Rule::MaxInputTokens(most) => {
            let tokens = call.amount.input_tokens;
            broken(tokens > *most, || {
                format!("up to {tokens} input tokens; {most} are allowed")
            })
        }
        Rule::MaxOutputTokens(most) => {
            let more = call.max_output.is_none_or(|output| output > *most);
            Ok(more.then_some(Broken::Output(*most)))
        }
        Rule::MaxCostPerCall(most) => money(Amount::ZERO, *most),
        Rule::MaxCostPerStep(most) => money(known(counts.of_step())?, *most),
        Rule::MaxCostPerRun(most) => money(known(counts.of_run())?, *most),
        Rule::MaxCallsPerStep(most) => {
            let calls = known(counts.of_step())?.calls;
            broken(calls >= *most, || {
                format!("the step has made {calls} calls; {most} may be")
            })
        }
        Rule::Velocity { money, .. } => {
            let spent = known(counts.in_window(rail))?;
            let spent = i64::try_from(spent).map_or(NanoUsd::MAX, NanoUsd::from_nano);
            let all = spent.saturating_add(call.amount.money);
            broken(all > *money, || {
                format!("{all} USD within its window; {money} are allowed")
            })
        }
        Rule::RepeatedPrompt { times, .. } => {
            let before = known(counts.repeats(rail))?;
            broken(before >= *times, || {
                format!("the same request went out {before} times")
            })
        }
        Rule::MaxBytes(_) | Rule::Forbidden(_) | Rule::Secrets(_) => content(rail, call.messages),
        _ => misplaced(rail),
    }
}

/// The rules about content, for values that are looked at together.
fn content<'a>(rail: &Guardrail, values: impl IntoIterator<Item = &'a Value>) -> Found {
    let values: Vec<&Value> = values.into_iter().collect();
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
fn of_tool(rail: &Guardrail, asking: &Asking<'_>, tool: &Tool<'_>, counts: &dyn Counts) -> Found {
    let params = || serde_json::from_slice::<Value>(tool.params);
    let params = || params().map_err(|_| Erred("the parameters cannot be read".to_owned()));
    match &rail.rule {
        Rule::Agents(_) => agents(rail, asking),
        Rule::Tools(names) => {
            let name = known(asking.who.tool)?;
            broken(names.denies(|one| one == name), || {
                format!("tool `{name}` may not be called")
            })
        }
        Rule::Schema(_, schema) => schema_breach(schema, &params()?),
        Rule::Predicate(predicate) => predicate_breach(predicate, &params()?),
        Rule::MaxUsesPerRun(most) => {
            let uses = known(counts.uses())?;
            broken(uses >= *most, || {
                format!("called {uses} times in this run; {most} may be")
            })
        }
        Rule::MaxPrice(most) => {
            let price = tool.price;
            broken(price > *most, || {
                format!("a call costs {price} USD; {most} are allowed")
            })
        }
        Rule::MaxBytes(_) | Rule::Forbidden(_) | Rule::Secrets(_) => content(rail, [&params()?]),
        _ => misplaced(rail),
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "rules that may err share its type"
)]
fn schema_breach(schema: &Schema, params: &Value) -> Found {
    let violations = schema.violations(params);
    Ok(violations.first().map(|first| {
        let (path, rule) = (&first.path, &first.rule);
        Broken::Why(format!("the parameters are wrong at {path}: {rule}"))
    }))
}

fn predicate_breach(predicate: &Expression, params: &Value) -> Found {
    static NOTHING: LazyLock<BTreeMap<crate::id::StepName, std::sync::Arc<Value>>> =
        LazyLock::new(BTreeMap::new);
    let seen = Seen {
        inputs: params,
        outputs: &NOTHING,
        item: None,
    };
    let holds = predicate
        .holds(&seen)
        .map_err(|fault| Erred(fault.to_string()))?;
    broken(!holds, || format!("`{}` does not hold", predicate.as_str()))
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
fn after(rail: &Guardrail, answer: &Answer<'_>) -> Found {
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
        Rule::MaxBytes(_) | Rule::Forbidden(_) | Rule::Secrets(_) => {
            content(rail, answer.answer.into_iter().chain(answer.reasoning))
        }
        _ => misplaced(rail),
    }
}
