//! Reads the section `guardrails`: every problem with its place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;

use super::anomaly::{MOST_LEAST, MOST_SIGMA, Measure};
use super::names::Names;
use super::rule::{Checkpoint, Guardrail, OnBreach, Rule, Scope};
use super::secrets::SecretKind;
use crate::expression::Expression;
use crate::form::{At, Fields, Reader, Schema, schema_problem};
use crate::id::RuleId;
use crate::money::NanoUsd;
use crate::policy::Mode;
use crate::pricing::Unit;

/// The most rules of a policy.
const MAX_RULES: usize = 256;
/// The longest stretch that a rule counts over.
const MAX_WINDOW: Duration = Duration::from_secs(31 * 86_400);
/// The longest time of a rule that counts nothing.
const MAX_SPAN: Duration = Duration::from_secs(3_650 * 86_400);
/// The largest count.
const MAX_COUNT: u64 = i64::MAX.unsigned_abs();

/// The fields that state a rule.
const RULES: [&str; 36] = [
    "max_runs_in_flight",
    "max_runs_per_minute",
    "agents",
    "workflows",
    "max_depth",
    "max_items",
    "fresh_prices",
    "metadata",
    "models",
    "service_tiers",
    "regions",
    "max_input_tokens",
    "max_output_tokens",
    "max_cost_per_call",
    "max_cost_per_step",
    "max_cost_per_run",
    "max_calls_per_step",
    "max_calls_per_run",
    "deadline",
    "max_units",
    "velocity",
    "repeated_prompt",
    "max_bytes",
    "forbidden",
    "secrets",
    "pii",
    "tools",
    "schema",
    "predicate",
    "max_uses_per_run",
    "once_per_intent",
    "dry_run",
    "max_price",
    "max_duration",
    "usage",
    "anomaly",
];
const COMMON: [&str; 5] = ["id", "at", "mode", "for", "verdict"];

/// Reads the list; an id is given once.
pub(in crate::policy) fn guardrails(reader: &mut Reader, parent: Fields<'_>) -> Vec<Guardrail> {
    let Some(value) = parent.get(reader, "guardrails") else {
        return Vec::new();
    };
    let at = parent.at("guardrails");
    let Value::Array(items) = value else {
        reader.form(&at, "a list of rules is wanted");
        return Vec::new();
    };
    if items.len() > MAX_RULES {
        reader.limit(&at, "rules", MAX_RULES);
    }
    let mut found: Vec<Guardrail> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let index = index.to_string();
        let place = at.child(&index);
        let Some(rail) = one(reader, item, &place) else {
            continue;
        };
        if found.iter().any(|other| other.id == rail.id) {
            reader.form(&place.child("id"), "this id is given twice");
        }
        found.push(rail);
    }
    found
}

/// How a rule acts, in a field of its own.
pub(in crate::policy) fn mode(
    reader: &mut Reader,
    fields: Fields<'_>,
    field: &'static str,
) -> Option<Mode> {
    let modes = [Mode::Enforce, Mode::Observe, Mode::Off];
    fields.choice(reader, field, &modes.map(|mode| (mode.as_str(), mode)))
}

fn one(reader: &mut Reader, value: &Value, at: &At<'_>) -> Option<Guardrail> {
    let known: Vec<&'static str> = COMMON.into_iter().chain(RULES).collect();
    let fields = Fields::open(reader, value, at, &known)?;
    fields.require(reader, "id");
    fields.require(reader, "at");
    let id = fields.parsed::<RuleId>(reader, "id");
    let checkpoint = fields.choice(reader, "at", &Checkpoint::NAMES);
    let mode = mode(reader, fields, "mode").unwrap_or_default();
    let verdicts = [
        ("deny", OnBreach::Deny),
        ("halt", OnBreach::Halt),
        ("needs_approval", OnBreach::NeedsApproval),
    ];
    let on_breach = fields.choice(reader, "verdict", &verdicts);
    let on_breach = on_breach.unwrap_or_default();
    let given: Vec<&'static str> = RULES.into_iter().filter(|key| fields.has(key)).collect();
    let key = match given.as_slice() {
        [key] => Some(*key),
        [] => {
            reader.form(at, "a rule is missing, e.g. max_cost_per_call");
            None
        }
        [_, ..] => {
            let rule = format!(
                "one rule is wanted, not {}; write one entry each",
                given.join(", ")
            );
            reader.form(at, rule);
            None
        }
    };
    let scope = scope(reader, fields, (key, checkpoint));
    let rule = key.and_then(|key| rule(reader, fields, key));
    if let (Some(key), Some(checkpoint)) = (key, checkpoint)
        && !Rule::checkpoints(key).contains(&checkpoint)
    {
        let all = Rule::checkpoints(key).iter().map(|one| one.as_str());
        let all: Vec<&str> = all.collect();
        reader.form(
            &fields.at("at"),
            format!("`{key}` stands at {}", all.join(", ")),
        );
    }
    if on_breach == OnBreach::NeedsApproval {
        asks(reader, fields, (key, checkpoint));
    }
    Some(Guardrail {
        id: id?,
        at: checkpoint?,
        mode,
        on_breach,
        scope,
        rule: rule?,
    })
}

/// A person can be asked before a call goes out, and not of one that does not go out anyway.
fn asks(reader: &mut Reader, fields: Fields<'_>, (key, at): (Option<&str>, Option<Checkpoint>)) {
    let before = [Checkpoint::ModelCall, Checkpoint::ToolCall];
    if at.is_some_and(|at| !before.contains(&at)) {
        let rule = "`needs_approval` stands at model_call, tool_call";
        reader.form(&fields.at("verdict"), rule);
    } else if key == Some("dry_run") {
        let rule = "`dry_run` calls nothing, so that nobody is to be asked";
        reader.form(&fields.at("verdict"), rule);
    }
}

fn scope(
    reader: &mut Reader,
    parent: Fields<'_>,
    (key, at): (Option<&str>, Option<Checkpoint>),
) -> Scope {
    let Some(value) = parent.get(reader, "for") else {
        return Scope::default();
    };
    // What nobody has at a checkpoint, no rule can concern there. Runs are counted by their workflow
    // and by nothing else.
    let known: &[&'static str] = match (key, at) {
        (Some("max_runs_in_flight" | "max_runs_per_minute"), _) => &["workflows"],
        (_, Some(Checkpoint::Admission)) => &["agents", "workflows"],
        // Calls of either kind take their time.
        (Some("max_duration"), _) => &["agents", "workflows", "models", "tools"],
        (_, Some(Checkpoint::ModelCall | Checkpoint::InFlight)) | (Some("anomaly"), _) => {
            &["agents", "workflows", "models"]
        }
        (_, Some(Checkpoint::ToolCall)) => &["agents", "workflows", "tools"],
        (_, Some(Checkpoint::After) | None) => &["agents", "workflows", "models", "tools"],
    };
    let at = parent.at("for");
    let Some(fields) = Fields::open(reader, value, &at, known) else {
        return Scope::default();
    };
    if fields.has("models") && fields.has("tools") {
        reader.form(
            &at,
            "a call is of a model or of a tool: write one entry each",
        );
    }
    Scope {
        agents: fields.set(reader, "agents"),
        workflows: fields.set(reader, "workflows"),
        models: fields.set(reader, "models"),
        tools: fields.set(reader, "tools"),
    }
}

fn rule(reader: &mut Reader, fields: Fields<'_>, key: &'static str) -> Option<Rule> {
    if let Some(rule) = number_of(key) {
        return fields.count(reader, key, rule.0..=MAX_COUNT).map(rule.1);
    }
    if let Some(rule) = money_of(key) {
        return money(reader, fields, key).map(rule);
    }
    Some(match key {
        "agents" => Rule::Agents(names(reader, fields, key)?),
        "workflows" => Rule::Workflows(names(reader, fields, key)?),
        "fresh_prices" => Rule::FreshPrices(long(reader, fields, key)?),
        "metadata" => Rule::Metadata(filled(reader, fields, key)?),
        "models" => Rule::Models(names(reader, fields, key)?),
        "service_tiers" => Rule::ServiceTiers(names(reader, fields, key)?),
        "regions" => Rule::Regions(names(reader, fields, key)?),
        "deadline" => Rule::Deadline(long(reader, fields, key)?),
        "forbidden" => Rule::Forbidden(filled(reader, fields, key)?),
        "pii" => Rule::Pii(filled(reader, fields, key)?),
        "tools" => Rule::Tools(names(reader, fields, key)?),
        "max_duration" => Rule::MaxDuration(stretch(reader, fields, key)?),
        _ => return larger(reader, fields, key),
    })
}

/// Kinds with a form of their own.
fn larger(reader: &mut Reader, fields: Fields<'_>, key: &'static str) -> Option<Rule> {
    match key {
        "max_units" => units(reader, fields),
        "velocity" => velocity(reader, fields),
        "repeated_prompt" => repeated(reader, fields),
        "secrets" => secrets(reader, fields),
        "schema" => schema(reader, fields),
        "predicate" => predicate(reader, fields),
        "once_per_intent" => flag(reader, fields, key, Rule::OncePerIntent),
        "dry_run" => flag(reader, fields, key, Rule::DryRun),
        "usage" => {
            let choices = [("within_hold", Rule::within_hold as fn() -> Rule)];
            fields.choice(reader, key, &choices).map(|rule| rule())
        }
        "anomaly" => anomaly(reader, fields),
        _ => None,
    }
}

/// The least number, and the rule that it makes.
type Number = (u64, fn(u64) -> Rule);

/// Kinds that are a number.
fn number_of(key: &str) -> Option<Number> {
    Some(match key {
        "max_runs_in_flight" => (0, Rule::MaxRunsInFlight),
        "max_runs_per_minute" => (0, Rule::MaxRunsPerMinute),
        "max_depth" => (0, Rule::MaxDepth),
        "max_items" => (0, Rule::MaxItems),
        "max_input_tokens" => (1, Rule::MaxInputTokens),
        "max_output_tokens" => (1, Rule::MaxOutputTokens),
        "max_calls_per_step" => (0, Rule::MaxCallsPerStep),
        "max_calls_per_run" => (0, Rule::MaxCallsPerRun),
        "max_bytes" => (1, Rule::MaxBytes),
        "max_uses_per_run" => (0, Rule::MaxUsesPerRun),
        _ => return None,
    })
}

/// Kinds that are an amount of money.
fn money_of(key: &str) -> Option<fn(NanoUsd) -> Rule> {
    Some(match key {
        "max_cost_per_call" => Rule::MaxCostPerCall,
        "max_cost_per_step" => Rule::MaxCostPerStep,
        "max_cost_per_run" => Rule::MaxCostPerRun,
        "max_price" => Rule::MaxPrice,
        _ => return None,
    })
}

impl Rule {
    fn within_hold() -> Self {
        Self::UsageWithinHold
    }
}

fn names<T>(reader: &mut Reader, parent: Fields<'_>, key: &'static str) -> Option<Names<T>>
where
    T: FromStr<Err: Display> + Ord,
{
    let value = parent.get(reader, key)?;
    let at = parent.at(key);
    let fields = Fields::open(reader, value, &at, &["allow", "deny"])?;
    if !fields.has("allow") && !fields.has("deny") {
        reader.form(&at, "a list is wanted: allow, deny, or both");
        return None;
    }
    let allow = fields.has("allow").then(|| fields.set(reader, "allow"));
    let deny = fields.set(reader, "deny");
    Some(Names { allow, deny })
}

/// A list that is not empty: an empty one would never be broken.
fn filled<T>(reader: &mut Reader, fields: Fields<'_>, key: &'static str) -> Option<BTreeSet<T>>
where
    T: FromStr<Err: Display> + Ord,
{
    let before = reader.problems.len();
    let found = fields.set(reader, key);
    if found.is_empty() && reader.problems.len() == before {
        reader.form(&fields.at(key), "a list with something in it is wanted");
    }
    (reader.problems.len() == before).then_some(found)
}

fn money(reader: &mut Reader, parent: Fields<'_>, key: &'static str) -> Option<NanoUsd> {
    let value = parent.get(reader, key)?;
    let at = parent.at(key);
    let fields = Fields::open(reader, value, &at, &["usd"])?;
    fields.require(reader, "usd");
    fields.money(reader, "usd")
}

fn stretch(reader: &mut Reader, fields: Fields<'_>, key: &'static str) -> Option<Duration> {
    let span = fields.duration(reader, key)?;
    if span.is_zero() || span > MAX_WINDOW {
        reader.form(&fields.at(key), "this is from 1ms to 31d");
        return None;
    }
    Some(span)
}

/// A time in which nothing is counted: it may be longer than a window.
fn long(reader: &mut Reader, fields: Fields<'_>, key: &'static str) -> Option<Duration> {
    let span = fields.duration(reader, key)?;
    if span.is_zero() || span > MAX_SPAN {
        reader.form(&fields.at(key), "this is from 1ms to 3650d");
        return None;
    }
    Some(span)
}

fn units(reader: &mut Reader, parent: Fields<'_>) -> Option<Rule> {
    let value = parent.get(reader, "max_units")?;
    let at = parent.at("max_units");
    let known: Vec<&'static str> = Unit::ALL.iter().map(|unit| unit.key()).collect();
    let before = reader.problems.len();
    let fields = Fields::open(reader, value, &at, &known)?;
    let mut caps = BTreeMap::new();
    for unit in Unit::ALL {
        let cap = fields.count(reader, unit.key(), 0..=MAX_COUNT);
        caps.extend(cap.map(|cap| (*unit, cap)));
    }
    if caps.is_empty() && reader.problems.len() == before {
        reader.form(
            &at,
            "at least one of the provider's tools is wanted, e.g. web_search",
        );
    }
    (reader.problems.len() == before).then_some(Rule::MaxUnits(caps))
}

/// A rule that is there or not: one that is not to hold has a mode for it.
fn flag(reader: &mut Reader, fields: Fields<'_>, key: &'static str, rule: Rule) -> Option<Rule> {
    if *fields.get(reader, key)? == Value::Bool(true) {
        return Some(rule);
    }
    let wanted = "`true` is wanted; a rule that is not to hold has `mode: \"off\"`";
    reader.form(&fields.at(key), wanted);
    None
}

fn anomaly(reader: &mut Reader, parent: Fields<'_>) -> Option<Rule> {
    let value = parent.get(reader, "anomaly")?;
    let at = parent.at("anomaly");
    let fields = Fields::open(reader, value, &at, &["of", "sigma", "least"])?;
    for field in ["of", "sigma", "least"] {
        fields.require(reader, field);
    }
    let of = fields.choice(reader, "of", &Measure::NAMES);
    let sigma = fields.count(reader, "sigma", 1..=MOST_SIGMA);
    let least = fields.count(reader, "least", 2..=MOST_LEAST);
    Some(Rule::Anomaly {
        of: of?,
        sigma: sigma?,
        least: least?,
    })
}

fn velocity(reader: &mut Reader, parent: Fields<'_>) -> Option<Rule> {
    let value = parent.get(reader, "velocity")?;
    let at = parent.at("velocity");
    let fields = Fields::open(reader, value, &at, &["usd", "window"])?;
    fields.require(reader, "usd");
    fields.require(reader, "window");
    let money = fields.money(reader, "usd");
    let window = stretch(reader, fields, "window");
    Some(Rule::Velocity {
        money: money?,
        window: window?,
    })
}

fn repeated(reader: &mut Reader, parent: Fields<'_>) -> Option<Rule> {
    let value = parent.get(reader, "repeated_prompt")?;
    let at = parent.at("repeated_prompt");
    let fields = Fields::open(reader, value, &at, &["times", "within"])?;
    fields.require(reader, "times");
    fields.require(reader, "within");
    let times = fields.count(reader, "times", 1..=1_000);
    let within = stretch(reader, fields, "within");
    Some(Rule::RepeatedPrompt {
        times: times?,
        within: within?,
    })
}

fn secrets(reader: &mut Reader, fields: Fields<'_>) -> Option<Rule> {
    if fields.get(reader, "secrets")?.as_str() == Some("any") {
        let all = SecretKind::ALL.into_iter();
        let all = all.filter(|kind| *kind != SecretKind::Email);
        return Some(Rule::Secrets(all.collect()));
    }
    filled(reader, fields, "secrets").map(Rule::Secrets)
}

fn schema(reader: &mut Reader, fields: Fields<'_>) -> Option<Rule> {
    let value = fields.get(reader, "schema")?;
    match Schema::compile(value) {
        Ok(schema) => Some(Rule::Schema(value.clone(), schema)),
        Err(fault) => {
            let place = fields.at("schema").pointer();
            reader.problems.push(schema_problem(&fault, place));
            None
        }
    }
}

fn predicate(reader: &mut Reader, fields: Fields<'_>) -> Option<Rule> {
    let text = fields.text(reader, "predicate")?;
    match Expression::parse_predicate(text) {
        Ok(predicate) => Some(Rule::Predicate(predicate)),
        Err(fault) => {
            reader.form(&fields.at("predicate"), fault);
            None
        }
    }
}
