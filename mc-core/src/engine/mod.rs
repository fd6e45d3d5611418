//! The engine: drives the sequencer, runs agents, and hands out what hosts hold.
//!
//! `driver` commits and wakes, `dispatch` starts attempts, `context` is what an agent gets,
//! `control` what a host gets; `port`, `guest` and `owner` join one
//! process to another. All waiting is in here; no decision is.

mod acting;
mod agent;
mod approvals;
mod around;
mod attempt;
mod block;
mod budget;
mod call_error;
mod calls;
mod clock;
mod content;
mod context;
mod control;
mod decided;
mod dispatch;
mod doubts;
mod driver;
mod ending;
mod events;
mod family_events;
mod given_up;
mod guest;
mod halt;
mod in_time;
mod inner;
#[cfg(test)]
mod interleavings;
mod options;
mod outcome;
mod outgoing;
mod owner;
mod paging;
mod passage;
mod port;
mod policy;
mod position;
mod probe;
mod proof;
mod prepare;
mod prices;
mod read_only;
mod receipt;
mod redrive;
mod reported;
mod registry;
mod restart;
mod run_handle;
mod session;
mod spawner;
mod status;
mod steady_clock;
mod sync;
mod tools;
mod way_out;

pub use agent::{AgentError, AgentExecutor, StepOutcome};
pub use approvals::{
    ApprovalFilter, ApprovalRequest, BudgetEffect, approvals, approvals_of, shared_accounts,
};
pub use attempt::Progress;
pub use budget::Budget;
pub use call_error::{CallError, ProviderError};
pub use calls::{Admission, ModelAnswer, ModelRequest, Permit};
pub use content::kept;
pub use context::StepContext;
pub use control::{Engine, MissionControl, Parts, Published};
pub use doubts::{Billed, InDoubt, Settled};
pub use events::{RunEvents, RunNews};
pub use family_events::FamilyEvents;
pub use guest::Guest;
pub use halt::{By, SwitchHand, halts};
pub use options::StartOptions;
pub use outcome::Outcome;
pub use outgoing::Outgoing;
pub use owner::{Notice, Owner, OwnerNews, RoomOf};
pub use policy::{PolicyRecord, PolicyVersion, policy_history, policy_version};
pub use port::{
    About, AgentHost, Asked, AttemptKey, OwnerPort, OwnerTerms, Peek, Peeked, Room, Told, Unreached,
};
pub use position::{BlockedStep, PausedRun, Position};
pub use prices::{StoredPrices, stored_layers, stored_prices, stored_table};
pub use probe::{EffectProbe, ProbeAnswer};
pub use receipt::Receipt;
pub use reported::Reported;
pub use run_handle::RunHandle;
pub use session::{Session, SessionOptions};
pub use spawner::{Spawner, Task};
pub use status::{Health, Metrics};
