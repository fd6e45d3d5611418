//! Advance: what follows for a step once what it needs has moved, and for a run once its steps have.

use super::dispatch::{Candidate, Dispatched, dispatch};
use super::{View, abort, expand, is_waiting};
use crate::error::Result;
use crate::event::run::{AbortReason, PauseReason, RunCompleted, RunFailed, RunPaused, RunSealed};
use crate::event::step::{SkipReason, StepFailed, StepSkipped};
use crate::event::{BlockReason, StepStatus};
use crate::id::{Digest, StepKey, StepName};
use crate::run::Run;
use crate::sequencer::decision::{Decision, NewEvent, NewPart};
use crate::sequencer::resident::Resident;
use crate::workflow::{Join, OnFailure, Scope, Step, chain};

/// Whether the needs of a step let it go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Open,
    Met,
    /// All of them were skipped.
    Skipped,
    /// So few can still complete that the join is out of reach.
    Unreachable,
}

/// Decides what follows for one step; nothing where it has to wait.
///
/// # Errors
/// Only defects.
pub fn next_step(view: &View<'_>, resident: &Resident, key: &StepKey) -> Result<Dispatched> {
    let run = &resident.run;
    let definition = resident.workflow.as_ref().map(|w| w.definition());
    let found = definition.and_then(|d| d.steps().get_key_value(key.name()));
    let Some((name, step)) = found.filter(|_| !run.status.is_terminal()) else {
        return Ok(Dispatched::NotNow);
    };
    if key.index().is_some() {
        return expand::again(view, resident, (name, key), step);
    }
    if run.step(key).is_some_and(|s| s.expansion.is_some()) {
        return expand::next_item(view, resident, name, step);
    }
    if !is_waiting(run.step(key)) || run.paused.is_some() {
        return Ok(Dispatched::NotNow);
    }
    first_look(
        view,
        &Candidate {
            resident,
            name,
            key,
            step,
        },
    )
}

/// A step that has not gone out, or that goes out again.
fn first_look(view: &View<'_>, candidate: &Candidate<'_>) -> Result<Dispatched> {
    let Candidate {
        resident,
        key,
        step,
        ..
    } = *candidate;
    let run = &resident.run;
    // What it needs was judged when it went out first.
    if run.step(key).is_none_or(|s| s.attempt == 0) {
        match needs(run, step) {
            Needs::Open => return Ok(Dispatched::NotNow),
            Needs::Met => {}
            Needs::Skipped => return Ok(skip(run, key.clone(), SkipReason::Needs)),
            Needs::Unreachable => return Ok(fail(resident, key.clone(), "join_unreachable", "")),
        }
        match condition(resident, step) {
            Ok(true) => {}
            Ok(false) => return Ok(skip(run, key.clone(), SkipReason::When)),
            Err(message) => return Ok(fail(resident, key.clone(), "expression", &message)),
        }
    }
    if step.for_each.is_some() {
        return Ok(expand::expand(view, resident, key, step));
    }
    dispatch(view, candidate)
}

fn skip(run: &Run, step: StepKey, reason: SkipReason) -> Dispatched {
    let facts = StepSkipped { step, reason };
    Dispatched::Decided(Decision::events(vec![NewEvent::new(run.run_id, facts)]))
}

/// A step that fails before it ever went out.
pub fn fail(resident: &Resident, step: StepKey, code: &str, message: &str) -> Dispatched {
    let run = &resident.run;
    let on_failure = after_failure(resident, &step);
    if on_failure == Some(OnFailure::Pause) {
        let events = Vec::from_iter(pause_after_failure(run, step));
        return Dispatched::Decided(Decision::events(events));
    }
    let facts = StepFailed {
        step,
        code: code.to_owned(),
        tolerated: on_failure == Some(OnFailure::Continue),
    };
    let event = NewEvent::new(run.run_id, facts).with(NewPart::text(message));
    Dispatched::Decided(Decision::events(vec![event]))
}

fn needs(run: &Run, step: &Step) -> Needs {
    let statuses: Vec<(StepStatus, bool)> = step
        .needs
        .iter()
        .map(|need| {
            let tolerated = run.step(&StepKey::of(need)).is_some_and(|s| s.tolerated);
            (run.status_of(need), tolerated)
        })
        .collect();
    let count = |wanted: StepStatus| statuses.iter().filter(|(s, _)| *s == wanted).count();
    let completed = count(StepStatus::Completed);
    let open = statuses.iter().filter(|(s, _)| !s.is_terminal()).count();
    match step.join {
        Join::AtLeast(n) => {
            let n = usize::try_from(n).unwrap_or(usize::MAX);
            match (completed >= n, completed + open >= n) {
                (true, _) => Needs::Met,
                (false, true) => Needs::Open,
                (false, false) => Needs::Unreachable,
            }
        }
        Join::All if open > 0 => Needs::Open,
        Join::All if statuses.is_empty() => Needs::Met,
        Join::All if count(StepStatus::Skipped) == statuses.len() => Needs::Skipped,
        Join::All => {
            let lost = |(status, tolerated): &(StepStatus, bool)| {
                *status == StepStatus::Cancelled || (*status == StepStatus::Failed && !tolerated)
            };
            if statuses.iter().any(lost) {
                Needs::Unreachable
            } else {
                Needs::Met
            }
        }
    }
}

fn condition(resident: &Resident, step: &Step) -> std::result::Result<bool, String> {
    let scope = Scope {
        inputs: &resident.input,
        outputs: &resident.outputs,
        item: None,
    };
    chain::runs(step, &scope).map_err(|fault| fault.to_string())
}

/// Needs that a join no longer waits for: those that nobody else can still use.
pub fn superfluous(resident: &Resident, key: &StepKey) -> Vec<NewEvent> {
    let definition = resident
        .workflow
        .as_ref()
        .map(|workflow| workflow.definition());
    let found = definition.and_then(|d| d.steps().get_key_value(key.name()));
    let (Some(definition), Some((name, step))) = (definition, found) else {
        return Vec::new();
    };
    let run = &resident.run;
    if step.join == Join::All || run.status_of(name) == StepStatus::Waiting {
        return Vec::new();
    }
    let mut events = Vec::new();
    for need in &step.needs {
        let wanted = definition
            .dependents()
            .get(need)
            .into_iter()
            .flatten()
            .any(|after| after != name && run.status_of(after) == StepStatus::Waiting);
        if run.status_of(need).is_terminal() || wanted {
            continue;
        }
        cancel_with_items(run, need, &mut events);
    }
    events
}

fn cancel_with_items(run: &Run, name: &StepName, events: &mut Vec<NewEvent>) {
    let mut any = false;
    for (key, step) in run
        .steps
        .iter()
        .filter(|(key, _)| key.name() == name.as_str())
    {
        any |= key.index().is_none();
        if !step.status.0.is_terminal() {
            abort::cancel_one(run, key, step, events);
        }
    }
    if !any {
        let released = crate::budget::Amount::ZERO;
        let facts = crate::event::step::StepCancelled {
            step: StepKey::of(name),
            released,
        };
        events.push(NewEvent::new(run.run_id, facts));
    }
}

/// What a step that failed for good does to its run.
pub fn after_failure(resident: &Resident, key: &StepKey) -> Option<OnFailure> {
    let name = key.name();
    resident
        .workflow
        .as_ref()?
        .definition()
        .step(name)
        .map(|step| step.on_failure)
}

/// How the run ends, if it does: a step failed, or every step has ended.
pub fn run_end(view: &View<'_>, resident: &Resident) -> Vec<NewEvent> {
    let run = &resident.run;
    if run.status.is_terminal() || run.workflow().is_none() {
        return Vec::new();
    }
    if let Some(key) = &resident.failed {
        let code = run.step(key).map_or("", |step| &step.code);
        return fail_run(view, resident, key, code);
    }
    if let Some(code) = stuck(run).filter(|_| run.created.policy.unattended) {
        return abort::by_policy(view, resident, code);
    }
    if resident.all_ended() {
        // A run of which every step was skipped has not begun yet.
        let mut events = super::dispatch::started(run);
        events.push(NewEvent::new(run.run_id, RunCompleted {}));
        return events;
    }
    Vec::new()
}

/// Why a run stands still until a person does something, if it does.
fn stuck(run: &Run) -> Option<&str> {
    let mut blocks = run.steps.values().filter_map(|step| step.block.as_ref());
    blocks.find_map(|block| match block.reason {
        BlockReason::Approval | BlockReason::Guardrail | BlockReason::InDoubt => {
            let code = block.code.as_str();
            Some(if code.is_empty() {
                block.reason.as_str()
            } else {
                code
            })
        }
        BlockReason::Budget => (block.code == "only_doubt").then_some("in_doubt"),
        BlockReason::Circuit | BlockReason::Signal | BlockReason::AgentUnavailable => None,
    })
}

fn fail_run(view: &View<'_>, resident: &Resident, key: &StepKey, code: &str) -> Vec<NewEvent> {
    let run = &resident.run;
    let mut events = abort::cancel_steps(run, Some(key));
    let denied = code == "policy_denied" || code == "budget_exceeded";
    if run.created.policy.unattended && denied {
        let reason = AbortReason::Policy {
            code: code.to_owned(),
        };
        return abort::all(view, resident, reason);
    }
    let facts = RunFailed {
        step: key.clone(),
        code: code.to_owned(),
    };
    events.push(NewEvent::new(run.run_id, facts));
    events
}

/// The run pauses because a step ran out of attempts; what an operator paused or halted stays so.
pub fn pause_after_failure(run: &Run, step: StepKey) -> Option<NewEvent> {
    match run.paused {
        None | Some(PauseReason::Budget { .. } | PauseReason::StepFailed { .. }) => {
            let reason = PauseReason::StepFailed { step };
            Some(NewEvent::new(run.run_id, RunPaused { reason }))
        }
        Some(PauseReason::Operator | PauseReason::Halt { .. }) => None,
    }
}

/// The seal, once the run has ended and nothing of it is open.
pub fn seal(run: &Run) -> Option<NewEvent> {
    let due = run.status.is_terminal() && !run.sealed && run.is_settled();
    due.then(|| {
        let facts = RunSealed {
            event_count: run.events,
            last_event_hash: Digest::ZERO,
        };
        NewEvent::new(run.run_id, facts)
    })
}
