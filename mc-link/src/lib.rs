//! One store, several processes on one machine.
//!
//! A file of events has one owner: the process that holds its lock. The owner listens on a Unix socket
//! beside the file; every other process that opens the file joins it there and gets the same handle:
//! its commands are decided by the owner, its agents get attempts from it, its sessions draw on blocks
//! that the owner has reserved. When the owner is gone, one of those that had joined takes the lock,
//! recovers open work by the rules of a crash, and listens itself.
//!
//! What is *not* here: what a command does (`mc_core::sequencer`), what a joined handle is
//! (`mc_core::engine::Guest`), what an owner does for others (`mc_core::engine::Owner`). This crate
//! carries messages, and says who owns the file. Read `message` first (what is said), then `server`
//! and `client` (the two ends of a connection), `keeper` (what a joined process does when the owner
//! dies), `follow` (hearing what moves), and `linked_log` (reads that go wherever the log is).

#[cfg(not(unix))]
mod alone;
#[cfg(unix)]
mod client;
#[cfg(unix)]
mod follow;
#[cfg(unix)]
mod frame;
#[cfg(unix)]
mod keeper;
#[cfg(unix)]
mod linked_log;
#[cfg(unix)]
mod listener;
#[cfg(unix)]
mod look;
#[cfg(unix)]
mod message;
#[cfg(unix)]
mod news;
#[cfg(unix)]
mod note;
#[cfg(unix)]
mod open;
mod opening;
#[cfg(unix)]
mod outbox;
#[cfg(unix)]
mod place;
#[cfg(unix)]
mod reads;
#[cfg(unix)]
mod retry;
#[cfg(unix)]
mod server;
#[cfg(unix)]
mod threads;

#[cfg(not(unix))]
pub use alone::{Following, follow, look, open};
#[cfg(unix)]
pub use {
    client::Connection, follow::Following, follow::follow, look::look, message::PROTOCOL,
    open::open,
};

pub use opening::{Looked, Moved, Opening, Succession};
