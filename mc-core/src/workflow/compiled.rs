//! A workflow: a valid definition with its schemas compiled.
//!
//! This is where YAML, JSON, the builder and stored bytes come in, and where all problems of a
//! document become one error.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::builder::WorkflowBuilder;
use super::definition::Definition;
use super::limits::MAX_DEFINITION_BYTES;
use super::read::{self, Draft};
use crate::error::{Detail, Error, ErrorKind, Result, Violation, WorkflowProblem};
use crate::form::{Schema, Spelling, malformed, more, place, problem, schema_problem};
use crate::id::{Digest, StepName, WorkflowName};
use crate::json::{self, Reading};
use crate::yaml;

/// A valid definition and its compiled schemas. A clone is cheap.
#[derive(Clone, Debug)]
pub struct Workflow {
    definition: Arc<Definition>,
    schemas: Arc<Schemas>,
}

#[derive(Debug)]
struct Schemas {
    input: Option<Schema>,
    outputs: BTreeMap<StepName, Schema>,
}

impl Workflow {
    /// Reads a definition written as YAML.
    ///
    /// # Errors
    /// `InvalidWorkflow` with every problem.
    pub fn from_yaml(document: impl AsRef<[u8]>) -> Result<Self> {
        Self::from_document(document.as_ref(), yaml::read, Vec::new())
    }

    /// Reads a definition written as JSON.
    ///
    /// # Errors
    /// `InvalidWorkflow` with every problem.
    pub fn from_json(document: impl AsRef<[u8]>) -> Result<Self> {
        Self::from_json_with(document.as_ref(), Vec::new())
    }

    /// Reads JSON of which some problems are known already.
    pub(super) fn from_json_with(document: &[u8], known: Vec<WorkflowProblem>) -> Result<Self> {
        Self::from_document(document, json::read, known)
    }

    /// Starts a definition in code.
    pub fn builder(name: impl Into<String>) -> WorkflowBuilder {
        WorkflowBuilder::new(name.into())
    }

    /// Reads what [`Definition::to_canonical`] wrote, and compiles its schemas.
    ///
    /// # Errors
    /// `Corrupt` for bytes that are not a definition in its canonical form.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self> {
        let definition = Definition::from_canonical(bytes)?;
        let mut problems = Vec::new();
        let outputs = definition
            .steps()
            .iter()
            .map(|(name, step)| (name, &step.output_schema));
        let schemas = compile(definition.input_schema(), outputs, &mut problems);
        if let Some(problem) = problems.first() {
            return Err(Error::corrupt("definition", None).with_context("problem", problem));
        }
        Ok(Self {
            definition: Arc::new(definition),
            schemas: Arc::new(schemas),
        })
    }

    fn from_document(
        bytes: &[u8],
        read: fn(&[u8]) -> Result<Reading>,
        mut problems: Vec<WorkflowProblem>,
    ) -> Result<Self> {
        if bytes.len() > MAX_DEFINITION_BYTES {
            let max = u64::try_from(MAX_DEFINITION_BYTES).unwrap_or(u64::MAX);
            let name = "bytes in a definition".to_owned();
            problems.push(WorkflowProblem::Limit {
                name,
                max,
                at: String::new(),
            });
            return Err(invalid(problems));
        }
        let Reading {
            value,
            faults,
            blanks,
        } = match read(bytes) {
            Ok(reading) => reading,
            Err(fault) => {
                problems.extend(malformed(&fault));
                return Err(invalid(problems).with_source(fault));
            }
        };
        problems.extend(faults.into_iter().map(problem));
        let (draft, mut found) = read::draft(&value, Spelling::Document);
        let schemas = compile_draft(&draft, &mut found);
        // What stands for a wrong value is no second problem.
        found.retain(|problem| !place(problem).is_some_and(|at| blanks.contains(at)));
        problems.extend(found);
        if !problems.is_empty() {
            return Err(invalid(problems));
        }
        let definition = draft
            .finish()
            .ok_or_else(|| Error::internal("a definition without problems is not complete"))?;
        Ok(Self {
            definition: Arc::new(definition),
            schemas: Arc::new(schemas),
        })
    }

    /// The normal form.
    pub const fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// The workflow's name.
    pub fn name(&self) -> &WorkflowName {
        self.definition.name()
    }

    /// The content hash.
    pub fn hash(&self) -> Digest {
        self.definition.hash()
    }

    /// The schema of the run's input.
    pub fn input_schema(&self) -> Option<&Schema> {
        self.schemas.input.as_ref()
    }

    /// The schema of a step's output.
    pub fn output_schema(&self, step: &str) -> Option<&Schema> {
        self.schemas.outputs.get(step)
    }

    /// Checks a run's input against its schema.
    ///
    /// # Errors
    /// `InvalidInput` with the violations.
    pub fn check_input(&self, input: &Value) -> Result<()> {
        let found = self
            .input_schema()
            .map_or_else(Vec::new, |schema| schema.violations(input));
        rejected(
            found,
            ErrorKind::InvalidInput,
            "the input",
            Detail::Violations,
        )
    }

    /// Checks a step's output against its schema.
    ///
    /// # Errors
    /// `AgentFailed` with the violations as `InvalidOutput`.
    pub fn check_output(&self, step: &str, output: &Value) -> Result<()> {
        let schema = self.output_schema(step);
        let found = schema.map_or_else(Vec::new, |schema| schema.violations(output));
        rejected(
            found,
            ErrorKind::AgentFailed,
            "the output",
            Detail::InvalidOutput,
        )
    }
}

impl PartialEq for Workflow {
    fn eq(&self, other: &Self) -> bool {
        self.hash() == other.hash()
    }
}

impl Eq for Workflow {}

fn rejected(
    found: Vec<Violation>,
    kind: ErrorKind,
    what: &str,
    detail: fn(Vec<Violation>) -> Detail,
) -> Result<()> {
    let Some(first) = found.first() else {
        return Ok(());
    };
    let place = if first.path.is_empty() {
        String::new()
    } else {
        format!(" at {}", first.path)
    };
    let message = format!(
        "{what} is not as its schema says{place}: {}{}",
        first.rule,
        more(&found)
    );
    Err(Error::new(kind, message).with_detail(detail(found)))
}

/// One error of all problems; the message has the first.
pub(crate) fn invalid(problems: Vec<WorkflowProblem>) -> Error {
    let first = problems
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    let message = format!("{}{}", first.trim_start_matches(": "), more(&problems));
    Error::new(ErrorKind::InvalidWorkflow, message).with_detail(Detail::Workflow(problems))
}

fn compile_draft(draft: &Draft, problems: &mut Vec<WorkflowProblem>) -> Schemas {
    let steps = draft.steps.iter();
    let outputs =
        steps.filter_map(|(name, draft)| Some((name, &draft.step.as_ref()?.output_schema)));
    compile(draft.input_schema.as_ref(), outputs, problems)
}

/// Compiles every schema; equal ones once.
fn compile<'a>(
    input: Option<&Value>,
    outputs: impl Iterator<Item = (&'a StepName, &'a Option<Value>)>,
    problems: &mut Vec<WorkflowProblem>,
) -> Schemas {
    let mut known: BTreeMap<String, Schema> = BTreeMap::new();
    let mut one = |schema: &Value, at: String| {
        let text = schema.to_string();
        if let Some(schema) = known.get(&text) {
            return Some(schema.clone());
        }
        match Schema::compile_text(schema, &text) {
            Ok(schema) => {
                known.insert(text, schema.clone());
                Some(schema)
            }
            Err(fault) => {
                problems.push(schema_problem(&fault, at));
                None
            }
        }
    };
    let mut schemas = Schemas {
        input: input.and_then(|schema| one(schema, "/input_schema".to_owned())),
        outputs: BTreeMap::new(),
    };
    for (name, schema) in outputs {
        let at = || format!("/steps/{name}/output_schema");
        if let Some(schema) = schema.as_ref().and_then(|schema| one(schema, at())) {
            schemas.outputs.insert(name.clone(), schema);
        }
    }
    schemas
}
