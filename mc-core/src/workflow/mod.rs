//! Workflows: definitions as data, their validation, versions by hash, and what flows between steps.
//!
//! YAML, JSON and the builder give one normal form ([`Definition`]) and one content hash.
//! [`Workflow`] is a definition with its schemas compiled. Everything in here is a pure function;
//! `docs/workflows.md` is the reference of every field.
//! What is *not* here: storing and activating versions, and running (`run`, `sequencer`).

pub(crate) mod as_canonical;
mod builder;
mod check;
mod compiled;
pub mod composition;
mod definition;
mod diff;
pub mod drawing;
pub mod chain;
mod graph;
mod labels;
pub mod limits;

mod read;
mod read_step;

mod uses;
mod write;

#[cfg(test)]
mod tests;

pub use crate::expression::{
    BindFault, EvaluationFault, Expression, ExpressionFault, InputBinding, Reference, Scope,
};
pub use crate::form::{Schema, SchemaFault};
pub use builder::{BudgetSpec, RetrySpec, StepSpec, WorkflowBuilder};
pub use compiled::Workflow;
pub(crate) use compiled::invalid;
pub use definition::{Budget, Definition, Estimate, Join, OnFailure, SCHEMA_VERSION, Step};
pub use diff::{Diff, StepChange, StepDiff, diff};
pub use labels::Labels;
pub use uses::{Uses, UsesFault, Work};
