//! Reads one step of a definition.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::definition::{Estimate, Join, OnFailure, Step};
use super::limits::{DEFAULT_MAX_PARALLEL, MAX_COUNT, MAX_ITEMS, MAX_TIMEOUT, MAX_TOOLS};
use super::read::{Located, Stand, StepDraft, backoff, budget, checked};
use super::uses::{Uses, Work};
use crate::error::WorkflowProblem;
use crate::expression::{Expression, InputBinding, whole_expression};
use crate::form::{At, Fields, Reader};
use crate::id::{AgentName, Opaque};
use crate::policy::{OwnApproval, RiskTier, asking_tier, expires_in};
use crate::resilience::{MAX_ATTEMPTS, RetryPolicy};

const FIELDS: &[&str] = &[
    "agent",
    "uses",
    "needs",
    "risk",
    "tools",
    "approval",
    "input",
    "output_schema",
    "estimate",
    "budget",
    "for_each",
    "max_items",
    "max_parallel",
    "retry",
    "timeout",
    "when",
    "join",
    "on_failure",
];
/// Fields that are known but belong to a later version.
const LATER: &[&str] = &["guardrails"];
/// Fields that say how an agent does a step; the steps of another workflow have their own.
const OF_AN_AGENT: &[&str] = &[
    "agent", "risk", "tools", "approval", "estimate", "retry", "timeout",
];

/// Reads a step; whatever is wrong is noted.
pub(super) fn step(reader: &mut Reader, value: &Value, at: &At<'_>) -> StepDraft {
    let Some(fields) = Fields::open_with_later(reader, value, at, (FIELDS, LATER)) else {
        return StepDraft::default();
    };
    let work = work(reader, fields);
    let mut expressions = Vec::new();
    let mut located = |reader: &mut Reader, field, stand| {
        let expression = expression(reader, fields, field)?;
        let at = fields.at(field).pointer();
        expressions.push(Located {
            at,
            expression: expression.clone(),
            stand,
        });
        Some(expression)
    };
    let for_each = located(reader, "for_each", Stand::ForEach);
    let when = located(reader, "when", Stand::When);
    let input = input(reader, fields, &mut expressions);
    let needs = fields.set(reader, "needs");
    let risk = fields
        .parsed::<RiskTier>(reader, "risk")
        .unwrap_or_default();
    let (tools, approval) = (tools(reader, fields), approval(reader, fields));
    let (max_items, max_parallel) = fan_out(reader, fields);
    let output_schema = fields.get(reader, "output_schema").cloned();
    let (estimate, budget) = (estimate(reader, fields), budget(reader, fields));
    let (retry, timeout) = (retry(reader, fields, risk), timeout(reader, fields));
    let (join, on_failure) = (join(reader, fields), on_failure(reader, fields));
    let mut draft = StepDraft {
        step: None,
        needs: needs.iter().cloned().collect(),
        expressions,
    };
    draft.step = work.map(|work| Step {
        work,
        needs,
        risk,
        tools,
        approval,
        input,
        output_schema,
        estimate,
        budget,
        for_each,
        max_items,
        max_parallel,
        retry,
        timeout,
        when,
        join,
        on_failure,
    });
    draft
}

/// An agent, or another workflow and nothing that only an agent has.
fn work(reader: &mut Reader, fields: Fields<'_>) -> Option<Work> {
    if !fields.has("uses") {
        fields.require(reader, "agent");
        let agent = fields.parsed::<AgentName>(reader, "agent");
        return agent.map(Work::Agent);
    }
    for field in OF_AN_AGENT {
        if fields.has(field) {
            let rule = format!(
                "a step with `uses` has no `{field}`: the steps of the workflow that it uses have their own"
            );
            reader.form(&fields.at(field), rule);
        }
    }
    fields.parsed::<Uses>(reader, "uses").map(Work::Uses)
}

/// The tools that it may use; none where it may use any.
fn tools(reader: &mut Reader, fields: Fields<'_>) -> Option<BTreeSet<Opaque>> {
    fields.get(reader, "tools")?;
    let tools = fields.set(reader, "tools");
    if tools.len() > MAX_TOOLS {
        reader.limit(&fields.at("tools"), "tools of a step", MAX_TOOLS);
        return None;
    }
    Some(tools)
}

/// What it asks of its own will, earlier or for a shorter time than the policy.
fn approval(reader: &mut Reader, parent: Fields<'_>) -> Option<OwnApproval> {
    let value = parent.get(reader, "approval")?;
    let at = parent.at("approval");
    let fields = Fields::open(reader, value, &at, &["from", "expires_in"])?;
    let own = OwnApproval {
        from: asking_tier(reader, fields),
        expires_in: expires_in(reader, fields),
    };
    (own != OwnApproval::default()).then_some(own)
}

/// An expression, bare or in `${{ }}`.
fn expression(reader: &mut Reader, fields: Fields<'_>, field: &'static str) -> Option<Expression> {
    let text = fields.text(reader, field)?;
    match Expression::parse(whole_expression(text).unwrap_or(text)) {
        Ok(expression) => Some(expression),
        Err(fault) => {
            let (at, reason) = (fields.at(field).pointer(), fault.to_string());
            reader
                .problems
                .push(WorkflowProblem::Expression { at, reason });
            None
        }
    }
}

fn input(
    reader: &mut Reader,
    fields: Fields<'_>,
    expressions: &mut Vec<Located>,
) -> Option<InputBinding> {
    let source = fields.get(reader, "input")?;
    let place = fields.at("input").pointer();
    let stand = if fields.has("for_each") {
        Stand::ItemInput
    } else {
        Stand::Input
    };
    let binding = match InputBinding::parse(source.clone()) {
        Ok(binding) => binding,
        Err(faults) => {
            reader
                .problems
                .extend(faults.into_iter().map(|fault| WorkflowProblem::Expression {
                    at: format!("{place}{}", fault.at),
                    reason: fault.fault.to_string(),
                }));
            return None;
        }
    };
    expressions.extend(
        binding
            .expressions()
            .into_iter()
            .map(|(at, expression)| Located {
                at: format!("{place}{at}"),
                expression: expression.clone(),
                stand,
            }),
    );
    Some(binding)
}

/// `max_items` and `max_parallel`, which only a `for_each` has.
fn fan_out(reader: &mut Reader, fields: Fields<'_>) -> (u32, u32) {
    let mut read = |field, name, default| {
        if fields.get(reader, field).is_some() && !fields.has("for_each") {
            reader.form(&fields.at(field), "this field goes only with `for_each`");
        }
        let over = |value: &Value| value.as_u64().is_some_and(|n| n > u64::from(MAX_ITEMS));
        if fields.get(reader, field).is_some_and(over) {
            reader.limit(
                &fields.at(field),
                name,
                usize::try_from(MAX_ITEMS).unwrap_or(usize::MAX),
            );
            return default;
        }
        let count = fields.count(reader, field, 1..=u64::from(MAX_ITEMS));
        count
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(default)
    };
    (
        read("max_items", "for_each items", MAX_ITEMS),
        read(
            "max_parallel",
            "for_each items in parallel",
            DEFAULT_MAX_PARALLEL,
        ),
    )
}

fn estimate(reader: &mut Reader, parent: Fields<'_>) -> Option<Estimate> {
    let value = parent.get(reader, "estimate")?;
    let at = parent.at("estimate");
    let known = ["model", "input_tokens", "max_output_tokens", "calls"];
    let fields = Fields::open(reader, value, &at, &known)?;
    for field in ["model", "input_tokens", "max_output_tokens"] {
        fields.require(reader, field);
    }
    let model = fields.parsed(reader, "model");
    let input_tokens = fields.count(reader, "input_tokens", 0..=MAX_COUNT);
    let max_output_tokens = fields.count(reader, "max_output_tokens", 0..=MAX_COUNT);
    let calls = fields.count(reader, "calls", 1..=MAX_COUNT).unwrap_or(1);
    Some(Estimate {
        model: model?,
        input_tokens: input_tokens?,
        max_output_tokens: max_output_tokens?,
        calls,
    })
}

/// The step's own policy; none if it is the default of its tier.
fn retry(reader: &mut Reader, parent: Fields<'_>, risk: RiskTier) -> Option<RetryPolicy> {
    let value = parent.get(reader, "retry")?;
    let at = parent.at("retry");
    let known = [
        "initial_interval",
        "backoff_coefficient",
        "maximum_interval",
        "maximum_attempts",
        "max_elapsed",
        "non_retryable",
    ];
    let fields = Fields::open(reader, value, &at, &known)?;
    let backoff = backoff(reader, fields);
    let default = risk.default_retry();
    let attempts = fields.count(reader, "maximum_attempts", 1..=u64::from(MAX_ATTEMPTS));
    let attempts = attempts.and_then(|count| u32::try_from(count).ok());
    let attempts = attempts.unwrap_or(default.maximum_attempts());
    let codes = fields.set(reader, "non_retryable");
    let mut policy = checked(reader, &at, RetryPolicy::attempts(attempts))?.with_backoff(backoff);
    policy = checked(reader, &at, policy.with_non_retryable(codes))?;
    if let Some(span) = fields.duration(reader, "max_elapsed") {
        policy = checked(reader, &at, policy.with_max_elapsed(span))?;
    }
    (policy != default).then_some(policy)
}

fn timeout(reader: &mut Reader, fields: Fields<'_>) -> Option<Duration> {
    let span = fields.duration(reader, "timeout")?;
    if span.is_zero() || span > MAX_TIMEOUT {
        reader.form(&fields.at("timeout"), "a timeout is from 1ms to 365d");
        return None;
    }
    Some(span)
}

fn join(reader: &mut Reader, parent: Fields<'_>) -> Join {
    let at = parent.at("join");
    match parent.get(reader, "join") {
        Some(Value::String(text)) if text == "all" => Join::All,
        Some(value @ Value::Object(_)) => {
            let Some(fields) = Fields::open(reader, value, &at, &["at_least"]) else {
                return Join::All;
            };
            fields.require(reader, "at_least");
            let least = fields.count(reader, "at_least", 1..=u64::from(u32::MAX));
            least
                .and_then(|n| u32::try_from(n).ok())
                .map_or(Join::All, Join::AtLeast)
        }
        Some(_) => {
            reader.form(&at, "a join is `all` or `{ at_least: n }`");
            Join::All
        }
        None => Join::All,
    }
}

fn on_failure(reader: &mut Reader, fields: Fields<'_>) -> OnFailure {
    let choices = [OnFailure::Fail, OnFailure::Pause, OnFailure::Continue];
    let choices = choices.map(|choice| (choice.as_str(), choice));
    fields
        .choice(reader, "on_failure", &choices)
        .unwrap_or_default()
}
