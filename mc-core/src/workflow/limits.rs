//! The limits of definitions and of what flows between steps. Each is named in its error.

use std::time::Duration;

pub use crate::expression::MAX_JOINED_INPUT_BYTES;
pub use crate::form::{MAX_SCHEMA_BYTES, MAX_VIOLATIONS};

/// The most levels of workflows that use others: so many runs may be nested in one another, the
/// outermost not counted.
pub const MAX_NESTING: usize = 8;
/// The most steps of a workflow.
pub const MAX_STEPS: usize = 1_000;
/// The most edges: all `needs` of all steps together.
pub const MAX_EDGES: usize = 5_000;
/// The most items of a `for_each`, and the default of `max_items`.
pub const MAX_ITEMS: u32 = 10_000;
/// The default of `max_parallel`: items of one `for_each` in flight.
pub const DEFAULT_MAX_PARALLEL: u32 = 256;

/// The largest definition as a document, in bytes.
pub const MAX_DEFINITION_BYTES: usize = 64 * 1_024 * 1_024;
/// The most tools that a step names.
pub const MAX_TOOLS: usize = 256;
/// The most tags of a run: each is one more account that its money counts in.
pub const MAX_TAGS: usize = 8;
/// The most labels of a run.
pub const MAX_LABELS: usize = 32;
/// The longest value of a label, in bytes.
pub const MAX_LABEL_VALUE_BYTES: usize = 256;
/// The most cycles that one error names.
pub const MAX_CYCLES_NAMED: usize = 100;
/// The longest time-out.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 86_400);
/// The largest count of tokens or calls in a definition: what a signed 64-bit integer holds.
pub const MAX_COUNT: u64 = i64::MAX as u64;
