//! `for_each`: a step gets its items, they go out in order, and their outputs come back as a list.

use std::sync::Arc;

use serde_json::Value;

use super::View;
use super::advance::{after_failure, fail};
use super::dispatch::{Candidate, Dispatched, dispatch};
use super::fail::guardrail;
use super::guard;
use crate::budget::Amount;
use crate::error::Result;
use crate::event::run::RunStarted;
use crate::event::step::{StepCompleted, StepExpanded, StepFailed};
use crate::event::{RunStatus, StepStatus};
use crate::id::{StepKey, StepName};
use crate::run::Expansion;
use crate::sequencer::decision::{Decision, NewEvent, NewPart};
use crate::sequencer::resident::Resident;
use crate::sequencer::workspace::Dispatch;
use crate::workflow::{Definition, OnFailure, Scope, Step, Work, chain, limits};

/// Evaluates the list, once; the log keeps it.
pub fn expand(view: &View<'_>, resident: &Resident, key: &StepKey, step: &Step) -> Dispatched {
    let run = &resident.run;
    if view.workspace.dispatch != Dispatch::On {
        return Dispatched::NotNow;
    }
    let scope = Scope {
        inputs: &resident.input,
        outputs: &resident.outputs,
        item: None,
    };
    let items = match chain::expand(step, &scope) {
        Ok(items) => items.unwrap_or_default(),
        Err(fault) => return fail(resident, key.clone(), "for_each", &fault.to_string()),
    };
    let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
    let list = Value::Array(items.iter().map(|item| Value::clone(item)).collect());
    let mut events = Vec::new();
    if run.status == RunStatus::Pending {
        events.push(NewEvent::new(run.run_id, RunStarted {}));
    }
    let agents = match &step.work {
        Work::Agent(agent) => vec![agent.clone()],
        Work::Uses(uses) => {
            let inner = view.workspace.definition(uses);
            inner.map(Definition::agents).unwrap_or_default()
        }
    };
    let judged = guard::at_expansion(view, run, (key, &agents), &list);
    events.extend(judged.events);
    if let Some(denial) = judged.denial {
        events.push(guardrail(run, key, denial.rule.as_ref()));
        return Dispatched::Decided(Decision::events(events));
    }
    let facts = StepExpanded {
        step: key.clone(),
        count,
    };
    events.push(NewEvent::new(run.run_id, facts).with(NewPart::kept(&Arc::new(list))));
    Dispatched::Decided(Decision::events(events))
}

/// The state of an expanded step that is under way.
fn under_way(resident: &Resident, parent: &StepKey) -> Option<Expansion> {
    let state = resident.run.step(parent)?;
    state
        .expansion
        .filter(|_| state.status.0 == StepStatus::Running)
}

/// Whether a step is under way of which an item failed for good.
pub fn has_failed(resident: &Resident, parent: &StepKey) -> bool {
    under_way(resident, parent).is_some_and(|expansion| expansion.failed > 0)
}

/// Tries an item again that had to wait.
///
/// # Errors
/// Only defects.
pub fn again(
    view: &View<'_>,
    resident: &Resident,
    (name, key): (&StepName, &StepKey),
    step: &Step,
) -> Result<Dispatched> {
    // One that is done again goes out when its turn comes.
    let waits = resident.run.step(key).is_some_and(|item| item.again);
    match under_way(resident, &StepKey::of(name)).filter(|_| !waits) {
        Some(_) => dispatch(
            view,
            &Candidate {
                resident,
                name,
                key,
                step,
            },
        ),
        None => Ok(Dispatched::NotNow),
    }
}

/// Sends the next item out, or joins the outputs.
///
/// # Errors
/// Only defects.
pub fn next_item(
    view: &View<'_>,
    resident: &Resident,
    name: &StepName,
    step: &Step,
) -> Result<Dispatched> {
    let parent = StepKey::of(name);
    let Some(expansion) = under_way(resident, &parent) else {
        return Ok(Dispatched::NotNow);
    };
    if expansion.failed > 0 {
        return Ok(fail_parent(view, resident, parent));
    }
    let limit = usize::try_from(limits::MAX_JOINED_INPUT_BYTES).unwrap_or(usize::MAX);
    let outputs = resident.item_outputs.get(name);
    if outputs.is_some_and(|outputs| outputs.written() > limit) {
        return Ok(too_large(view, resident, parent));
    }
    if expansion.ended >= expansion.count {
        return Ok(join(resident, name, parent, expansion.count));
    }
    let out = expansion.begun.saturating_sub(expansion.ended);
    let key = match expansion.again {
        0 => StepKey::item(name, expansion.begun),
        _ => first_again(resident, name).unwrap_or_else(|| StepKey::item(name, expansion.begun)),
    };
    let next = out < step.max_parallel && expansion.begun < expansion.count;
    // An item that was blocked before it ever went out keeps its place and all behind it.
    if !next || resident.run.step(&key).is_some_and(|item| !item.again) {
        return Ok(Dispatched::NotNow);
    }
    dispatch(
        view,
        &Candidate {
            resident,
            name,
            key: &key,
            step,
        },
    )
}

/// The first of the items that are done again and have not gone out since.
fn first_again(resident: &Resident, name: &StepName) -> Option<StepKey> {
    let steps = resident.run.steps.iter();
    let items = steps.filter(|(key, item)| item.again && key.name() == name.as_str());
    let first = items.filter_map(|(key, _)| key.index()).min();
    first.map(|index| StepKey::item(name, index))
}

/// The outputs so far cannot be joined: no further item is paid for.
fn too_large(view: &View<'_>, resident: &Resident, parent: StepKey) -> Dispatched {
    let pauses = after_failure(resident, &parent) == Some(OnFailure::Pause);
    let mut events = Vec::new();
    if !pauses {
        cancel_items(view, resident, &parent, &mut events);
    }
    let message = "the joined outputs are larger than 64 MiB";
    match fail(resident, parent, "joined_input", message) {
        Dispatched::Decided(mut decision) => {
            decision.events.splice(..0, events);
            Dispatched::Decided(decision)
        }
        as_is @ (Dispatched::NotNow | Dispatched::Queued(_)) => as_is,
    }
}

fn cancel_items(
    view: &View<'_>,
    resident: &Resident,
    parent: &StepKey,
    events: &mut Vec<NewEvent>,
) {
    let run = &resident.run;
    let items = run.steps.iter();
    let items = items.filter(|(key, _)| key.name() == parent.name() && key.index().is_some());
    for (key, item) in items.filter(|(_, item)| !item.status.0.is_terminal()) {
        super::abort::cancel_one(view, run, (key, item), events);
    }
}

fn fail_parent(view: &View<'_>, resident: &Resident, parent: StepKey) -> Dispatched {
    let run = &resident.run;
    let items = run.steps.iter();
    let mut items = items.filter(|(key, _)| key.name() == parent.name() && key.index().is_some());
    let failed =
        items.find(|(_, item)| item.status.0 == StepStatus::Failed && !item.code.is_empty());
    let code = failed
        .map(|(_, item)| item.code.clone())
        .unwrap_or_default();
    let mut events = Vec::new();
    cancel_items(view, resident, &parent, &mut events);
    let facts = StepFailed {
        step: parent,
        code,
        tolerated: false,
    };
    events.push(NewEvent::new(run.run_id, facts).with(NewPart::text("an item failed")));
    Dispatched::Decided(Decision::events(events))
}

fn join(resident: &Resident, name: &StepName, parent: StepKey, count: u32) -> Dispatched {
    let outputs = resident.item_outputs.get(name);
    let output = |index: u32| -> Value {
        let value = outputs.and_then(|o| o.get(index)).map(Arc::as_ref);
        value.cloned().unwrap_or(Value::Null)
    };
    let part = NewPart::kept(&Arc::new(Value::Array((0..count).map(output).collect())));
    let run = &resident.run;
    let facts = StepCompleted {
        step: parent,
        attempt: 0,
        released: Amount::ZERO,
    };
    Dispatched::Decided(Decision::events(vec![
        NewEvent::new(run.run_id, facts).with(part),
    ]))
}
