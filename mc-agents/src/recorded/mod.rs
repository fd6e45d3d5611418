//! Recorded runs: what agents once asked and were answered, read back from a file.
//!
//! `file` reads the lines, `run` is what a line says, `form` turns one into the other, and `agent`
//! answers the calls of a step again. `docs/recorded-runs.md` describes the format.
//! What is *not* here: the rehearsal of whole files (`mc_cli::rehearse`).

mod agent;
mod file;
mod form;
mod run;

pub use agent::{OutputRule, RecordedAgent, Reply, Sent};
pub use file::{parse_runs, read_runs};
pub use run::{AGENT, RecordedCall, RecordedRun, WORKFLOW};

#[cfg(test)]
mod tests;
