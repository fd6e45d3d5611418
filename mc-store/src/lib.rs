//! Adapters of the log port: a file by redb ([`RedbLog`]) and memory ([`MemoryLog`]).
//!
//! An adapter stores what the core made: it makes no id, no sequence number, no time and no policy.
//! Both answer the same contract, held by `mc_testkit::event_log_suite`.
//!
//! Read `redb_log::layout` and `redb_log::tables` first (what lies in the file), then `redb_log::journal`
//! (how a batch becomes durable), `redb_log::append` (how it gets into the database) and
//! `redb_log::store` (how failure is met).

mod batch;
mod bytes;
mod contract;
mod filter;
mod memory;
mod page;
mod redb_log;
mod rows;
mod seal;
mod term;

pub use memory::MemoryLog;
pub use redb_log::{
    FileState, RedbLog, RedbOptions, ReserveState, StoreBytes, StoreHealth, TableBytes, Threads,
    WriteState,
};
