//! Input bindings: a JSON value in which texts may hold `${{ expression }}`.
//!
//! A text that is one expression gives the expression's value with its type; a text with more in it
//! gives text. Keys are never expressions. What is *not* here: what a step without a binding gets
//! (`chain`).

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::MAX_JOINED_INPUT_BYTES;
use super::value_size;
use super::{EvaluationFault, Expression, ExpressionFault, Scope};
use crate::json::escape_pointer;

/// The text that opens an expression.
const OPEN: &str = "${{";
/// The text that closes it.
const CLOSE: &str = "}}";

/// An expression in a binding that does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {fault}")]
pub struct BindingFault {
    /// The place in the binding, as a JSON pointer.
    pub at: String,
    /// Why it does not parse.
    pub fault: ExpressionFault,
}

/// An expression in a binding that has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: `{expression}`: {fault}")]
pub struct BindFault {
    /// The place in the binding, as a JSON pointer.
    pub at: String,
    /// The expression.
    pub expression: String,
    /// Why it has no value.
    pub fault: EvaluationFault,
}

/// What a step's `input` says: literals and expressions.
#[derive(Clone, PartialEq)]
pub struct InputBinding {
    source: Value,
    root: Bound,
}

#[derive(Clone, Debug, PartialEq)]
enum Bound {
    Literal(Value),
    Whole(Expression),
    Text(Vec<Piece>),
    List(Vec<Self>),
    Object(BTreeMap<String, Self>),
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Plain(String),
    Expression(Expression),
}

impl InputBinding {
    /// Parses every expression in `source`.
    ///
    /// # Errors
    /// A [`BindingFault`] for each that does not parse, with its place.
    pub fn parse(source: Value) -> Result<Self, Vec<BindingFault>> {
        let mut faults = Vec::new();
        let root = bound(&source, &mut String::new(), &mut faults);
        if faults.is_empty() {
            Ok(Self { source, root })
        } else {
            Err(faults)
        }
    }

    /// The binding as it was written.
    pub const fn source(&self) -> &Value {
        &self.source
    }

    /// Every expression with its place as a JSON pointer.
    pub fn expressions(&self) -> Vec<(String, &Expression)> {
        let mut found = Vec::new();
        expressions(&self.root, &mut String::new(), &mut found);
        found
    }

    /// The value, with every expression replaced by what it gives.
    ///
    /// # Errors
    /// A [`BindFault`] for the first expression that has no value; also where all values together
    /// are larger than a joined input may be.
    pub fn bind(&self, scope: &Scope<'_>) -> Result<Value, BindFault> {
        let mut binder = Binder {
            scope,
            at: String::new(),
            left: MAX_JOINED_INPUT_BYTES,
        };
        binder.bind(&self.root)
    }
}

impl fmt::Debug for InputBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}

/// Whether a text is one expression and nothing else, and that expression's text.
pub(crate) fn whole_expression(text: &str) -> Option<&str> {
    let inner = text.strip_prefix(OPEN)?;
    let end = close(inner)?;
    (end + CLOSE.len() == inner.len()).then(|| &inner[..end])
}

/// Where the expression at the start of `text` ends: `}}` inside a quoted text does not close it.
fn close(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if text[at..].starts_with(CLOSE) => return Some(at),
            Some(_) | None => {}
        }
    }
    None
}

/// Runs `inner` with one part more on the place.
fn inside<T>(at: &mut String, part: &str, inner: impl FnOnce(&mut String) -> T) -> T {
    let length = at.len();
    at.push('/');
    at.push_str(&escape_pointer(part));
    let result = inner(at);
    at.truncate(length);
    result
}

fn bound(source: &Value, at: &mut String, faults: &mut Vec<BindingFault>) -> Bound {
    match source {
        Value::String(text) => bound_text(text, at, faults),
        Value::Array(items) => {
            let parts: Vec<Bound> = items
                .iter()
                .enumerate()
                .map(|(index, item)| inside(at, &index.to_string(), |at| bound(item, at, faults)))
                .collect();
            let plain = parts.iter().all(|part| matches!(part, Bound::Literal(_)));
            if plain {
                Bound::Literal(source.clone())
            } else {
                Bound::List(parts)
            }
        }
        Value::Object(object) => {
            let parts: BTreeMap<String, Bound> = object
                .iter()
                .map(|(key, item)| (key.clone(), inside(at, key, |at| bound(item, at, faults))))
                .collect();
            let plain = parts.values().all(|part| matches!(part, Bound::Literal(_)));
            if plain {
                Bound::Literal(source.clone())
            } else {
                Bound::Object(parts)
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Bound::Literal(source.clone()),
    }
}

fn bound_text(text: &str, at: &str, faults: &mut Vec<BindingFault>) -> Bound {
    let mut parse = |source: &str| match Expression::parse(source) {
        Ok(expression) => Some(expression),
        Err(fault) => {
            faults.push(BindingFault {
                at: at.to_owned(),
                fault,
            });
            None
        }
    };
    if let Some(source) = whole_expression(text) {
        return parse(source).map_or(Bound::Literal(Value::Null), Bound::Whole);
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((plain, behind)) = rest.split_once(OPEN) {
        let Some(end) = close(behind) else {
            let fault = ExpressionFault {
                column: 1,
                reason: "`${{` is not closed".to_owned(),
            };
            faults.push(BindingFault {
                at: at.to_owned(),
                fault,
            });
            return Bound::Literal(Value::Null);
        };
        if !plain.is_empty() {
            pieces.push(Piece::Plain(plain.to_owned()));
        }
        pieces.extend(parse(&behind[..end]).map(Piece::Expression));
        rest = &behind[end + CLOSE.len()..];
    }
    if pieces.is_empty() {
        return Bound::Literal(Value::String(text.to_owned()));
    }
    if !rest.is_empty() {
        pieces.push(Piece::Plain(rest.to_owned()));
    }
    Bound::Text(pieces)
}

fn expressions<'a>(bound: &'a Bound, at: &mut String, found: &mut Vec<(String, &'a Expression)>) {
    match bound {
        Bound::Literal(_) => {}
        Bound::Whole(expression) => found.push((at.clone(), expression)),
        Bound::Text(pieces) => {
            for piece in pieces {
                if let Piece::Expression(expression) = piece {
                    found.push((at.clone(), expression));
                }
            }
        }
        Bound::List(items) => {
            for (index, item) in items.iter().enumerate() {
                inside(at, &index.to_string(), |at| expressions(item, at, found));
            }
        }
        Bound::Object(object) => {
            for (key, item) in object {
                inside(at, key, |at| expressions(item, at, found));
            }
        }
    }
}

struct Binder<'s> {
    scope: &'s Scope<'s>,
    at: String,
    left: u64,
}

impl Binder<'_> {
    fn bind(&mut self, bound: &Bound) -> Result<Value, BindFault> {
        match bound {
            Bound::Literal(value) => Ok(value.clone()),
            Bound::Whole(expression) => self.value(expression),
            Bound::Text(pieces) => self.text(pieces).map(Value::String),
            Bound::List(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| self.part(&index.to_string(), item))
                .collect::<Result<Vec<_>, _>>()
                .map(Value::Array),
            Bound::Object(object) => object
                .iter()
                .map(|(key, item)| Ok((key.clone(), self.part(key, item)?)))
                .collect::<Result<serde_json::Map<_, _>, _>>()
                .map(Value::Object),
        }
    }

    fn part(&mut self, part: &str, bound: &Bound) -> Result<Value, BindFault> {
        let length = self.at.len();
        self.at.push('/');
        self.at.push_str(&escape_pointer(part));
        let value = self.bind(bound)?;
        self.at.truncate(length);
        Ok(value)
    }

    fn value(&mut self, expression: &Expression) -> Result<Value, BindFault> {
        let fault = |fault| BindFault {
            at: self.at.clone(),
            expression: expression.as_str().to_owned(),
            fault,
        };
        let value = expression.evaluate(self.scope).map_err(fault)?;
        let bytes =
            value_size(&value, self.left).ok_or_else(|| fault(EvaluationFault::TooLarge))?;
        self.left -= bytes;
        Ok(value)
    }

    fn text(&mut self, pieces: &[Piece]) -> Result<String, BindFault> {
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Plain(plain) => text.push_str(plain),
                Piece::Expression(expression) => {
                    let value = self.value(expression)?;
                    match value.as_str() {
                        Some(value) => text.push_str(value),
                        None => text.push_str(&value.to_string()),
                    }
                }
            }
        }
        Ok(text)
    }
}
