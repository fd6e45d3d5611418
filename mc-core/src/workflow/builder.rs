//! Definitions in code. The builder writes the same document that a person would, and it is read by
//! the same reader, so that all ways in give the same form, the same problems and the same hash.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::compiled::Workflow;
use crate::budget::OnExceed;
use crate::error::{Result, WorkflowProblem};
use crate::json::{self, escape_pointer};
use crate::money::NanoUsd;
use crate::policy::{OwnApproval, RiskTier};
use crate::resilience::Coefficient;
use crate::time::as_ms;

use super::definition::{Estimate, Join, OnFailure};

fn span(duration: Duration) -> Value {
    Value::String(format!("{}ms", as_ms(duration)))
}

fn approval(own: &OwnApproval) -> Value {
    let from = own
        .from
        .map(|tier| ("from".to_owned(), Value::from(tier.as_str())));
    let expires_in = own
        .expires_in
        .map(|time| ("expires_in".to_owned(), span(time)));
    Value::Object(from.into_iter().chain(expires_in).collect())
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident($arg:ident: $type:ty) => $value:expr;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name(mut self, $arg: $type) -> Self {
                let before = self.fields.insert(stringify!($name).to_owned(), $value);
                if let Some(before) = before {
                    json::take_apart(before);
                }
                self
            }
        )*
    };
}

/// A limit, as a definition writes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BudgetSpec {
    fields: Map<String, Value>,
}

impl BudgetSpec {
    /// A limit on money.
    pub fn usd(limit: NanoUsd) -> Self {
        let fields = Map::from_iter([("usd".to_owned(), Value::String(limit.to_string()))]);
        Self { fields }
    }

    /// A budget without a limit yet.
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Limits input tokens.
        input_tokens(limit: u64) => limit.into();
        /// Limits output tokens.
        output_tokens(limit: u64) => limit.into();
        /// Limits model calls.
        calls(limit: u64) => limit.into();
        /// Says what happens at the end of the budget.
        on_exceed(choice: OnExceed) => match choice {
            OnExceed::Abort => "abort".into(),
            OnExceed::Pause => "pause".into(),
        };
    }
}

/// A retry policy, as a definition writes it; for `retry` and `model_retry`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RetrySpec {
    fields: Map<String, Value>,
}

impl RetrySpec {
    /// A policy of defaults.
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Sets the first interval; whole milliseconds.
        initial_interval(interval: Duration) => span(interval);
        /// Sets by how much each interval is longer than the one before it.
        backoff_coefficient(coefficient: Coefficient) => coefficient.to_string().into();
        /// Sets the longest interval; whole milliseconds.
        maximum_interval(interval: Duration) => span(interval);
        /// Sets the most attempts, the first included. Not for `model_retry`.
        maximum_attempts(attempts: u32) => attempts.into();
        /// Sets the time after which no new attempt begins; whole milliseconds.
        max_elapsed(time: Duration) => span(time);
        /// Sets the error codes that end the step at once. Not for `model_retry`.
        non_retryable(codes: &[&str]) => codes.into();
    }
}

/// One step, as a definition writes it.
#[derive(Clone, Debug, PartialEq)]
pub struct StepSpec {
    name: String,
    fields: Map<String, Value>,
}

impl StepSpec {
    /// The step `name`, done by `agent`.
    pub fn agent(name: &str, agent: &str) -> Self {
        let fields = Map::from_iter([("agent".to_owned(), Value::from(agent))]);
        Self {
            name: name.to_owned(),
            fields,
        }
    }

    /// The step `name`, done by another workflow: `uses` is `name@version`.
    pub fn uses(name: &str, uses: &str) -> Self {
        let fields = Map::from_iter([("uses".to_owned(), Value::from(uses))]);
        Self {
            name: name.to_owned(),
            fields,
        }
    }

    /// Names the steps that come before it.
    #[must_use]
    pub fn needs<S: Into<String>>(mut self, steps: impl IntoIterator<Item = S>) -> Self {
        let steps: Vec<String> = steps.into_iter().map(Into::into).collect();
        self.fields.insert("needs".to_owned(), steps.into());
        self
    }

    setters! {
        /// Says how much harm it can do.
        risk(tier: RiskTier) => tier.as_str().into();
        /// Names the tools that it may use, and no others.
        tools(names: &[&str]) => names.into();
        /// Asks a person earlier, or for a shorter time, than the policy says.
        approval(own: OwnApproval) => approval(&own);
        /// Binds its input exactly; texts may hold `${{ expression }}`.
        input(binding: Value) => binding;
        /// Sets the schema of its output.
        output_schema(schema: Value) => schema;
        /// Says what it is expected to use at most.
        estimate(estimate: Estimate) => json!({
            "model": estimate.model.as_str(),
            "input_tokens": estimate.input_tokens,
            "max_output_tokens": estimate.max_output_tokens,
            "calls": estimate.calls,
        });
        /// Sets its own limit.
        budget(budget: BudgetSpec) => Value::Object(budget.fields);
        /// Runs it for each item of a list; an expression.
        for_each(expression: &str) => expression.into();
        /// Sets the most items.
        max_items(items: u32) => items.into();
        /// Sets the most items in flight.
        max_parallel(items: u32) => items.into();
        /// Sets its retry policy.
        retry(policy: RetrySpec) => Value::Object(policy.fields);
        /// Sets the longest time of one attempt; whole milliseconds.
        timeout(time: Duration) => span(time);
        /// Sets the condition under which it runs; an expression.
        when(expression: &str) => expression.into();
        /// Says how many needs it waits for.
        join(join: Join) => match join {
            Join::All => "all".into(),
            Join::AtLeast(n) => json!({ "at_least": n }),
        };
        /// Says what it does to the run when it has failed for good.
        on_failure(choice: OnFailure) => choice.as_str().into();
    }
}

/// A workflow, as a definition writes it. Nothing is checked before [`build`](Self::build).
#[derive(Clone, Debug)]
pub struct WorkflowBuilder {
    fields: Map<String, Value>,
    steps: Map<String, Value>,
    twice: Vec<String>,
}

impl WorkflowBuilder {
    pub(super) fn new(name: String) -> Self {
        let fields = Map::from_iter([("workflow".to_owned(), Value::String(name))]);
        Self {
            fields,
            steps: Map::new(),
            twice: Vec::new(),
        }
    }

    setters! {
        /// Sets the schema of the run's input.
        input_schema(schema: Value) => schema;
        /// Sets the limit of each run.
        budget(budget: BudgetSpec) => Value::Object(budget.fields);
        /// Sets how throttled model calls are tried again.
        model_retry(policy: RetrySpec) => Value::Object(policy.fields);
    }

    /// Adds a step.
    #[must_use]
    pub fn step(mut self, step: StepSpec) -> Self {
        if self.steps.contains_key(&step.name) {
            self.twice.push(step.name);
            json::take_apart(Value::Object(step.fields));
        } else {
            self.steps.insert(step.name, Value::Object(step.fields));
        }
        self
    }

    /// Checks the definition.
    ///
    /// # Errors
    /// `InvalidWorkflow` with every problem.
    pub fn build(mut self) -> Result<Workflow> {
        let twice = self.twice.iter().map(|name| WorkflowProblem::Form {
            at: format!("/steps/{}", escape_pointer(name)),
            rule: "this key is given twice".to_owned(),
        });
        let twice = twice.collect();
        self.fields
            .insert("steps".to_owned(), Value::Object(self.steps));
        // Through text, so that depth and numbers are checked as in any document.
        let mut document = Value::Object(self.fields);
        json::cut(&mut document);
        let text = document.to_string();
        Workflow::from_json_with(text.as_bytes(), twice)
    }
}
