//! `replay`: folds a run's events into its state, and compares that with the stored row.

use mc_core::error::{Error, Result};
use mc_core::id::RunId;
use mc_core::ports::EventLog;
use serde_json::json;

use super::Done;
use crate::args::{Common, ReplayArgs};
use crate::console::Console;
use crate::exit::Exit;
use crate::progress::Progress;
use crate::steps::View;
use crate::store::{self, Reader};

pub(super) async fn execute(common: &Common, args: &ReplayArgs, console: &mut Console<'_>) -> Done {
    let log = store::look(common).await?;
    let run_id = store::find_run(&*log, &args.run).await?;
    let row = store::run_row(&*log, run_id).await?;
    let progress = fold(&*log, run_id, args.at).await?;
    let run = progress
        .run()
        .ok_or_else(|| Error::not_found("run", run_id))?;
    let last = row.next_run_seq.saturating_sub(1);
    if args.at.is_some_and(|at| at > last) {
        return Err(behind_the_end(run_id, last).into());
    }
    let whole = progress.next_run_seq() == row.next_run_seq;
    let equal = if whole {
        Some(run.encode()? == *row.state)
    } else if args.at.is_none() {
        Some(false)
    } else {
        None
    };
    if common.json {
        console.json(&json!({
            "run_id": run_id, "run_seq": progress.next_run_seq().saturating_sub(1),
            "equals_stored": equal, "state": run,
        }))?;
    } else {
        let view = View {
            run,
            definition: None,
            progress: &progress,
            family: None,
            db: &common.db,
        };
        console.line(view.text())?;
        console.line(verdict(equal, &progress))?;
    }
    Ok(if equal == Some(false) {
        Exit::Negative
    } else {
        Exit::Done
    })
}

fn behind_the_end(run_id: RunId, last: u64) -> Error {
    let rule = format!("run {run_id} has events 0 to {last}");
    Error::invalid("--at", rule)
}

fn verdict(equal: Option<bool>, progress: &Progress) -> String {
    let events = progress.next_run_seq();
    match equal {
        Some(true) => format!("\nreplay equals the stored state ({events} events)"),
        Some(false) => format!(
            "\nreplay differs from the stored state ({events} events): run `mission-control verify`"
        ),
        None => format!("\nreplayed {events} events"),
    }
}

/// Folds a run's events up to and with `at`, or all of them.
pub(super) async fn fold(log: &dyn EventLog, run_id: RunId, at: Option<u64>) -> Result<Progress> {
    let mut progress = Progress::new(run_id);
    let mut reader = Reader::new(log, Some(run_id));
    loop {
        let page = reader.page().await?;
        if page.is_empty() {
            return Ok(progress);
        }
        for record in &page {
            if at.is_some_and(|at| record.run_seq > at) {
                return Ok(progress);
            }
            progress.take(log, record).await?;
        }
    }
}
