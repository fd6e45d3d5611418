//! Questions to the log, answered in pages.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::{Actor, AgentName, LabelKey, RunId, WorkflowName};
use crate::money::NanoUsd;
use crate::run::RunStatus;
use crate::time::Timestamp;

/// The largest page.
pub const MAX_PAGE: usize = 1_000;

/// A place between two rows, opaque to the caller; valid as long as the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

impl Cursor {
    /// Makes a cursor of an adapter's own text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, to be handed back as it is.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One page of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows, in order.
    pub items: Vec<T>,
    /// Where the next page begins; none if this was the last.
    pub next: Option<Cursor>,
}

/// Which runs: every field that is given must hold. Newest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunQuery {
    /// Runs of this workflow.
    pub workflow: Option<WorkflowName>,
    /// Runs with a step of this agent.
    pub agent: Option<AgentName>,
    /// Runs in this status.
    pub status: Option<RunStatus>,
    /// Runs with this label.
    pub label: Option<(LabelKey, Arc<str>)>,
    /// Runs started at or after this time.
    pub started_from: Option<Timestamp>,
    /// Runs started before this time.
    pub started_before: Option<Timestamp>,
    /// Runs that spent at least this.
    pub spent_at_least: Option<NanoUsd>,
    /// Runs that spent at most this.
    pub spent_at_most: Option<NanoUsd>,
    /// Where to go on.
    pub cursor: Option<Cursor>,
    /// At most so many rows, from 1 to [`MAX_PAGE`]; 0 stands for 100.
    pub limit: usize,
}

/// Which events: every field that is given must hold. Oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EventQuery {
    /// Events of this type, e.g. `step.dispatched`.
    pub kind: Option<Arc<str>>,
    /// Events that this actor caused.
    pub actor: Option<Actor>,
    /// Events of this run.
    pub run_id: Option<RunId>,
    /// Events at or after this time.
    pub from: Option<Timestamp>,
    /// Events before this time.
    pub before: Option<Timestamp>,
    /// Where to go on.
    pub cursor: Option<Cursor>,
    /// At most so many rows, from 1 to [`MAX_PAGE`]; 0 stands for 100.
    pub limit: usize,
}

/// The size of a page that a query asks for.
///
/// # Errors
/// `InvalidInput` above [`MAX_PAGE`].
pub fn page_size(limit: usize) -> Result<usize> {
    match limit {
        0 => Ok(100),
        n if n <= MAX_PAGE => Ok(n),
        _ => Err(Error::invalid(
            "limit",
            format!("a page has at most {MAX_PAGE} rows"),
        )),
    }
}
