//! Compose: a step that uses another workflow gets a run of it, nested in its own; and what comes back
//! from that run when it ends.
//!
//! Both are decided in the commit that causes them: a nested run begins with the event of its step,
//! and its end is the end of the step.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::dispatch::{Candidate, Dispatched, blocked, started};
use super::fail::exhausted;
use super::{View, advance, guard};
use crate::budget::{AccountId, Amount, InFlight, LimitMode};
use crate::event::BlockReason;
use crate::event::budget::BudgetLimitSet;
use crate::event::nested::{NestedEnd, NestedEnded, NestedIn, NestedSealed, StepComposed};
use crate::event::run::{AbortReason, RunBudget, RunCreated, Subject};
use crate::event::step::{AttemptFailed, StepCompleted};
use crate::id::{Digest, RunId, StepKey};
use crate::run::{End, NestedState, Run};
use crate::sequencer::decision::{Decision, NewEvent, NewPart};
use crate::sequencer::resident::Resident;
use crate::workflow::{Definition, Scope, Uses, Workflow, chain, limits};

/// The code of a step whose nested run failed.
pub const NESTED_FAILED: &str = "nested_failed";
/// The code of a step whose nested run was aborted by a person.
pub const NESTED_ABORTED: &str = "nested_aborted";
/// The code of a step whose nested run did what cannot be undone: no other takes its place.
pub const NESTED_ACTED: &str = "nested_acted";

/// Nests a run for a step that is ready, or says what stands in the way.
pub fn compose(view: &View<'_>, candidate: &Candidate<'_>, uses: &Uses) -> Dispatched {
    let (run, resident, key) = (candidate.run(), candidate.resident, candidate.key);
    let fails = |code, message: &str| advance::fail(resident, key.clone(), code, message);
    let before = run.step(key).and_then(|step| run.nested.get(&step.nested?));
    if before.is_some_and(|before| before.acted) {
        let message = "the run that was nested for it did what cannot be undone";
        return fails(NESTED_ACTED, message);
    }
    let versions = view.workspace.workflows.get(&uses.workflow);
    let row = versions.and_then(|versions| versions.rows.get(&uses.version));
    let workflow = row.and_then(|row| view.workspace.compiled.get(&row.hash));
    let Some(workflow) = workflow else {
        return fails("unknown_workflow", &format!("`{uses}` is not published"));
    };
    let scope = Scope {
        inputs: &resident.input,
        outputs: &resident.outputs,
        item: candidate.item(),
    };
    let input = match chain::bind_input(candidate.step, &scope) {
        Ok(input) => input,
        Err(fault) => return fails("binding", &fault.to_string()),
    };
    if let Err(error) = workflow.check_input(&input) {
        return fails("invalid_input", error.message());
    }
    let agents = workflow.definition().agents();
    let new = guard::Starting {
        flow: Some((&uses.workflow, workflow.definition())),
        agents: &agents,
        labels: &run.created.labels,
        depth: run.created.nested_in.len() + 1,
    };
    let judged = guard::at_start(view, &new);
    if let Some(denial) = judged.denial {
        let rule = denial.rule.as_ref();
        return match blocked(candidate, BlockReason::Guardrail, rule) {
            Dispatched::Decided(mut decision) => {
                decision.events.splice(0..0, judged.events);
                Dispatched::Decided(decision)
            }
            other @ (Dispatched::NotNow | Dispatched::Queued(_)) => other,
        };
    }
    let mut events = judged.events;
    events.extend(started(run));
    events.extend(begin(view, candidate, (uses, workflow), &Arc::new(input)));
    Dispatched::Decided(Decision::events(events))
}

/// The event of the step, and the first events of the run that is nested for it.
fn begin(
    view: &View<'_>,
    candidate: &Candidate<'_>,
    (uses, workflow): (&Uses, &Workflow),
    input: &Arc<Value>,
) -> Vec<NewEvent> {
    let (run, key) = (candidate.run(), candidate.key);
    let definition = workflow.definition();
    let attempt = run.step(key).map_or(0, |step| step.attempt) + 1;
    let nested = nested_id(view, run, (key, attempt));
    let part = NewPart::kept(input);
    let composed = StepComposed {
        step: key.clone(),
        attempt,
        run: nested,
        workflow: uses.workflow.clone(),
        version: uses.version,
        definition_hash: definition.hash(),
    };
    let place = NestedIn {
        run: run.run_id,
        step: key.clone(),
    };
    let around = run.created.nested_in.iter().cloned();
    let created = RunCreated {
        subject: Subject::Workflow {
            name: uses.workflow.clone(),
            version: uses.version,
        },
        definition_hash: Some(definition.hash()),
        input_digest: Digest::of(&[&part.bytes]),
        budget: definition.budget().map(|budget| RunBudget {
            limit: budget.limit,
            on_exceed: budget.on_exceed,
        }),
        policy: run.created.policy.clone(),
        labels: run.created.labels.clone(),
        tags: run.created.tags.clone(),
        correlation_id: run.created.correlation_id.clone(),
        idempotency_key: None,
        nested_in: std::iter::once(place).chain(around).collect(),
        // Not whoever's word or answer brings it about: who may not approve alone is the same everywhere.
        started_by: Some(run.started_by.clone()),
    };
    let mut events = vec![
        NewEvent::new(run.run_id, composed).with(NewPart::json(input)),
        NewEvent::new(nested, created).with(part),
    ];
    events.extend(step_budgets(nested, definition));
    events
}

/// The limits of a run's own steps.
pub fn step_budgets(run: RunId, definition: &Definition) -> impl Iterator<Item = NewEvent> + '_ {
    definition.steps().iter().filter_map(move |(name, step)| {
        let budget = step.budget?;
        let facts = BudgetLimitSet {
            account: AccountId::Step(run, StepKey::of(name)),
            limit: budget.limit,
            on_exceed: budget.on_exceed,
            window: None,
            lapses: None,
            mode: LimitMode::Enforce,
            in_flight: InFlight::GoesOn,
        };
        Some(NewEvent::new(run, facts))
    })
}

/// An id of version 7 that follows from its place: what is decided takes no chance of its own.
fn nested_id(view: &View<'_>, outer: &Run, (step, attempt): (&StepKey, u32)) -> RunId {
    let place = Digest::of(&[
        outer.run_id.as_bytes(),
        step.as_str().as_bytes(),
        &attempt.to_be_bytes(),
        &view.random.to_be_bytes(),
    ]);
    let millis = u64::try_from(view.now.as_unix_us() / 1_000).unwrap_or(0);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&place.as_bytes()[..16]);
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    bytes[6] = 0x70 | (bytes[6] & 0x0f);
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    RunId::from_bytes(bytes)
}

/// What the end of a nested run is to the run around it; nothing where that was told.
pub fn returned(view: &View<'_>, nested: &Resident) -> Vec<NewEvent> {
    let run = &nested.run;
    let Some((place, end)) = run.outer().zip(run.end.as_ref()) else {
        return Vec::new();
    };
    let Some(outer) = view.workspace.runs.get(&place.run) else {
        return Vec::new();
    };
    let known = outer.run.nested.get(&run.run_id);
    if known.is_none_or(|known| known.state != NestedState::Open) {
        return Vec::new();
    }
    let (facts_end, code, message) = told(run, end);
    let facts = NestedEnded {
        step: place.step.clone(),
        run: run.run_id,
        end: facts_end,
        spent: run.spent().saturating_add(&run.spent_nested()),
        acted: run.has_acted(),
    };
    let mut event = NewEvent::new(place.run, facts);
    if facts_end != NestedEnd::Completed {
        event.parts.push(NewPart::text(&message));
    }
    let mut events = vec![event];
    let step = outer.run.step(&place.step);
    let attempt = step.filter(|step| step.composing() == Some(run.run_id));
    let Some(attempt) = attempt.map(|step| step.attempt) else {
        return events;
    };
    let place = (&place.step, attempt);
    match facts_end {
        NestedEnd::Completed => events.extend(completed(outer, place, nested)),
        NestedEnd::Failed | NestedEnd::Aborted => {
            events.extend(failed(outer, place, (code, &message), None));
        }
    }
    events
}

/// How it ended, the code that its step fails with, and in words.
fn told(run: &Run, end: &End) -> (NestedEnd, &'static str, String) {
    let name = run.workflow();
    let name = name.map_or_else(String::new, |(name, version)| {
        format!(" of {name}@{version}")
    });
    let nested = format!("nested run {}{name}", run.run_id);
    match end {
        End::Completed => (NestedEnd::Completed, "", String::new()),
        End::Failed { step, code } => {
            let path = run.path_of(step);
            let message = format!("{nested} failed at `{path}`: {code}");
            (NestedEnd::Failed, NESTED_FAILED, message)
        }
        End::Aborted { reason } => {
            let (code, by) = match reason {
                AbortReason::Budget { account } => ("budget_exceeded", format!("by {account}")),
                AbortReason::Policy { code } => ("policy_denied", format!("by policy: {code}")),
                AbortReason::Operator => (NESTED_ABORTED, "by an operator".to_owned()),
                AbortReason::HostLost => (NESTED_ABORTED, "with its host".to_owned()),
                AbortReason::Outer { run } => (NESTED_ABORTED, format!("with run {run}")),
            };
            let message = format!("{nested} was aborted {by}");
            (NestedEnd::Aborted, code, message)
        }
    }
}

/// The output of a nested run is that of its step, if it is as the step's schema says.
fn completed(
    outer: &Resident,
    (key, attempt): (&StepKey, u32),
    nested: &Resident,
) -> Vec<NewEvent> {
    let output = Arc::new(output(nested));
    let part = NewPart::kept(&output);
    let most = usize::try_from(limits::MAX_JOINED_INPUT_BYTES).unwrap_or(usize::MAX);
    if part.bytes.len() > most {
        let why = (
            "joined_input",
            "the outputs of the nested run are larger than 64 MiB",
        );
        return failed(outer, (key, attempt), why, None);
    }
    let workflow = outer.workflow.as_ref();
    let checked = workflow.map(|workflow| workflow.check_output(key.name(), &output));
    if let Some(Err(error)) = checked {
        let why = ("invalid_output", error.message());
        return failed(outer, (key, attempt), why, Some(part));
    }
    let facts = StepCompleted {
        step: key.clone(),
        attempt,
        released: Amount::ZERO,
    };
    vec![NewEvent::new(outer.run.run_id, facts).with(part)]
}

/// The output of its last step; with several last steps, each under its name. Null for one that was
/// skipped.
fn output(nested: &Resident) -> Value {
    let Some(workflow) = &nested.workflow else {
        return Value::Null;
    };
    let results = nested.results();
    let last = workflow.definition().dependents().iter();
    let last = last.filter(|(_, after)| after.is_empty());
    let mut all: Map<String, Value> = last
        .map(|(name, _)| {
            let result = results.get(name).map(|value| Value::clone(value));
            (name.to_string(), result.unwrap_or_default())
        })
        .collect();
    if all.len() > 1 {
        return Value::Object(all);
    }
    all.values_mut().next().map(Value::take).unwrap_or_default()
}

fn failed(
    outer: &Resident,
    (key, attempt): (&StepKey, u32),
    (code, message): (&str, &str),
    raw: Option<NewPart>,
) -> Vec<NewEvent> {
    let facts = AttemptFailed {
        step: key.clone(),
        attempt,
        code: code.to_owned(),
        not_begun: false,
        outage: false,
        retry_at: None,
        released: Amount::ZERO,
    };
    let mut event = NewEvent::new(outer.run.run_id, facts).with(NewPart::text(message));
    event.parts.extend(raw);
    let mut events = vec![event];
    events.extend(exhausted(outer, key, code));
    events
}

/// Nothing of a nested run is open any more: what it came to is told to the run around it.
pub fn sealed(view: &View<'_>, run: &Run) -> Option<NewEvent> {
    let place = run.outer()?;
    let outer = view.workspace.runs.get(&place.run)?;
    let known = outer.run.nested.get(&run.run_id)?;
    let facts = NestedSealed {
        step: place.step.clone(),
        run: run.run_id,
        spent: run.spent().saturating_add(&run.spent_nested()),
        tool_uses: run.tool_uses.clone(),
        acts: run.acts.clone(),
    };
    let due = run.sealed && known.state == NestedState::Ended;
    due.then(|| NewEvent::new(place.run, facts))
}
