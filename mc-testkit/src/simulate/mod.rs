//! Simulated worlds: the whole engine under scripted agents, failing disks, crashes and operators
//! who press every button, all drawn from one seed.
//!
//! `world` lives a seed through, `script` is what its agents and workflows do, `disk` fails appends,
//! and `checker` holds every event of every commit against the invariants. The same seed gives the
//! same log, byte for byte.

mod checker;
mod disk;
mod draw;
mod script;
mod world;

pub use checker::{Checker, Finding};
pub use disk::{Disk, WatchedLog};
pub use draw::Draw;
pub use world::{Lived, live};
