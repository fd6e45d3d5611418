//! Start: a run of a published workflow, once per idempotency key.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::compose::step_budgets;
use super::plan::{Begins, Planning};
use super::planned::{Planned, planned};
use super::{View, guard};
use crate::error::{Detail, Error, ErrorKind, Result, WorkflowProblem};
use crate::event::run::{RunBudget, RunCreated, RunPlanned, RunRefused, Subject};
use crate::id::{Digest, RunId};
use crate::json;
use crate::ports::{KeyRow, WorkflowRow};
use crate::sequencer::command::{Start, StartKey};
use crate::sequencer::decision::{Decision, NewEvent, NewPart, Reply};
use crate::workflow::{Definition, Uses, Work, Workflow};

/// So many agents that are not here, and what further workflows lack is no longer looked for.
const MAX_MISSING_NAMED: usize = 100;

/// The digest of what a key stands for: a repeat has the same, a reuse another.
pub fn request_digest(request: &Start) -> Digest {
    // How often a model is asked again, and who answers, is the host's affair and may change.
    let rest = serde_json::json!({
        "version": request.version, "budget": request.budget, "labels": request.labels,
        "tags": request.tags, "correlation_id": request.correlation_id,
    });
    Digest::of(&[&json::canonical(&rest), &json::canonical(&request.input)])
}

/// Starts a run, or finds the one that the key started before.
///
/// # Errors
/// `NotFound` (workflow, version), `InvalidInput` (the input breaks its schema), `InvalidWorkflow`
/// (an agent is not registered), `BudgetExceeded` (its worst case could never fit, and it is to be
/// refused for that), `Conflict` (the key belongs to another request; or it has to be
/// looked up again).
pub fn start(view: &View<'_>, request: &Start) -> Result<Decision> {
    let known = request
        .key
        .as_ref()
        .map(|key| find(view, request, key))
        .transpose()?;
    if let Some(row) = known.flatten() {
        // The run that it found may not be durable yet.
        return Ok(Decision::durable(Vec::new(), Reply::Run(row.run_id)));
    }
    let row = version(view, request)?;
    let workflow = view.workspace.compiled.get(&row.hash);
    let workflow =
        workflow.ok_or_else(|| Error::internal("a published workflow is not compiled"))?;
    check_input(workflow, request)?;
    check_agents(view, workflow.definition())?;
    let definition = workflow.definition();
    let agents = definition.agents();
    let new = guard::Starting {
        flow: Some((&request.workflow, definition)),
        agents: &agents,
        labels: &request.labels,
        depth: 0,
    };
    let judged = guard::at_start(view, &new);
    if let Some(denial) = judged.denial {
        let refused = Reply::Refused(denial.error.into());
        return Ok(Decision::durable(judged.events, refused));
    }
    let planning = Planning {
        run_id: request.run_id,
        workflow: &request.workflow,
        definition,
        tags: &request.tags,
        begins: Begins::Anew(budget(request, definition)),
    };
    let planned = match planned(view, &planning, request.policy.plan_check) {
        Planned::Goes(plan) => plan,
        Planned::Refused(plan, error) => {
            let mut decision = refused(request, row, plan, error);
            decision.events.splice(0..0, judged.events);
            return Ok(decision);
        }
    };
    let mut events = judged.events;
    events.push(created(request, row, definition));
    events.extend(step_budgets(request.run_id, definition));
    events.extend(planned.map(|plan| NewEvent::new(request.run_id, plan)));
    Ok(Decision::durable(events, Reply::Run(request.run_id)))
}

/// No run begins; that it was asked for, and why it does not, is kept.
fn refused(request: &Start, row: &WorkflowRow, plan: RunPlanned, error: Error) -> Decision {
    let error = error
        .with_context("workflow", &request.workflow)
        .with_context("worst_case_usd", plan.worst_case.money)
        .with_context(
            "counted",
            "every attempt and every item of every step with an estimate",
        );
    let facts = RunRefused {
        workflow: request.workflow.clone(),
        version: row.version,
        input_digest: Digest::of(&[&NewPart::json(&request.input).bytes]),
        plan,
    };
    let event = NewEvent::new(RunId::ZERO, facts);
    Decision::durable(vec![event], Reply::Refused(Arc::new(error)))
}

/// The run's own budget: the one that it is started with, or else its definition's.
fn budget(request: &Start, definition: &Definition) -> Option<RunBudget> {
    let defined = definition.budget().map(|b| RunBudget {
        limit: b.limit,
        on_exceed: b.on_exceed,
    });
    request.budget.or(defined)
}

fn find(view: &View<'_>, request: &Start, key: &StartKey) -> Result<Option<KeyRow>> {
    let recent = view
        .workspace
        .keys
        .find(&request.workflow, key.key.as_str());
    let Some(row) = recent.or(key.known.as_ref()) else {
        if key.looked_up_at < view.workspace.keys.floor {
            return Err(Error::new(
                ErrorKind::Conflict,
                "the key has to be looked up again",
            ));
        }
        return Ok(None);
    };
    if row.request == request_digest(request) {
        return Ok(Some(row.clone()));
    }
    let message = "this idempotency key was used for another request";
    Err(
        Error::new(ErrorKind::Conflict, message).with_detail(Detail::KeyReused {
            key: key.key.to_string(),
            run_id: row.run_id.to_string(),
        }),
    )
}

fn version<'a>(view: &View<'a>, request: &Start) -> Result<&'a WorkflowRow> {
    let versions = view.workspace.workflows.get(&request.workflow);
    let versions = versions.ok_or_else(|| Error::not_found("workflow", &request.workflow))?;
    let wanted = request.version.or(versions.active);
    let Some(wanted) = wanted else {
        let message = "no version of this workflow is active; activate one or name it";
        return Err(
            Error::new(ErrorKind::NotFound, message).with_detail(Detail::Thing {
                what: "workflow",
                id: request.workflow.to_string(),
            }),
        );
    };
    versions.rows.get(&wanted).ok_or_else(|| {
        Error::not_found(
            "workflow version",
            format_args!("{}@{wanted}", request.workflow),
        )
    })
}

fn check_input(workflow: &Workflow, request: &Start) -> Result<()> {
    let Some(schema) = workflow.input_schema() else {
        return Ok(());
    };
    let violations = schema.violations(&request.input);
    match violations.first() {
        None => Ok(()),
        Some(first) => {
            let place = if first.path.is_empty() {
                "the input"
            } else {
                &first.path
            };
            let message = format!("the input breaks its schema at {place}: {}", first.rule);
            Err(Error::new(ErrorKind::InvalidInput, message)
                .with_detail(Detail::Violations(violations)))
        }
    }
}

/// Every agent of the workflow, and of those that it uses, is here.
fn check_agents(view: &View<'_>, definition: &Definition) -> Result<()> {
    let mut problems = Vec::new();
    missing_agents(view, definition, "", (&mut problems, &mut BTreeSet::new()));
    match problems.first() {
        None => Ok(()),
        Some(first) => Err(Error::new(ErrorKind::InvalidWorkflow, first.to_string())
            .with_detail(Detail::Workflow(problems))),
    }
}

fn missing_agents(
    view: &View<'_>,
    definition: &Definition,
    path: &str,
    (problems, seen): (&mut Vec<WorkflowProblem>, &mut BTreeSet<Uses>),
) {
    for (name, step) in definition.steps() {
        let path = format!("{path}{name}");
        match &step.work {
            Work::Agent(agent) if view.workspace.agents.contains_key(agent) => {}
            Work::Agent(agent) => problems.push(WorkflowProblem::UnknownAgent {
                step: path,
                agent: agent.to_string(),
            }),
            // However often it is used, it is looked at once.
            Work::Uses(uses) => {
                let inner = view.workspace.definition(uses);
                let inner = inner.filter(|_| problems.len() < MAX_MISSING_NAMED);
                if let Some(inner) = inner
                    && seen.insert(uses.clone())
                {
                    missing_agents(view, inner, &format!("{path}/"), (problems, seen));
                }
            }
        }
    }
}

fn created(request: &Start, row: &WorkflowRow, definition: &Definition) -> NewEvent {
    let input = NewPart::kept(&request.input);
    let facts = RunCreated {
        subject: Subject::Workflow {
            name: request.workflow.clone(),
            version: row.version,
        },
        definition_hash: Some(row.hash),
        input_digest: Digest::of(&[&input.bytes]),
        budget: budget(request, definition),
        policy: request.policy.clone(),
        labels: request.labels.clone(),
        tags: request.tags.clone(),
        correlation_id: request.correlation_id.clone(),
        idempotency_key: request.key.as_ref().map(|key| key.key.clone()),
        nested_in: Vec::new(),
        started_by: None,
    };
    NewEvent::new(request.run_id, facts).with(input)
}
