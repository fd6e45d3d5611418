//! Approvals: what was asked of a person, and what became of it.
//!
//! | approval | trigger | becomes |
//! |---|---|---|
//! | pending | approve, reject | approved, rejected |
//! | approved | consume | consumed |
//! | pending, approved | void | voided |
//!
//! Every other pair is refused; rejected, consumed and voided absorb. `docs/state-machines.md` is
//! rendered from the function below. What is *not* here: who may decide, and what a decision lets
//! go (`sequencer::decide::approval`).

use serde::{Deserialize, Serialize};

use crate::budget::Amount;
use crate::event::PartRef;
use crate::event::approval::VoidReason;
use crate::id::{AgentName, Digest, ModelId, Opaque, OperatorName, StepKey};
use crate::policy::RiskTier;
use crate::time::Timestamp;

/// Where an approval stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// A person is asked.
    Pending,
    /// It was given and not used yet.
    Approved,
    /// It was refused.
    Rejected,
    /// It was used, once.
    Consumed,
    /// It ended unused, for this reason.
    Voided(VoidReason),
}

/// What can happen to an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalTrigger {
    /// A person says yes.
    Approve,
    /// A person says no.
    Reject,
    /// It is used by a dispatch.
    Consume,
    /// It ends unused.
    Void(VoidReason),
}

/// The state after a trigger, or none where the table has no such pair.
pub const fn approval_after(
    state: ApprovalState,
    trigger: ApprovalTrigger,
) -> Option<ApprovalState> {
    use ApprovalState as S;
    use ApprovalTrigger as T;
    match (state, trigger) {
        (S::Pending, T::Approve) => Some(S::Approved),
        (S::Pending, T::Reject) => Some(S::Rejected),
        (S::Approved, T::Consume) => Some(S::Consumed),
        (S::Pending | S::Approved, T::Void(reason)) => Some(S::Voided(reason)),
        (S::Pending, T::Consume)
        | (S::Approved, T::Approve | T::Reject)
        | (
            S::Rejected | S::Consumed | S::Voided(_),
            T::Approve | T::Reject | T::Consume | T::Void(_),
        ) => None,
    }
}

/// Something that was asked of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Where it stands.
    pub state: ApprovalState,
    /// The step.
    pub step: StepKey,
    /// The place of the call; none where the step itself asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u32>,
    /// The tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<Opaque>,
    /// The model, of a model call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelId>,
    /// The rule that wants a person's word, where it is not the tier that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The agent that is to act.
    pub agent: AgentName,
    /// The tier.
    pub risk: RiskTier,
    /// The hash of the exact parameter bytes.
    pub params_digest: Digest,
    /// Where these bytes stand.
    pub params: PartRef,
    /// The most that it may cost.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub maximum: Amount,
    /// How much it may cost is not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unbounded: bool,
    /// The first attempt that it let go, if it was of the step itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<u32>,
    /// When it was asked.
    pub requested_at: Timestamp,
    /// When it ends unused.
    pub expires_at: Timestamp,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<OperatorName>,
    /// Where the decision stands, or what ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<PartRef>,
}

impl Approval {
    /// Whether it can still be decided or used.
    pub const fn is_open(&self) -> bool {
        match self.state {
            ApprovalState::Pending | ApprovalState::Approved => true,
            ApprovalState::Rejected | ApprovalState::Consumed | ApprovalState::Voided(_) => false,
        }
    }

    /// Whether it says how much may be spent.
    pub const fn is_bounded(&self) -> bool {
        !self.unbounded
    }

    /// Whether a person is still asked.
    pub fn is_pending(&self) -> bool {
        self.state == ApprovalState::Pending
    }
}
