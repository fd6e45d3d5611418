//! `show`: one run with its steps, its accounts and what it waits for.

use mc_core::id::Digest;
use mc_core::run::Run;

use super::{Done, NEXT_RUN};
use crate::args::{Common, RunArg};
use crate::console::Console;
use crate::exit::Exit;
use crate::family::Family;
use crate::steps::View;
use crate::store;

/// How an open run goes on that waits for nobody: by the process that has the store, if one has.
pub(super) fn goes_on(owner: Option<u32>) -> String {
    match owner {
        Some(owner) => format!("process {owner} has the store open and drives the run"),
        // This command could open the store: no process drives its runs.
        None => format!("no process drives the run now: it goes on with {NEXT_RUN}"),
    }
}

pub(super) async fn execute(common: &Common, args: &RunArg, console: &mut Console<'_>) -> Done {
    let log = store::look(common).await?;
    let run_id = store::find_run(&*log, &args.run).await?;
    let row = store::run_row(&*log, run_id).await?;
    let run = Run::decode(&row.state)?;
    let family = Family::read(&*log, run_id).await?;
    let definition = match run.created.definition_hash {
        Some(hash) if hash != Digest::ZERO => store::definition(&*log, hash).await?,
        _ => None,
    };
    let view = View {
        run: &run,
        definition: definition.as_ref(),
        progress: family.top(),
        family: Some(&family),
        db: &common.db,
    };
    if common.json {
        console.json(&view.json())?;
    } else {
        console.line(view.text())?;
        if !run.status.is_terminal() && view.waits().is_empty() {
            console.line(format_args!("\n{}", goes_on(log.owner())))?;
        }
    }
    Ok(Exit::Done)
}
