//! Facts of events that move a step and its attempts.
//!
//! `released` says what the end of an attempt gives back to every account of its hold. Calls that
//! were still open then have gone in doubt before, each by an event of its own.

use serde::{Deserialize, Serialize};

use super::status::BlockReason;
use crate::budget::Amount;
use crate::error::FailingAccount;
use crate::id::{AgentName, AgentVersion, Digest, ModelId, Opaque, StepKey};
use crate::policy::RiskTier;
use crate::pricing::ServiceTier;
use crate::time::Timestamp;
use crate::usage::{Usage, UsageEntry};

/// Facts of `step.dispatched`. Part 0: the bound input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepDispatched {
    /// The step.
    pub step: StepKey,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The agent that gets it.
    pub agent: AgentName,
    /// The agent's version, where its host names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<AgentVersion>,
    /// Its tier.
    pub risk: RiskTier,
    /// The same for every attempt of this intent.
    pub effect_key: Digest,
    /// The worst case that the hold takes from every account of its path.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub hold: Amount,
    /// The approval that covers it, used up by the first attempt of its intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<u32>,
}

/// Facts of `step.expanded`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepExpanded {
    /// The step.
    pub step: StepKey,
    /// The number of items.
    pub count: u32,
}

/// Facts of `step.completed`. Part 0: the output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepCompleted {
    /// The step.
    pub step: StepKey,
    /// The attempt; 0 for the join of a `for_each`.
    pub attempt: u32,
    /// What the hold gives back.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub released: Amount,
}

/// Facts of `attempt.failed`. Part 0: the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptFailed {
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// The error's code, e.g. `agent_failed`, `invalid_output`, `timeout`.
    pub code: String,
    /// Nobody began it, because whoever has the agent was gone, or it was halted before it was handed
    /// out: it does not count against the retries.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_begun: bool,
    /// Its last call failed at a model whose breaker is not closed: the provider is down, and it does not
    /// count against the retries.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outage: bool,
    /// When the next attempt starts; none if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// What the hold gives back.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub released: Amount,
}

/// Why an attempt's token was revoked while it was out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AbandonReason {
    /// It took longer than its step allows.
    Timeout,
    /// Its time was up while it waited for a provider that is down: it does not count.
    Outage,
    /// It repeated itself without progress.
    NoProgress,
    /// A budget refused it for good.
    Budget,
    /// A rule of the policy cut it.
    Guardrail,
    /// It did not stop in time when it was halted.
    Halt,
    /// Its run ended, or went on without it, while it may have done what cannot be undone.
    Abort,
}

/// The code of an attempt that a halt stopped: it does not count against the retries.
pub const HALTED: &str = "halted";

/// Facts of `attempt.abandoned`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptAbandoned {
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// Why.
    pub reason: AbandonReason,
    /// When the next attempt starts at the earliest; none if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// When the next attempt may start once this one's handler has ended, where that is earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_from: Option<Timestamp>,
    /// What the hold gives back.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub released: Amount,
}

/// Facts of `attempt.interrupted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptInterrupted {
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// The whole hold, in doubt whatever the tier.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub doubted: Amount,
}

/// Facts of `attempt.adopted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptAdopted {
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
}

/// Facts of `attempt.ended`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptEnded {
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
}

/// What a suspended step waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WaitingFor {
    /// A signal of this name.
    Signal {
        /// The signal's name.
        name: Opaque,
    },
    /// A point in time.
    Time {
        /// When it goes on.
        until: Timestamp,
    },
    /// The decision of a request for approval of this step.
    Approval {
        /// The number of the request in its run.
        number: u32,
    },
}

/// Facts of `step.suspended`. Part 0: the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepSuspended {
    /// The step.
    pub step: StepKey,
    /// The attempt that ended.
    pub attempt: u32,
    /// What it waits for.
    pub waiting_for: WaitingFor,
    /// What the hold gives back.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub released: Amount,
}

/// Facts of `step.blocked`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepBlocked {
    /// The step.
    pub step: StepKey,
    /// What has to be cleared.
    pub reason: BlockReason,
    /// More precisely, by code: the rule, `unknown_model`, `stale_price`, `only_doubt`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// Every account that refuses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<FailingAccount>,
}

/// Facts of `step.unblocked`. Part 0: the operator's reason, where it was one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepUnblocked {
    /// The step.
    pub step: StepKey,
    /// What was cleared.
    pub reason: BlockReason,
}

/// What became of a step that was in doubt, as somebody found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoubtEnd {
    /// It happened: its output follows.
    Happened,
    /// It did not happen: the step goes back to dispatch, and asks anew where it has to.
    DidNotHappen,
    /// Nobody will find out, or it is not wanted any more.
    Abort,
}

/// Facts of `step.resolved`. Part 0: the reason. Part 1: the output, if it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepResolved {
    /// The step.
    pub step: StepKey,
    /// The attempt that was in doubt.
    pub attempt: u32,
    /// What became of it.
    pub resolution: DoubtEnd,
    /// When the next attempt starts at the earliest, while handlers of earlier ones may be out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// When the next attempt may start once they have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_from: Option<Timestamp>,
}

/// Facts of `step.failed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepFailed {
    /// The step.
    pub step: StepKey,
    /// The error's code.
    pub code: String,
    /// The run goes on without it: its output counts as null.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tolerated: bool,
}

/// Why a step is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Its condition was false.
    When,
    /// Everything that it needs was skipped.
    Needs,
}

/// Facts of `step.skipped`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepSkipped {
    /// The step.
    pub step: StepKey,
    /// Why.
    pub reason: SkipReason,
}

/// Facts of `step.cancelled`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepCancelled {
    /// The step.
    pub step: StepKey,
    /// What the hold gives back.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub released: Amount,
}

/// Facts of `result.late`. Part 0: what was reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultLate {
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// `completed`, `failed`, `suspended`; of a call `settled`, `released`, `tool_completed` or
    /// `tool_failed`.
    pub outcome: String,
    /// The call that it settles, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u32>,
    /// What leaves the money in doubt.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub held: Amount,
    /// What is spent instead; nothing where the doubt was settled before, by somebody's word.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub actual: Amount,
    /// What the call used, where it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<LateUsage>,
}

/// What a call used that was answered late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LateUsage {
    /// The model that was asked.
    pub model: ModelId,
    /// The service tier that the provider says it charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<ServiceTier>,
    /// What it used.
    pub usage: Usage,
    /// As in `model_call.settled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<UsageEntry>,
    /// The price table's version.
    pub price_version: Digest,
    /// As in `model_call.settled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

/// Facts of `decision.recorded`. Parts: input, reasoning, outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionRecorded {
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
}

/// Facts of `side_effect.recorded`. Part 0: the target and the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideEffectRecorded {
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
}
