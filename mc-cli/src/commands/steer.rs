//! `abort`, `pause`, `halt`, `resume`: an operator steers a run, an agent or everything, without
//! dispatching anything here.

use std::time::Duration;

use mc_core::error::{Error, ErrorKind};
use mc_core::event::RunStatus;
use mc_core::id::RunId;
use mc_core::sequencer::HaltScope;
use mc_core::time::parse_duration;
use mission_control::{RunHandle, Settings};
use serde_json::json;

use super::why::reason as why;
use super::{Done, operator};
use crate::args::{AbortArgs, Common, HaltArgs, ResumeArgs, SteerCommand};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::store::{self, Opened};

pub(super) async fn execute(
    common: &Common,
    command: &SteerCommand,
    console: &mut Console<'_>,
) -> Done {
    match command {
        SteerCommand::Abort(args) => abort(common, args, console).await,
        SteerCommand::Pause(args) => pause(common, args, console).await,
        SteerCommand::Halt(args) => halt(common, args, console).await,
        SteerCommand::Resume(args) => resume(common, args, console).await,
    }
}

async fn abort(common: &Common, args: &AbortArgs, console: &mut Console<'_>) -> Done {
    let (who, reason) = (
        operator(common)?,
        why(common, args.reason.as_deref(), console)?,
    );
    let run = open_run(common, &args.run).await?;
    let opened = Opened::open(common, Settings::default()).await?;
    let aborted = handle(&opened, run)
        .abort((who.as_str(), reason.as_str()))
        .await;
    opened.close(Duration::ZERO).await?;
    aborted?;
    let text = format!("run {run} is aborted");
    say(
        common,
        console,
        (&text, json!({"run_id": run, "status": "aborted"})),
    )
}

async fn pause(common: &Common, args: &AbortArgs, console: &mut Console<'_>) -> Done {
    let (who, reason) = (
        operator(common)?,
        why(common, args.reason.as_deref(), console)?,
    );
    let run = open_run(common, &args.run).await?;
    let opened = Opened::open(common, Settings::default()).await?;
    let paused = handle(&opened, run)
        .pause((who.as_str(), reason.as_str()))
        .await;
    opened.close(Duration::ZERO).await?;
    paused?;
    let text = format!("run {run} is paused; `mission-control resume run:{run}` lets it go on");
    say(
        common,
        console,
        (&text, json!({"run_id": run, "paused": true})),
    )
}

async fn halt(common: &Common, args: &HaltArgs, console: &mut Console<'_>) -> Done {
    let (who, reason) = (
        operator(common)?,
        why(common, args.reason.as_deref(), console)?,
    );
    let drain = parse_duration(&args.drain)
        .map_err(|rule| Failure::usage(Error::invalid("--drain", rule)))?;
    let scope = scope(common, &args.scope).await?;
    let opened = Opened::open(common, Settings::default()).await?;
    let halted = opened
        .control
        .halt((who.as_str(), reason.as_str()), scope.clone(), drain);
    let halted = halted.await;
    opened.close(Duration::ZERO).await?;
    halted?;
    let text = format!(
        "{scope} is halted: nothing goes out, what is out has {} to end; `mission-control resume {scope}` lets it go on",
        args.drain
    );
    say(
        common,
        console,
        (&text, json!({"scope": scope.to_string(), "halted": true})),
    )
}

async fn resume(common: &Common, args: &ResumeArgs, console: &mut Console<'_>) -> Done {
    let (who, reason) = (
        operator(common)?,
        why(common, args.reason.as_deref(), console)?,
    );
    let scope = scope(common, &args.scope).await?;
    let opened = Opened::open(common, Settings::default()).await?;
    let resumed = opened
        .control
        .resume((who.as_str(), reason.as_str()), scope.clone())
        .await;
    opened.close(Duration::ZERO).await?;
    resumed?;
    let text = format!("{scope} goes on");
    say(
        common,
        console,
        (&text, json!({"scope": scope.to_string(), "halted": false})),
    )
}

fn handle(opened: &Opened, run: RunId) -> RunHandle {
    opened.control.run(run)
}

pub(super) fn say(
    common: &Common,
    console: &mut Console<'_>,
    (text, value): (&str, serde_json::Value),
) -> Done {
    if common.json {
        console.json(&value)?;
    } else {
        console.line(format_args!("{text}"))?;
    }
    Ok(Exit::Done)
}

/// What is meant, where a run may be named by the beginning of its id.
async fn scope(common: &Common, text: &str) -> Result<HaltScope, Failure> {
    if let Some(run) = text.strip_prefix("run:") {
        return Ok(HaltScope::Run(open_run(common, run).await?));
    }
    // A store that is not there is not made.
    store::look(common).await?;
    let scope = text.parse::<HaltScope>();
    scope.map_err(|error| {
        Failure::usage(error).with_next("name it as workspace, agent:NAME or run:ID")
    })
}

/// A run that has not ended. A store that is not there is not made, and a run that is not there or
/// has ended changes nothing.
pub(super) async fn open_run(common: &Common, text: &str) -> Result<RunId, Failure> {
    let log = store::look(common).await?;
    let run_id = store::find_run(&*log, text).await?;
    let run = store::run_row(&*log, run_id).await?.summary;
    if run.status.is_terminal() {
        return Err(ended(run_id, run.status));
    }
    Ok(run_id)
}

fn ended(run_id: RunId, status: RunStatus) -> Failure {
    let message = format!("run {run_id} has ended: it is {status}");
    let next = format!("nothing: `mission-control show {run_id}` says how it ended");
    Failure::from(Error::new(ErrorKind::InvalidTransition, message)).with_next(next)
}
