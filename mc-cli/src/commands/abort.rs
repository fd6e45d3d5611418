//! `abort`: ends a run by an operator's word, without dispatching anything.

use std::time::Duration;

use mc_core::error::ErrorKind;
use mission_control::Settings;
use serde_json::json;

use super::{Done, operator};
use crate::args::{Common, RunArg};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::store::{self, Opened};

pub(super) async fn execute(common: &Common, args: &RunArg, console: &mut Console<'_>) -> Done {
    // A store that is not there is not made, and a run that is not there changes nothing.
    let run_id = {
        let log = store::look(common)?;
        let run_id = store::find_run(&log, &args.run).await?;
        store::run_row(&log, run_id).await?;
        run_id
    };
    let opened = Opened::open(common, Settings::default()).await?;
    let aborted = opened.control.run(run_id).abort(&operator(common)).await;
    opened.close(Duration::ZERO).await?;
    aborted.map_err(|error| {
        let ended = error.kind() == ErrorKind::InvalidTransition;
        let failure = Failure::from(error);
        if ended {
            failure.with_next(format!(
                "nothing: `mission-control show {run_id}` says how it ended"
            ))
        } else {
            failure
        }
    })?;
    if common.json {
        console.json(&json!({"run_id": run_id, "status": "aborted"}))?;
    } else {
        console.line(format_args!("run {run_id} is aborted"))?;
    }
    Ok(Exit::Done)
}
