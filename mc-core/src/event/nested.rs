//! Facts of events that tie a composed step to the run that is nested in its own.
//!
//! All three stand in the outer run's chain. That an event of the nested run counts in the outer
//! runs' accounts too is said by the nested run's own `run.created` (`nested_in`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::budget::Amount;
use crate::id::{Digest, Opaque, RunId, StepKey, WorkflowName};

/// A composed step that a run is nested in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NestedIn {
    /// The outer run.
    pub run: RunId,
    /// Its step.
    pub step: StepKey,
}

/// Facts of `step.composed`. Part 0: the bound input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepComposed {
    /// The step.
    pub step: StepKey,
    /// How many runs were nested for it so far, this one counted.
    pub attempt: u32,
    /// The nested run.
    pub run: RunId,
    /// Its workflow.
    pub workflow: WorkflowName,
    /// The version of its workflow.
    pub version: u32,
    /// The definition that it is pinned to.
    pub definition_hash: Digest,
}

/// How a nested run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NestedEnd {
    /// Every step that had to is completed.
    Completed,
    /// A step of it failed for good.
    Failed,
    /// An operator, a budget or a policy ended it.
    Aborted,
}

/// Facts of `nested.ended`. Part 0: in words, where it did not complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NestedEnded {
    /// The composed step.
    pub step: StepKey,
    /// The nested run.
    pub run: RunId,
    /// How it ended.
    pub end: NestedEnd,
    /// What was settled in it, and in the runs nested in it, when it ended.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub spent: Amount,
    /// Something went out in it that cannot be undone: another run does not take its place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acted: bool,
}

/// Facts of `nested.sealed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NestedSealed {
    /// The composed step.
    pub step: StepKey,
    /// The nested run.
    pub run: RunId,
    /// All that was settled in it and in the runs nested in it: it counts in the outer run's account,
    /// and will not change any more.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub spent: Amount,
    /// How often each tool was called in them: it counts as called in the outer run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tool_uses: BTreeMap<Opaque, u64>,
    /// The tool calls made in them that cannot be undone: tool and parameters, as one hash.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub acts: BTreeSet<Digest>,
}
