//! `show`: one run with its steps, its accounts and what it waits for.

use mc_core::id::Digest;
use mc_core::run::Run;

use super::Done;
use crate::args::{Common, RunArg};
use crate::console::Console;
use crate::exit::Exit;
use crate::family::Family;
use crate::steps::View;
use crate::store;

/// What is said of an open run in a store that another process has.
fn driven(owner: u32) -> String {
    format!("\nprocess {owner} has the store open and drives the run")
}

/// What is said of an open run that waits for nobody.
const IDLE: &str = "\nno process drives the run now: it goes on with the next `mission-control run` \
                    on this store whose agents file has its agents";

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
            match log.owner() {
                Some(owner) => console.line(driven(owner))?,
                // This command could open the store: no process drives its runs.
                None => console.line(IDLE)?,
            }
        }
    }
    Ok(Exit::Done)
}
