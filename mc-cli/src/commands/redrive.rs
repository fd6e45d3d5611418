//! `redrive`: a failed run goes on from a step, by an operator's word, without dispatching anything here.

use std::time::Duration;

use mc_core::error::Error;
use mc_core::id::StepKey;
use mission_control::Settings;
use serde_json::json;

use super::{Done, NEXT_RUN, operator};
use crate::args::{Common, RedriveArgs};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::store::{self, Opened};

pub(super) async fn execute(
    common: &Common,
    args: &RedriveArgs,
    console: &mut Console<'_>,
) -> Done {
    let by = operator(common)?;
    let from = args.from.as_deref().map(str::parse::<StepKey>).transpose();
    let from = from.map_err(|fault| Failure::usage(Error::invalid("--from", fault)))?;
    let run_id = store::find_run(&*store::look(common).await?, &args.run).await?;
    let opened = Opened::open(common, Settings::default()).await?;
    let control = &opened.control;
    let redriven = control
        .redrive(run_id, from.as_ref(), &by, &args.reason)
        .await
        // The run's handle would keep the file from being freed.
        .map(drop);
    let status = control.run(run_id).state().await.map(|run| run.status);
    opened.close(Duration::ZERO).await?;
    redriven?;
    let status = status?;
    if common.json {
        console.json(&json!({"run_id": run_id, "from": from, "status": status}))?;
    } else {
        console.line(format_args!(
            "run {run_id} is {status} again: it goes on with {NEXT_RUN}"
        ))?;
    }
    Ok(Exit::Done)
}
