//! Checks what no single field shows: names that lead nowhere, cycles, joins that cannot be reached,
//! and expressions that look at what they cannot see.
//!
//! What is *not* here: schemas (`compiled`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::definition::Join;
use super::graph::{Before, cycles, order};
use super::limits::{MAX_CYCLES_NAMED, MAX_EDGES};
use super::read::{Draft, Located, Stand};
use crate::error::WorkflowProblem;
use crate::expression::{Reference, Scope};
use crate::form::At;
use crate::id::StepName;

/// Notes every problem of the graph and of the expressions.
pub(super) fn graph(draft: &Draft, problems: &mut Vec<WorkflowProblem>) {
    let edges: usize = draft.steps.values().map(|step| step.needs.len()).sum();
    if edges > MAX_EDGES {
        problems.push(limit("edges", MAX_EDGES));
        return;
    }
    let index: BTreeMap<&StepName, usize> = draft
        .steps
        .keys()
        .enumerate()
        .map(|(index, name)| (name, index))
        .collect();
    let mut check = Check {
        draft,
        names: draft.steps.keys().collect(),
        index,
        problems,
    };
    let needs = check.needs();
    let order = order(&needs);
    check.cycles(&needs, &order);
    check.joins();
    let before = Before::new(&needs, &order);
    let inputs = draft.input_schema.as_ref().and_then(declared);
    for (name, step) in &draft.steps {
        for located in &step.expressions {
            let references = located.expression.references();
            if references.is_empty() {
                check.constant(name, located);
            }
            for reference in references {
                let problem = check.reference((name, located), reference, &before, inputs.as_ref());
                check.problems.extend(problem);
            }
        }
    }
}

fn limit(name: &str, max: usize) -> WorkflowProblem {
    WorkflowProblem::Limit {
        name: name.to_owned(),
        max: u64::try_from(max).unwrap_or(u64::MAX),
        at: "/steps".to_owned(),
    }
}

/// The inputs that a schema declares, if it declares them all.
fn declared(schema: &Value) -> Option<BTreeSet<&str>> {
    /// Keywords by which a schema may allow more than its own `properties`.
    const OPEN: [&str; 9] = [
        "$ref",
        "$dynamicRef",
        "allOf",
        "anyOf",
        "oneOf",
        "if",
        "patternProperties",
        "dependentSchemas",
        "unevaluatedProperties",
    ];
    let schema = schema.as_object()?;
    let properties = schema.get("properties")?.as_object()?;
    let open = OPEN.iter().any(|keyword| schema.contains_key(*keyword));
    let more = schema
        .get("additionalProperties")
        .is_some_and(|more| *more != Value::Bool(false));
    if open || more {
        return None;
    }
    let required = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let names = properties.keys().map(String::as_str);
    Some(names.chain(required.filter_map(Value::as_str)).collect())
}

struct Check<'a> {
    draft: &'a Draft,
    names: Vec<&'a StepName>,
    index: BTreeMap<&'a StepName, usize>,
    problems: &'a mut Vec<WorkflowProblem>,
}

impl Check<'_> {
    /// The needs by number; a need that is no step is noted and left out.
    fn needs(&mut self) -> Vec<Vec<usize>> {
        let mut graph = Vec::with_capacity(self.names.len());
        for (name, step) in &self.draft.steps {
            let mut list = Vec::with_capacity(step.needs.len());
            for need in &step.needs {
                if let Some(index) = self.index.get(need) {
                    list.push(*index);
                    continue;
                }
                let steps = At::ROOT;
                let at = steps.child("steps");
                let at = at.child(name.as_str());
                self.problems.push(WorkflowProblem::UnknownStep {
                    at: at.child("needs").pointer(),
                    step: need.to_string(),
                });
            }
            graph.push(list);
        }
        graph
    }

    fn cycles(&mut self, needs: &[Vec<usize>], order: &[usize]) {
        let found = cycles(needs);
        if found.is_empty() {
            return;
        }
        let mut doomed: BTreeSet<usize> = (0..needs.len()).collect();
        for step in order.iter().chain(found.iter().flatten()) {
            doomed.remove(step);
        }
        if found.len() >= MAX_CYCLES_NAMED {
            self.problems
                .push(limit("cycles named in one error", MAX_CYCLES_NAMED));
        }
        for circle in found {
            let path = circle
                .into_iter()
                .map(|step| self.names[step].to_string())
                .collect();
            self.problems.push(WorkflowProblem::Cycle { path });
        }
        for step in doomed {
            self.problems.push(WorkflowProblem::Unreachable {
                step: self.names[step].to_string(),
                reason: "it waits for a step on a cycle".to_owned(),
            });
        }
    }

    fn joins(&mut self) {
        for (name, draft) in &self.draft.steps {
            let join = draft.step.as_ref().map_or(Join::All, |step| step.join);
            let Join::AtLeast(least) = join else {
                continue;
            };
            let needs = draft.needs.len();
            if usize::try_from(least).is_ok_and(|least| least > needs) {
                self.problems.push(WorkflowProblem::Unreachable {
                    step: name.to_string(),
                    reason: format!("its join waits for {least} of {needs} needs"),
                });
            }
        }
    }

    fn reference(
        &self,
        (name, located): (&StepName, &Located),
        reference: Reference,
        before: &Before,
        inputs: Option<&BTreeSet<&str>>,
    ) -> Option<WorkflowProblem> {
        match reference {
            Reference::StepOutput(step) => self.output(name, &step, located, before),
            Reference::Input(input) => inputs
                .filter(|declared| !declared.contains(input.as_str()))
                .map(|_| WorkflowProblem::UnknownInput {
                    at: located.at.clone(),
                    input,
                }),
            Reference::Item | Reference::Index if located.stand != Stand::ItemInput => {
                let reason =
                    "`item` and `index` are seen only by the `input` of a step with `for_each`";
                let (at, reason) = (located.at.clone(), reason.to_owned());
                Some(WorkflowProblem::Expression { at, reason })
            }
            Reference::Item | Reference::Index | Reference::WholeInput => None,
        }
    }

    fn output(
        &self,
        name: &StepName,
        step: &StepName,
        located: &Located,
        before: &Before,
    ) -> Option<WorkflowProblem> {
        let at = located.at.clone();
        let Some(earlier) = self.index.get(step) else {
            return Some(WorkflowProblem::UnknownStep {
                at,
                step: step.to_string(),
            });
        };
        match before.contains(*self.index.get(name)?, *earlier) {
            Some(false) => {
                let reason = format!(
                    "`{step}` need not be done before `{name}`; add it to the needs of `{name}`"
                );
                Some(WorkflowProblem::Expression { at, reason })
            }
            Some(true) | None => None,
        }
    }

    /// Notes a condition or list without references that can be judged now.
    fn constant(&mut self, name: &StepName, located: &Located) {
        let (inputs, outputs) = (Value::Object(Map::new()), BTreeMap::new());
        let scope = Scope {
            inputs: &inputs,
            outputs: &outputs,
            item: None,
        };
        let wrong = match located.stand {
            Stand::When => match located.expression.holds(&scope) {
                Ok(true) => return,
                Ok(false) => {
                    self.problems.push(WorkflowProblem::Unreachable {
                        step: name.to_string(),
                        reason: "its `when` is always false".to_owned(),
                    });
                    return;
                }
                Err(fault) => fault.to_string(),
            },
            Stand::ForEach => match located.expression.evaluate(&scope) {
                Ok(Value::Array(_)) => return,
                Ok(_) => "`for_each` takes a list".to_owned(),
                Err(fault) => fault.to_string(),
            },
            Stand::Input | Stand::ItemInput => match located.expression.evaluate(&scope) {
                Ok(_) => return,
                Err(fault) => fault.to_string(),
            },
        };
        self.problems.push(WorkflowProblem::Expression {
            at: located.at.clone(),
            reason: wrong,
        });
    }
}
