//! `rehearse`: recorded runs through the whole engine, in simulated time.

use mc_core::error::{Detail, ErrorKind};

use super::{Done, operator};
use crate::args::{Common, RehearseArgs, Unknown};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::rehearse::{RehearseOptions, Report, UnknownIds, rehearse};

/// Rehearses a file; runs that neither completed nor were stopped make the result negative.
pub(crate) fn execute(common: &Common, args: &RehearseArgs, console: &mut Console<'_>) -> Done {
    let options = RehearseOptions {
        budget_fraction: args.budget_fraction,
        unknown_ids: match args.unknown_models {
            Unknown::Deny => UnknownIds::Deny,
            Unknown::Free => UnknownIds::ListAsFree,
        },
        report: if common.json {
            Report::Json
        } else {
            Report::Text
        },
        operator: operator(common),
        seed: args.seed,
        ..RehearseOptions::new(&args.file, &common.db)
    };
    let summary = rehearse(&options, console.out).map_err(|error| {
        let of_store = matches!(
            error.detail(),
            Some(Detail::AlreadyOpen { .. } | Detail::ForeignFile | Detail::NewerFormat { .. })
        );
        if of_store {
            Failure::store(error, &common.db)
        } else if error.kind() == ErrorKind::InvalidInput {
            Failure::content(error, &args.file)
        } else if error.kind() == ErrorKind::NotFound {
            Failure::store(error, &args.file)
                .with_next("give a file of recorded runs; see docs/recorded-runs.md")
        } else {
            Failure::from(error)
        }
    })?;
    let fine = summary.unfinished() == 0 && summary.replay_mismatches == 0;
    Ok(if fine { Exit::Done } else { Exit::Negative })
}
