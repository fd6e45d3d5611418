//! Signal: something from outside reaches a run; the step that waits for it goes on.

use std::sync::Arc;

use serde_json::Value;

use super::View;
use crate::error::{Detail, Error, ErrorKind, Result};
use crate::event::BlockReason;
use crate::event::run::SignalReceived;
use crate::event::step::{StepUnblocked, WaitingFor};
use crate::id::{Digest, Opaque, RunId, StepKey};
use crate::run::Run;
use crate::sequencer::decision::{Decision, NewEvent, NewPart};

/// Signals that no step has taken, at most, per run.
const MAX_SIGNALS: usize = 1_000;

/// Keeps a signal, and lets the first step go on that waits for its name.
///
/// # Errors
/// `NotFound`; `InvalidTransition` where the run has ended; `InvalidInput` above the limits.
pub fn signal(
    view: &View<'_>,
    run_id: RunId,
    name: &Opaque,
    payload: &Arc<Value>,
) -> Result<Decision> {
    let run = &view.resident(run_id)?.run;
    if run.status.is_terminal() {
        let message = format!("the run is {}; nobody waits for a signal", run.status);
        return Err(Error::new(ErrorKind::InvalidTransition, message).with_context("run", run_id));
    }
    if run.signals.len() >= MAX_SIGNALS {
        return Err(limit("signals waiting in a run", 1_000));
    }
    let part = NewPart::json(payload);
    let facts = SignalReceived {
        signal: name.clone(),
        digest: Digest::of(&[&part.bytes]),
    };
    let mut events = vec![NewEvent::new(run_id, facts).with(part)];
    let waits = run.steps.iter().find(|(_, step)| {
        let for_it = |w: &WaitingFor| matches!(w, WaitingFor::Signal { name: n } if n == name);
        step.block
            .as_ref()
            .is_some_and(|b| b.reason == BlockReason::Signal)
            && step
                .suspension
                .as_ref()
                .is_some_and(|s| for_it(&s.waiting_for))
    });
    events.extend(waits.map(|(key, _)| unblocked(run, key)));
    Ok(Decision::events(events))
}

fn limit(name: &'static str, max: u64) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("more than {max} {name}"))
        .with_detail(Detail::Limit { name, max })
}

/// The step has its signal.
pub fn unblocked(run: &Run, step: &StepKey) -> NewEvent {
    let facts = StepUnblocked {
        step: step.clone(),
        reason: BlockReason::Signal,
    };
    NewEvent::new(run.run_id, facts)
}
