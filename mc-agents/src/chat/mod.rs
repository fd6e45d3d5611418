//! The chat agent: one question to a model of a provider, under a permit, and its answer.
//!
//! `agent` asks, `wire` has the formats, `sse` the stream, `answer` what an answer comes to, `usage`
//! what it used. There are no tools and no turns: an agent that needs them is a program
//! (`crate::command`).

mod agent;
mod answer;
mod sse;
mod usage;
mod wire;

pub use agent::{ChatAgent, ChatSpec};
pub use wire::{Api, Delivery};
