//! The state of a run: the fold of its events, and nothing else.
//!
//! It is what the run's row keeps, as compact JSON; `replay` of the log must give the same bytes.
//! Prompts and outputs are not in here, only the places where they stand in the log.
//! What is *not* here: how it changes (`apply`). Read `transitions` next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::budget::{Account, AccountId, Amount, Hold, Path};
use crate::error::{Error, FailingAccount, Result};
use crate::event::run::{AbortReason, PauseReason, RunCreated, Subject};
use crate::event::step::{DoubtEnd, WaitingFor};
use crate::event::{BlockReason, PartRef, RunStatus, StepStatus};
use crate::id::{
    Actor, AgentName, AgentVersion, Digest, ModelId, Opaque, RunId, StepKey, StepName, WorkflowName,
};
use crate::money::NanoUsd;
use crate::policy::RiskTier;
use crate::run::{Approval, HoldKey, Nested};
use crate::time::Timestamp;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Where a step waits, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// What has to be cleared.
    pub reason: BlockReason,
    /// More precisely, by code.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// What had no room, in which accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<FailingAccount>,
}

impl Block {
    /// A block that a code alone tells.
    pub const fn new(reason: BlockReason, code: String) -> Self {
        Self {
            reason,
            code,
            failing: Vec::new(),
        }
    }
}

/// What a step suspended with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspension {
    /// What it waits for.
    pub waiting_for: WaitingFor,
    /// Where its checkpoint stands.
    pub checkpoint: PartRef,
    /// Where what it waited for stands, once it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<PartRef>,
}

/// What a journaled call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    /// A model call.
    Model,
    /// A tool call.
    Tool,
    /// A value computed once.
    Once,
}

/// Where a journaled call stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CallState {
    /// It is out, for this attempt.
    Open {
        /// The attempt.
        attempt: u32,
    },
    /// The provider refused it; it is tried again.
    Throttled {
        /// When.
        retry_at: Timestamp,
    },
    /// It was answered: a later attempt gets the answer from the log.
    Answered {
        /// The event with the answer.
        seq: u64,
        /// The hash of the answer.
        answer: Digest,
    },
    /// It failed, or nobody knows.
    Failed,
    /// It failed, and nothing was billed.
    Released,
}

/// A journaled call of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// What it is.
    pub kind: CallKind,
    /// The hash of the request.
    pub request: Digest,
    /// The model, of a model call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelId>,
    /// The tool, of a tool call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<Opaque>,
    /// The tier, of a tool call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<RiskTier>,
    /// Since when and how often the provider refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
    /// What its step's hold grew by for it, while it is open.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub extended: Amount,
    /// Where it stands.
    pub state: CallState,
}

/// Since when and how often a provider refused a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// Since when.
    pub since: Timestamp,
    /// How often.
    pub times: u32,
}

/// The items of a `for_each`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expansion {
    /// How many there are.
    pub count: u32,
    /// How many have ended.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ended: u32,
    /// How many were ever dispatched; items go out in order.
    #[serde(default, skip_serializing_if = "is_default")]
    pub begun: u32,
    /// How many failed without being tolerated.
    #[serde(default, skip_serializing_if = "is_default")]
    pub failed: u32,
    /// How many are to be done again and have not gone out since.
    #[serde(default, skip_serializing_if = "is_default")]
    pub again: u32,
}

/// A step, once something happened to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Where it stands.
    pub status: Status,
    /// What blocks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<Block>,
    /// Attempts begun.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attempt: u32,
    /// Attempts begun before an operator let it try afresh; they no longer count.
    #[serde(default, skip_serializing_if = "is_default")]
    pub forgiven: u32,
    /// The epoch of the attempt that has the live token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<u64>,
    /// Its agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// The version of the agent that has or had the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<AgentVersion>,
    /// The tier of its attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<RiskTier>,
    /// The same for every attempt of this intent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect_key: Option<Digest>,
    /// Where the bound input stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<PartRef>,
    /// Where the output stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<PartRef>,
    /// When the first attempt went out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_at: Option<Timestamp>,
    /// When it goes on by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake_at: Option<Timestamp>,
    /// When it may go on once no abandoned attempt is out, where that is earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_from: Option<Timestamp>,
    /// The code of the last failure.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// It failed, and the run goes on without it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tolerated: bool,
    /// What it suspended with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspension: Option<Suspension>,
    /// Attempts whose token was revoked and that have not ended.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub abandoned: BTreeSet<u32>,
    /// The journal, by ordinal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub calls: BTreeMap<u32, Call>,
    /// The last request for approval of the step itself, by its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<u32>,
    /// What was billed since its approval was used.
    #[serde(default, skip_serializing_if = "is_default")]
    pub billed: NanoUsd,
    /// The last request for approval of each tool call, by its ordinal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub asked: BTreeMap<u32, u32>,
    /// A tool call of it went out that cannot be undone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub acted: bool,
    /// What somebody found out about it after its run had ended; it may have happened unless they said
    /// that it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt_end: Option<DoubtEnd>,
    /// The model whose provider failed the last call of its attempt, and not for the request's sake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<ModelId>,
    /// It was taken back to be done again, and has not gone out since: its needs are judged anew, and an
    /// item's turn comes as if it had never been.
    #[serde(default, skip_serializing_if = "is_default")]
    pub again: bool,
    /// The run that was nested for it last, if it is composed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nested: Option<RunId>,
    /// Its items, if it is a `for_each`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expansion: Option<Expansion>,
}

impl Step {
    /// Whether its attempt may have done what cannot be undone: its tier says so, or a tool call of
    /// such a tier is out.
    pub fn may_have_acted(&self) -> bool {
        self.risk.is_some_and(|risk| !risk.is_repeatable()) || self.has_lasting_call_out()
    }

    /// Whether somebody said that it happened, or gave up to find out, after its run had ended.
    pub const fn may_have_happened(&self) -> bool {
        matches!(self.doubt_end, Some(DoubtEnd::Happened | DoubtEnd::Abort))
    }

    /// What takes the token of an attempt that has not ended.
    pub const CUT_OFF: [&str; 3] = ["budget_exceeded", "no_progress", "guardrail"];

    /// Why its last attempt lost its token to a budget or a rule, where that may have done what cannot
    /// be undone: it is not simply done again.
    pub fn cut_off(&self) -> Option<&'static str> {
        let code = Self::CUT_OFF.into_iter().find(|code| self.code == *code);
        code.filter(|_| self.live.is_none() && self.may_have_acted())
    }

    /// Whether its attempt has a tool call out that cannot be undone.
    pub fn has_lasting_call_out(&self) -> bool {
        let lasting = |risk: Option<RiskTier>| risk.is_some_and(|risk| !risk.is_repeatable());
        let out = |call: &Call| match call.state {
            CallState::Open { attempt } => attempt == self.attempt && lasting(call.risk),
            CallState::Throttled { .. }
            | CallState::Answered { .. }
            | CallState::Failed
            | CallState::Released => false,
        };
        self.calls.values().any(out)
    }
}

/// A step's status with `waiting` as the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Status(pub StepStatus);

impl Default for Status {
    fn default() -> Self {
        Self(StepStatus::Waiting)
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum End {
    /// Every step that had to is completed.
    Completed,
    /// A step failed for good.
    Failed {
        /// The step.
        step: StepKey,
        /// Its code.
        code: String,
    },
    /// An operator, a budget or a policy ended it.
    Aborted {
        /// Why.
        reason: AbortReason,
    },
}

/// The state of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The run.
    pub run_id: RunId,
    /// What it was started with.
    pub created: RunCreated,
    /// Who started it; of a nested run, who started the outermost one.
    pub started_by: Actor,
    /// Where it stands.
    pub status: RunStatus,
    /// Why no new step is dispatched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<PauseReason>,
    /// Its evidence is complete.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sealed: bool,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Where its input stands.
    pub input: PartRef,
    /// Its events so far.
    pub events: u64,
    /// Its steps: those to which something happened.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub steps: BTreeMap<StepKey, Step>,
    /// Its own accounts: of the run, and of its steps.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub accounts: BTreeMap<AccountId, Account>,
    /// Holds that are open or in doubt.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub holds: BTreeMap<HoldKey, Hold>,
    /// Since when each of them is in doubt that is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub doubts: BTreeMap<HoldKey, Timestamp>,
    /// Everything that was ever asked of a person, by number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub approvals: BTreeMap<u32, Approval>,
    /// The runs that are or were nested in it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nested: BTreeMap<RunId, Nested>,
    /// Signals that no step has taken yet, in order of arrival.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<(Opaque, PartRef)>,
    /// How often each tool was called, in sealed runs nested in it too; a call that is made again because
    /// its attempt was cut off counts once.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tool_uses: BTreeMap<Opaque, u64>,
    /// The tool calls that cannot be undone and were answered, in sealed runs nested in it too: tool and
    /// parameters, as one hash.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub acts: BTreeSet<Digest>,
}

impl Run {
    /// The workflow and its version; none for a session.
    pub const fn workflow(&self) -> Option<(&WorkflowName, u32)> {
        match &self.created.subject {
            Subject::Workflow { name, version } => Some((name, *version)),
            Subject::Session { .. } => None,
        }
    }

    /// The definition that the run is pinned to; zeros for a session.
    pub fn definition_hash(&self) -> Digest {
        self.created.definition_hash.unwrap_or(Digest::ZERO)
    }

    /// A step, or the state of one to which nothing happened yet.
    pub fn step(&self, key: &StepKey) -> Option<&Step> {
        self.steps.get(key)
    }

    /// A step's status; of one that nothing happened to, what the run's status makes of it.
    pub fn step_status(&self, key: &StepKey) -> StepStatus {
        match self.steps.get(key) {
            Some(step) => step.status.0,
            None if self.status.is_terminal() => StepStatus::Cancelled,
            None => StepStatus::Waiting,
        }
    }

    /// The status of a step by its name.
    pub fn status_of(&self, name: &StepName) -> StepStatus {
        self.step_status(&StepKey::of(name))
    }

    /// The run's own account.
    pub fn account(&self) -> Account {
        self.accounts
            .get(&AccountId::Run(self.run_id))
            .cloned()
            .unwrap_or_default()
    }

    /// What was settled for the run.
    pub fn spent(&self) -> Amount {
        *self.account().spent()
    }

    /// What its holds and doubts have.
    pub fn held(&self) -> Amount {
        let account = self.account();
        account.reserved().saturating_add(account.in_doubt())
    }

    /// The accounts that money of a step counts in, in the name of an agent: those of the runs that it is
    /// nested in too.
    pub fn path(&self, step: &StepKey, agent: &AgentName) -> Path {
        let name = StepName::new(step.name()).ok();
        let workflow = self
            .workflow()
            .map(|(name, ..)| AccountId::Workflow(name.clone()));
        let step = name.map(|name| AccountId::Step(self.run_id, StepKey::of(&name)));
        [
            AccountId::Workspace,
            AccountId::Agent(agent.clone()),
            AccountId::Run(self.run_id),
        ]
        .into_iter()
        .chain(workflow)
        .chain(step)
        .chain(self.created.tags.iter().cloned().map(AccountId::Tag))
        .chain(self.outer_accounts())
        .collect()
    }

    /// Whether no attempt, hold, doubt or nested run is open.
    pub fn is_settled(&self) -> bool {
        let quiet = |step: &Step| {
            step.live.is_none()
                && step.abandoned.is_empty()
                && step
                    .block
                    .as_ref()
                    .is_none_or(|b| b.reason != BlockReason::InDoubt)
        };
        self.holds.is_empty() && self.steps.values().all(quiet) && self.unsealed().next().is_none()
    }

    /// The earliest time at which a step goes on by itself.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let moves = !self.status.is_terminal() && self.paused.is_none();
        let steps = self.steps.values().filter(|_| moves);
        let wakes = steps.filter_map(|step| step.wake_at);
        wakes
            .chain(self.doubts_until().map(|(_, until)| until))
            .chain(self.approvals_until())
            .min()
    }

    /// When requests end that nobody has decided, and approvals that nobody has used.
    pub fn approvals_until(&self) -> impl Iterator<Item = Timestamp> {
        let open = self.approvals.values().filter(|one| one.is_open());
        open.map(|one| one.expires_at)
    }

    /// Until when somebody can say what the money in doubt was billed.
    pub fn doubts_until(&self) -> impl Iterator<Item = (&HoldKey, Timestamp)> {
        let span = std::time::Duration::from_millis(self.created.policy.doubt_settle_after_ms);
        self.doubts
            .iter()
            .map(move |(key, since)| (key, since.after(span)))
    }

    /// Takes over which holds are in doubt after an event that can change that.
    pub(super) fn note_doubts(&mut self, at: Timestamp) {
        let holds = &self.holds;
        let in_doubt = |key: &HoldKey| holds.get(key).is_some_and(Hold::is_in_doubt);
        self.doubts.retain(|key, _| in_doubt(key));
        for (key, _) in holds.iter().filter(|(_, hold)| hold.is_in_doubt()) {
            self.doubts.entry(key.clone()).or_insert(at);
        }
    }

    /// The bytes of the state: compact JSON with the keys in the order of the fields.
    ///
    /// # Errors
    /// `Internal`, which cannot happen for this shape.
    pub fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|e| Error::internal("a run cannot be written").with_source(e))
    }

    /// Reads a state back.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|e| Error::corrupt("run_state", None).with_source(e))
    }
}

/// A run that is shared until somebody changes it.
pub type SharedRun = Arc<Run>;
