//! The sequencer: the one place where order is made.
//!
//! It owns all live state of a workspace and takes commands one by one: `command` is what can be
//! asked, `decide` the pure answers, `place` how an answer's events get their numbers and change
//! the state, `batch` what is committed together, `scribe` how that becomes bytes.
//! What is *not* here: waiting, tasks and disks (`engine`, `ports`).

mod acting;
mod batch;
mod circuits;
mod close;
mod command;
mod core;
pub mod decide;
mod decision;
mod departures;
mod ended;
#[cfg(test)]
mod evicted_tests;
mod family;
mod forward;
mod given_up;
mod halt;
mod item_outputs;
mod output;
mod limiter;
mod pace;
mod place;
mod prices;
mod probes;
mod recovery;
mod redaction;
mod resident;
mod room;
mod samples;
mod scribe;
mod token;
mod traffic;
mod turns;
#[cfg(test)]
mod twice_tests;
mod waiting;
mod window;
mod windows;
mod workspace;

pub use acting::{Acting, Handler};
pub use batch::{ClosedBatch, ClosedRun, Pending, Placed, Promised, Slot};
pub use circuits::Circuits;
pub use command::{
    Activate, Activation, Adjust, Adjustment, AttemptFailure, AttemptRequest, BeginTool,
    CallProgress, Command, DecideApproval, Drawn, EndTool, FailCall, Halt, HaltSource, Informant,
    JournalPlace, Lift, Note, Observed, OpenSession, OperatorWord, Patience, PricedBy, Publish,
    Reconcile, Redrive, Request, ReserveCall, Resolution, Resolve, Retry, SetLimit, SettleCall,
    Start, StartKey, Steer, TokenBound,
};
pub use core::{Instant, Sequencer, Submitted};
pub use decision::{
    Answer, AttemptOrder, CallEnd, CallReply, Decision, Effect, NewEvent, NewPart, ProbeOrder,
    Reply, ToolReply, Wait,
};
pub use family::Family;
pub use halt::HaltScope;
pub use output::Output;
pub use prices::Prices;
pub use recovery::{recover, shared};
pub use resident::{Loaded, Resident, Wanted};
pub use scribe::{Scribe, summary};
pub use token::Token;
pub use traffic::{CallOut, CallsOut, Traffic};
pub use turns::{Turn, Turns};
pub use workspace::{Dispatch, PolicyHead, Settings, Shared, Versions, Waiting, Workspace};
