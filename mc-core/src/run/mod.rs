//! Runs: their state, the transitions it may make, and how events change it.
//!
//! Decisions are not in here: see `sequencer::decide`. A run is rebuilt from its events by
//! [`replay`], and that is what every other reader of the log does too.

mod acts;
mod apply;
mod apply_approval;
mod apply_call;
mod apply_step;
pub mod approval;
mod ids;
mod nested;
mod planned;
pub mod postings;
mod redriven;
mod replay;
mod state;
mod transitions;

pub use crate::event::{BlockReason, RunStatus, StepStatus};
pub use apply::RunEvent;
pub use approval::{Approval, ApprovalState, ApprovalTrigger, approval_after};
pub use ids::HoldKey;
pub use nested::{Nested, NestedState, accounts_with_nested};
pub(crate) use redriven::is_done;
pub use replay::{read_event, replay};
pub use state::{
    Block, Call, CallKind, CallState, End, Expansion, Refused, Run, SharedRun, Status, Step,
    Suspension,
};
pub use transitions::{RunTrigger, StepTrigger, refuse_run, refuse_step, run_after, step_after};
