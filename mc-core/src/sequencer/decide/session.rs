//! Sessions: runs without a definition, for a host that only wants its calls guarded.

use std::sync::Arc;

use serde_json::Value;

use super::View;
use super::attempt_end::end_calls;
use crate::budget::Amount;
use crate::error::{Error, ErrorKind, Result};
use crate::event::run::{RunCompleted, RunCreated, RunStarted, Subject};
use crate::event::step::AttemptEnded;
use crate::event::step::{StepCompleted, StepDispatched};
use crate::id::{Digest, RunId, StepKey, StepName};
use crate::policy::RiskTier;
use crate::run::Run;
use crate::sequencer::command::OpenSession;
use crate::sequencer::decision::{Decision, Effect, NewEvent, NewPart, Reply};
use crate::sequencer::token::Token;

/// The one step of every session.
pub const SESSION_STEP: &str = "session";

/// The key of the one step of every session.
///
/// # Errors
/// `Internal`, which cannot happen: the name is a step's name.
pub fn session_step() -> Result<StepKey> {
    let name = StepName::new(SESSION_STEP);
    Ok(StepKey::of(&name.map_err(|e| {
        Error::internal("session step").with_source(e)
    })?))
}

/// Refuses more messages than an event has parts for.
///
/// # Errors
/// `InvalidInput`.
pub fn most_messages(messages: &[Value]) -> Result<()> {
    if messages.len() < usize::from(u16::MAX) {
        return Ok(());
    }
    let rule = "a request has at most 65,534 messages";
    Err(Error::invalid("messages", rule))
}

/// Opens a session; its attempt is the handle that the host holds.
///
/// # Errors
/// `Unavailable` while the process goes down.
pub fn open(view: &View<'_>, request: &OpenSession) -> Result<Decision> {
    if view.workspace.dispatch == crate::sequencer::workspace::Dispatch::Draining {
        return Err(Error::new(
            ErrorKind::Unavailable,
            "the engine is shutting down",
        ));
    }
    let agents = std::slice::from_ref(&request.agent);
    let new = super::guard::Starting {
        flow: None,
        agents,
        labels: &request.labels,
        depth: 0,
    };
    let judged = super::guard::at_start(view, &new);
    if let Some(denial) = judged.denial {
        let refused = Reply::Refused(denial.error.into());
        return Ok(Decision::durable(judged.events, refused));
    }
    let run_id = request.run_id;
    let step = session_step()?;
    let input = NewPart::kept(&Arc::new(Value::Null));
    let created = RunCreated {
        subject: Subject::Session {
            agent: request.agent.clone(),
        },
        definition_hash: None,
        input_digest: Digest::of(&[&input.bytes]),
        budget: request.budget,
        policy: request.policy.clone(),
        labels: request.labels.clone(),
        tags: request.tags.clone(),
        correlation_id: None,
        idempotency_key: None,
        nested_in: Vec::new(),
        started_by: None,
    };
    let stated = request.agent_version.as_ref();
    let registered = view.workspace.version_of(&request.agent);
    let dispatched = StepDispatched {
        effect_key: effect_key(run_id, &step),
        step,
        attempt: 1,
        agent: request.agent.clone(),
        agent_version: stated.or(registered).cloned(),
        risk: RiskTier::Write,
        hold: Amount::ZERO,
        approval: None,
    };
    let mut events = judged.events;
    events.extend([
        NewEvent::new(run_id, created).with(input.clone()),
        NewEvent::new(run_id, RunStarted {}),
        NewEvent::new(run_id, dispatched).with(input),
    ]);
    Ok(Decision::durable(events, Reply::Run(run_id)))
}

fn effect_key(run_id: RunId, step: &StepKey) -> Digest {
    let zero = Digest::ZERO;
    let pieces: [&[u8]; 4] = [
        run_id.as_bytes(),
        step.as_str().as_bytes(),
        zero.as_bytes(),
        zero.as_bytes(),
    ];
    Digest::of(&pieces)
}

fn ended(run: &Run) -> Result<Option<NewEvent>> {
    let step = session_step()?;
    let out = run.workflow().is_none()
        && run
            .step(&step)
            .is_some_and(|one| one.abandoned.contains(&1));
    let facts = AttemptEnded { step, attempt: 1 };
    Ok(out.then(|| NewEvent::new(run.run_id, facts)))
}

/// Ends a session: what it still holds goes back, open calls go in doubt.
///
/// # Errors
/// `NotFound`.
pub fn close(view: &View<'_>, run_id: RunId) -> Result<Decision> {
    let resident = view.resident(run_id)?;
    if resident.run.status.is_terminal() {
        // It was aborted before; with its handle, what it had out has ended too.
        let events = ended(&resident.run)?;
        return Ok(Decision::durable(events.into_iter().collect(), Reply::Done));
    }
    if resident.run.workflow().is_some() {
        return Err(Error::invalid("run", "this run is not a session"));
    }
    let step = session_step()?;
    let (mut events, released) = end_calls(&resident.run, &step, "dropped");
    let facts = StepCompleted {
        step,
        attempt: 1,
        released,
    };
    events.push(NewEvent::new(run_id, facts).with(NewPart::json(&Value::Null)));
    events.push(NewEvent::new(run_id, RunCompleted {}));
    let token = Token {
        epoch: view.workspace.epoch,
        run_id,
        step: session_step()?,
        attempt: 1,
    };
    Ok(Decision::events(events).and(Effect::Cancel(token)))
}
