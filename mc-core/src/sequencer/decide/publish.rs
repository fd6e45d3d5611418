//! Publish and activate: versions of workflows are stored once and never change.

use super::View;
use crate::error::{Error, Result};
use crate::event::MediaType;
use crate::event::workspace::{WorkflowActivated, WorkflowPublished};
use crate::id::{RunId, WorkflowName};
use crate::sequencer::command::{Activate, Activation, Publish};
use crate::sequencer::decision::{Decision, NewEvent, NewPart, Reply};
use crate::workflow::{Uses, composition, invalid};

/// Stores a definition as the next version; one that is stored already keeps its version.
///
/// # Errors
/// `InvalidWorkflow` with every version that it uses and that is not published, every circle, and
/// nesting that is too deep.
pub fn publish(view: &View<'_>, request: &Publish) -> Result<Decision> {
    let definition = request.workflow.definition();
    let (workflow, hash) = (definition.name().clone(), definition.hash());
    let versions = view.workspace.workflows.get(&workflow);
    let known = versions.and_then(|v| v.rows.values().find(|row| row.hash == hash));
    let next = versions
        .and_then(|v| v.rows.keys().next_back())
        .map_or(1, |last| last + 1);
    let version = known.map_or(next, |row| row.version);
    let own = Uses {
        workflow: workflow.clone(),
        version,
    };
    let problems = composition::problems(definition, &own, view.workspace);
    if !problems.is_empty() {
        return Err(invalid(problems));
    }
    let mut events = Vec::new();
    if known.is_none() {
        let facts = WorkflowPublished {
            workflow: workflow.clone(),
            version,
            definition_hash: hash,
        };
        let bytes = definition.to_canonical().into();
        let part = NewPart {
            media_type: MediaType::Json,
            bytes,
            value: None,
        };
        events.push(NewEvent::new(RunId::ZERO, facts).with(part));
    }
    let active = versions.and_then(|v| v.active) == Some(version);
    if request.activation == Activation::Now && !active {
        events.push(activated(&workflow, version));
    }
    Ok(Decision::durable(
        events,
        Reply::Published {
            workflow,
            version,
            hash,
        },
    ))
}

fn activated(workflow: &WorkflowName, version: u32) -> NewEvent {
    NewEvent::new(
        RunId::ZERO,
        WorkflowActivated {
            workflow: workflow.clone(),
            version,
        },
    )
}

/// Lets new runs take a version; going back is activating an older one.
///
/// # Errors
/// `NotFound`.
pub fn activate(view: &View<'_>, request: &Activate) -> Result<Decision> {
    let Activate { workflow, version } = request;
    let versions = view.workspace.workflows.get(workflow);
    let versions = versions.ok_or_else(|| Error::not_found("workflow", workflow))?;
    let row = versions.rows.get(version);
    let row = row.ok_or_else(|| {
        Error::not_found("workflow version", format_args!("{workflow}@{version}"))
    })?;
    let reply = Reply::Published {
        workflow: workflow.clone(),
        version: *version,
        hash: row.hash,
    };
    if versions.active == Some(*version) {
        return Ok(Decision::now(reply));
    }
    Ok(Decision::durable(
        vec![activated(workflow, *version)],
        reply,
    ))
}
