//! `unblock`: a step that a rule or a budget blocked tries afresh, without dispatching anything here.

use std::time::Duration;

use mc_core::error::{Error, ErrorKind};
use mc_core::id::StepKey;
use mission_control::Settings;
use serde_json::json;

use super::steer::{open_run, say};
use super::why::reason;
use super::{Done, NEXT_RUN, operator};
use crate::args::{Common, UnblockArgs};
use crate::console::Console;
use crate::failure::Failure;
use crate::store::Opened;

pub(super) async fn execute(
    common: &Common,
    args: &UnblockArgs,
    console: &mut Console<'_>,
) -> Done {
    let (who, reason) = (
        operator(common)?,
        reason(common, args.reason.as_deref(), console)?,
    );
    let step: StepKey = args
        .step
        .parse()
        .map_err(|fault| Failure::usage(Error::invalid("step", fault)))?;
    let run_id = open_run(common, &args.run).await?;
    let opened = Opened::open(common, Settings::default()).await?;
    let run = opened.control.run(run_id);
    let unblocked = run.unblock((&*who, &*reason), &step).await;
    // A handle keeps the store open.
    drop(run);
    opened.close(Duration::ZERO).await?;
    unblocked.map_err(|error| {
        let looks = matches!(
            error.kind(),
            ErrorKind::NotFound | ErrorKind::InvalidTransition
        );
        let next = format!("`mission-control show {run_id}` says what each step waits for");
        let failure = Failure::from(error);
        if looks {
            failure.with_next(next)
        } else {
            failure
        }
    })?;
    let text = format!("{step} tries afresh: where its run is driven, else with {NEXT_RUN}");
    let facts = json!({"run_id": run_id, "step": step, "unblocked": true});
    say(common, console, (&text, facts))
}
