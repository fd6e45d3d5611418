//! Redrive: a failed run goes on from a step, by an operator's word.
//!
//! The step and all that comes after it go back to `waiting`, and so does what the failure cancelled.
//! Other steps keep their output. What cannot be undone is never done again this way. Rules about starts
//! judge it, and what remains of it has to fit, as at its start.

use std::collections::BTreeSet;

use super::plan::{Begins, Planning};
use super::planned::{Planned, planned};
use super::{View, guard};
use crate::error::{Error, ErrorKind, Result};
use crate::event::run::{RunPlanned, RunRedriven};
use crate::event::{RunStatus, StepStatus};
use crate::id::{RunId, StepKey, StepName};
use crate::policy::RiskTier;
use crate::run::{End, Run, RunTrigger, Step, is_done, refuse_run, run_after};
use crate::sequencer::command::Redrive;
use crate::sequencer::decision::{Decision, NewEvent, NewPart, Reply};
use crate::sequencer::resident::Resident;
use crate::workflow::{Definition, Join};

/// Opens a failed run again.
///
/// # Errors
/// `NotFound` for a run or a step that does not exist; `InvalidTransition`, which says what to do, for a
/// run that has not failed or is nested, for a step whose needs are not completed, and where a step is in
/// doubt, has an attempt out, or did what cannot be undone. A refusal by a rule or a budget is an answer.
pub fn redrive(view: &View<'_>, request: &Redrive) -> Result<Decision> {
    let resident = view.resident(request.run_id)?;
    let run = &resident.run;
    may_go_on(run)?;
    if !resident.whole {
        let message = "the run's content could not be read; ask again";
        return Err(Error::new(ErrorKind::Unavailable, message).with_context("run", run.run_id));
    }
    let workflow = resident.workflow.as_ref();
    let workflow = workflow.ok_or_else(|| refused(run.run_id, "a session is not redriven"))?;
    let definition = workflow.definition();
    let from = from(run, definition, request.from.as_ref())?;
    let steps = affected(run, definition, &from);
    needs_are_met(run, definition, &from)?;
    for name in &steps {
        is_repeatable(run, name)?;
    }
    let failed = run.status_of(&from) != StepStatus::Completed;
    let expanded = run.step(&StepKey::of(&from));
    let expanded = expanded.is_some_and(|step| step.expansion.is_some());
    let kept_items = (failed && expanded).then(|| from.clone());
    let again = (&steps, kept_items.as_ref());
    let (judged, planned) = match begins_again(view, (resident, definition), again) {
        Ok(goes) => goes,
        Err(refused) => return Ok(*refused),
    };
    let facts = RunRedriven {
        from,
        steps: steps.into_iter().collect(),
        kept_items,
    };
    let event = NewEvent::new(run.run_id, facts).with(NewPart::text(&request.reason));
    let mut events = judged;
    events.push(event);
    events.extend(planned.map(|plan| NewEvent::new(run.run_id, plan)));
    Ok(Decision::events(events))
}

/// What rules about starts say, and the plan of what remains; or the refusal, with what has to be written
/// down of it.
fn begins_again(
    view: &View<'_>,
    (resident, definition): (&Resident, &Definition),
    (steps, kept): (&BTreeSet<StepName>, Option<&StepName>),
) -> std::result::Result<(Vec<NewEvent>, Option<RunPlanned>), Box<Decision>> {
    let run = &resident.run;
    let agents = definition.agents();
    let judged = guard::at_start(
        view,
        &guard::Starting {
            flow: Some((definition.name(), definition)),
            agents: &agents,
            labels: &run.created.labels,
            depth: 0,
        },
    );
    let refused =
        |events, error: Error| Box::new(Decision::durable(events, Reply::Refused(error.into())));
    if let Some(denial) = judged.denial {
        return Err(refused(judged.events, denial.error));
    }
    let planning = Planning {
        run_id: run.run_id,
        workflow: definition.name(),
        definition,
        tags: &run.created.tags,
        begins: Begins::Again {
            resident,
            steps,
            kept: kept.map(|name| (name, items_left(run, name))),
        },
    };
    match planned(view, &planning, run.created.policy.plan_check) {
        Planned::Goes(plan) => Ok((judged.events, plan)),
        Planned::Refused(plan, error) => {
            let error = error
                .with_context("run", run.run_id)
                .with_context("worst_case_usd", plan.worst_case.money)
                .with_context("counted", "what remains of it, beside what it has spent");
            Err(refused(judged.events, error))
        }
    }
}

/// The items of a step that are still to be done.
fn items_left(run: &Run, name: &StepName) -> u64 {
    let expansion = run
        .step(&StepKey::of(name))
        .and_then(|s| s.expansion.as_ref());
    let all = expansion.map_or(0, |expansion| u64::from(expansion.count));
    let items = run.steps.iter();
    let done = items.filter(|(key, step)| {
        key.name() == name.as_str() && key.index().is_some() && is_done(step)
    });
    all.saturating_sub(u64::try_from(done.count()).unwrap_or(u64::MAX))
}

fn refused(run: RunId, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidTransition, message.into()).with_context("run", run)
}

fn may_go_on(run: &Run) -> Result<()> {
    let advice = match run.status {
        RunStatus::Failed => None,
        RunStatus::Completed => Some("it completed; start another run"),
        RunStatus::Aborted => Some("an aborted run has ended for good; start another run"),
        RunStatus::Pending | RunStatus::Running => {
            Some("it has not ended; `resume` lets a paused run go on, `unblock` a blocked step")
        }
    };
    if let Some(advice) = advice.filter(|_| run_after(run.status, RunTrigger::Redrive).is_none()) {
        let error = refuse_run(run.status, RunTrigger::Redrive);
        let message = format!("{}: {advice}", error.message());
        let error = match error.detail().cloned() {
            Some(detail) => refused(run.run_id, message).with_detail(detail),
            None => refused(run.run_id, message),
        };
        return Err(error);
    }
    if let Some(outer) = run.outer() {
        let (step, outer) = (&outer.step, outer.run);
        let message = format!("the run is nested: redrive run {outer} from its step `{step}`");
        return Err(refused(run.run_id, message));
    }
    let in_doubt = run.steps.keys().find(|key| run.is_in_doubt(key));
    match in_doubt {
        None => Ok(()),
        Some(key) => {
            let message =
                format!("step `{key}` is in doubt: say what became of it with `resolve` first");
            Err(refused(run.run_id, message).with_context("step", key))
        }
    }
}

/// The step that is named, else the one that failed.
fn from(run: &Run, definition: &Definition, named: Option<&StepKey>) -> Result<StepName> {
    let failed = match &run.end {
        Some(End::Failed { step, .. }) => Some(step),
        Some(End::Completed | End::Aborted { .. }) | None => None,
    };
    let key = named.or(failed);
    let key = key.ok_or_else(|| Error::not_found("step", "that failed"))?;
    if named.is_some() && key.index().is_some() {
        let rule = format!(
            "a run goes on from a whole step: from `{}`, its items that did not complete go out again",
            key.name()
        );
        return Err(Error::invalid("from", rule));
    }
    let name = StepName::new(key.name()).ok();
    let known = name.filter(|name| definition.step(name.as_str()).is_some());
    known.ok_or_else(|| Error::not_found("step", key))
}

/// The step, all that comes after it, and what else the failure ended.
fn affected(run: &Run, definition: &Definition, from: &StepName) -> BTreeSet<StepName> {
    let mut steps = BTreeSet::new();
    let mut next = vec![from.clone()];
    let lost = |name: &StepName| {
        let step = run.step(&StepKey::of(name));
        match run.status_of(name) {
            StepStatus::Failed => step.is_some_and(|step| !step.tolerated),
            StepStatus::Cancelled => step.is_some() && is_wanted(run, definition, name),
            StepStatus::Waiting
            | StepStatus::Running
            | StepStatus::Blocked
            | StepStatus::Completed
            | StepStatus::Skipped => false,
        }
    };
    next.extend(definition.steps().keys().filter(|name| lost(name)).cloned());
    while let Some(name) = next.pop() {
        let after = definition.dependents().get(&name).into_iter().flatten();
        let new = steps.insert(name.clone());
        next.extend(after.filter(|_| new).cloned());
    }
    steps
}

/// Whether a step that was cancelled is one that the failure ended, and not one that a join no longer
/// waited for.
fn is_wanted(run: &Run, definition: &Definition, name: &StepName) -> bool {
    let after = definition.dependents().get(name);
    let mut after = after.into_iter().flatten().peekable();
    let last = after.peek().is_none();
    let needs_it_no_more = |name: &StepName| {
        let done = matches!(
            run.status_of(name),
            StepStatus::Completed | StepStatus::Skipped
        );
        done || is_reached(run, definition, name)
    };
    last || !after.all(needs_it_no_more)
}

/// Whether so many needs of a step completed as its join waits for.
fn is_reached(run: &Run, definition: &Definition, name: &StepName) -> bool {
    let step = definition.step(name.as_str());
    step.is_some_and(|step| match step.join {
        Join::All => false,
        Join::AtLeast(least) => {
            let completed = |need: &&StepName| run.status_of(need) == StepStatus::Completed;
            let completed = step.needs.iter().filter(completed).count();
            u32::try_from(completed).is_ok_and(|completed| completed >= least)
        }
    })
}

fn needs_are_met(run: &Run, definition: &Definition, from: &StepName) -> Result<()> {
    if is_reached(run, definition, from) {
        return Ok(());
    }
    let needs = definition.step(from.as_str()).map(|step| &step.needs);
    let met = |need: &&StepName| {
        let tolerated = run
            .step(&StepKey::of(need))
            .is_some_and(|step| step.tolerated);
        match run.status_of(need) {
            StepStatus::Completed | StepStatus::Skipped => true,
            StepStatus::Failed => tolerated,
            StepStatus::Cancelled
            | StepStatus::Waiting
            | StepStatus::Running
            | StepStatus::Blocked => false,
        }
    };
    let open = needs.into_iter().flatten().find(|need| !met(need));
    match open {
        None => Ok(()),
        Some(need) => {
            let status = run.status_of(need);
            let message =
                format!("`{from}` needs `{need}`, which is {status}; redrive from `{need}`");
            Err(refused(run.run_id, message).with_context("step", from))
        }
    }
}

/// Nothing of a step stands against doing it again.
fn is_repeatable(run: &Run, name: &StepName) -> Result<()> {
    let own = run
        .steps
        .iter()
        .filter(|(key, _)| key.name() == name.as_str());
    for (key, step) in own {
        let acted = run
            .nested
            .iter()
            .find(|(_, nested)| nested.step == *key && nested.acted);
        let why = if let Some((nested, _)) = acted {
            format!("run {nested}, nested for `{key}`, did what cannot be undone")
        } else if is_lasting(step) {
            format!("`{key}` completed, and what it did cannot be undone")
        } else if step.may_have_happened() {
            format!("`{key}` was in doubt, and nobody said that it did not happen")
        } else if is_unknown(step) {
            format!("`{key}` was cut off after a tool call that cannot be undone")
        } else if step.abandoned.is_empty() {
            continue;
        } else {
            format!("an attempt of `{key}` is still out; redrive once it has ended")
        };
        return Err(refused(run.run_id, why).with_context("step", key));
    }
    Ok(())
}

/// A tool call that cannot be undone may have been out when the attempt lost its token. (A step whose
/// own tier says so is in doubt instead, when its turn comes.)
fn is_unknown(step: &Step) -> bool {
    let cut_off = Step::CUT_OFF.contains(&step.code.as_str());
    cut_off && step.acted && step.risk.is_none_or(RiskTier::is_repeatable)
}

fn is_lasting(step: &Step) -> bool {
    step.status.0 == StepStatus::Completed && step.has_acted()
}
