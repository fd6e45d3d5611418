//! Agents that are ready made: what a host registers when it has none of its own.
//!
//! [`mod@file`] reads them from an agents file. [`recorded`] answers from a file of recorded runs: for
//! rehearsals, demos and tests, without a provider and without a cent. [`command`] runs a program, [`chat`]
//! asks a model, [`http`] an agent somewhere else, which answers
//! later at a place of [`callback`]. No policy is in here: every call goes through the engine's permits.

pub mod callback;
pub mod chat;
pub mod command;
mod endpoint;
mod exchange;
pub mod file;
mod hiding;
pub mod http;
pub mod recorded;
mod runtime;
mod spending;

pub use endpoint::{Authority, Secret};
pub use spending::ModelBound;
