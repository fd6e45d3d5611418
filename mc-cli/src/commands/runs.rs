//! `runs`: a list of runs, newest first.

use mc_core::error::Error;
use mc_core::event::RunStatus;
use mc_core::id::{AgentName, LabelKey, NameFault, WorkflowName};
use mc_core::money::NanoUsd;
use mc_core::ports::{MAX_PAGE, RunQuery, RunSummary};
use serde_json::{Value, json};

use super::{Done, pair};
use crate::args::{Common, RunsArgs};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::moment::in_past;
use crate::store;
use crate::table::{Align, Table};

pub(super) async fn execute(common: &Common, args: &RunsArgs, console: &mut Console<'_>) -> Done {
    let mut query = query(args)?;
    let log = store::look(common).await?;
    let mut found = Vec::new();
    let mut left_out = 0;
    while found.len() < args.limit {
        query.limit = (args.limit - found.len()).min(MAX_PAGE);
        let page = log.query_runs(query.clone()).await?;
        let before = page.items.len();
        let shown = page.items.into_iter();
        let shown: Vec<RunSummary> = shown
            .filter(|run| args.nested || run.outer.is_none())
            .collect();
        left_out += before - shown.len();
        found.extend(shown);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    if common.json {
        let rows: Vec<Value> = found.iter().map(as_json).collect();
        console.json(&json!({ "runs": rows }))?;
    } else {
        console.line(text(&found))?;
        if left_out > 0 {
            console.line(format_args!(
                "{left_out} nested in others left out; `--nested` lists them too"
            ))?;
        }
    }
    Ok(Exit::Done)
}

fn query(args: &RunsArgs) -> Result<RunQuery, Failure> {
    let label = args
        .label
        .as_deref()
        .map(|text| pair(text, "--label"))
        .transpose()?;
    let label = label.map(|(key, value)| {
        let key = LabelKey::new(&key).map_err(|fault| wrong("--label", fault))?;
        Ok::<_, Failure>((key, value.as_str().into()))
    });
    let status = args.status.as_deref().map(|word| {
        RunStatus::parse(word).ok_or_else(|| {
            let words: Vec<&str> = RunStatus::ALL
                .iter()
                .map(|status| status.as_str())
                .collect();
            Failure::usage(Error::invalid(
                "--status",
                format!("one of {}", words.join(", ")),
            ))
        })
    });
    Ok(RunQuery {
        workflow: name(args.workflow.as_deref(), "--workflow", WorkflowName::new)?,
        agent: name(args.agent.as_deref(), "--agent", AgentName::new)?,
        status: status.transpose()?,
        label: label.transpose()?,
        started_from: args
            .since
            .as_deref()
            .map(|text| in_past("--since", text))
            .transpose()
            .map_err(Failure::usage)?,
        ..RunQuery::default()
    })
}

fn wrong(option: &'static str, fault: NameFault) -> Failure {
    Failure::usage(Error::invalid(option, fault))
}

fn name<T>(
    text: Option<&str>,
    option: &'static str,
    read: fn(&str) -> Result<T, NameFault>,
) -> Result<Option<T>, Failure> {
    text.map(read)
        .transpose()
        .map_err(|fault| wrong(option, fault))
}

/// `running`, `running, paused`, `aborted (budget)`.
fn status(run: &RunSummary) -> String {
    let paused = if run.paused { ", paused" } else { "" };
    let note = if run.note.is_empty() {
        String::new()
    } else {
        format!(" ({})", run.note)
    };
    format!("{}{paused}{note}", run.status)
}

fn text(runs: &[RunSummary]) -> String {
    let mut columns = vec![
        ("run", Align::Left),
        ("workflow", Align::Left),
        ("status", Align::Left),
        ("started", Align::Left),
        ("spent usd", Align::Right),
        ("limit usd", Align::Right),
        ("labels", Align::Left),
    ];
    let nested = runs.iter().any(|run| run.outer.is_some());
    if nested {
        columns.push(("nested in", Align::Left));
    }
    let mut table = Table::new(&columns);
    for run in runs {
        let labels: Vec<String> = run.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let started = run.started_at.to_string();
        let mut row = vec![
            run.run_id.to_string(),
            workflow(run),
            status(run),
            started
                .get(..19)
                .map_or(started.clone(), |text| format!("{text}Z")),
            total(run).to_string(),
            run.limit
                .money
                .map_or("-".to_owned(), |usd| usd.to_string()),
            labels.join(" "),
        ];
        if nested {
            let outer = run.outer.as_ref();
            row.push(outer.map_or_else(String::new, |outer| {
                format!("{} of {}", outer.step, outer.run)
            }));
        }
        table.row(row);
    }
    if table.is_empty() {
        "no runs".to_owned()
    } else {
        table.render()
    }
}

/// What it spent, with the runs nested in it that have ended.
fn total(run: &RunSummary) -> NanoUsd {
    run.spent.saturating_add(run.spent_nested)
}

fn workflow(run: &RunSummary) -> String {
    match &run.workflow {
        Some(name) => format!("{name}@{}", run.version),
        None => "(session)".to_owned(),
    }
}

fn as_json(run: &RunSummary) -> Value {
    let labels: serde_json::Map<String, Value> = run
        .labels
        .iter()
        .map(|(key, value)| (key.to_string(), Value::from(&**value)))
        .collect();
    json!({
        "run_id": run.run_id, "workflow": run.workflow, "version": run.version,
        "agents": run.agents, "status": run.status, "paused": run.paused, "sealed": run.sealed,
        "labels": labels, "started_at": run.started_at.to_string(),
        "ended_at": run.ended_at.map(|at| at.to_string()), "spent_usd": total(run).to_string(),
        "spent_nested_usd": run.spent_nested.to_string(), "nested_in": run.outer,
        "held_usd": run.held.to_string(),
        "limit_usd": run.limit.money.map(|usd| usd.to_string()), "limit": run.limit,
        "note": &*run.note,
    })
}
