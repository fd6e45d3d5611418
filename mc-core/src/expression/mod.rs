//! Expressions: a small subset of CEL that always ends.
//!
//! Paths (`inputs.a.b`, `steps.NAME.output`, `item`, `index`), literals, comparison, `&& || !`,
//! `in`, `size()`, `has()`, `startsWith()`, `under()`, `host()` and `+`. There are no macros, so an expression looks at each value a
//! bounded number of times. `docs/workflows.md` has the grammar.
//! What is *not* here: where expressions stand in a definition (`read`), and bindings (`binding`).

mod binding;
mod evaluate;
mod function;
mod parse;
mod token;
mod value;

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::id::StepName;

pub(crate) use binding::whole_expression;
pub use binding::{BindFault, BindingFault, InputBinding};
pub use evaluate::{EvaluationFault, Scope};
use parse::{Node, Root, Segment, Subject};
pub(crate) use value::size as value_size;

/// The largest joined input of a step, in bytes of about its compact JSON: texts and keys count as
/// they are, any other value 8.
pub const MAX_JOINED_INPUT_BYTES: u64 = 64 * 1_024 * 1_024;
/// The longest expression, in bytes.
pub const MAX_EXPRESSION_BYTES: usize = 512;
/// The most nodes: literals, operators, calls and path segments.
pub const MAX_EXPRESSION_NODES: usize = 64;
/// The deepest nesting of parentheses, brackets, calls and `!`.
pub const MAX_EXPRESSION_DEPTH: usize = 16;

/// Why a text is not an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {reason}")]
pub struct ExpressionFault {
    /// The column, from 1, in characters.
    pub column: usize,
    /// The reason, as a sentence without a full stop.
    pub reason: String,
}

/// What an expression looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// One field of the run's input.
    Input(String),
    /// The run's input as a whole.
    WholeInput,
    /// A step's output.
    StepOutput(StepName),
    /// The item of a `for_each`.
    Item,
    /// The item's index.
    Index,
}

/// A parsed expression. A clone is cheap.
#[derive(Clone)]
pub struct Expression {
    source: Arc<str>,
    root: Arc<Node>,
}

impl Expression {
    /// Parses an expression; spaces around it are not part of it.
    ///
    /// # Errors
    /// An [`ExpressionFault`] with the column: a form that the grammar does not have, more than
    /// [`MAX_EXPRESSION_BYTES`], [`MAX_EXPRESSION_NODES`] or [`MAX_EXPRESSION_DEPTH`].
    pub fn parse(text: &str) -> Result<Self, ExpressionFault> {
        Self::parse_about(text, Subject::Run)
    }

    /// Parses a predicate over the parameters of a tool call, which it calls `params`. It is evaluated
    /// with them as the scope's inputs.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_predicate(text: &str) -> Result<Self, ExpressionFault> {
        Self::parse_about(text, Subject::Params)
    }

    fn parse_about(text: &str, subject: Subject) -> Result<Self, ExpressionFault> {
        let source = text.trim();
        let root = parse::parse(source, subject)?;
        Ok(Self {
            source: Arc::from(source),
            root: Arc::new(root),
        })
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// What it looks at, each once, in order.
    pub fn references(&self) -> Vec<Reference> {
        let mut found = Vec::new();
        collect(&self.root, &mut found);
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Its value.
    ///
    /// # Errors
    /// An [`EvaluationFault`]: a path leads nowhere, types do not fit, or a result is too large.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, EvaluationFault> {
        evaluate::evaluate(&self.root, scope).map(std::borrow::Cow::into_owned)
    }

    /// Its value, which has to be true or false.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate); also if the value is neither true nor false.
    pub fn holds(&self, scope: &Scope<'_>) -> Result<bool, EvaluationFault> {
        let value = evaluate::evaluate(&self.root, scope)?;
        let rule = "a condition is true or false";
        value
            .as_bool()
            .ok_or_else(|| EvaluationFault::types(rule, &[&*value]))
    }
}

fn collect(node: &Node, found: &mut Vec<Reference>) {
    match node {
        Node::Literal(_) => {}
        Node::List(items) | Node::Function(_, items) => {
            for item in items {
                collect(item, found);
            }
        }
        Node::Not(inner) | Node::Size(inner) => collect(inner, found),
        Node::Binary(_, left, right) => {
            collect(left, found);
            collect(right, found);
        }
        Node::Path(path) | Node::Has(path) => {
            found.push(match (&path.root, path.segments.first()) {
                (Root::Inputs | Root::Params, Some(Segment::Key(name))) => {
                    Reference::Input(name.clone())
                }
                (Root::Inputs | Root::Params, _) => Reference::WholeInput,
                (Root::Output(step), _) => Reference::StepOutput(step.clone()),
                (Root::Item, _) => Reference::Item,
                (Root::Index, _) => Reference::Index,
            });
            for segment in &path.segments {
                if let Segment::Computed(inner) = segment {
                    collect(inner, found);
                }
            }
        }
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Expression {}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${{{{ {} }}}}", self.source)
    }
}

#[cfg(test)]
mod tests;
