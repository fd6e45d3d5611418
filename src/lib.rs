//! Mission Control: an embeddable control plane for AI agents.
//!
//! Agents execute; Mission Control decides whether they may, what it may cost and who must approve,
//! and keeps the evidence in an append-only, tamper-evident log beside your program.
//!
//! ```
//! use mission_control::{AgentError, AgentExecutor, StartOptions, StepContext, StepOutcome, Workflow};
//! use serde_json::{Value, json};
//!
//! struct Greeter;
//!
//! #[mission_control::async_trait]
//! impl AgentExecutor for Greeter {
//!     async fn execute(&self, _: StepContext, input: Value) -> Result<StepOutcome, AgentError> {
//!         Ok(json!({ "greeting": format!("hello, {}", input["name"]) }).into())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> mission_control::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("agents.redb");
//! let control = mission_control::open(&path).await?;
//! control.register_agent("greeter", Greeter).await?;
//! control.publish(Workflow::from_yaml("{ workflow: hello, steps: { greet: { agent: greeter } } }")?).await?;
//! control.start_dispatch().await?;
//! let run = control.start("hello", json!({ "name": "redb" }), StartOptions::by("ann")).await?;
//! let outcome = run.outcome().await?;
//! assert_eq!(outcome.output(), Some(&json!({ "greeting": "hello, \"redb\"" })));
//! # control.shutdown(std::time::Duration::from_secs(1)).await
//! # }
//! ```
//!
//! Read next: [`MissionControl`] (what a host holds), [`StepContext`] (what an agent gets),
//! [`testing`] (virtual time and a seed for a host's own tests).

mod builder;
mod halt_file;
mod handlers;
mod system;
pub mod testing;

pub use async_trait::async_trait;
pub use builder::{Builder, open};
pub use system::{OsEntropy, SystemClock, Threads};

pub use mc_core::budget::{Account, AccountId, Amount, Limit, OnExceed, Period, Window};
pub use mc_core::engine::{
    Admission, AgentError, AgentExecutor, ApprovalFilter, ApprovalRequest, Billed, BlockedStep,
    Budget, BudgetEffect, By, CallError, EffectProbe, FamilyEvents, Health, InDoubt, Metrics,
    MissionControl, ModelAnswer, ModelRequest, Outcome, Outgoing, PausedRun, Permit, PolicyRecord,
    PolicyVersion, Position, ProbeAnswer, Progress, ProviderError, Published, Receipt, RunEvents,
    RunHandle, RunNews, Session, SessionOptions, Settled, StartOptions, StepContext, StepOutcome,
};
pub use mc_core::error::{ApprovalFault, Detail, Error, ErrorKind, Result};
pub use mc_core::event::run::{AbortReason, PauseReason, RunBudget, RunPolicy};
pub use mc_core::event::step::WaitingFor;
pub use mc_core::event::{BlockReason, Record, RunStatus, StepStatus};
pub use mc_core::id::{
    AgentName, AgentVersion, ApprovalId, Digest, ModelId, Opaque, Region, RunId, StepKey,
    WorkflowName,
};
pub use mc_core::money::NanoUsd;
pub use mc_core::policy::guard::{
    Detector, Redaction, RedactionScope, Redactor, SecretKind, SecretsRedactor,
};
pub use mc_core::policy::{CutStreams, Mode, Policy, PriceAge, RiskTier};
pub use mc_core::ports::{Cursor, EventQuery, Page, RunQuery, RunSummary};
pub use mc_core::pricing::{
    CallTerms, Overrides, PriceChange, PriceSource, PriceTable, ServiceTier, TierChoice, Unit,
    UnknownModels,
};
pub use mc_core::resilience::{CallFailure, OutputBegun};
pub use mc_core::run::{Approval, ApprovalState, HoldKey, Run};
pub use mc_core::sequencer::{
    Activation, CallEnd, HaltScope, Note, Resolution, Settings, TokenBound,
};
pub use mc_core::time::Timestamp;
pub use mc_core::usage::Usage;
pub use mc_core::workflow::Workflow;
pub use mc_link::Succession;

/// Agents that are ready made, and the file that names them.
pub use mc_agents as agents;
/// The core, for what is not named here: ports, events, audit.
pub use mc_core as core;
/// Joining the process that owns a store.
pub use mc_link as link;
/// The log adapters.
pub use mc_store as store;
