//! Late: what an attempt reports whose token was revoked. It is written down, its cost is charged,
//! and the state stays as it is.

use super::View;
use crate::budget::Amount;
use crate::error::{Detail, Error, ErrorKind, Result};
use crate::event::step::ResultLate;
use crate::id::RunId;
use crate::run::Run;
use crate::sequencer::decision::{Decision, NewEvent, NewPart};
use crate::sequencer::token::Token;

/// Writes a late outcome of an attempt down.
///
/// # Errors
/// `NotFound` for a run or step that does not exist; `InvalidTransition` with `AlreadyCompleted`
/// where this attempt's result was taken already.
pub fn result(view: &View<'_>, token: &Token, outcome: &str, part: NewPart) -> Result<Decision> {
    let run = known(view, token)?;
    let out = run
        .step(&token.step)
        .is_some_and(|step| step.abandoned.contains(&token.attempt));
    if !out && token.epoch == view.workspace.epoch {
        return Err(already(token));
    }
    let facts = ResultLate {
        step: token.step.clone(),
        attempt: token.attempt,
        outcome: outcome.to_owned(),
        ordinal: None,
        held: Amount::ZERO,
        actual: Amount::ZERO,
        used: None,
    };
    Ok(Decision::events(vec![
        NewEvent::new(chain_of(run), facts).with(part),
    ]))
}

/// The run of a token, for a report that comes too late.
///
/// # Errors
/// `NotFound`.
pub fn known<'a>(view: &View<'a>, token: &Token) -> Result<&'a Run> {
    let resident = view.resident(token.run_id)?;
    let step = resident.run.step(&token.step);
    let step = step.ok_or_else(|| Error::not_found("step", &token.step))?;
    if token.attempt == 0 || token.attempt > step.attempt {
        return Err(Error::not_found("attempt", token));
    }
    Ok(&resident.run)
}

/// Where a late event goes: to the run, or to run zero once the run is sealed.
pub fn chain_of(run: &Run) -> RunId {
    if run.sealed { RunId::ZERO } else { run.run_id }
}

fn already(token: &Token) -> Error {
    let message = "this attempt's result was taken already";
    Error::new(ErrorKind::InvalidTransition, message)
        .with_context("token", token)
        .with_detail(Detail::AlreadyCompleted)
}
