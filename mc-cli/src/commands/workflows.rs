//! `workflows`: the versions of workflows that a store has, and what new runs take.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mc_core::error::Error;
use mc_core::ports::WorkflowRow;
use mc_core::workflow::{Definition, StepChange, Workflow, diff, drawing};
use mission_control::{Activation, Settings};
use serde_json::{Value, json};

use super::{Done, graph, operator};
use crate::args::{Common, WorkflowsCommand};
use crate::console::Console;
use crate::draft::Draft;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::store::{self, Opened};
use crate::table::{Align, Table};

pub(super) async fn execute(
    common: &Common,
    command: &WorkflowsCommand,
    console: &mut Console<'_>,
) -> Done {
    match command {
        WorkflowsCommand::List => list(common, console).await,
        WorkflowsCommand::Show { workflow } => show(common, workflow, console).await,
        WorkflowsCommand::Diff { before, after } => compare(common, (before, after), console).await,
        WorkflowsCommand::Graph { workflow, svg } => {
            draw(common, (workflow, svg.as_deref()), console).await
        }
        WorkflowsCommand::Publish { file, later } => {
            let activation = if *later {
                Activation::Later
            } else {
                Activation::Now
            };
            publish(common, (file, activation), console).await
        }
        WorkflowsCommand::Activate { workflow } => activate(common, workflow, console).await,
    }
}

/// A definition, and where it is from.
struct Found {
    definition: Arc<Definition>,
    row: Option<WorkflowRow>,
}

impl Found {
    fn name(&self) -> String {
        match &self.row {
            Some(row) => format!("{}@{}", row.workflow, row.version),
            None => self.definition.name().to_string(),
        }
    }
}

async fn rows(common: &Common) -> Result<Vec<WorkflowRow>, Failure> {
    Ok(store::look(common).await?.workflow_rows().await?)
}

/// `NAME@VERSION`; without a version none is wanted before others.
fn version_of(text: &str) -> Result<(&str, Option<u32>), Failure> {
    let Some((name, version)) = text.split_once('@') else {
        return Ok((text, None));
    };
    let version = version.parse().ok().filter(|version| *version > 0);
    let rule = "a version is NAME@NUMBER, e.g. research@2";
    let version = version.ok_or_else(|| Failure::usage(Error::invalid("version", rule)))?;
    Ok((name, Some(version)))
}

/// A file, or a version in the store: the one that is named, else the active one, else the newest.
async fn find(common: &Common, text: &str) -> Result<Found, Failure> {
    if Path::new(text).extension().is_some() {
        let workflow = read(Path::new(text))?;
        return Ok(Found {
            definition: Arc::clone(workflow.definition()),
            row: None,
        });
    }
    let (name, version) = version_of(text)?;
    let rows = rows(common).await?;
    let of_name = || rows.iter().filter(|row| row.workflow.as_str() == name);
    let found = match version {
        Some(version) => of_name().find(|row| row.version == version),
        None => of_name().find(|row| row.active).or(of_name().next_back()),
    };
    let row = found.cloned().ok_or_else(|| {
        Failure::from(Error::not_found("workflow", text))
            .with_next("see all: `mission-control workflows list`")
    })?;
    Ok(Found {
        definition: Arc::new(Definition::from_canonical(&row.definition)?),
        row: Some(row),
    })
}

fn read(path: &Path) -> Result<Workflow, Failure> {
    let bytes = std::fs::read(path).map_err(|error| Failure::file(&error, path))?;
    Workflow::from_yaml(bytes).map_err(|error| Failure::content(error, path))
}

async fn list(common: &Common, console: &mut Console<'_>) -> Done {
    let rows = rows(common).await?;
    if common.json {
        let all: Vec<Value> = rows.iter().map(facts).collect();
        console.json(&json!({ "workflows": all }))?;
        return Ok(Exit::Done);
    }
    if rows.is_empty() {
        console.line("no workflow is published yet: `mission-control workflows publish FILE`")?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        ("workflow", Align::Left),
        ("version", Align::Right),
        ("active", Align::Left),
        ("published", Align::Left),
        ("hash", Align::Left),
    ]);
    for row in &rows {
        let hash = row.hash.to_string();
        table.row([
            row.workflow.to_string(),
            row.version.to_string(),
            if row.active { "yes" } else { "" }.to_owned(),
            row.published_at.to_string(),
            hash.get(..12).unwrap_or_default().to_owned(),
        ]);
    }
    console.line(table.render())?;
    Ok(Exit::Done)
}

fn facts(row: &WorkflowRow) -> Value {
    json!({
        "workflow": row.workflow, "version": row.version, "active": row.active,
        "published_at": row.published_at.to_string(), "definition_hash": row.hash,
    })
}

async fn show(common: &Common, text: &str, console: &mut Console<'_>) -> Done {
    let found = find(common, text).await?;
    if common.json {
        let definition: Value =
            serde_json::from_slice(&found.definition.to_canonical()).unwrap_or_default();
        let mut answer = found.row.as_ref().map_or_else(|| json!({}), facts);
        answer["definition"] = definition;
        answer["definition_hash"] = json!(found.definition.hash());
        console.json(&answer)?;
        return Ok(Exit::Done);
    }
    let active = found.row.as_ref().is_some_and(|row| row.active);
    let active = if active { ", active" } else { "" };
    console.line(format_args!("{}{active}", found.name()))?;
    console.line(format_args!("hash {}\n", found.definition.hash()))?;
    console.line(drawing::text(&found.definition).trim_end())?;
    Ok(Exit::Done)
}

async fn compare(
    common: &Common,
    (before, after): (&str, &str),
    console: &mut Console<'_>,
) -> Done {
    let (before, after) = (find(common, before).await?, find(common, after).await?);
    let found = diff(&before.definition, &after.definition);
    if common.json {
        let steps: Vec<Value> = found
            .steps
            .iter()
            .map(|step| json!({ "step": step.step, "change": change(&step.change) }))
            .collect();
        console.json(&json!({
            "before": before.name(), "after": after.name(), "same": found.is_empty(),
            "fields": found.fields, "steps": steps,
        }))?;
        return Ok(Exit::Done);
    }
    let (before, after) = (before.name(), after.name());
    if found.is_empty() {
        console.line(format_args!("{before} and {after} are the same"))?;
    }
    for field in &found.fields {
        console.line(format_args!("~ {field}"))?;
    }
    for step in &found.steps {
        let line = match &step.change {
            StepChange::Added => format!("+ step {}", step.step),
            StepChange::Removed => format!("- step {}", step.step),
            StepChange::Changed { fields } => {
                format!("~ step {}: {}", step.step, fields.join(", "))
            }
        };
        console.line(line)?;
    }
    Ok(Exit::Done)
}

fn change(change: &StepChange) -> Value {
    match change {
        StepChange::Added => json!("added"),
        StepChange::Removed => json!("removed"),
        StepChange::Changed { fields } => json!({ "changed": fields }),
    }
}

async fn draw(
    common: &Common,
    (text, svg): (&str, Option<&Path>),
    console: &mut Console<'_>,
) -> Done {
    let found = find(common, text).await?;
    let Some(path) = svg else {
        if common.json {
            let (nodes, edges) = graph::of(&found.definition);
            let answer = json!({ "workflow": found.name(), "nodes": nodes, "edges": edges });
            console.json(&answer)?;
            return Ok(Exit::Done);
        }
        console.line(drawing::text(&found.definition).trim_end())?;
        return Ok(Exit::Done);
    };
    let failure = |error: std::io::Error| Failure::output(&error, path);
    let mut draft = Draft::begin(path).map_err(failure)?;
    draft
        .write_all(drawing::svg(&found.definition).as_bytes())
        .and_then(|()| draft.finish())
        .map_err(failure)?;
    if common.json {
        console.json(&json!({ "workflow": found.name(), "svg": path }))?;
    } else {
        console.line(format_args!(
            "{} is drawn in {}",
            found.name(),
            path.display()
        ))?;
    }
    Ok(Exit::Done)
}

async fn publish(
    common: &Common,
    (file, activation): (&Path, Activation),
    console: &mut Console<'_>,
) -> Done {
    let operator = operator(common)?;
    // A file that is no workflow makes no store.
    let workflow = read(file)?;
    let opened = Opened::open(common, Settings::default()).await?;
    let control = &opened.control;
    let open = without_tools(&workflow);
    let published = control.publish_by(&operator, workflow, activation).await;
    opened.close(Duration::ZERO).await?;
    let published = published?;
    if common.json {
        console.json(&json!({
            "workflow": published.workflow, "version": published.version,
            "definition_hash": published.hash, "without_tools": open,
        }))?;
    } else {
        let (name, version) = (&published.workflow, published.version);
        let then = match activation {
            Activation::Now => "new runs take it".to_owned(),
            Activation::Later => {
                format!(
                    "`mission-control workflows activate {name}@{version}` lets new runs take it"
                )
            }
        };
        console.line(format_args!("{name}@{version} is stored; {then}"))?;
        if !open.is_empty() {
            writeln!(console.err, "{}", any_tool(&open))?;
        }
    }
    Ok(Exit::Done)
}

/// The steps with an agent that may call any tool.
fn without_tools(workflow: &Workflow) -> Vec<String> {
    let steps = workflow.definition().steps().iter();
    let open = steps.filter(|(_, step)| step.agent().is_some() && step.tools.is_none());
    open.map(|(name, _)| name.to_string()).collect()
}

fn any_tool(steps: &[String]) -> String {
    format!(
        "warning: no `tools:` in {}: any tool may be called there, each by its own tier, and a person may be \
         asked in the middle of an attempt; `tools: []` allows none",
        steps.join(", ")
    )
}

async fn activate(common: &Common, text: &str, console: &mut Console<'_>) -> Done {
    let operator = operator(common)?;
    let (name, version) = version_of(text)?;
    let Some(version) = version else {
        let rule = "which version: NAME@NUMBER";
        return Err(Failure::usage(Error::invalid("version", rule))
            .with_next("see all: `mission-control workflows list`"));
    };
    // What is not there changes nothing, not even the epoch.
    find(common, text).await?;
    let opened = Opened::open(common, Settings::default()).await?;
    let activated = opened.control.activate(&operator, name, version).await;
    opened.close(Duration::ZERO).await?;
    activated?;
    if common.json {
        console.json(&json!({ "workflow": name, "version": version }))?;
    } else {
        console.line(format_args!("new runs take {name}@{version}"))?;
    }
    Ok(Exit::Done)
}
