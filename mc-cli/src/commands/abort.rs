//! `abort`: ends a run by an operator's word, without dispatching anything.

use std::time::Duration;

use mc_core::error::{Error, ErrorKind};
use mc_core::event::RunStatus;
use mc_core::id::RunId;
use mission_control::Settings;
use serde_json::json;

use super::{Done, operator};
use crate::args::{Common, RunArg};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::store::{self, Opened};

pub(super) async fn execute(common: &Common, args: &RunArg, console: &mut Console<'_>) -> Done {
    let operator = operator(common)?;
    // A store that is not there is not made, and a run that is not there or has ended changes
    // nothing.
    let run_id = {
        let log = store::look(common).await?;
        let run_id = store::find_run(&*log, &args.run).await?;
        let run = store::run_row(&*log, run_id).await?.summary;
        if run.status.is_terminal() {
            return Err(ended(run_id, run.status));
        }
        run_id
    };
    let opened = Opened::open(common, Settings::default()).await?;
    let aborted = opened.control.run(run_id).abort(&operator).await;
    opened.close(Duration::ZERO).await?;
    aborted?;
    if common.json {
        console.json(&json!({"run_id": run_id, "status": "aborted"}))?;
    } else {
        console.line(format_args!("run {run_id} is aborted"))?;
    }
    Ok(Exit::Done)
}

fn ended(run_id: RunId, status: RunStatus) -> Failure {
    let message = format!("run {run_id} has ended: it is {status}");
    let next = format!("nothing: `mission-control show {run_id}` says how it ended");
    Failure::from(Error::new(ErrorKind::InvalidTransition, message)).with_next(next)
}
