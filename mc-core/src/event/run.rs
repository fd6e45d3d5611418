//! Facts of events that begin, steer and end a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::budget::{AccountId, Amount, Limit, OnExceed};
use crate::error::FailingAccount;
use crate::event::nested::NestedIn;
use crate::id::{
    Actor, AgentName, Digest, LabelKey, Opaque, RunId, StepKey, StepName, TagName, WorkflowName,
};
use crate::policy::Mode;
use crate::time::Timestamp;

/// What a run executes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Subject {
    /// A version of a workflow.
    Workflow {
        /// The workflow.
        name: WorkflowName,
        /// Its version.
        version: u32,
    },
    /// A session: `guard` outside workflows, in the name of one agent.
    Session {
        /// The agent.
        agent: AgentName,
    },
}

/// A run's own budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunBudget {
    /// The limit.
    pub limit: Limit,
    /// What happens when it refuses for good.
    #[serde(default)]
    pub on_exceed: OnExceed,
}

/// How a run is to be treated; fixed at its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunPolicy {
    /// The no-progress rule.
    pub no_progress: Mode,
    /// Nobody answers: what only a person could clear ends the run, `aborted{policy}`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unattended: bool,
    /// The longest that a refused model call waits, in milliseconds.
    pub model_retry_max_elapsed_ms: u64,
    /// How long money may be in doubt before it counts as spent, in milliseconds; a week, if left
    /// out.
    #[serde(default = "a_week", skip_serializing_if = "is_a_week")]
    pub doubt_settle_after_ms: u64,
    /// What is done about a worst case that could never fit; `strict`, if left out.
    #[serde(default, skip_serializing_if = "PlanCheck::is_default")]
    pub plan_check: PlanCheck,
}

/// What is done about a run whose worst case could never fit its accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanCheck {
    /// Nothing; it is not worked out.
    Off,
    /// It is written down, and the run starts.
    Advisory,
    /// The run is refused before any agent is asked.
    #[default]
    Strict,
    /// As strict; and what it can cost is held for it from the start, so that no other run takes it.
    Reserving,
}

impl PlanCheck {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Facts of `run.planned`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunPlanned {
    /// What was to be done about it.
    pub check: PlanCheck,
    /// What the run can cost at most, as far as its steps have estimates: every attempt of every item.
    pub worst_case: Amount,
    /// Steps of which nothing bounds what they cost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unbounded: Vec<StepName>,
    /// The accounts in which it could never fit; where all of it was to be held, those without room.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub over: Vec<FailingAccount>,
    /// As `over`, of accounts whose limits are only looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observed: Vec<FailingAccount>,
    /// What is held for its steps from now on, until they go out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reserved: Vec<PlannedHold>,
}

/// What is held for a step before any of it goes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedHold {
    /// The step of this run.
    pub step: StepName,
    /// The workflow whose account it counts in: that of a nested run, for a composed step.
    pub workflow: WorkflowName,
    /// The agent whose account it counts in.
    pub agent: AgentName,
    /// All that it can cost.
    pub amount: Amount,
}

/// Why a part of what was held for a step is held for it no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanEnd {
    /// An attempt goes out in the same commit, and it is its hold from now on.
    Drawn,
    /// The step or the run has ended.
    Ended,
    /// Something of the run waits for room: it no longer has any more than others.
    LetGo,
}

/// Facts of `plan.released`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanReleased {
    /// The step.
    pub step: StepName,
    /// Which of the holds in `run.planned`, from 0.
    pub hold: u32,
    /// How much of it.
    pub amount: Amount,
    /// Why.
    pub reason: PlanEnd,
}

/// Facts of `run.refused`, an event of the workspace: there is no such run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRefused {
    /// The workflow.
    pub workflow: WorkflowName,
    /// Its version.
    pub version: u32,
    /// The hash of the input's bytes.
    pub input_digest: Digest,
    /// What was found.
    pub plan: RunPlanned,
}

/// Seven days in milliseconds.
pub const A_WEEK_MS: u64 = 7 * 24 * 3_600 * 1_000;

const fn a_week() -> u64 {
    A_WEEK_MS
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
const fn is_a_week(span: &u64) -> bool {
    *span == A_WEEK_MS
}

/// Facts of `run.created`. Part 0: the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunCreated {
    /// What is executed.
    pub subject: Subject,
    /// The definition that the run is pinned to, and that its chain begins with; none for a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition_hash: Option<Digest>,
    /// The hash of the input's bytes.
    pub input_digest: Digest,
    /// The run's own budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<RunBudget>,
    /// How it is treated.
    pub policy: RunPolicy,
    /// Searchable labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<LabelKey, Arc<str>>,
    /// Its tags: its money counts in the account of each.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<TagName>,
    /// The caller's own reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<Opaque>,
    /// The caller's key against double starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<Opaque>,
    /// The composed steps that it is nested in, the nearest first: its money counts in the accounts of
    /// each of their runs too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nested_in: Vec<NestedIn>,
    /// Who started the outermost run, of a nested one; none for any other, which whoever caused the
    /// event started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_by: Option<Actor>,
}

/// Facts of `run.started`: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunStarted {}

/// Why a run is paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PauseReason {
    /// An operator asked for it.
    Operator,
    /// An account with `on_exceed: pause` refused.
    Budget {
        /// The account.
        account: AccountId,
    },
    /// A step with `on_failure: pause` ran out of attempts.
    StepFailed {
        /// The step.
        step: StepKey,
    },
    /// An operator halted it: what is out stops as well.
    Halt {
        /// When what was out has to be gone.
        until: Timestamp,
    },
    /// A run that it is nested in is paused.
    Outer {
        /// That run.
        run: RunId,
    },
}

/// Facts of `run.paused`. Part 0: the operator's reason, where it was one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunPaused {
    /// Why.
    pub reason: PauseReason,
}

/// Facts of `run.resumed`: none. Part 0: the operator's reason, where it was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunResumed {}

/// Facts of `run.completed`: none; the outputs are those of the last steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunCompleted {}

/// Facts of `run.failed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunFailed {
    /// The step that failed.
    pub step: StepKey,
    /// Its code.
    pub code: String,
}

/// Why a run was aborted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AbortReason {
    /// An operator asked for it.
    Operator,
    /// An account with `on_exceed: abort` refused for good.
    Budget {
        /// The account that refused.
        account: AccountId,
    },
    /// A policy left no way on, and nobody was there to decide.
    Policy {
        /// The rule's code, e.g. `unknown_model`.
        code: String,
    },
    /// The process of a session died.
    HostLost,
    /// The run that it is nested in ended, or needs it no more.
    Outer {
        /// That run.
        run: RunId,
    },
}

/// Facts of `run.aborted`. Part 0: the operator's reason, where it was one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunAborted {
    /// Why.
    pub reason: AbortReason,
}

/// Facts of `run.sealed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSealed {
    /// Events of the run before this one.
    pub event_count: u64,
    /// The hash of the last of them; filled in where the bytes are written.
    pub last_event_hash: Digest,
}

/// Facts of `run.redriven`. Part 0: the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRedriven {
    /// The step that it goes on from.
    pub from: StepName,
    /// The steps that go back to `waiting`, sorted: that one, what comes after it, and what else the
    /// failure had ended.
    pub steps: Vec<StepName>,
    /// A `for_each` among them that goes on with the items that it has: those that completed stay so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_items: Option<StepName>,
}

/// Facts of `signal.received`. Part 0: what came with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalReceived {
    /// The signal's name.
    pub signal: Opaque,
    /// The hash of what came with it.
    pub digest: Digest,
}
