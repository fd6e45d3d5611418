//! Watching a run to its end, or to where a person has to act.

use std::pin::pin;

use mc_core::engine::{Outcome, Position, RunHandle, RunNews};
use mc_core::error::Error;
use mission_control::MissionControl;
use serde_json::{Value, json};

use super::Done;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::live::Live;
use crate::progress::Progress;
use crate::steps::{View, abort_text};
use crate::store::PAGE;

/// Shows progress until the run stands still, then how it ended.
pub(super) async fn watch(
    control: &MissionControl,
    run: &RunHandle,
    (console, json): (&mut Console<'_>, bool),
) -> Done {
    let mut live = Live::new(console.screen, json);
    let mut progress = Progress::new(run.id());
    let position = follow(run, &mut progress, &mut |line| live.show(console, line)).await?;
    // What became durable behind the last notice.
    loop {
        let page = control
            .log()
            .read_run(run.id(), progress.next_run_seq(), PAGE)
            .await?;
        if page.is_empty() {
            break;
        }
        for record in &page {
            if let Some(line) = progress.take(record)? {
                live.show(console, &line)?;
            }
        }
    }
    live.finish();
    finish(&position, &progress, (console, json))
}

type Show<'a> = dyn FnMut(&crate::progress::StepLine) -> std::io::Result<()> + 'a;

async fn follow(
    run: &RunHandle,
    progress: &mut Progress,
    show: &mut Show<'_>,
) -> Result<Position, Failure> {
    let mut events = run.events();
    let mut ended = pin!(run.settled_or_blocked());
    loop {
        tokio::select! {
            biased;
            news = events.next() => match news? {
                Some(RunNews::Event(record)) => {
                    if let Some(line) = progress.take(&record)? {
                        show(&line)?;
                    }
                }
                Some(RunNews::Lagged(_)) => {}
                None => return ended.await.map_err(Failure::from),
            },
            position = &mut ended => return position.map_err(Failure::from),
        }
    }
}

fn finish(
    position: &Position,
    progress: &Progress,
    (console, json): (&mut Console<'_>, bool),
) -> Done {
    let Some(run) = progress.run() else {
        return Err(Error::internal("the run has no events").into());
    };
    let spent = run.spent().money;
    let view = View {
        run,
        definition: None,
        costs: progress.costs(),
    };
    if json {
        console.json(&json!({
            "run_id": run.run_id, "status": run.status, "outcome": outcome_json(position),
            "spent_usd": spent.to_string(), "waits": view.waits(),
        }))?;
    } else {
        let limit = run.account().limit().money;
        let of = limit.map_or_else(String::new, |limit| format!(" of {limit}"));
        console.line(format_args!(
            "\nrun {} {}, {spent}{of} USD",
            run.run_id,
            told(position)
        ))?;
        for line in view.waits() {
            console.line(format_args!("  {line}"))?;
        }
        if let Position::Ended(Outcome::Completed(outputs)) = position {
            console.line(serde_json::to_string_pretty(outputs).unwrap_or_default())?;
        }
    }
    Ok(match position {
        Position::Ended(Outcome::Completed(_)) => Exit::Done,
        Position::Ended(Outcome::Failed { .. } | Outcome::Aborted(_))
        | Position::Blocked { .. } => Exit::Negative,
    })
}

fn told(position: &Position) -> String {
    match position {
        Position::Ended(Outcome::Completed(_)) => "completed".to_owned(),
        Position::Ended(Outcome::Failed { step, code, .. }) => format!("failed: {step} ({code})"),
        Position::Ended(Outcome::Aborted(reason)) => format!("aborted: {}", abort_text(reason)),
        Position::Blocked { .. } => "stands still".to_owned(),
    }
}

fn outcome_json(position: &Position) -> Value {
    match position {
        Position::Ended(Outcome::Completed(outputs)) => json!({"completed": outputs}),
        Position::Ended(Outcome::Failed { step, code, .. }) => {
            json!({"failed": {"step": step, "code": code}})
        }
        Position::Ended(Outcome::Aborted(reason)) => json!({"aborted": reason}),
        Position::Blocked { paused, steps } => {
            let steps: Vec<Value> = steps
                .iter()
                .map(|step| json!({"step": step.step, "reason": step.reason, "code": step.code}))
                .collect();
            json!({"blocked": {"paused": paused, "steps": steps}})
        }
    }
}
