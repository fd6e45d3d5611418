//! Writes a definition's canonical bytes: the ones that are hashed and stored.
//!
//! Only what differs from its default is written, so a new field with a default leaves every hash
//! as it was. What is *not* here: sorting and number text, which `json::canonical` does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde_json::{Map, Value, json};

use super::definition::{Budget, Estimate, Join, OnFailure, Parts, SCHEMA_VERSION, Step};
use super::limits::{DEFAULT_MAX_PARALLEL, MAX_ITEMS};
use super::uses::Work;
use crate::budget::OnExceed;
use crate::json;
use crate::policy::{OwnApproval, RiskTier};
use crate::resilience::{Backoff, ModelRetry, RetryPolicy};
use crate::time::as_ms;

/// The canonical bytes of a whole definition.
pub(super) fn canonical_bytes(parts: &Parts) -> Vec<u8> {
    let mut fields: BTreeMap<String, Option<Value>> = outline(parts)
        .into_iter()
        .map(|(key, value)| (key, Some(value)))
        .collect();
    fields.insert("schema_version".to_owned(), Some(SCHEMA_VERSION.into()));
    fields.insert("steps".to_owned(), None);
    let mut out = Vec::new();
    json::write_object(fields, &mut out, |field, out| {
        if let Some(value) = field {
            json::write_canonical(&value, out);
            return;
        }
        // One after another: the copies of all steps together would be large.
        let steps = parts.steps.iter().map(|(name, step)| (name.as_str(), step));
        json::write_object(steps, out, |step, out| {
            json::write_canonical(&self::step(step), out);
        });
    });
    out
}

/// The canonical fields of a definition beside its steps.
pub(super) fn outline(parts: &Parts) -> Map<String, Value> {
    let mut out = Out::default();
    out.put("workflow", parts.name.as_str());
    out.some("input_schema", parts.input_schema.clone());
    out.some("budget", parts.budget.as_ref().map(budget));
    out.some("model_retry", parts.model_retry.as_ref().map(model_retry));
    out.0
}

/// The canonical form of one step.
pub(super) fn step(step: &Step) -> Value {
    let mut out = Out::default();
    match &step.work {
        Work::Agent(agent) => out.put("agent", agent.as_str()),
        Work::Uses(uses) => out.put("uses", uses.to_string()),
    }
    out.unless(step.needs.is_empty(), "needs", texts(&step.needs));
    out.unless(step.risk == RiskTier::default(), "risk", step.risk.as_str());
    out.some("tools", step.tools.as_ref().map(texts));
    out.some("approval", step.approval.as_ref().map(approval));
    out.some(
        "input",
        step.input.as_ref().map(|input| input.source().clone()),
    );
    out.some("output_schema", step.output_schema.clone());
    out.some("estimate", step.estimate.as_ref().map(estimate));
    out.some("budget", step.budget.as_ref().map(budget));
    out.some(
        "for_each",
        step.for_each.as_ref().map(|e| e.as_str().into()),
    );
    out.unless(step.max_items == MAX_ITEMS, "max_items", step.max_items);
    out.unless(
        step.max_parallel == DEFAULT_MAX_PARALLEL,
        "max_parallel",
        step.max_parallel,
    );
    out.some(
        "retry",
        step.retry.as_ref().map(|policy| retry(policy, step.risk)),
    );
    out.some("timeout_ms", step.timeout.map(|span| as_ms(span).into()));
    out.some("when", step.when.as_ref().map(|e| e.as_str().into()));
    match step.join {
        Join::All => {}
        Join::AtLeast(n) => out.put("join", json!({ "at_least": n })),
    }
    out.unless(
        step.on_failure == OnFailure::default(),
        "on_failure",
        step.on_failure.as_str(),
    );
    Value::Object(out.0)
}

#[derive(Default)]
struct Out(Map<String, Value>);

impl Out {
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    fn some(&mut self, key: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    fn unless(&mut self, is_default: bool, key: &str, value: impl Into<Value>) {
        if !is_default {
            self.put(key, value);
        }
    }
}

fn texts<T: Display>(names: &BTreeSet<T>) -> Value {
    names.iter().map(ToString::to_string).collect()
}

fn budget(budget: &Budget) -> Value {
    let mut out = Out::default();
    let limit = &budget.limit;
    out.some("nano_usd", limit.money.map(|money| money.as_nano().into()));
    out.some("input_tokens", limit.input_tokens.map(Value::from));
    out.some("output_tokens", limit.output_tokens.map(Value::from));
    out.some("calls", limit.calls.map(Value::from));
    match budget.on_exceed {
        OnExceed::Abort => {}
        OnExceed::Pause => out.put("on_exceed", "pause"),
    }
    Value::Object(out.0)
}

fn approval(own: &OwnApproval) -> Value {
    let mut out = Out::default();
    out.some("from", own.from.map(|tier| tier.as_str().into()));
    out.some(
        "expires_in_ms",
        own.expires_in.map(|span| as_ms(span).into()),
    );
    Value::Object(out.0)
}

fn estimate(estimate: &Estimate) -> Value {
    let mut out = Out::default();
    out.put("model", estimate.model.as_str());
    out.put("input_tokens", estimate.input_tokens);
    out.put("max_output_tokens", estimate.max_output_tokens);
    out.unless(estimate.calls == 1, "calls", estimate.calls);
    Value::Object(out.0)
}

fn backoff(out: &mut Out, backoff: &Backoff) {
    let default = Backoff::DEFAULT;
    let (initial, maximum) = (backoff.initial_interval(), backoff.maximum_interval());
    let coefficient = backoff.backoff_coefficient();
    out.unless(
        initial == default.initial_interval(),
        "initial_interval_ms",
        as_ms(initial),
    );
    out.unless(
        coefficient == default.backoff_coefficient(),
        "backoff_coefficient_thousandths",
        coefficient.as_thousandths(),
    );
    let default_maximum = Backoff::default_maximum(initial);
    out.unless(
        maximum == default_maximum,
        "maximum_interval_ms",
        as_ms(maximum),
    );
}

fn retry(policy: &RetryPolicy, risk: RiskTier) -> Value {
    let mut out = Out::default();
    backoff(&mut out, policy.backoff());
    let attempts = policy.maximum_attempts();
    let default = risk.default_retry().maximum_attempts();
    out.unless(attempts == default, "maximum_attempts", attempts);
    out.some(
        "max_elapsed_ms",
        policy.max_elapsed().map(|span| as_ms(span).into()),
    );
    let codes = policy.non_retryable();
    out.unless(codes.is_empty(), "non_retryable", texts(codes));
    Value::Object(out.0)
}

fn model_retry(retry: &ModelRetry) -> Value {
    let mut out = Out::default();
    backoff(&mut out, retry.backoff());
    let elapsed = retry.max_elapsed();
    let is_default = elapsed == ModelRetry::DEFAULT_MAX_ELAPSED;
    out.unless(is_default, "max_elapsed_ms", as_ms(elapsed));
    Value::Object(out.0)
}
