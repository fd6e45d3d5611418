//! Reads a document into a draft: every part that could be read, and every problem.
//!
//! What is *not* here: the fields of a step (`read_step`), and what no single field shows: cycles,
//! names that lead nowhere (`check`), schemas (`compiled`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::check;
use super::definition::{Budget, Definition, Parts, SCHEMA_VERSION, Step};
use super::limits::{MAX_COUNT, MAX_STEPS};
use super::read_step;
use crate::budget::{Limit, OnExceed};
use crate::error::{Error, Result, WorkflowProblem};
use crate::expression::Expression;
use crate::form::{At, Fields, Reader, Spelling};
use crate::id::{StepName, WorkflowName};
use crate::json;
use crate::resilience::{Backoff, ModelRetry, RetryFault};

const FIELDS: &[&str] = &[
    "workflow",
    "schema_version",
    "input_schema",
    "budget",
    "model_retry",
    "steps",
];
const LATER: &[&str] = &["guardrails"];

/// What could be read of a document. It is a definition if there are no problems.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) name: Option<WorkflowName>,
    pub(super) input_schema: Option<Value>,
    pub(super) budget: Option<Budget>,
    pub(super) model_retry: Option<ModelRetry>,
    pub(super) steps: BTreeMap<StepName, StepDraft>,
}

/// What could be read of a step.
#[derive(Debug, Default)]
pub(super) struct StepDraft {
    /// The step, if its agent could be read.
    pub(super) step: Option<Step>,
    /// Its needs.
    pub(super) needs: Vec<StepName>,
    /// Its expressions.
    pub(super) expressions: Vec<Located>,
}

/// An expression and where it stands.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) at: String,
    pub(super) expression: Expression,
    pub(super) stand: Stand,
}

/// What an expression decides, and so what it can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// Whether the step runs.
    When,
    /// The list that the step is run for.
    ForEach,
    /// The input of a step that runs once.
    Input,
    /// The input of one item; it sees `item` and `index`.
    ItemInput,
}

impl Draft {
    /// The definition, if every part is there.
    pub(super) fn finish(self) -> Option<Definition> {
        let mut steps = BTreeMap::new();
        for (name, draft) in self.steps {
            steps.insert(name, draft.step?);
        }
        let (name, input_schema) = (self.name?, self.input_schema);
        let (budget, model_retry) = (self.budget, self.model_retry);
        Some(Definition::assemble(Parts {
            name,
            input_schema,
            budget,
            model_retry,
            steps,
        }))
    }
}

/// Reads a document and checks what no single field shows.
pub(super) fn draft(document: &Value, spelling: Spelling) -> (Draft, Vec<WorkflowProblem>) {
    let mut reader = Reader {
        spelling,
        problems: Vec::new(),
    };
    let draft = top(&mut reader, document);
    let mut problems = reader.problems;
    check::graph(&draft, &mut problems);
    (draft, problems)
}

/// Reads canonical bytes, without compiling schemas.
pub(super) fn canonical(bytes: &[u8]) -> Result<Definition> {
    let damaged = || Error::corrupt("definition", None);
    let document = json::parse(bytes).map_err(|fault| damaged().with_source(fault))?;
    let (draft, problems) = draft(&document, Spelling::Canonical);
    if let Some(problem) = problems.first() {
        return Err(damaged().with_context("problem", problem));
    }
    let definition = draft.finish().ok_or_else(damaged)?;
    if definition.to_canonical() != bytes {
        return Err(damaged().with_context("problem", "the bytes are not in canonical form"));
    }
    Ok(definition)
}

fn top(reader: &mut Reader, document: &Value) -> Draft {
    let mut draft = Draft {
        name: None,
        input_schema: None,
        budget: None,
        model_retry: None,
        steps: BTreeMap::new(),
    };
    let root = At::ROOT;
    let known = (FIELDS, LATER);
    let Some(fields) = Fields::open_with_later(reader, document, &root, known) else {
        return draft;
    };
    fields.require(reader, "workflow");
    fields.require(reader, "steps");
    draft.name = fields.parsed(reader, "workflow");
    draft.input_schema = fields.get(reader, "input_schema").cloned();
    draft.budget = budget(reader, fields);
    draft.model_retry = model_retry(reader, fields);
    if let Some(version) = fields.get(reader, "schema_version")
        && version.as_u64() != Some(SCHEMA_VERSION)
    {
        let rule = format!("this version reads definitions of schema_version {SCHEMA_VERSION}");
        reader.form(&fields.at("schema_version"), rule);
    }
    if let Some(value) = fields.get(reader, "steps") {
        draft.steps = steps(reader, value, &fields.at("steps"));
    }
    draft
}

fn steps(reader: &mut Reader, value: &Value, at: &At<'_>) -> BTreeMap<StepName, StepDraft> {
    let mut found = BTreeMap::new();
    let Value::Object(map) = value else {
        reader.form(at, "an object of steps by name is wanted");
        return found;
    };
    if map.is_empty() {
        reader.form(at, "a workflow has at least one step");
    }
    if map.len() > MAX_STEPS {
        reader.limit(at, "steps", MAX_STEPS);
        return found;
    }
    for (name, value) in map {
        let place = at.child(name);
        let step = read_step::step(reader, value, &place);
        match StepName::new(name) {
            Ok(name) => {
                found.insert(name, step);
            }
            Err(fault) => reader.form(&place, fault),
        }
    }
    found
}

/// Reads the field `budget` of a workflow or a step.
pub(super) fn budget(reader: &mut Reader, parent: Fields<'_>) -> Option<Budget> {
    let value = parent.get(reader, "budget")?;
    let at = parent.at("budget");
    let known = ["usd", "input_tokens", "output_tokens", "calls", "on_exceed"];
    let fields = Fields::open(reader, value, &at, &known)?;
    let limit = Limit {
        money: fields.money(reader, "usd"),
        input_tokens: fields.count(reader, "input_tokens", 0..=MAX_COUNT),
        output_tokens: fields.count(reader, "output_tokens", 0..=MAX_COUNT),
        calls: fields.count(reader, "calls", 0..=MAX_COUNT),
    };
    let choices = [("abort", OnExceed::Abort), ("pause", OnExceed::Pause)];
    let on_exceed = fields
        .choice(reader, "on_exceed", &choices)
        .unwrap_or_default();
    let named = value
        .as_object()
        .is_some_and(|map| map.keys().any(|key| key != "on_exceed"));
    if !named {
        reader.form(
            &at,
            "a budget limits usd, input_tokens, output_tokens or calls",
        );
    }
    Some(Budget { limit, on_exceed })
}

fn model_retry(reader: &mut Reader, parent: Fields<'_>) -> Option<ModelRetry> {
    let value = parent.get(reader, "model_retry")?;
    let at = parent.at("model_retry");
    let known = [
        "initial_interval",
        "backoff_coefficient",
        "maximum_interval",
        "max_elapsed",
    ];
    let fields = Fields::open(reader, value, &at, &known)?;
    let backoff = backoff(reader, fields);
    let elapsed = fields.duration(reader, "max_elapsed");
    let elapsed = elapsed.unwrap_or(ModelRetry::DEFAULT_MAX_ELAPSED);
    let retry = checked(reader, &at, ModelRetry::new(backoff, elapsed))?;
    (retry != ModelRetry::default()).then_some(retry)
}

/// Reads the three fields of the intervals; what is wrong is noted and taken as default.
pub(super) fn backoff(reader: &mut Reader, fields: Fields<'_>) -> Backoff {
    let default = Backoff::DEFAULT;
    let initial = fields.duration(reader, "initial_interval");
    let initial: Duration = initial.unwrap_or(default.initial_interval());
    let coefficient = fields.coefficient(reader, "backoff_coefficient");
    let coefficient = coefficient.unwrap_or(default.backoff_coefficient());
    let maximum = fields.duration(reader, "maximum_interval");
    let maximum = maximum.unwrap_or_else(|| Backoff::default_maximum(initial));
    checked(
        reader,
        fields.place(),
        Backoff::new(initial, coefficient, maximum),
    )
    .unwrap_or(default)
}

/// Notes a policy's fault at `at`.
pub(super) fn checked<T>(
    reader: &mut Reader,
    at: &At<'_>,
    result: std::result::Result<T, RetryFault>,
) -> Option<T> {
    result.map_err(|fault| reader.form(at, fault)).ok()
}
