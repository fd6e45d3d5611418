//! `demo`: the bundled example from start to proof: run, costs, replay, and where the log lies.
//!
//! Who answers in it, recorded calls or a real model, is decided in `demo_agents`.

use std::path::Path;
use std::time::Duration;

use mc_core::error::Error;
use mc_core::ports::RunQuery;
use mc_core::workflow::Workflow;
use mission_control::{MissionControl, Settings, StartOptions};
use serde_json::json;

use super::demo_agents::Cast;
use super::run::start_and_watch;
use super::{Done, costs, operator, replay};
use crate::args::{By, Common};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::store::{self, Opened};
use crate::text::quoted;

const WORKFLOW: &str = include_str!("../../../examples/bundled/workflow.yaml");

pub(super) async fn execute(common: &Common, console: &mut Console<'_>) -> Done {
    let cast = Cast::read()?;
    make_directory(&common.db)?;
    let exit = act(common, &cast, console).await?;
    if common.json {
        return Ok(exit);
    }
    let log = store::look(common).await?;
    let page = mc_core::ports::EventLog::query_runs(
        &*log,
        RunQuery {
            limit: 1,
            ..RunQuery::default()
        },
    );
    let newest = page.await?.items.pop();
    let run = newest.ok_or_else(|| Error::internal("the demo left no run"))?;
    let id = run.run_id.to_string();
    for by in [By::Agent, By::Step] {
        let table = costs::fold(&*log, by, Some(&id)).await?;
        console.line(format_args!("\n{}", costs::text(by, &table)))?;
    }
    let row = store::run_row(&*log, run.run_id).await?;
    let progress = replay::fold(&*log, run.run_id, None).await?;
    let state = progress.run().map(mc_core::run::Run::encode).transpose()?;
    let equal = state.as_deref() == Some(&*row.state);
    let word = if equal { "equals" } else { "differs from" };
    console.line(format_args!(
        "\nreplay {word} the stored state ({} events)",
        progress.next_run_seq()
    ))?;
    let db = common.db.display();
    console.line(format_args!("the log is {db}; look at it with:"))?;
    let db = quoted(&db.to_string());
    for command in ["show", "replay"] {
        console.line(format_args!("  mission-control {command} {id} --db {db}"))?;
    }
    console.line(format_args!("  mission-control verify --db {db}"))?;
    Ok(if equal { exit } else { Exit::Negative })
}

async fn act(common: &Common, cast: &Cast, console: &mut Console<'_>) -> Done {
    let operator = operator(common)?;
    let opened = Opened::open(common, Settings::default()).await?;
    let done = match cast.check(&opened.control.prices(), common) {
        Ok(()) => play(&opened.control, cast, operator, (console, common)).await,
        Err(failure) => Err(failure),
    };
    opened.close(Duration::from_secs(5)).await?;
    done
}

async fn play(
    control: &MissionControl,
    cast: &Cast,
    operator: String,
    (console, common): (&mut Console<'_>, &Common),
) -> Done {
    let (text, facts) = cast.told();
    if common.json {
        console.json(&facts)?;
    } else {
        console.line(text)?;
    }
    for (name, agent) in cast.agents()? {
        control.register_agent(name.as_str(), agent).await?;
    }
    let workflow = Workflow::from_yaml(cast.workflow(WORKFLOW))?;
    let input =
        json!({"product": "a kettle that pours at the right temperature", "market": "home"});
    let start = (workflow, input, StartOptions::by(operator));
    start_and_watch(control, start, (console, common)).await
}

/// Makes the directory of the store, as nobody else would for a demo.
fn make_directory(db: &Path) -> Result<(), Failure> {
    match db.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        Some(dir) => std::fs::create_dir_all(dir).map_err(|error| Failure::file(&error, dir)),
        None => Ok(()),
    }
}
