//! The core of Mission Control: the pure domain, the sequencer, the engine and its ports.
//!
//! There are no files, sockets, databases and no wall clock in here; all of that comes in through
//! the ports. Modules are listed in the order in which they may use each other: a module uses only
//! what stands above it.

pub mod id;
pub mod time;
pub mod money;
pub mod usage;
pub mod error;
pub mod json;
pub mod yaml;

pub mod pricing;
pub mod resilience;
pub mod budget;
pub mod form;
pub mod expression;
pub mod policy;
pub mod workflow;

pub mod event;
pub mod run;
pub mod insight;
pub mod audit;
pub mod ports;
pub mod sequencer;
pub mod engine;
pub mod sim;
