//! What these tests share: worlds in virtual time, agents from closures, and what a log says.
//!
//! `world` opens stores, `agents` has what attempts do, `requests` the calls that they make, `runs`
//! starts runs and reads what became of them. What is *not* here: tests.

mod agents;
mod requests;
mod runs;
mod world;

pub use agents::*;
pub use requests::*;
pub use runs::*;
pub use world::*;

pub use std::sync::Arc;
pub use std::time::Duration;

pub use mc_testkit::{TEST_PRICES, test_prices};
pub use mission_control::core::event::Record;
pub use mission_control::testing::Scenario;
pub use mission_control::{
    Account, AccountId, Admission, AgentError, AgentExecutor, Amount, BlockReason, CallError,
    CallFailure, ErrorKind, Limit, MissionControl, ModelAnswer, ModelId, ModelRequest, NanoUsd,
    OnExceed, Outcome, OutputBegun, Position, PriceTable, ProviderError, RunHandle, Session,
    SessionOptions, Settings, StartOptions, StepContext, StepOutcome, StepStatus, Usage,
    WaitingFor, Workflow,
};
pub use serde_json::{Value, json};
