//! `run`: publishes a workflow, starts it, and watches it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use mc_core::budget::Limit;
use mc_core::error::Error;
use mc_core::event::run::RunBudget;
use mc_core::json;
use mc_core::money::NanoUsd;
use mc_core::workflow::Workflow;
use mission_control::{Activation, MissionControl, Settings, StartOptions};
use serde_json::Value;

use super::watch::watch;
use super::{Done, operator, pair, read_file};
use crate::agents_file::{self, AgentSpec, Speed};
use crate::args::{Common, RunArgs};
use crate::console::Console;
use crate::failure::Failure;
use crate::store::Opened;

/// How long attempts that are out may take to end once the run has.
const GRACE: Duration = Duration::from_secs(5);

/// Everything that can be wrong before the store is touched.
struct Plan {
    workflow: Workflow,
    agents: Vec<AgentSpec>,
    speed: Speed,
    input: Value,
    options: StartOptions,
}

pub(super) async fn execute(common: &Common, args: &RunArgs, console: &mut Console<'_>) -> Done {
    let plan = plan(common, args)?;
    let opened = Opened::open(common, Settings::default()).await?;
    let done = go(&opened.control, plan, common, console).await;
    let stopped = opened.close(GRACE).await;
    let exit = done?;
    stopped?;
    Ok(exit)
}

async fn go(
    control: &MissionControl,
    plan: Plan,
    common: &Common,
    console: &mut Console<'_>,
) -> Done {
    for spec in &plan.agents {
        let agent = spec
            .open(plan.speed)
            .map_err(|error| Failure::content(error, &spec.file))?;
        control.register_agent(spec.name.as_str(), agent).await?;
    }
    start_and_watch(
        control,
        (plan.workflow, plan.input, plan.options),
        (console, common.json),
    )
    .await
}

/// Publishes, starts and watches; agents are registered already.
pub(super) async fn start_and_watch(
    control: &MissionControl,
    (workflow, input, options): (Workflow, Value, StartOptions),
    (console, json): (&mut Console<'_>, bool),
) -> Done {
    let by = options.operator.clone();
    let published = control.publish_by(&by, workflow, Activation::Now).await?;
    control.start_dispatch().await?;
    let run = control
        .start(published.workflow.as_str(), input, options)
        .await?;
    if !json {
        let (name, version) = (&published.workflow, published.version);
        console.line(format_args!("run {} of {name} version {version}", run.id()))?;
    }
    watch(control, &run, (console, json)).await
}

fn plan(common: &Common, args: &RunArgs) -> Result<Plan, Failure> {
    let speed = Speed::read(&args.speed).map_err(Failure::usage)?;
    let input = input(&args.input)?;
    let options = options(common, args)?;
    let text = read_file(&args.workflow)?;
    let workflow = Workflow::from_yaml(&text).map_err(|e| Failure::content(e, &args.workflow))?;
    let dir = args.agents.parent().unwrap_or(Path::new("."));
    let agents = agents_file::read(&read_file(&args.agents)?, dir)
        .map_err(|error| Failure::content(error, &args.agents))?;
    Ok(Plan {
        workflow,
        agents,
        speed,
        input,
        options,
    })
}

fn options(common: &Common, args: &RunArgs) -> Result<StartOptions, Failure> {
    let budget = args.budget.as_deref().map(|text| {
        let usd: NanoUsd = text
            .parse()
            .map_err(|fault| Failure::usage(Error::invalid("--budget", fault)))?;
        Ok::<_, Failure>(RunBudget {
            limit: Limit::usd(usd),
            ..RunBudget::default()
        })
    });
    let labels = args.labels.iter().map(|text| pair(text, "--label"));
    Ok(StartOptions {
        budget: budget.transpose()?,
        idempotency_key: args.key.clone(),
        labels: labels.collect::<Result<BTreeMap<_, _>, _>>()?,
        ..StartOptions::by(operator(common))
    })
}

/// JSON, or `@FILE`.
fn input(text: &str) -> Result<Value, Failure> {
    match text.strip_prefix('@') {
        None => json::parse(text.as_bytes()).map_err(|error| {
            Failure::usage(error.with_context("option", "--input"))
                .with_next("give --input a JSON value in quotes, or @FILE")
        }),
        Some(file) => {
            let path = Path::new(file);
            json::parse(&read_file(path)?).map_err(|error| Failure::content(error, path))
        }
    }
}
