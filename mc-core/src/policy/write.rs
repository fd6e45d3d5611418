//! Writes a policy's normal form: only what differs from its default, so that a new field with a
//! default leaves every hash as it was.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::approvals::ApprovalRules;
use super::file::POLICY_SCHEMA_VERSION;
use super::guard::write_guardrail;
use super::rates;
use super::sections::{BudgetRule, Sections, ToolRule};
use super::tier::RiskTier;
use crate::budget::{LimitMode, OnExceed, OnReach, Threshold};
use crate::json;
use crate::money::NanoUsd;
use crate::pricing::UnknownModels;
use crate::time::as_ms;

/// The canonical bytes of a policy.
pub(super) fn canonical_bytes(sections: &Sections) -> Vec<u8> {
    let mut fields = outline(sections);
    fields.insert("schema_version".to_owned(), POLICY_SCHEMA_VERSION.into());
    json::canonical(&Value::Object(fields))
}

fn outline(sections: &Sections) -> Map<String, Value> {
    let mut out = Map::new();
    if let Some(rules) = &sections.approvals {
        out.insert("approvals".to_owned(), approvals(rules));
    }
    if let Some(unknown) = &sections.unknown_models {
        out.insert("unknown_models".to_owned(), unknown_models(unknown));
    }
    let tools = sections.tools.iter();
    let tools: Map<String, Value> = tools.map(|(k, v)| (k.to_string(), tool(v))).collect();
    if !tools.is_empty() {
        out.insert("tools".to_owned(), tools.into());
    }
    let budgets: Vec<Value> = sections
        .budgets
        .iter()
        .map(|(account, rule)| budget(&account.to_string(), rule))
        .collect();
    if !budgets.is_empty() {
        out.insert("budgets".to_owned(), budgets.into());
    }
    // Their order is the order in which they judge, so that it is kept.
    let rails: Vec<Value> = sections.guardrails.iter().map(write_guardrail).collect();
    if !rails.is_empty() {
        out.insert("guardrails".to_owned(), rails.into());
    }
    let rates: Vec<Value> = sections.rates.iter().map(rates::write).collect();
    if !rates.is_empty() {
        out.insert("rates".to_owned(), rates.into());
    }
    if let Some(mode) = sections.no_progress {
        out.insert("no_progress".to_owned(), mode.as_str().into());
    }
    out
}

fn approvals(rules: &ApprovalRules) -> Value {
    let default = ApprovalRules::default();
    let mut out = Map::new();
    if rules.from != default.from {
        out.insert("from".to_owned(), rules.from.as_str().into());
    }
    if rules.expires_in != default.expires_in {
        out.insert("expires_in_ms".to_owned(), as_ms(rules.expires_in).into());
    }
    if rules.four_eyes != default.four_eyes {
        let tiers: Vec<&str> = rules.four_eyes.iter().map(|tier| tier.as_str()).collect();
        out.insert("four_eyes".to_owned(), tiers.into());
    }
    if rules.operators != default.operators {
        let names: Vec<&str> = rules.operators.iter().map(AsRef::as_ref).collect();
        out.insert("operators".to_owned(), names.into());
    }
    out.into()
}

fn unknown_models(unknown: &UnknownModels) -> Value {
    match unknown {
        UnknownModels::Deny => "deny".into(),
        UnknownModels::PriceAs(model) => json!({ "price_as": model.as_str() }),
        UnknownModels::Free(models) => {
            let names: Vec<&str> = models.iter().map(AsRef::as_ref).collect();
            json!({ "free": names })
        }
        UnknownModels::Assume { input, output } => json!({
            "assume": { "input": input.to_string(), "output": output.to_string() }
        }),
    }
}

fn tool(rule: &ToolRule) -> Value {
    let mut out = Map::new();
    if rule.risk != RiskTier::default() {
        out.insert("risk".to_owned(), rule.risk.as_str().into());
    }
    if let Some(schema) = &rule.schema {
        out.insert("schema".to_owned(), schema.clone());
    }
    if rule.price != NanoUsd::ZERO {
        out.insert("price_nano_usd".to_owned(), rule.price.as_nano().into());
    }
    out.into()
}

fn budget(account: &str, rule: &BudgetRule) -> Value {
    let mut limit = Map::new();
    if let Some(money) = rule.limit.money {
        limit.insert("nano_usd".to_owned(), money.as_nano().into());
    }
    let counts = [
        ("input_tokens", rule.limit.input_tokens),
        ("output_tokens", rule.limit.output_tokens),
        ("calls", rule.limit.calls),
    ];
    for (name, count) in counts {
        limit.extend(count.map(|count| (name.to_owned(), Value::from(count))));
    }
    let mut out = Map::new();
    out.insert("account".to_owned(), account.into());
    out.insert("limit".to_owned(), limit.into());
    if let Some(window) = &rule.window {
        out.insert("window".to_owned(), window.to_string().into());
    }
    match rule.on_exceed {
        OnExceed::Abort => {}
        OnExceed::Pause => drop(out.insert("on_exceed".to_owned(), "pause".into())),
    }
    match rule.mode {
        LimitMode::Enforce => {}
        LimitMode::Observe => drop(out.insert("mode".to_owned(), "observe".into())),
    }
    if let Some(thresholds) = &rule.thresholds {
        let all = thresholds.iter().map(threshold);
        out.insert("thresholds".to_owned(), all.collect());
    }
    out.into()
}

fn threshold(one: &Threshold) -> Value {
    let percent = one.percent;
    match &one.then {
        OnReach::Tell => percent.into(),
        OnReach::RequireApproval => json!({ "percent": percent, "then": "require_approval" }),
        OnReach::Freeze => json!({ "percent": percent, "then": "freeze" }),
        OnReach::Downgrade(model) => json!({ "percent": percent, "downgrade_to": model }),
    }
}

/// Where two policies differ: `approvals.from`, `tools.send_invoice`, `budgets.agent:writer`.
pub(super) fn differing(before: &Sections, after: &Sections) -> Vec<String> {
    let (one, two) = (flat(before), flat(after));
    let keys: BTreeSet<&String> = one.keys().chain(two.keys()).collect();
    let differ = |key: &&&String| one.get(**key) != two.get(**key);
    keys.iter()
        .filter(differ)
        .map(ToString::to_string)
        .collect()
}

fn flat(sections: &Sections) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    for (section, value) in outline(sections) {
        let named = |name: &str| format!("{section}.{name}");
        if let Some(fields) = value.as_object().filter(|_| section != "unknown_models") {
            out.extend(fields.iter().map(|(k, v)| (named(k), v.clone())));
        } else if let Some(items) = value.as_array() {
            let texts = |item: &Value| {
                let direct =
                    [&item["account"], &item["id"]].map(|one| one.as_str().map(str::to_owned));
                let of = item["for"].as_object().and_then(|of| of.iter().next());
                let of =
                    of.map(|(kind, name)| format!("{kind}:{}", name.as_str().unwrap_or_default()));
                direct
                    .into_iter()
                    .flatten()
                    .chain(of)
                    .next()
                    .unwrap_or_default()
            };
            let name = |item: &Value| named(&texts(item));
            out.extend(items.iter().map(|item| (name(item), item.clone())));
        } else {
            out.insert(section, value);
        }
    }
    out
}
