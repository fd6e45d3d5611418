//! `show`: one run with its steps, its accounts and what it waits for.

use mc_core::error::Result;
use mc_core::id::{Digest, RunId};
use mc_core::ports::EventLog;
use mc_core::run::Run;

use super::Done;
use crate::args::{Common, RunArg};
use crate::console::Console;
use crate::exit::Exit;
use crate::progress::Progress;
use crate::steps::{StepCosts, View};
use crate::store::{self, Reader};

pub(super) async fn execute(common: &Common, args: &RunArg, console: &mut Console<'_>) -> Done {
    let log = store::look(common)?;
    let run_id = store::find_run(&log, &args.run).await?;
    let row = store::run_row(&log, run_id).await?;
    let run = Run::decode(&row.state)?;
    let costs = costs(&log, run_id).await?;
    let definition = match run.created.definition_hash {
        Some(hash) if hash != Digest::ZERO => store::definition(&log, hash).await?,
        _ => None,
    };
    let view = View {
        run: &run,
        definition: definition.as_ref(),
        costs: &costs,
    };
    if common.json {
        console.json(&view.json())?;
    } else {
        console.line(view.text())?;
    }
    Ok(Exit::Done)
}

async fn costs(log: &dyn EventLog, run_id: RunId) -> Result<StepCosts> {
    let mut progress = Progress::new(run_id);
    let mut reader = Reader::new(log, Some(run_id));
    loop {
        let page = reader.page().await?;
        if page.is_empty() {
            return Ok(progress.costs().clone());
        }
        for record in &page {
            progress.take(record)?;
        }
    }
}
