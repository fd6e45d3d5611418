//! Runs: their state, its transitions and the decisions that move them.

mod status;

pub use status::{BlockReason, RunStatus, StepStatus};
