//! What is wrong with a document, as problems with their places.

use crate::error::{Detail, Error, Violation, WorkflowProblem};

use super::schema::{MAX_SCHEMA_BYTES, SchemaFault};

/// What is wrong with a document that cannot be read.
pub(crate) fn malformed(fault: &Error) -> Vec<WorkflowProblem> {
    let violations = match fault.detail() {
        Some(Detail::Violations(violations)) => violations.clone(),
        _ => vec![Violation::new("", fault.message())],
    };
    violations.into_iter().map(problem).collect()
}

/// Where a problem stands in the document, if at one place.
pub(crate) fn place(problem: &WorkflowProblem) -> Option<&str> {
    match problem {
        WorkflowProblem::UnknownStep { at, .. }
        | WorkflowProblem::UnknownInput { at, .. }
        | WorkflowProblem::Expression { at, .. }
        | WorkflowProblem::Schema { at, .. }
        | WorkflowProblem::Form { at, .. }
        | WorkflowProblem::Limit { at, .. }
        | WorkflowProblem::NotAvailable { at, .. } => Some(at),
        WorkflowProblem::Cycle { .. }
        | WorkflowProblem::UnknownAgent { .. }
        | WorkflowProblem::Unreachable { .. } => None,
    }
}

/// A broken rule as a problem.
pub(crate) fn problem(Violation { path, rule }: Violation) -> WorkflowProblem {
    WorkflowProblem::Form { at: path, rule }
}

/// How many more there are than the one that is told.
pub(crate) fn more<T>(found: &[T]) -> String {
    match found.len() {
        0 | 1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    }
}

/// Why a schema is none, at its place in the document.
pub(crate) fn schema_problem(fault: &SchemaFault, at: String) -> WorkflowProblem {
    match fault {
        SchemaFault::TooLarge => WorkflowProblem::Limit {
            name: "bytes in a schema".to_owned(),
            max: MAX_SCHEMA_BYTES,
            at,
        },
        SchemaFault::Outside { at: inner, .. } | SchemaFault::Invalid { at: inner, .. } => {
            WorkflowProblem::Schema {
                at: format!("{at}{inner}"),
                reason: fault.to_string(),
            }
        }
    }
}
