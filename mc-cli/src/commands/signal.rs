//! `signal`: something from outside reaches a run, without dispatching anything here.

use std::time::Duration;

use mc_core::error::Error;
use mc_core::event::BlockReason;
use mc_core::id::{Opaque, StepKey};
use mc_core::run::Run;
use mission_control::Settings;
use serde_json::json;

use super::steer::{open_run, say};
use super::{Done, NEXT_RUN, operator};
use crate::args::{Common, SignalArgs};
use crate::console::Console;
use crate::failure::Failure;
use crate::given;
use crate::store::Opened;
use crate::waits::awaited;

pub(super) async fn execute(common: &Common, args: &SignalArgs, console: &mut Console<'_>) -> Done {
    let by = operator(common)?;
    let name = Opaque::new(&args.name);
    let name = name.map_err(|fault| Failure::usage(Error::invalid("signal", fault)))?;
    let value = given::json("JSON|@FILE", &args.value)?;
    let run_id = open_run(common, &args.run).await?;
    let opened = Opened::open(common, Settings::default()).await?;
    let run = opened.control.run(run_id);
    let before = run.state().await;
    let said = run.signal(&by, name.as_str(), value).await;
    // A handle keeps the store open.
    drop(run);
    opened.close(Duration::ZERO).await?;
    said?;
    let step = waiting(&*before?, &name).cloned();
    let text = match &step {
        Some(step) => format!(
            "{step} has its signal: it goes on where its run is driven, else with {NEXT_RUN}"
        ),
        None => format!("no step waits for `{name}` yet: run {run_id} keeps it until one does"),
    };
    let facts = json!({"run_id": run_id, "signal": name, "step": step});
    say(common, console, (&text, facts))
}

/// The first step that waits for a signal of this name.
fn waiting<'a>(run: &'a Run, name: &Opaque) -> Option<&'a StepKey> {
    let waits = run.steps.iter().find(|(_, step)| {
        let block = step.block.as_ref();
        block.is_some_and(|block| block.reason == BlockReason::Signal)
            && awaited(step) == Some(name)
    });
    waits.map(|(key, _)| key)
}
