//! `rehearse`: recorded runs through the whole engine, in simulated time.

use mc_agents::recorded::read_runs;
use mc_core::error::ErrorKind;

use super::{Done, operator, policy};
use crate::args::{Common, RehearseArgs};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::rehearse::{self, RehearseOptions, Report, UnknownIds};

/// Rehearses a file; runs that neither completed nor were stopped make the result negative.
pub(crate) fn execute(common: &Common, args: &RehearseArgs, console: &mut Console<'_>) -> Done {
    let policy = args.policy.as_deref().map(policy::read).transpose()?;
    let options = RehearseOptions {
        policy,
        budget_fraction: args.budget_fraction,
        unknown_ids: if args.allow_unknown_models {
            UnknownIds::ListAsFree
        } else {
            UnknownIds::Deny
        },
        report: if common.json {
            Report::Json
        } else {
            Report::Text
        },
        operator: operator(common)?,
        seed: args.seed,
        ..RehearseOptions::new(&args.file, &common.db)
    };
    let runs = read_runs(&args.file).map_err(|error| Failure::recorded(error, &args.file))?;
    if runs.is_empty() {
        return Err(Failure::recorded(rehearse::nothing(), &args.file));
    }
    let log = rehearse::open(&common.db).map_err(|error| Failure::store(error, &common.db))?;
    let tally = rehearse::drive(&options, runs, log).map_err(|error| {
        let other = error.kind() == ErrorKind::Conflict;
        let failure = Failure::from(error);
        if other {
            failure.with_next("take another store with --db FILE, or the options of the first time")
        } else {
            failure
        }
    })?;
    let summary = tally.summary();
    rehearse::write(console.out, options.report, &tally, &summary)?;
    let fine = summary.unfinished() == 0 && summary.replay_mismatches == 0;
    Ok(if fine { Exit::Done } else { Exit::Negative })
}
