//! `run`: publishes a workflow, starts it, and watches it.
//!
//! What can be refused is refused in `plan`, before the store is opened; a key that was used before
//! finds its run without publishing anything.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use mc_core::error::Error;
use mc_core::pricing::ModelPrice;
use mc_core::time::parse_duration;
use mission_control::{
    Activation, MissionControl, PriceAge, RunHandle, RunId, Settings, StartOptions, Workflow,
};
use serde_json::Value;

use super::plan::{self, Plan};
use super::prices::{older_than, stale};
use super::watch::{Replies, watch};
use super::{Done, interrupted};
use crate::args::{Common, RunArgs};
use crate::console::Console;
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::store::Opened;

/// How long attempts that are out may take to end once the run has.
const GRACE: Duration = Duration::from_secs(5);

pub(super) async fn execute(common: &Common, args: &RunArgs, console: &mut Console<'_>) -> Done {
    let plan = plan::read(common, args)?;
    let age = args.price_age.as_deref().map(span).transpose()?;
    let found = plan::found(common, &plan).await?;
    let settings = Settings {
        price_age: age.map(PriceAge::warn),
        ..Settings::default()
    };
    let interrupts = Interrupts::listen(console.signals);
    let opened = Opened::open(common, settings).await?;
    if let Some(age) = age {
        warn(&opened.control, age, console)?;
    }
    let run = Cell::new(found);
    let done = tokio::select! {
        biased;
        done = go(&opened.control, plan, &run, (console, common)) => Some(done),
        () = interrupts.heard(1) => None,
    };
    let Some(done) = done else {
        let run = (run.get(), &interrupts);
        return interrupted::stop((opened, GRACE), run, (common, args), console).await;
    };
    let stopped = opened.close(GRACE).await;
    let exit = done?;
    stopped?;
    Ok(exit)
}

fn span(text: &str) -> Result<Duration, Failure> {
    parse_duration(text).map_err(|rule| Failure::usage(Error::invalid("--price-age", rule)))
}

/// Warns of old prices, beside the results.
fn warn(control: &MissionControl, age: Duration, console: &mut Console<'_>) -> io::Result<()> {
    let prices = control.prices();
    let rows: Vec<&ModelPrice> = prices.models().iter().collect();
    match older_than(&rows, age) {
        0 => Ok(()),
        old => writeln!(console.err, "{}", stale(old, rows.len(), age)),
    }
}

async fn go(
    control: &MissionControl,
    plan: Plan,
    run: &Cell<Option<RunId>>,
    (console, common): (&mut Console<'_>, &Common),
) -> Done {
    // Before anybody is asked: an agent may answer at once.
    let listening = match &plan.callback {
        Some(callback) => Some(callback.listen(control)?),
        None => None,
    };
    for (name, agent) in plan.agents {
        control.register_agent(name.as_str(), agent).await?;
    }
    let handle = match run.get() {
        None => start(control, (plan.workflow, plan.input, plan.options)).await?,
        Some(run_id) => {
            control.start_dispatch().await?;
            control.run(run_id)
        }
    };
    run.set(Some(handle.id()));
    let replies = listening.as_ref().map_or(Replies::Elsewhere, Replies::Here);
    let done = tell_and_watch(control, (&handle, replies), (console, common)).await;
    if let Some(listening) = listening {
        listening.close();
    }
    done
}

/// Publishes, starts and watches; agents are registered already.
pub(super) async fn start_and_watch(
    control: &MissionControl,
    what: (Workflow, Value, StartOptions),
    (console, common): (&mut Console<'_>, &Common),
) -> Done {
    let run = start(control, what).await?;
    tell_and_watch(control, (&run, Replies::Elsewhere), (console, common)).await
}

async fn start(
    control: &MissionControl,
    (workflow, input, options): (Workflow, Value, StartOptions),
) -> Result<RunHandle, Failure> {
    let by = options.operator.clone();
    let published = control.publish_by(&by, workflow, Activation::Now).await?;
    control.start_dispatch().await?;
    let run = control
        .start(published.workflow.as_str(), input, options)
        .await?;
    Ok(run)
}

async fn tell_and_watch(
    control: &MissionControl,
    (run, replies): (&RunHandle, Replies<'_>),
    (console, common): (&mut Console<'_>, &Common),
) -> Done {
    if !common.json {
        let state = run.state().await?;
        if let Some((name, version)) = state.workflow() {
            console.line(format_args!("run {} of {name} version {version}", run.id()))?;
        }
    }
    watch(control, (run, replies), (console, common)).await
}
