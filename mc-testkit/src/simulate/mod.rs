//! Simulated worlds: the whole engine under scripted agents, failing disks, crashes and operators
//! who press every button, all drawn from one seed.
//!
//! `world` lives a seed through, `buttons` is what people press, `script` what agents and workflows
//! do, `ghost` what an agent leaves behind, `handlers` who works at all, `disk` fails appends,
//! `asking` is what operators say to what is asked of them, `deeds` holds the log to it,
//! `groups` looks at the commands of the events, `checker` holds every event of every commit against
//! the invariants, `nesting` those that are nested in one another, `redrives` those that go on after a failure, and `holds` adds up the money. The same seed gives the
//! same log, byte for byte.

mod asking;
mod buttons;
mod checker;
mod deeds;
mod disk;
mod draw;
mod ghost;
mod groups;
mod habits;
mod handlers;
mod liveness;
mod holds;
mod nesting;
mod redrives;
mod script;
mod world;

pub use checker::{Checker, Finding};
pub use disk::{Disk, WatchedLog};
pub use draw::Draw;
pub use groups::broken_groups;
pub use habits::Habits;
pub use world::{Lived, live, live_with};
