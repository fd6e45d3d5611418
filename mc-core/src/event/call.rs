//! Facts of events of model calls, tool calls and values computed once.
//!
//! A call's ordinal counts the journaled calls of its intent, from 0. `hold` names where its money
//! is held: in the step's own hold (an escrow), or in one of its own.

use serde::{Deserialize, Serialize};

use crate::budget::Amount;
use crate::error::FailingAccount;
use crate::event::step::HALTED;
use crate::id::{AgentName, Digest, ModelId, Opaque, StepKey};
use crate::policy::guard::Checkpoint;
use crate::policy::{Mode, RiskTier};
use crate::pricing::{CallTerms, ServiceTier};
use crate::time::Timestamp;
use crate::usage::{Usage, UsageEntry};

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
const fn is_zero(version: &u32) -> bool {
    *version == 0
}

/// Facts of `model_call.reserved`. Parts: the request, message by message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCallReserved {
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// The call's place in the journal.
    pub ordinal: u32,
    /// The agent in whose name it goes, where that is not the step's: it has a hold of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// The model that is asked.
    pub model: ModelId,
    /// The hash of the request.
    pub request: Digest,
    /// The terms that select its prices, where they are not the usual ones.
    #[serde(default, skip_serializing_if = "CallTerms::is_default")]
    pub terms: CallTerms,
    /// The worst case, held.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub amount: Amount,
    /// How much of it the hold had to grow by; the rest was in the escrow already.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub extended: Amount,
    /// What of the worst case is not held: the call was out already, and no account had room for it.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub unheld: Amount,
    /// The most output tokens that may be asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u64>,
    /// The output limit that the caller wanted, where there was no room for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clamped_from: Option<u64>,
    /// The price table's version.
    pub price_version: Digest,
    /// The approval that it uses, where a person was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<u32>,
}

/// Facts of `model_call.settled`. Parts: the answer, then the reasoning if there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCallSettled {
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// The call's place in the journal.
    pub ordinal: u32,
    /// The model that was asked.
    pub model: ModelId,
    /// The model that answered, where it calls itself by another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<ModelId>,
    /// The service tier that the provider says it charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<ServiceTier>,
    /// The hash of the answer.
    pub answer: Digest,
    /// What it used.
    pub usage: Usage,
    /// What it used call by call, where it stands for several: each is priced by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<UsageEntry>,
    /// What leaves the hold.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub held: Amount,
    /// What is spent: all of it, even beyond what was held.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub actual: Amount,
    /// What a hold of its own gives back, or what is left of what the escrow grew by for it.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub released: Amount,
    /// The version of the table that it is charged by: that of its reservation, or with `price_rose` the
    /// dearer one in force; the row is that of the time at which the call was reserved.
    pub price_version: Digest,
    /// How long it took, in milliseconds.
    pub latency_ms: u64,
    /// `usage_missing`, `unpriced`, `model_changed`, `tier_changed`, `cut`, `observed`, `overrun`,
    /// `price_rose`, `answer_refused`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

/// Facts of `model_call.throttled`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCallThrottled {
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// The call's place in the journal.
    pub ordinal: u32,
    /// The model that refused.
    pub model: ModelId,
    /// The provider's status code, 0 if it has none.
    pub status: u16,
    /// Refusals of this call so far.
    pub refusals: u32,
    /// When it was refused first.
    pub since: Timestamp,
    /// When it is tried again.
    pub retry_at: Timestamp,
    /// How long the provider asked to wait, in milliseconds, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// What a hold of its own gives back, or what the escrow grew by for it.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub released: Amount,
}

/// Facts of `model_call.released`. Part 0: the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCallReleased {
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// The call's place in the journal.
    pub ordinal: u32,
    /// The model.
    pub model: ModelId,
    /// Why nothing was billed, by code: `not_sent`, `status_400`, `throttled_too_long`.
    pub code: String,
    /// What a hold of its own gives back.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub released: Amount,
    /// How long the provider asked to wait, where that was longer than the call may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// The code of a call that was released because its provider asked to wait for too long.
pub const THROTTLED_TOO_LONG: &str = "throttled_too_long";

/// The code of a call whose provider could not be reached.
pub const UNREACHABLE: &str = "unreachable";

impl ModelCallReleased {
    /// Whether its provider could not be reached, or did not want it for too long; what it refuses for
    /// the request's sake is another thing.
    pub fn tells_of_outage(&self) -> bool {
        [UNREACHABLE, THROTTLED_TOO_LONG].contains(&self.code.as_str())
    }
}

/// Facts of `model_call.doubted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCallDoubted {
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// The call's place in the journal.
    pub ordinal: u32,
    /// The model.
    pub model: ModelId,
    /// Why it is not known, by code: `timeout`, `reset`, `status_500`, `dropped`.
    pub code: String,
    /// What moves from reserved to in doubt.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub doubted: Amount,
}

impl ModelCallDoubted {
    /// Whether its provider left it open, and not we.
    pub fn tells_of_outage(&self) -> bool {
        let ours = ["dropped", "aborted", "abandoned", "crashed", HALTED];
        !ours.contains(&self.code.as_str())
    }
}

/// Facts of `model_call.denied`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCallDenied {
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// The call's place in the journal.
    pub ordinal: u32,
    /// The agent in whose name it would have gone, where that is not the step's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// The model that was to be asked.
    pub model: ModelId,
    /// Why: `budget_exceeded`, `unknown_model`, `stale_price`, `approval_rejected`, `approval_expired`,
    /// or the id of a rule of the policy.
    pub code: String,
    /// What was asked for.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub requested: Amount,
    /// Every account that refuses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<FailingAccount>,
}

/// Facts of `tool_call.dispatched`. Part 0: the exact parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCallDispatched {
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// The call's place in the journal.
    pub ordinal: u32,
    /// The tool.
    pub tool: Opaque,
    /// Its tier.
    pub risk: RiskTier,
    /// The hash of the exact parameter bytes.
    pub params_digest: Digest,
    /// The approval that it uses up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<u32>,
}

/// Facts of `tool_call.denied`. Part 0: the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCallDenied {
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// The call's place in the journal.
    pub ordinal: u32,
    /// The tool.
    pub tool: Opaque,
    /// The hash of the exact parameter bytes.
    pub params_digest: Digest,
    /// Why: `tool_not_allowed`, `tool_schema`, `approval_rejected`, `approval_expired`, or the id of
    /// a rule of the policy.
    pub code: String,
}

/// Facts of `tool_call.completed`. Part 0: the result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCallCompleted {
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// The call's place in the journal.
    pub ordinal: u32,
    /// The hash of the result.
    pub answer: Digest,
}

/// Facts of `tool_call.failed`. Part 0: the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCallFailed {
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// The call's place in the journal.
    pub ordinal: u32,
    /// The error's code.
    pub code: String,
}

/// Facts of `once.recorded`. Part 0: the value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnceRecorded {
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// The call's place in the journal.
    pub ordinal: u32,
    /// The hash of what was asked for: the name under which the value is kept.
    pub request: Digest,
    /// The hash of the value.
    pub answer: Digest,
}

/// Facts of `journal.diverged`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalDiverged {
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// The first place where it asked for something else.
    pub ordinal: u32,
    /// The hash of what an earlier attempt asked for there.
    pub recorded: Digest,
    /// The hash of what this attempt asks for.
    pub request: Digest,
}

/// Facts of `guardrail.judged`. Part 0: why, in words; not for `stale_price` and `no_progress`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardrailJudged {
    /// The step.
    pub step: StepKey,
    /// The attempt; 0 for a step that has not gone out.
    pub attempt: u32,
    /// The call that was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u32>,
    /// The checkpoint, where it is not `model_call`.
    #[serde(default, skip_serializing_if = "Checkpoint::is_default")]
    pub at: Checkpoint,
    /// The rule's id; it begins with `builtin.` where it is no rule of the policy but one of ours.
    pub rule: String,
    /// The version of the policy in force; 0 for the default policy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub policy_version: u32,
    /// Its mode: in `observe` the verdict changes nothing.
    pub mode: Mode,
    /// `clamp`, `dry_run`, `needs_approval`, `deny` or `halt`.
    pub verdict: String,
    /// The kind of rule, e.g. `max_cost_per_call`; `rule_error` where it could not be answered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// The hash of what was judged.
    pub inputs_hash: Digest,
}
