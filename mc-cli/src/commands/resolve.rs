//! `resolve`: what became of a step in doubt, by an operator's word.

use std::sync::Arc;
use std::time::Duration;

use mc_core::error::Error;
use mc_core::id::StepKey;
use mission_control::{Resolution, Settings};
use serde_json::json as object;

use super::{Done, operator};
use crate::args::{Common, ResolveArgs};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::given;
use crate::store::{self, Opened};

pub(super) async fn execute(
    common: &Common,
    args: &ResolveArgs,
    console: &mut Console<'_>,
) -> Done {
    let by = operator(common)?;
    let step: StepKey = args
        .step
        .parse()
        .map_err(|fault| Failure::usage(Error::invalid("step", fault)))?;
    let (word, resolution) = match &args.happened {
        Some(output) => (
            "happened",
            Resolution::Happened(Arc::new(given::json("--happened", output)?)),
        ),
        None if args.abort => ("abort", Resolution::Abort),
        None => ("did_not_happen", Resolution::DidNotHappen),
    };
    let run_id = store::find_run(&*store::look(common).await?, &args.run).await?;
    let opened = Opened::open(common, Settings::default()).await?;
    let run = opened.control.run(run_id);
    let said = match args.attempt {
        Some(attempt) => {
            let doubt = (&step, attempt);
            run.resolve(&by, doubt, resolution, &args.reason).await
        }
        None => run.resolve(&by, &step, resolution, &args.reason).await,
    };
    let status = run.state().await.map(|run| run.status);
    // A handle keeps the store open.
    drop(run);
    opened.close(Duration::ZERO).await?;
    said?;
    let status = status?;
    if common.json {
        console.json(&object!({
            "run_id": run_id, "step": step, "resolution": word, "status": status,
        }))?;
    } else {
        console.line(format_args!(
            "{step} is resolved ({word}); run {run_id} is {status}"
        ))?;
    }
    Ok(Exit::Done)
}
