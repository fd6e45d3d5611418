//! Data chaining: what a step gets as its input. Pure functions.
//!
//! With `input`, exactly what it binds. Without, the run's input with the outputs of the needs
//! merged over it: one need's object as it is, anything else under the name of its step.
//! A need without an output (it was skipped, or failed and the run went on) counts as null.
//! What is *not* here: when a step runs (`run`).

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::definition::Step;
use super::limits::MAX_JOINED_INPUT_BYTES;
use crate::error::{Detail, Error, ErrorKind, Violation};
use crate::expression::{BindFault, EvaluationFault, Scope, value_size};
use crate::id::StepName;

/// The name under which a run's input stands if it is not an object and has to be joined.
const WHOLE_INPUT: &str = "input";

/// Why a step cannot be given its input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// An expression of `input` has no value.
    #[error("input{0}")]
    Bind(BindFault),
    /// An expression of `when` or `for_each` has no value.
    #[error("{field}: `{expression}`: {fault}")]
    Evaluate {
        /// The field.
        field: &'static str,
        /// The expression.
        expression: String,
        /// Why it has no value.
        fault: EvaluationFault,
    },
    /// `for_each` gave something other than a list.
    #[error("for_each: `{expression}`: it takes a list")]
    NotAList {
        /// The expression.
        expression: String,
    },
    /// The list has more items than the step allows.
    #[error("the list has {count} items; max_items is {max}")]
    TooManyItems {
        /// The items of the list.
        count: u64,
        /// The limit in force.
        max: u32,
    },
    /// The input is larger than it may be.
    #[error("the joined input has more than {MAX_JOINED_INPUT_BYTES} bytes")]
    TooLarge,
}

impl From<ChainFault> for Error {
    fn from(fault: ChainFault) -> Self {
        let detail = match &fault {
            ChainFault::TooLarge => Detail::Limit {
                name: "joined input",
                max: MAX_JOINED_INPUT_BYTES,
            },
            ChainFault::TooManyItems { max, .. } => Detail::Limit {
                name: "for_each items",
                max: u64::from(*max),
            },
            ChainFault::Bind(inner) => {
                let path = format!("/input{}", inner.at);
                Detail::Violations(vec![Violation::new(path, &inner.fault)])
            }
            ChainFault::Evaluate { field, .. } => {
                Detail::Violations(vec![Violation::new(format!("/{field}"), &fault)])
            }
            ChainFault::NotAList { .. } => {
                Detail::Violations(vec![Violation::new("/for_each", &fault)])
            }
        };
        Self::new(ErrorKind::InvalidInput, fault.to_string()).with_detail(detail)
    }
}

/// Whether a step runs: its `when` holds, or it has none.
///
/// # Errors
/// [`ChainFault::Evaluate`].
pub fn runs(step: &Step, scope: &Scope<'_>) -> Result<bool, ChainFault> {
    let Some(when) = &step.when else {
        return Ok(true);
    };
    let expression = || when.as_str().to_owned();
    when.holds(scope).map_err(|fault| ChainFault::Evaluate {
        field: "when",
        expression: expression(),
        fault,
    })
}

/// The items of a step's `for_each`, in order; `None` for a step without one.
///
/// # Errors
/// A [`ChainFault`]: no value, not a list, more than `max_items`, too large.
pub fn expand(step: &Step, scope: &Scope<'_>) -> Result<Option<Vec<Arc<Value>>>, ChainFault> {
    let Some(for_each) = &step.for_each else {
        return Ok(None);
    };
    let expression = || for_each.as_str().to_owned();
    let list = for_each
        .evaluate(scope)
        .map_err(|fault| ChainFault::Evaluate {
            field: "for_each",
            expression: expression(),
            fault,
        })?;
    let Value::Array(items) = list else {
        return Err(ChainFault::NotAList {
            expression: expression(),
        });
    };
    let count = u64::try_from(items.len()).unwrap_or(u64::MAX);
    if count > u64::from(step.max_items) {
        return Err(ChainFault::TooManyItems {
            count,
            max: step.max_items,
        });
    }
    check_joined(step, scope)?;
    largest_fits(step, scope, &items)?;
    Ok(Some(items.into_iter().map(Arc::new).collect()))
}

/// Refuses a fan-out whose largest item would make too large an input, before the first item is
/// paid for. What else may be wrong with an item's input is that item's failure.
fn largest_fits(step: &Step, scope: &Scope<'_>, items: &[Value]) -> Result<(), ChainFault> {
    let size = |item: &Value| value_size(item, MAX_JOINED_INPUT_BYTES).unwrap_or(u64::MAX);
    let largest = (0_u32..).zip(items).max_by_key(|(_, item)| size(item));
    let Some((index, item)) = largest else {
        return Ok(());
    };
    let scope = Scope {
        item: Some((item, index)),
        ..*scope
    };
    if step.input.is_none() {
        return check_joined(step, &scope);
    }
    match bind_input(step, &scope) {
        Err(ChainFault::TooLarge) => Err(ChainFault::TooLarge),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The input of a step, or of one item of it.
///
/// # Errors
/// A [`ChainFault`]: an expression has no value, or the input is too large.
pub fn bind_input(step: &Step, scope: &Scope<'_>) -> Result<Value, ChainFault> {
    if let Some(binding) = &step.input {
        let input = binding.bind(scope).map_err(|fault| match fault.fault {
            EvaluationFault::TooLarge => ChainFault::TooLarge,
            EvaluationFault::Missing { .. }
            | EvaluationFault::Types { .. }
            | EvaluationFault::Overflow => ChainFault::Bind(fault),
        })?;
        within_limit(&input, MAX_JOINED_INPUT_BYTES)?;
        return Ok(input);
    }
    check_joined(step, scope)?;
    if step.needs.is_empty() && scope.item.is_none() {
        return Ok(scope.inputs.clone());
    }
    let mut joined = base(scope.inputs);
    for (name, output) in needed(&step.needs, scope) {
        match output {
            Value::Object(fields) if step.needs.len() == 1 => merge(&mut joined, fields),
            Value::Object(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => merge_at(&mut joined, name.as_str(), output),
        }
    }
    if let Some((item, index)) = scope.item {
        joined.insert("item".to_owned(), item.clone());
        joined.insert("index".to_owned(), Value::from(index));
    }
    Ok(Value::Object(joined))
}

/// Checks that everything a step without `input` gets, together with an item, is not too large.
/// It looks at the parts, so that nothing large is built first.
fn check_joined(step: &Step, scope: &Scope<'_>) -> Result<(), ChainFault> {
    if step.input.is_some() {
        return Ok(());
    }
    let mut left = within_limit(scope.inputs, MAX_JOINED_INPUT_BYTES)?;
    for (_, output) in needed(&step.needs, scope) {
        left = within_limit(output, left)?;
    }
    if let Some((item, _)) = scope.item {
        within_limit(item, left)?;
    }
    Ok(())
}

fn within_limit(value: &Value, left: u64) -> Result<u64, ChainFault> {
    value_size(value, left)
        .map(|bytes| left - bytes)
        .ok_or(ChainFault::TooLarge)
}

fn needed<'a>(
    needs: &'a BTreeSet<StepName>,
    scope: &Scope<'a>,
) -> impl Iterator<Item = (&'a StepName, &'a Value)> {
    let outputs = scope.outputs;
    needs.iter().map(move |name| {
        (
            name,
            outputs
                .get(name)
                .map_or(&Value::Null, |output| output.as_ref()),
        )
    })
}

/// The run's input as an object: null is an empty one, anything else stands under `input`.
fn base(run_input: &Value) -> Map<String, Value> {
    match run_input {
        Value::Object(fields) => fields.clone(),
        Value::Null => Map::new(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::from_iter([(WHOLE_INPUT.to_owned(), run_input.clone())])
        }
    }
}

/// Merges `over` deeply into `fields`: objects are merged, anything else is replaced.
fn merge(fields: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        merge_at(fields, key, value);
    }
}

fn merge_at(fields: &mut Map<String, Value>, key: &str, over: &Value) {
    match (fields.get_mut(key), over) {
        (Some(Value::Object(inner)), Value::Object(over)) => merge(inner, over),
        (Some(_) | None, _) => {
            fields.insert(key.to_owned(), over.clone());
        }
    }
}
