//! Facts of approvals: what was asked of a person, decided, used, and what ended unused.

use serde::{Deserialize, Serialize};

use crate::budget::Amount;
use crate::id::{AgentName, Digest, ModelId, Opaque, StepKey};
use crate::policy::RiskTier;
use crate::time::Timestamp;

/// Facts of `approval.requested`. Part 0: the exact parameter bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRequested {
    /// Its number in the run, from 1.
    pub number: u32,
    /// The step.
    pub step: StepKey,
    /// The place of the call in the step's journal; none where the step itself asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u32>,
    /// The tool that is to be called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<Opaque>,
    /// The model that is to be called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelId>,
    /// The rule that wants a person's word, where it is not the tier that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The agent that is to act.
    pub agent: AgentName,
    /// The tier of what it is to do.
    pub risk: RiskTier,
    /// The hash of the exact parameter bytes.
    pub params_digest: Digest,
    /// The most that it may cost.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub maximum: Amount,
    /// How much it may cost is not known: its step has no estimate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unbounded: bool,
    /// The version of the policy that asks; 0 for the default policy.
    pub policy_version: u32,
    /// When the request ends, and an approval with it that was not used.
    pub expires_at: Timestamp,
}

/// What a person decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalVerdict {
    /// It may be done, once.
    Approved,
    /// It may not be done.
    Rejected,
}

/// Facts of `approval.decided`. Part 0: the verdict with the operator's reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalDecided {
    /// The number of the request.
    pub number: u32,
    /// The step.
    pub step: StepKey,
    /// What was decided.
    pub verdict: ApprovalVerdict,
}

/// Facts of `approval.consumed`: the dispatch that it is used for is in the same commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalConsumed {
    /// The number of the request.
    pub number: u32,
    /// The step.
    pub step: StepKey,
    /// The attempt that it lets go.
    pub attempt: u32,
    /// The intent that it is used up for: no other can use it.
    pub effect_key: Digest,
}

/// Why a request or an approval ended unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoidReason {
    /// Its time was over.
    Expired,
    /// An operator took it back.
    Revoked,
    /// Other parameters are to be used than were shown.
    ParamsChanged,
    /// The policy in force is tighter than the one that it was asked under, or asks nobody any more.
    PolicyChanged,
    /// It would cost more than was shown.
    OverMaximumCost,
    /// Its step, its run or the attempt that asked has ended.
    StepEnded,
}

/// Facts of `approval.voided`. Part 0: what whoever waits for it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalVoided {
    /// The number of the request.
    pub number: u32,
    /// The step.
    pub step: StepKey,
    /// Why.
    pub reason: VoidReason,
}

/// Why an operator's word about an approval does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalRefusal {
    /// Somebody has decided it already.
    Decided,
    /// It was used already.
    Used,
    /// Its time is over.
    Expired,
    /// An operator took it back.
    Revoked,
    /// Other parameters are to be used than were shown.
    ParamsChanged,
    /// The policy in force is tighter than the one that it was asked under.
    PolicyChanged,
    /// It would cost more than was shown.
    OverMaximumCost,
    /// Its step or its run has ended.
    StepEnded,
    /// Whoever started the run may not approve this tier.
    FourEyes,
    /// Whoever asks may not approve.
    Requester,
    /// The policy names who may decide, and this operator is not among them.
    NotAnOperator,
    /// It has not been given, so that it cannot be taken back.
    Pending,
}

/// Facts of `approval.refused`. Part 0: the operator's reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRefused {
    /// The number of the request.
    pub number: u32,
    /// The step.
    pub step: StepKey,
    /// Why it does not count.
    pub reason: ApprovalRefusal,
}
