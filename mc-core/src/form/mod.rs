//! Documents that people write: a reader that notes every problem with its place, and schemas.
//!
//! What a document means is *not* here: see `policy` (the policy file) and `workflow`
//! (definitions), which both read with it.

mod at;
mod document;
mod reader;
mod schema;

pub(crate) use at::At;
pub(crate) use document::{malformed, more, place, problem, schema_problem};
pub(crate) use reader::{Fields, Reader, Spelling};
pub use schema::{MAX_SCHEMA_BYTES, MAX_VIOLATIONS, Schema, SchemaFault};
