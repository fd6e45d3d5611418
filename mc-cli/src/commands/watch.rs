//! Watching a run to its end, or to where a person has to act.

use std::pin::pin;

use mc_agents::callback::Listening;
use mc_core::engine::{Outcome, Position, RunHandle, RunNews};
use mc_core::error::Error;
use mc_core::ports::EventLog;
use mission_control::MissionControl;
use serde_json::{Value, json};

use super::Done;
use super::ask::{Asked, ask};
use super::replies::Waiting;
use crate::args::Common;
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::family::Family;
use crate::live::Live;
use crate::progress::StepLine;
use crate::spend;
use crate::steps::{View, abort_text};
use crate::text::{clean_json, shortened};

/// Where remote agents bring the answers that a run waits for.
#[derive(Clone, Copy)]
pub(super) enum Replies<'a> {
    /// To this process.
    Here(&'a Listening),
    /// To nobody, or to another.
    Elsewhere,
}

/// Shows progress until the run stands still, then how it ended. It does not stand still while all
/// that it waits for is answers that come here.
pub(super) async fn watch(
    control: &MissionControl,
    (run, replies): (&RunHandle, Replies<'_>),
    (console, common): (&mut Console<'_>, &Common),
) -> Done {
    let mut family = Family::new(run.id());
    loop {
        let position = look(control, (run, &mut family), (console, common)).await?;
        let blocked = matches!(position, Position::Blocked { .. });
        if blocked && !common.json && ask(control, run, (console, common)).await? == Asked::Decided
        {
            continue;
        }
        if let (
            Replies::Here(listening),
            Position::Blocked {
                steps,
                paused: None,
                ..
            },
        ) = (replies, &position)
            && let Some(waiting) = Waiting::of(control, steps).await?
        {
            if !common.json {
                let address = listening.address();
                console.line(format_args!("waits for answers at {address}"))?;
            }
            waiting.moved().await?;
            continue;
        }
        return finish(&position, &family, (console, common));
    }
}

/// Shows progress until the run stands still.
async fn look(
    control: &MissionControl,
    (run, family): (&RunHandle, &mut Family),
    (console, common): (&mut Console<'_>, &Common),
) -> Result<Position, Failure> {
    let mut live = Live::new(console.screen, common.json);
    let log = control.log().as_ref();
    let show = &mut |line: &StepLine| live.show(console, line);
    let position = follow((run, log), family, show).await?;
    // What became durable behind the last notice.
    for line in family.catch_up(log).await? {
        live.show(console, &line)?;
    }
    Ok(position)
}

type Show<'a> = dyn FnMut(&StepLine) -> std::io::Result<()> + 'a;

async fn follow(
    (run, log): (&RunHandle, &dyn EventLog),
    family: &mut Family,
    show: &mut Show<'_>,
) -> Result<Position, Failure> {
    let mut events = run.family_events();
    let mut ended = pin!(run.settled_or_blocked());
    loop {
        tokio::select! {
            biased;
            news = events.next() => match news? {
                Some(RunNews::Event(record)) => {
                    if let Some(line) = family.take(log, &record).await? {
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
    family: &Family,
    (console, common): (&mut Console<'_>, &Common),
) -> Done {
    let progress = family.top();
    let Some(run) = progress.run() else {
        return Err(Error::internal("the run has no events").into());
    };
    let view = View {
        run,
        definition: None,
        progress,
        family: Some(family),
        db: &common.db,
    };
    if common.json {
        let workflow = run.workflow();
        console.json(&json!({
            "run_id": run.run_id, "status": run.status, "outcome": outcome_json(position, &view),
            "workflow": workflow.map(|(name, _)| name.as_str()),
            "version": workflow.map(|(_, version)| version),
            "spent_usd": family.spent().money.to_string(),
            "refused": view.refused(), "waits": view.waits(),
        }))?;
    } else {
        let spent = spend::told(&family.spent(), run.account().limit());
        let told = told(position, &view);
        console.line(format_args!("\nrun {} {told}, {spent}", run.run_id))?;
        for line in view.refusal().into_iter().chain(view.waits()) {
            console.line(format_args!("  {line}"))?;
        }
        if let Position::Ended(Outcome::Completed(outputs)) = position {
            let text = serde_json::to_string_pretty(outputs).unwrap_or_default();
            console.line(clean_json(&text))?;
        }
    }
    Ok(match position {
        Position::Ended(Outcome::Completed(_)) => Exit::Done,
        Position::Ended(Outcome::Failed { .. } | Outcome::Aborted(_))
        | Position::Blocked { .. } => Exit::Negative,
    })
}

fn told(position: &Position, view: &View<'_>) -> String {
    match position {
        Position::Ended(Outcome::Completed(_)) => "completed".to_owned(),
        Position::Ended(Outcome::Failed {
            step,
            code,
            message,
        }) => {
            let message = view.message(step).unwrap_or(message);
            let said = if message.is_empty() {
                String::new()
            } else {
                format!(": {}", shortened(message))
            };
            format!("failed: {step} ({code}{said})")
        }
        Position::Ended(Outcome::Aborted(reason)) => format!("aborted: {}", abort_text(reason)),
        Position::Blocked { .. } => "stands still".to_owned(),
    }
}

fn outcome_json(position: &Position, view: &View<'_>) -> Value {
    match position {
        Position::Ended(Outcome::Completed(outputs)) => json!({"completed": outputs}),
        Position::Ended(Outcome::Failed {
            step,
            code,
            message,
        }) => {
            let message = view.message(step).unwrap_or(message);
            json!({"failed": {"step": step, "code": code, "message": message}})
        }
        Position::Ended(Outcome::Aborted(reason)) => json!({"aborted": reason}),
        Position::Blocked {
            paused,
            nested,
            steps,
        } => {
            let steps: Vec<Value> = steps
                .iter()
                .map(|step| {
                    json!({
                        "run_id": step.run, "step": step.step, "path": step.path,
                        "reason": step.reason, "code": step.code,
                    })
                })
                .collect();
            let nested: Vec<Value> = nested
                .iter()
                .map(|one| json!({"run_id": one.run, "path": one.path, "paused": one.reason}))
                .collect();
            json!({"blocked": {"paused": paused, "nested": nested, "steps": steps}})
        }
    }
}
