//! Writes a rule's normal form: defaults left out, durations in milliseconds, money in nano-USD.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::names::Names;
use super::rule::{Guardrail, OnBreach, Rule, Scope};
use crate::money::NanoUsd;
use crate::policy::Mode;
use crate::time::as_ms;

/// A rule as the policy's normal form has it.
pub(in crate::policy) fn guardrail(rail: &Guardrail) -> Value {
    let mut out = Map::new();
    out.insert("id".to_owned(), rail.id.to_string().into());
    out.insert("at".to_owned(), rail.at.as_str().into());
    match rail.mode {
        Mode::Enforce => {}
        Mode::Observe => drop(out.insert("mode".to_owned(), "observe".into())),
        Mode::Off => drop(out.insert("mode".to_owned(), "off".into())),
    }
    match rail.on_breach {
        OnBreach::Deny => {}
        OnBreach::Halt => drop(out.insert("verdict".to_owned(), "halt".into())),
        OnBreach::NeedsApproval => {
            drop(out.insert("verdict".to_owned(), "needs_approval".into()));
        }
    }
    let scope = scope(&rail.scope);
    if !scope.is_empty() {
        out.insert("for".to_owned(), scope.into());
    }
    out.insert(rail.rule.key().to_owned(), rule(&rail.rule));
    out.into()
}

impl PartialEq for Guardrail {
    fn eq(&self, other: &Self) -> bool {
        guardrail(self) == guardrail(other)
    }
}

fn texts<T: ToString>(set: &BTreeSet<T>) -> Value {
    set.iter().map(|one| Value::from(one.to_string())).collect()
}

fn scope(scope: &Scope) -> Map<String, Value> {
    let mut out = Map::new();
    let lists = [
        ("agents", texts(&scope.agents)),
        ("workflows", texts(&scope.workflows)),
        ("models", texts(&scope.models)),
        ("tools", texts(&scope.tools)),
    ];
    let filled = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
    let lists = lists.into_iter().filter(|(_, list)| filled(list));
    out.extend(lists.map(|(name, list)| (name.to_owned(), list)));
    out
}

fn names<T: ToString + Ord>(names: &Names<T>) -> Value {
    let mut out = Map::new();
    if let Some(allow) = &names.allow {
        out.insert("allow".to_owned(), texts(allow));
    }
    if !names.deny.is_empty() || names.allow.is_none() {
        out.insert("deny".to_owned(), texts(&names.deny));
    }
    out.into()
}

fn money(money: NanoUsd) -> Value {
    json!({ "nano_usd": money.as_nano() })
}

fn rule(rule: &Rule) -> Value {
    match rule {
        Rule::MaxRunsInFlight(count)
        | Rule::MaxRunsPerMinute(count)
        | Rule::MaxInputTokens(count)
        | Rule::MaxOutputTokens(count)
        | Rule::MaxCallsPerStep(count)
        | Rule::MaxCallsPerRun(count)
        | Rule::MaxDepth(count)
        | Rule::MaxItems(count)
        | Rule::MaxBytes(count)
        | Rule::MaxUsesPerRun(count) => (*count).into(),
        Rule::MaxCostPerCall(most)
        | Rule::MaxCostPerStep(most)
        | Rule::MaxCostPerRun(most)
        | Rule::MaxPrice(most) => money(*most),
        Rule::Agents(list) => names(list),
        Rule::Workflows(list) => names(list),
        Rule::Models(list) => names(list),
        Rule::ServiceTiers(list) => names(list),
        Rule::Regions(list) => names(list),
        Rule::Tools(list) => names(list),
        Rule::Velocity { money, window } => {
            json!({ "nano_usd": money.as_nano(), "window": as_ms(*window) })
        }
        Rule::RepeatedPrompt { times, within } => {
            json!({ "times": times, "within": as_ms(*within) })
        }
        Rule::OncePerIntent | Rule::DryRun => true.into(),
        Rule::Forbidden(patterns) => {
            let all = patterns.iter().map(|one| Value::from(one.as_str()));
            all.collect()
        }
        Rule::Secrets(kinds) => texts(kinds),
        Rule::Pii(names) => texts(names),
        Rule::Schema(source, _) => source.clone(),
        Rule::Predicate(predicate) => predicate.as_str().into(),
        Rule::MaxDuration(span) | Rule::Deadline(span) | Rule::FreshPrices(span) => {
            as_ms(*span).into()
        }
        Rule::Metadata(keys) => texts(keys),
        Rule::MaxUnits(caps) => {
            let caps = caps
                .iter()
                .map(|(unit, cap)| (unit.key().to_owned(), Value::from(*cap)));
            Value::Object(caps.collect())
        }
        Rule::UsageWithinHold => "within_hold".into(),
        Rule::Anomaly { of, sigma, least } => {
            json!({ "of": of.as_str(), "sigma": sigma, "least": least })
        }
    }
}
