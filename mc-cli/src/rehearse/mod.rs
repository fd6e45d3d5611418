//! `rehearse`: recorded runs through the whole engine, in compressed time.
//!
//! `options` says how, `drive` re-enacts the runs in virtual time, `tally` reads what came of them
//! from the log alone, and `report` prints it. A file that was rehearsed before goes on where it
//! stopped. What is *not* here: the recorded agent (`mc_agents::recorded`).

mod drive;
mod options;
mod report;
mod tally;

use std::io::Write;

use mc_agents::recorded::read_runs;
use mission_control::{Error, ErrorKind, Result};

pub use drive::operator_name;
pub(crate) use drive::{drive, nothing, open};
pub use options::{BudgetFraction, FractionFault, Progress, RehearseOptions, Report, UnknownIds};
pub use report::Summary;
pub(crate) use report::write;
pub use tally::{Judged, Rehearsed, RunFate, Tally};

/// Re-enacts a file of recorded runs on a store, and prints what came of them.
///
/// The last line is the summary; with [`Report::Json`] it is one JSON object and the only line.
///
/// # Errors
/// `NotFound` and `InvalidInput` for the file; `Conflict` for a store where it was rehearsed with
/// other options; `Unavailable` and `Corrupt` for the store.
pub fn rehearse(options: &RehearseOptions, out: &mut dyn Write) -> Result<Summary> {
    let runs = read_runs(&options.file)?;
    if runs.is_empty() {
        return Err(nothing());
    }
    let tally = drive(options, runs, open(&options.db)?)?;
    let summary = tally.summary();
    write(out, options.report, &tally, &summary).map_err(|e| {
        Error::new(ErrorKind::Unavailable, "the report cannot be written").with_source(e)
    })?;
    Ok(summary)
}
