//! Ports: what the core needs from outside, as traits.
//!
//! Time and chance (`clock`, `entropy`) and the log (`event_log`, with the rows it keeps in `rows`
//! and the questions it answers in `query`). `halt_switch` is how somebody without another way in stops everything. Adapters live in other crates; none is in here.

mod clock;
mod entropy;
mod event_log;
mod halt_switch;
mod query;
mod rows;

pub use clock::Clock;
pub use entropy::{Entropy, uuid_v7};
pub use event_log::EventLog;
pub use halt_switch::{HaltSwitch, Pulled};
pub use query::{Cursor, EventQuery, MAX_PAGE, Page, RunQuery, page_size};
pub use rows::{
    AccountRow, Batch, Blob, Head, KeyRow, Lease, Recovered, RunNeeds, RunRow, RunSummary,
    WorkflowRow, WorkspaceRow,
};
