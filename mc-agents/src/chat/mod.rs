//! The chat agent: asks a model of a provider, has its tools called, and asks again, each call under a
//! permit of its own.
//!
//! `agent` has the turns, `call` one call, `tools` the tools. `wire` has what is sent, `talk` the
//! conversation, `whole` and `stream` what comes back (`sse` its events, `failure` an error among
//! them), `answer` what an answer comes to, `usage` what it used.

mod agent;
mod answer;
mod call;
mod failure;
mod sse;
mod stream;
mod talk;
mod tools;
mod usage;
mod whole;
mod wire;

pub use agent::{ChatAgent, ChatSpec, MAX_ANSWER_BYTES};
pub use tools::ToolSpec;
pub use wire::{Api, Delivery};
