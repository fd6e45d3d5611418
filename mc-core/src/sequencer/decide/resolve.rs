//! Resolve: somebody knows what became of a step that was in doubt.
//!
//! An operator, or the agent's own probe. It settles no money: that has its own evidence
//! (`reconcile`). On a run that has ended, the run stays as it is, and is sealed once nothing of it
//! is open.

use super::View;
use super::{abort, approve};
use crate::budget::Amount;
use crate::error::{Error, ErrorKind, Result};
use crate::event::run::AbortReason;
use crate::event::step::{DoubtEnd, StepCancelled, StepCompleted, StepResolved};
use crate::run::{Run, Step};
use crate::sequencer::command::{Informant, Resolution, Resolve};
use crate::sequencer::decision::{Decision, NewEvent, NewPart};

/// Takes what became of a step in doubt.
///
/// # Errors
/// `NotFound`; `InvalidTransition` for a step that is not in doubt; `AgentFailed` for an output
/// that is not as the step's schema says.
pub fn resolve(view: &View<'_>, request: &Resolve) -> Result<Decision> {
    let resident = view.resident(request.run_id)?;
    let run = &resident.run;
    let key = &request.step;
    let step = run.step(key).ok_or_else(|| Error::not_found("step", key))?;
    if !run.is_in_doubt(key) {
        let message = format!("step `{key}` is {}, not in doubt", step.status.0);
        return Err(Error::new(ErrorKind::InvalidTransition, message).with_context("step", key));
    }
    about_it(view, request, step)?;
    if let (Resolution::Happened(output), Some(workflow)) =
        (&request.resolution, &resident.workflow)
    {
        workflow.check_output(key.name(), output)?;
    }
    // What was asked for it was asked by an attempt that has ended.
    let mut events = approve::open_of(run, key);
    events.push(resolved(view, run, request, step));
    let ended = run.status.is_terminal();
    match &request.resolution {
        Resolution::Happened(output) if !ended => {
            let facts = StepCompleted {
                step: key.clone(),
                attempt: step.attempt,
                released: Amount::ZERO,
            };
            events.push(NewEvent::new(run.run_id, facts).with(NewPart::kept(output)));
        }
        Resolution::DidNotHappen if !ended => {}
        Resolution::Happened(_) | Resolution::DidNotHappen | Resolution::Abort => {
            let facts = StepCancelled {
                step: key.clone(),
                released: Amount::ZERO,
            };
            events.push(NewEvent::new(run.run_id, facts));
        }
    }
    let gives_up = matches!(request.resolution, Resolution::Abort);
    if gives_up && !ended {
        events.extend(abort::all(view, resident, AbortReason::Operator));
    }
    Ok(Decision::events(events))
}

/// Holds a word against the attempt that it is about.
fn about_it(view: &View<'_>, request: &Resolve, step: &Step) -> Result<()> {
    let refused = |message: String| {
        let error = Error::new(ErrorKind::InvalidTransition, message);
        Err(error.with_context("step", &request.step))
    };
    let now = step.attempt;
    if let Some(meant) = request.attempt.filter(|attempt| *attempt != now) {
        return refused(format!("attempt {now} is in doubt, not attempt {meant}"));
    }
    let acting = &view.workspace.acting;
    match request.by {
        Informant::Probe if acting.may_be_more() => refused(
            "whether a handler of it may still act in another process is not known yet".to_owned(),
        ),
        Informant::Probe if may_act(view, request, step) => {
            refused("a handler of it may still act: a probe does not know the end".to_owned())
        }
        Informant::Probe | Informant::Person => Ok(()),
    }
}

/// Whether a handler of a step in doubt may still be at it, in whatever process.
fn may_act(view: &View<'_>, request: &Resolve, step: &Step) -> bool {
    let acting = &view.workspace.acting;
    !step.abandoned.is_empty() || acting.has(request.run_id, &request.step)
}

fn resolved(view: &View<'_>, run: &Run, request: &Resolve, step: &Step) -> NewEvent {
    let (resolution, output) = match &request.resolution {
        Resolution::Happened(output) => (DoubtEnd::Happened, Some(output)),
        Resolution::DidNotHappen => (DoubtEnd::DidNotHappen, None),
        Resolution::Abort => (DoubtEnd::Abort, None),
    };
    // A handler that was told to stop may still be at it.
    let again = resolution == DoubtEnd::DidNotHappen && !run.status.is_terminal();
    let wait = again && may_act(view, request, step);
    let grace = view.now.after(view.workspace.settings.zombie_grace);
    let facts = StepResolved {
        step: request.step.clone(),
        attempt: step.attempt,
        resolution,
        retry_at: wait.then_some(grace),
        retry_from: wait.then_some(view.now),
    };
    let mut event = NewEvent::new(run.run_id, facts).with(NewPart::text(&request.reason));
    event
        .parts
        .extend(output.map(|output| NewPart::json(output)));
    event
}
