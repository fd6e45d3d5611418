//! The whole engine on real input: 62 recorded runs of a software house of agents.
//!
//! Every figure is read from the log and compared with what the data file says, read apart from the
//! product. Without the file each test says so and passes: see `data::file`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of a test fail as a test does"
)]
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "figures, and what was skipped, are told"
)]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a check looks at one kind of event at a time"
)]

mod budget;
mod data;
mod kill;
mod modes;
mod money;
mod plain;
mod policy;
mod storm;
mod together;
mod world;
