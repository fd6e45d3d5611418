//! Events: what they say (`kind` and the facts beside it) and how they are kept (`record`).
//!
//! `docs/events.md` lists them all; a test renders it from here.

pub mod approval;
pub mod budget;
pub mod call;
mod kind;
pub mod nested;
mod record;
pub mod run;
mod status;
pub mod step;
pub mod workspace;

pub use kind::{EventKind, FACTS_VERSION, Topic};
pub use record::{
    MAX_INLINE_PART_BYTES, MAX_PART_BYTES, MediaType, Part, PartContent, PartRef, Record,
};
pub use status::{BlockReason, RunStatus, StepStatus};
