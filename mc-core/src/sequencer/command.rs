//! Commands: everything that can be asked of the sequencer.
//!
//! A command is data and can be decided again: after a failed commit those that did not reach the
//! log are. Who asks, and under which id, stands beside what is asked. Read `decision` next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::halt::HaltScope;
use super::output::Output;
use super::token::Token;
use crate::budget::{AccountId, Amount, InFlight, Limit, LimitMode, OnExceed, Window};
use crate::event::approval::ApprovalVerdict;
use crate::event::run::{RunBudget, RunPolicy};
use crate::event::step::WaitingFor;
use crate::id::{
    Actor, AgentName, AgentVersion, ApprovalId, AuthMethod, CommandId, Digest, LabelKey, ModelId,
    Opaque, OperatorName, RunId, StepKey, TagName, WorkflowName,
};
use crate::policy::{Policy, RiskTier};
use crate::ports::KeyRow;
use crate::pricing::{CallTerms, PriceChange, ServiceTier};
use crate::resilience::CallFailure;
use crate::run::HoldKey;
use crate::time::Timestamp;
use crate::usage::{Usage, UsageEntry};
use crate::workflow::Workflow;

/// A request with who asks for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Command {
    /// The command's id; all its events carry it.
    pub id: CommandId,
    /// Who asks.
    pub actor: Actor,
    /// How that is known.
    pub auth_method: AuthMethod,
    /// What is asked.
    pub request: Request,
}

/// What can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Store a version of a workflow.
    Publish(Publish),
    /// Let new runs take a version.
    Activate(Activate),
    /// Put a policy into force.
    PublishPolicy(#[serde(with = "crate::policy::as_canonical")] Policy),
    /// Start a run.
    Start(Box<Start>),
    /// Open a session.
    OpenSession(OpenSession),
    /// End a session; open calls go in doubt.
    CloseSession(RunId),
    /// End a run.
    Abort(Steer),
    /// Dispatch nothing more in a run.
    Pause(Steer),
    /// Go on.
    Resume(Steer),
    /// Let nothing go out, and stop what is out.
    Halt(Halt),
    /// Let what was halted go on; a run is resumed.
    Lift(Lift),
    /// Let a step that a rule blocked try afresh.
    Unblock(Steer, StepKey),
    /// Bring a signal to a run.
    Signal(RunId, Opaque, Arc<Value>),
    /// Approve or reject what is asked of a person.
    DecideApproval(DecideApproval),
    /// Take an approval back.
    RevokeApproval(OperatorWord),
    /// Say what became of a step in doubt.
    Resolve(Resolve),
    /// Let a failed run go on from a step.
    Redrive(Redrive),
    /// Change an account's limit.
    SetLimit(SetLimit),
    /// Raise an account's limit, or let it admit nothing or again.
    Adjust(Adjust),
    /// Change what lies over the host's prices.
    ChangePrices(PriceChange),
    /// Settle money in doubt with evidence.
    Reconcile(Reconcile),
    /// Something from an attempt.
    Attempt(Token, AttemptRequest),
    /// Agents are here: let steps that wait for them go.
    AgentsAvailable(Vec<(AgentName, Option<AgentVersion>)>),
    /// Agents are gone with the process that had them.
    AgentsGone(Vec<AgentName>),
    /// Begin to dispatch.
    StartDispatch,
    /// Dispatch nothing more: the process is going down.
    Drain,
    /// Do what is due.
    Tick,
    /// Take a run up after a crash or a soft restart.
    Recover(RunId, Vec<(StepKey, u32)>),
    /// Attempts of a run are gone with the process that had them; all others go on.
    HostLost(RunId, Vec<(StepKey, u32)>),
    /// Write down that the wall clock jumped.
    ClockJumped {
        /// What it shows.
        wall: Timestamp,
        /// What the monotonic clock led to expect.
        expected: Timestamp,
    },
    /// Write down that an operator says that the wall clock is right.
    ClockConfirmed {
        /// What it shows.
        wall: Timestamp,
    },
}

/// Stores a version of a workflow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Publish {
    /// The workflow, validated and compiled.
    #[serde(with = "crate::workflow::as_canonical")]
    pub workflow: Arc<Workflow>,
    /// Whether new runs take it from now on.
    pub activation: Activation,
}

/// Whether publishing also activates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// New runs take the version from now on.
    #[default]
    Now,
    /// Only stored.
    Later,
}

/// Lets new runs take a version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Activate {
    /// The workflow.
    pub workflow: WorkflowName,
    /// The version.
    pub version: u32,
}

/// A run that is steered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Steer {
    /// The run.
    pub run_id: RunId,
    /// Why, in the operator's words.
    pub reason: Arc<str>,
}

/// Lets nothing go out, and stops what is out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Halt {
    /// What is halted.
    pub scope: HaltScope,
    /// How long what is out has to end, in milliseconds.
    pub drain_ms: u64,
    /// Why, in the operator's words.
    pub reason: Arc<str>,
    /// Whose word it is.
    pub source: HaltSource,
}

/// Who halts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HaltSource {
    /// Somebody, now: every such word is written down.
    Word,
    /// The switch beside the store, which is looked at again and again.
    Switch,
}

/// Lets what was halted go on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lift {
    /// The agent; none for everything.
    pub agent: Option<AgentName>,
    /// Why, in the operator's words.
    pub reason: Arc<str>,
}

/// Starts a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// The id of the new run.
    pub run_id: RunId,
    /// The workflow.
    pub workflow: WorkflowName,
    /// The version; none for the active one.
    pub version: Option<u32>,
    /// The input.
    pub input: Arc<Value>,
    /// The run's own budget; none for the definition's.
    pub budget: Option<RunBudget>,
    /// How it is to be treated.
    pub policy: RunPolicy,
    /// Searchable labels.
    pub labels: BTreeMap<LabelKey, Arc<str>>,
    /// Its tags.
    pub tags: BTreeSet<TagName>,
    /// The caller's own reference.
    pub correlation_id: Option<Opaque>,
    /// The caller's key against double starts, and what the store knew of it.
    pub key: Option<StartKey>,
}

/// An idempotency key, looked up before the command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StartKey {
    /// The key.
    pub key: Opaque,
    /// The run that it started, where the store knows one.
    pub known: Option<KeyRow>,
    /// The head at which that was looked up.
    pub looked_up_at: u64,
}

/// Opens a session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OpenSession {
    /// The id of the session's run.
    pub run_id: RunId,
    /// The agent in whose name its calls go.
    pub agent: AgentName,
    /// Its version; none for that of the agent of this name that is registered, if one is.
    pub agent_version: Option<AgentVersion>,
    /// The session's own budget.
    pub budget: Option<RunBudget>,
    /// How it is to be treated.
    pub policy: RunPolicy,
    /// Searchable labels.
    pub labels: BTreeMap<LabelKey, Arc<str>>,
    /// Its tags.
    pub tags: BTreeSet<TagName>,
}

/// Changes an account's limit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SetLimit {
    /// The account.
    pub account: AccountId,
    /// The new limit.
    pub limit: Limit,
    /// What it does to a run that it refuses for good.
    pub on_exceed: OnExceed,
    /// The window that it is to count in; none leaves it as it is.
    pub window: Option<Window>,
    /// Whether it holds, or is only looked at.
    pub mode: LimitMode,
    /// What becomes of what is out where the account is over it.
    pub in_flight: InFlight,
    /// Why, and for how long.
    pub note: Note,
}

/// Why an account is changed, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The reason, in words.
    pub reason: Arc<str>,
    /// When it is as it was before; none for never.
    pub until: Option<Timestamp>,
}

/// Changes an account, but for its limit's place.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Adjust {
    /// The account.
    pub account: AccountId,
    /// How.
    pub how: Adjustment,
    /// Why, and for how long.
    pub note: Note,
}

/// How an account is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adjustment {
    /// So much comes on top of its limit, in the dimensions that are named.
    TopUp(Limit),
    /// It admits nothing.
    Freeze,
    /// It admits again.
    Unfreeze,
}

/// Settles money in doubt with evidence.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reconcile {
    /// The run.
    pub run_id: RunId,
    /// The hold in doubt.
    pub hold: HoldKey,
    /// What was billed, as the evidence says.
    pub actual: Amount,
    /// The evidence, in words.
    pub evidence: Arc<str>,
}

/// An operator's word about an approval.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OperatorWord {
    /// The approval.
    pub approval: ApprovalId,
    /// Who says it.
    pub operator: OperatorName,
    /// Why.
    pub reason: Arc<str>,
}

/// Approves or rejects what is asked of a person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DecideApproval {
    /// Whose word about which request.
    pub word: OperatorWord,
    /// What was decided.
    pub verdict: ApprovalVerdict,
}

/// Says what became of a step in doubt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Resolve {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step: StepKey,
    /// The attempt that is meant; none for the one that is in doubt, whichever that is.
    pub attempt: Option<u32>,
    /// Who knows.
    pub by: Informant,
    /// What became of it.
    pub resolution: Resolution,
    /// How that is known, in words.
    pub reason: Arc<str>,
}

/// Lets a failed run go on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Redrive {
    /// The run.
    pub run_id: RunId,
    /// The step that it goes on from; none for the one that failed.
    pub from: Option<StepKey>,
    /// Why, in words.
    pub reason: Arc<str>,
}

/// Who knows what became of a step in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Informant {
    /// A person.
    Person,
    /// The agent's probe.
    Probe,
}

/// What became of a step that was in doubt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// It happened, with this output.
    Happened(Arc<Value>),
    /// It did not happen: the step goes back to dispatch, and asks anew where it has to.
    DidNotHappen,
    /// It is given up, and with it the run, if that has not ended.
    Abort,
}

/// Whether a tool call that has to ask waits for the decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Patience {
    /// It waits, and its step says so.
    #[default]
    Waits,
    /// It is told at once, and does something else meanwhile.
    TellsOnly,
}

/// What an attempt asks for or reports.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptRequest {
    /// A model call wants to go out.
    ReserveCall(Arc<ReserveCall>),
    /// A model call goes out that a joined process admitted inside its block, with what it drew.
    DrawCall(Arc<ReserveCall>, Drawn),
    /// A model call was made already, and nobody was asked: it is written down, to be settled with its
    /// usage; of a dead token that is charged at once.
    ReportCall(Arc<ReserveCall>, Arc<SettleCall>),
    /// A model call was answered.
    SettleCall(Arc<SettleCall>),
    /// So much of a model call's answer has come.
    Progress(CallProgress),
    /// A model call failed.
    FailCall(Box<FailCall>),
    /// A tool call wants to go out.
    BeginTool(BeginTool),
    /// A tool call ended.
    EndTool(EndTool),
    /// Is a value known already?
    LookUpOnce(JournalPlace),
    /// A value that is computed once.
    RecordOnce(JournalPlace, Arc<Value>),
    /// The agent's account of a decision: input, reasoning, outcome.
    Decision(Arc<[Value; 3]>),
    /// The agent's account of what it changed: target and key.
    SideEffect(Arc<Value>),
    /// The attempt has an output.
    Complete(Arc<Output>),
    /// The attempt failed.
    Fail(AttemptFailure),
    /// The attempt ends to wait.
    Suspend(Arc<Value>, WaitingFor),
    /// Nobody began the attempt: whoever has its agent was gone before it was told.
    NotBegun,
    /// The attempt's handler is gone, without a result.
    Ended,
}

/// What a joined process took from its block for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drawn {
    /// The most that the call can cost.
    pub amount: Amount,
    /// The version of the prices that say so.
    pub price_version: Digest,
}

/// The prices that a call was reserved by; it is settled by the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PricedBy {
    /// The version of the table.
    pub version: Digest,
    /// When it was reserved: rows begin and end, and some have hours.
    pub at: Timestamp,
}

/// A place in the journal with the hash of what is asked for there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalPlace {
    /// The place, counted from 0 in each attempt.
    pub ordinal: u32,
    /// The hash of the request.
    pub request: Digest,
}

/// A model call that wants to go out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReserveCall {
    /// Its place in the journal.
    pub place: JournalPlace,
    /// In whose name it goes, where that is not the step's agent.
    pub agent: Option<AgentName>,
    /// The model.
    pub model: ModelId,
    /// What it can cost at most, in tokens.
    pub bound: TokenBound,
    /// The terms that it is made on.
    pub terms: CallTerms,
    /// The request, message by message.
    pub messages: Vec<Value>,
    /// The bytes of messages and parameters; none where the input is counted.
    pub rendered_bytes: Option<u64>,
    /// The other parameters that make it what it is.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub parameters: Value,
    /// Whether it waits where a person has to be asked.
    #[serde(default)]
    pub patience: Patience,
}

impl ReserveCall {
    /// The whole request: what its hash is of, and what a person is shown who has to approve it.
    pub fn whole(&self) -> Value {
        json!({
            "agent": self.agent, "model": self.model, "messages": self.messages,
            "parameters": self.parameters, "max_output_tokens": self.bound.max_output_tokens,
            "terms": self.terms,
        })
    }
}

/// What a call can use at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenBound {
    /// The most input tokens, by a count; none to bound them by the request's bytes, where the
    /// model's row says that it may be, or else by the model's own limit.
    pub input_tokens: Option<u64>,
    /// The output limit that is sent with the request; none leaves the model's own limit.
    pub max_output_tokens: Option<u64>,
    /// How many answers are asked for.
    pub choices: u32,
    /// How often a client below us may send the request again unseen.
    pub hidden_retries: u32,
    /// The least output limit that is of use, where the call may go out with a smaller one than it
    /// asks for when there is no room for more; none where it may not.
    pub min_output_tokens: Option<u64>,
}

impl Default for TokenBound {
    fn default() -> Self {
        Self {
            input_tokens: None,
            max_output_tokens: None,
            choices: 1,
            hidden_retries: 0,
            min_output_tokens: None,
        }
    }
}

/// A model call that was answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SettleCall {
    /// Its place in the journal.
    pub ordinal: u32,
    /// The model that was asked.
    pub asked: ModelId,
    /// The model that answered; none where that is not known to differ.
    pub model: Option<ModelId>,
    /// The terms that it was made on.
    pub terms: CallTerms,
    /// The service tier that the provider says it charged.
    pub service_tier: Option<ServiceTier>,
    /// The prices that it was reserved by.
    pub by: PricedBy,
    /// What it used; none where the provider did not say.
    pub usage: Option<Usage>,
    /// What it used call by call, where it stands for several; else nothing.
    pub entries: Vec<UsageEntry>,
    /// The answer; none where it cannot be kept.
    pub answer: Option<Value>,
    /// The reasoning, where there is one.
    pub reasoning: Option<Value>,
    /// How long it took, in milliseconds.
    pub latency_ms: u64,
}

/// How far a call's answer has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallProgress {
    /// Its place in the journal.
    pub ordinal: u32,
    /// Output tokens so far.
    pub output_tokens: u64,
    /// What has come since the last report, where the host tells.
    pub text: Option<Arc<str>>,
    /// The terms that it was made on.
    pub terms: CallTerms,
    /// How long it has been out at least, of a tool call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<u64>,
}

/// A model call that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FailCall {
    /// Its place in the journal.
    pub ordinal: u32,
    /// What happened.
    pub failure: CallFailure,
    /// How long the provider asks to wait, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// What it can have used at most, by what was seen of it: of a stream that was cut.
    pub observed: Option<Observed>,
    /// The prices that it was reserved by.
    pub by: PricedBy,
    /// The error in words.
    pub message: Arc<str>,
}

/// What was seen of an answer whose usage never came.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Observed {
    /// The model that was asked.
    pub model: ModelId,
    /// What the call can have used at most.
    pub usage: Usage,
    /// The terms that it was made on.
    pub terms: CallTerms,
}

/// A tool call that wants to go out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BeginTool {
    /// Its place in the journal; the request is the hash of the exact parameter bytes.
    pub place: JournalPlace,
    /// The tool.
    pub tool: Opaque,
    /// Its tier, as the agent says; the policy may know of a higher one.
    pub risk: RiskTier,
    /// The exact parameter bytes.
    #[serde(with = "crate::json::as_base64")]
    pub params: Arc<[u8]>,
    /// Whether it waits where a person has to be asked.
    pub patience: Patience,
}

/// A tool call that ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EndTool {
    /// Its place in the journal.
    pub ordinal: u32,
    /// The result, or the error's code and message.
    pub result: Result<Arc<Value>, (Arc<str>, Arc<str>)>,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptFailure {
    /// The error's code, e.g. `agent_failed`.
    pub code: Arc<str>,
    /// The message.
    pub message: Arc<str>,
    /// Whether another attempt may help.
    pub retry: Retry,
}

/// Whether another attempt may help, as the agent says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// As the step's policy says.
    #[default]
    AsPolicy,
    /// Not before so many milliseconds.
    After(u64),
    /// No.
    Never,
}

impl Request {
    /// Whether it is still to be told after a recovery: what somebody says who is gone then.
    pub const fn outlives_recovery(&self) -> bool {
        matches!(
            self,
            Self::CloseSession(_)
                | Self::Attempt(..)
                | Self::ClockJumped { .. }
                | Self::AgentsGone(_)
                | Self::HostLost(..)
        )
    }

    /// The run that must be in memory for this request.
    pub const fn run_id(&self) -> Option<RunId> {
        match self {
            Self::CloseSession(run)
            | Self::Signal(run, ..)
            | Self::Recover(run, _)
            | Self::HostLost(run, _) => Some(*run),
            Self::Abort(steer)
            | Self::Pause(steer)
            | Self::Resume(steer)
            | Self::Unblock(steer, _) => Some(steer.run_id),
            Self::Halt(halt) => match halt.scope {
                HaltScope::Run(run) => Some(run),
                HaltScope::Workspace | HaltScope::Agent(_) => None,
            },
            Self::Reconcile(reconcile) => Some(reconcile.run_id),
            Self::DecideApproval(decide) => Some(decide.word.approval.run_id),
            Self::RevokeApproval(word) => Some(word.approval.run_id),
            Self::Resolve(resolve) => Some(resolve.run_id),
            Self::Redrive(redrive) => Some(redrive.run_id),
            Self::Attempt(token, _) => Some(token.run_id),
            Self::SetLimit(set) => set.account.run(),
            Self::Adjust(adjust) => adjust.account.run(),
            Self::Publish(_)
            | Self::Activate(_)
            | Self::PublishPolicy(_)
            | Self::ChangePrices(_)
            | Self::Lift(_)
            | Self::Start(_)
            | Self::OpenSession(_)
            | Self::AgentsAvailable(_)
            | Self::AgentsGone(_)
            | Self::StartDispatch
            | Self::Drain
            | Self::Tick
            | Self::ClockJumped { .. }
            | Self::ClockConfirmed { .. } => None,
        }
    }
}
