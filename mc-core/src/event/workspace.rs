//! Facts of events that belong to the workspace: run zero.

use serde::{Deserialize, Serialize};

use crate::id::{AgentName, Digest, ModelId, RuleId, WorkflowName, WorkspaceId};
use crate::policy::Mode;
use crate::pricing::PriceLayer;
use crate::time::Timestamp;

/// Facts of `workspace.created`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceCreated {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The format of the log.
    pub format: u32,
}

/// Facts of `epoch.started`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochStarted {
    /// The new epoch.
    pub epoch: u64,
    /// The version of the engine.
    pub engine: String,
}

/// Facts of `clock.jumped`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockJumped {
    /// What the wall clock said, Unix microseconds.
    pub wall: Timestamp,
    /// What the monotonic clock led to expect.
    pub expected: Timestamp,
}

/// Facts of `clock.confirmed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockConfirmed {
    /// What the wall clock said, Unix microseconds.
    pub wall: Timestamp,
}

/// Facts of `halt.placed`. Part 0: the operator's reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HaltPlaced {
    /// The agent; none for everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// When what was out has to be gone.
    pub until: Timestamp,
}

/// Facts of `halt.lifted`. Part 0: the operator's reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HaltLifted {
    /// The agent; none for everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
}

/// Facts of `workflow.published`. Part 0: the definition's canonical bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkflowPublished {
    /// The workflow.
    pub workflow: WorkflowName,
    /// The version, from 1.
    pub version: u32,
    /// The hash of the definition.
    pub definition_hash: Digest,
}

/// Facts of `workflow.activated`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkflowActivated {
    /// The workflow.
    pub workflow: WorkflowName,
    /// The version that new runs take.
    pub version: u32,
}

/// One layer of the prices in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerVersion {
    /// The layer.
    pub layer: PriceLayer,
    /// The hash of its canonical bytes.
    pub version: Digest,
}

/// Facts of `prices.loaded`. Part 0: the table's canonical bytes; then those of each layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PricesLoaded {
    /// The version: the hash of the table.
    pub price_version: Digest,
    /// Its label.
    pub label: String,
    /// What it is made of, from below; empty where it is the host's table alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerVersion>,
}

/// Facts of `policy.published`. Part 0: the policy's canonical bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyPublished {
    /// The version, from 1.
    pub version: u32,
    /// The hash of the policy.
    pub policy_hash: Digest,
}

/// Facts of `circuit.opened`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CircuitOpened {
    /// The model, with its provider.
    pub model: ModelId,
    /// Refusals and failures in a row.
    pub failures: u32,
    /// When it lets a call through again.
    pub until: Timestamp,
}

/// Facts of `circuit.half_opened`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CircuitHalfOpened {
    /// The model, with its provider.
    pub model: ModelId,
}

/// Facts of `circuit.closed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CircuitClosed {
    /// The model, with its provider.
    pub model: ModelId,
}

/// Facts of `admission.judged`. Part 0: why, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmissionJudged {
    /// The workflow of which a run was to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<WorkflowName>,
    /// The agent for which a session was to open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// The rule's id.
    pub rule: RuleId,
    /// The version of the policy that has it.
    pub policy_version: u32,
    /// Its mode: in `observe` the verdict changes nothing.
    pub mode: Mode,
    /// `deny` or `halt`.
    pub verdict: String,
    /// The kind of rule, e.g. `max_runs_in_flight`; `rule_error` where it could not be answered.
    pub code: String,
    /// The hash of what was judged.
    pub inputs_hash: Digest,
}
