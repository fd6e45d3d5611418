//! `run`, interrupted: nothing more goes out, what is out may end, and whoever asked is told how to
//! go on.

use std::pin::pin;
use std::time::Duration;

use futures::FutureExt as _;
use mc_core::id::RunId;
use mc_core::ports::EventLog;
use mc_core::run::Run;
use serde_json::json;

use super::{Done, show};
use crate::args::{Common, RunArgs};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::steps::status_text;
use crate::store::{self, Opened, Stopped};
use crate::text::quoted;

/// Stops within the grace, or at once where that is asked for meanwhile, and says where the run stands
/// and how it goes on.
pub(super) async fn stop(
    (opened, grace): (Opened, Duration),
    (run, interrupts): (Option<RunId>, &Interrupts),
    (common, args): (&Common, &RunArgs),
    console: &mut Console<'_>,
) -> Done {
    // A handle that was shut down has joined nobody.
    let own = !opened.control.is_joined();
    let stopped = end((&opened, grace), interrupts, console).await?;
    let Some(run) = run else {
        return none(common, console);
    };
    if stopped == Stopped::AtOnce && own {
        // The file is not free before the last handler has ended, and nobody waits for that.
        return tell(
            (run, &**opened.control.log(), None),
            (common, args),
            console,
        )
        .await;
    }
    opened.free().await;
    let log = store::look(common).await?;
    tell((run, &*log, log.owner()), (common, args), console).await
}

async fn end(
    (opened, grace): (&Opened, Duration),
    interrupts: &Interrupts,
    console: &mut Console<'_>,
) -> Result<Stopped, Failure> {
    let mut stopping = pin!(opened.stop(grace, interrupts.heard(2)));
    // It is said when it is so.
    let early = stopping.as_mut().now_or_never();
    let seconds = grace.as_secs();
    writeln!(
        console.err,
        "interrupted: nothing more goes out, what is out has {seconds}s to end; ctrl-c again ends at once"
    )?;
    Ok(match early {
        Some(stopped) => stopped?,
        None => stopping.await?,
    })
}

fn none(common: &Common, console: &mut Console<'_>) -> Done {
    if common.json {
        console.json(&json!({ "run_id": null, "interrupted": true }))?;
    } else {
        console.line("interrupted before a run was started")?;
    }
    Ok(Exit::Interrupted)
}

async fn tell(
    (run_id, log, owner): (RunId, &dyn EventLog, Option<u32>),
    (common, args): (&Common, &RunArgs),
    console: &mut Console<'_>,
) -> Done {
    let run = Run::decode(&store::run_row(log, run_id).await?.state)?;
    let next = if run.status.is_terminal() {
        "it has ended meanwhile".to_owned()
    } else if let Some(key) = &args.key {
        let key = quoted(key);
        format!("the same command, with `--key {key}`, goes on with it")
    } else {
        show::goes_on(owner)
    };
    if common.json {
        console.json(&json!({
            "run_id": run_id, "status": run.status, "interrupted": true, "next": next,
        }))?;
        return Ok(Exit::Interrupted);
    }
    let (status, db) = (status_text(&run), quoted(&common.db.display().to_string()));
    console.line(format_args!("\nrun {run_id} was interrupted: {status}"))?;
    console.line(format_args!("  {next}"))?;
    console.line(format_args!(
        "  `mission-control show {run_id} --db {db}` shows it, `mission-control runs --db {db}` all"
    ))?;
    Ok(Exit::Interrupted)
}
