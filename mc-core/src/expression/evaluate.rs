//! Evaluates a tree. Values are borrowed as long as possible; only what is made new is owned.
//!
//! Errors name paths and kinds, never the values themselves, so they may stand in the log's facts.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Number, Value};

use super::MAX_JOINED_INPUT_BYTES;
use super::function::Function;
use super::parse::{Node, Operator, Path, Root, Segment};
use super::value::{equal, integer, kind, order};
use super::value_size;
use crate::id::StepName;

/// What an expression can see.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The run's input.
    pub inputs: &'a Value,
    /// The outputs of finished steps. A step that is not in here has output null.
    pub outputs: &'a BTreeMap<StepName, Arc<Value>>,
    /// The item and its index, inside a `for_each`.
    pub item: Option<(&'a Value, u32)>,
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationFault {
    /// A path leads nowhere.
    #[error("there is no `{path}`")]
    Missing {
        /// The path, up to the part that is missing.
        path: String,
    },
    /// A value is of a kind that cannot stand there.
    #[error("{rule}; found {found}")]
    Types {
        /// The rule.
        rule: &'static str,
        /// The kinds that were found.
        found: String,
    },
    /// A sum is outside 64 bits.
    #[error("the sum is outside 64 bits")]
    Overflow,
    /// A result is larger than an input may be.
    #[error("a result is larger than the joined input may be: {MAX_JOINED_INPUT_BYTES} bytes")]
    TooLarge,
}

impl EvaluationFault {
    pub(super) fn types(rule: &'static str, found: &[&Value]) -> Self {
        let kinds: Vec<&str> = found.iter().map(|value| kind(value)).collect();
        Self::Types {
            rule,
            found: kinds.join(" and "),
        }
    }
}

type Evaluated<'a> = Result<Cow<'a, Value>, EvaluationFault>;

pub(super) fn evaluate<'a>(node: &'a Node, scope: &Scope<'a>) -> Evaluated<'a> {
    match node {
        Node::Literal(value) => Ok(Cow::Borrowed(value)),
        Node::List(items) => list(items, scope),
        Node::Path(path) => find(path, scope)?.ok_or_else(|| EvaluationFault::Missing {
            path: show(path, scope),
        }),
        Node::Has(path) => has(path, scope).map(owned),
        Node::Function(function, arguments) => call(*function, arguments, scope),
        Node::Size(inner) => size(&*evaluate(inner, scope)?),
        Node::Not(inner) => truth(&*evaluate(inner, scope)?).map(|holds| owned(!holds)),
        Node::Binary(operator, left, right) => binary(*operator, left, right, scope),
    }
}

fn owned<'a>(holds: bool) -> Cow<'a, Value> {
    Cow::Owned(Value::Bool(holds))
}

fn truth(value: &Value) -> Result<bool, EvaluationFault> {
    value
        .as_bool()
        .ok_or_else(|| EvaluationFault::types("`&&`, `||` and `!` take true or false", &[value]))
}

fn list<'a>(items: &'a [Node], scope: &Scope<'a>) -> Evaluated<'a> {
    let mut values = Vec::with_capacity(items.len());
    let mut left = MAX_JOINED_INPUT_BYTES;
    for item in items {
        let value = evaluate(item, scope)?;
        left -= value_size(&value, left).ok_or(EvaluationFault::TooLarge)?;
        values.push(value.into_owned());
    }
    Ok(Cow::Owned(Value::Array(values)))
}

fn call<'a>(function: Function, arguments: &'a [Node], scope: &Scope<'a>) -> Evaluated<'a> {
    let values: Result<Vec<Cow<'a, Value>>, _> =
        arguments.iter().map(|one| evaluate(one, scope)).collect();
    let values = values?;
    let values: Vec<&Value> = values.iter().map(AsRef::as_ref).collect();
    function.of(&values).map(Cow::Owned)
}

fn size<'a>(value: &Value) -> Evaluated<'a> {
    let count = match value {
        Value::String(text) => text.chars().count(),
        Value::Array(items) => items.len(),
        Value::Object(object) => object.len(),
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            let rule = "size() takes text, a list or an object";
            return Err(EvaluationFault::types(rule, &[value]));
        }
    };
    Ok(Cow::Owned(Value::from(count)))
}

fn binary<'a>(
    operator: Operator,
    left: &'a Node,
    right: &'a Node,
    scope: &Scope<'a>,
) -> Evaluated<'a> {
    let first = evaluate(left, scope)?;
    // The right side is not looked at when the left one decides.
    if operator == Operator::Or && truth(&first)? {
        return Ok(owned(true));
    }
    if operator == Operator::And && !truth(&first)? {
        return Ok(owned(false));
    }
    let second = evaluate(right, scope)?;
    match operator {
        Operator::Or | Operator::And => truth(&second).map(owned),
        Operator::Equal => Ok(owned(equal(&first, &second))),
        Operator::NotEqual => Ok(owned(!equal(&first, &second))),
        Operator::Less => compare(&first, &second).map(|o| owned(o.is_lt())),
        Operator::LessOrEqual => compare(&first, &second).map(|o| owned(o.is_le())),
        Operator::Greater => compare(&first, &second).map(|o| owned(o.is_gt())),
        Operator::GreaterOrEqual => compare(&first, &second).map(|o| owned(o.is_ge())),
        Operator::In => contains(&second, &first).map(owned),
        Operator::Add => add(&first, &second),
    }
}

fn compare(left: &Value, right: &Value) -> Result<Ordering, EvaluationFault> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => Ok(order(left, right)),
        (Value::String(left), Value::String(right)) => Ok(left.cmp(right)),
        _ => {
            let rule = "`<`, `<=`, `>` and `>=` take two numbers or two texts";
            Err(EvaluationFault::types(rule, &[left, right]))
        }
    }
}

fn contains(whole: &Value, part: &Value) -> Result<bool, EvaluationFault> {
    match (whole, part) {
        (Value::Array(items), _) => Ok(items.iter().any(|item| equal(item, part))),
        (Value::Object(object), Value::String(key)) => Ok(object.contains_key(key)),
        _ => {
            let rule = "`in` takes a list on its right, or text and an object";
            Err(EvaluationFault::types(rule, &[part, whole]))
        }
    }
}

fn add<'a>(left: &Value, right: &Value) -> Evaluated<'a> {
    let too_large = |bytes: Option<u64>| {
        bytes
            .filter(|bytes| *bytes <= MAX_JOINED_INPUT_BYTES)
            .ok_or(EvaluationFault::TooLarge)
    };
    let sum = match (left, right) {
        (Value::Number(left), Value::Number(right)) => Value::Number(add_numbers(left, right)?),
        (Value::String(left), Value::String(right)) => {
            too_large(
                left.len()
                    .checked_add(right.len())
                    .and_then(|n| u64::try_from(n).ok()),
            )?;
            Value::String(format!("{left}{right}"))
        }
        (Value::Array(first), Value::Array(second)) => {
            let one = value_size(left, MAX_JOINED_INPUT_BYTES).ok_or(EvaluationFault::TooLarge)?;
            too_large(value_size(right, MAX_JOINED_INPUT_BYTES).map(|two| one + two))?;
            Value::Array(first.iter().chain(second).cloned().collect())
        }
        _ => {
            let rule = "`+` takes two integers, two texts or two lists";
            return Err(EvaluationFault::types(rule, &[left, right]));
        }
    };
    Ok(Cow::Owned(sum))
}

fn add_numbers(left: &Number, right: &Number) -> Result<Number, EvaluationFault> {
    let (Some(left), Some(right)) = (integer(left), integer(right)) else {
        return Err(EvaluationFault::Types {
            rule: "`+` takes two integers, two texts or two lists",
            found: "a decimal".to_owned(),
        });
    };
    let sum = left + right;
    match (i64::try_from(sum), u64::try_from(sum)) {
        (Ok(sum), _) => Ok(sum.into()),
        (_, Ok(sum)) => Ok(sum.into()),
        _ => Err(EvaluationFault::Overflow),
    }
}

fn has(path: &Path, scope: &Scope<'_>) -> Result<bool, EvaluationFault> {
    if let (Root::Output(step), true) = (&path.root, path.segments.is_empty()) {
        return Ok(scope
            .outputs
            .get(step)
            .is_some_and(|output| !output.is_null()));
    }
    Ok(find(path, scope)?.is_some())
}

/// The value at the end of a path; `None` where a part is missing.
fn find<'a>(path: &'a Path, scope: &Scope<'a>) -> Result<Option<Cow<'a, Value>>, EvaluationFault> {
    let mut value: &'a Value = match (&path.root, scope.item) {
        (Root::Inputs | Root::Params, _) => scope.inputs,
        (Root::Output(step), _) => scope.outputs.get(step).map_or(&Value::Null, AsRef::as_ref),
        (Root::Item, Some((item, _))) => item,
        (Root::Index, Some((_, index))) => {
            let found = path
                .segments
                .is_empty()
                .then(|| Cow::Owned(Value::from(index)));
            return Ok(found);
        }
        (Root::Item | Root::Index, None) => return Ok(None),
    };
    for segment in &path.segments {
        let next = match segment {
            Segment::Key(key) => value.get(key.as_str()),
            Segment::At(index) => at(value, *index),
            Segment::Computed(node) => computed(value, &*evaluate(node, scope)?)?,
        };
        match next {
            Some(next) => value = next,
            None => return Ok(None),
        }
    }
    Ok(Some(Cow::Borrowed(value)))
}

fn at(value: &Value, index: u64) -> Option<&Value> {
    value.get(usize::try_from(index).ok()?)
}

fn computed<'a>(value: &'a Value, key: &Value) -> Result<Option<&'a Value>, EvaluationFault> {
    if let Some(key) = key.as_str() {
        return Ok(value.get(key));
    }
    if key.is_i64() || key.is_u64() {
        return Ok(key.as_u64().and_then(|index| at(value, index)));
    }
    let rule = "an index is an integer or text";
    Err(EvaluationFault::types(rule, &[key]))
}

/// The path as text, up to the first part that is missing.
fn show(path: &Path, scope: &Scope<'_>) -> String {
    let mut text = match &path.root {
        Root::Inputs => "inputs".to_owned(),
        Root::Params => "params".to_owned(),
        Root::Output(step) => format!("steps.{step}.output"),
        Root::Item => "item".to_owned(),
        Root::Index => "index".to_owned(),
    };
    for (length, segment) in path.segments.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = match segment {
            Segment::Key(key) if key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
                write!(text, ".{key}")
            }
            Segment::Key(key) => write!(text, "[{key:?}]"),
            Segment::At(index) => write!(text, "[{index}]"),
            Segment::Computed(_) => write!(text, "[..]"),
        };
        if !reaches(path, length + 1, scope) {
            break;
        }
    }
    text
}

/// Whether the first `length` segments of a path lead somewhere.
fn reaches(path: &Path, length: usize, scope: &Scope<'_>) -> bool {
    let mut value = match (&path.root, scope.item) {
        (Root::Inputs | Root::Params, _) => scope.inputs,
        (Root::Output(step), _) => scope.outputs.get(step).map_or(&Value::Null, AsRef::as_ref),
        (Root::Item, Some((item, _))) => item,
        (Root::Item | Root::Index, _) => return false,
    };
    for segment in path.segments.iter().take(length) {
        let next = match segment {
            Segment::Key(key) => value.get(key.as_str()),
            Segment::At(index) => at(value, *index),
            Segment::Computed(_) => None,
        };
        match next {
            Some(next) => value = next,
            None => return false,
        }
    }
    true
}
