//! Once: a value that is computed once per intent and kept in the journal.

use std::sync::Arc;

use serde_json::Value;

use super::View;
use super::journal::{self, Found};
use crate::error::Result;
use crate::event::PartRef;
use crate::event::call::OnceRecorded;
use crate::id::Digest;
use crate::run::CallKind;
use crate::sequencer::command::JournalPlace;
use crate::sequencer::decision::{Decision, NewEvent, NewPart, Reply};
use crate::sequencer::token::Token;

/// Says where the value stands, if an earlier attempt kept it.
///
/// # Errors
/// `Cancelled` where the token was revoked.
pub fn look_up(view: &View<'_>, token: &Token, place: JournalPlace) -> Result<Decision> {
    let (_, step) = view.require_live(token)?;
    match journal::look_up(token, step, CallKind::Once, place) {
        Found::Answered { seq } => Ok(Decision::now(Reply::Once(Some(PartRef { seq, part: 0 })))),
        Found::Diverged(event) => Ok(Decision::durable(vec![*event], Reply::Once(None))),
        Found::Throttled(_) | Found::Released | Found::Nothing => {
            Ok(Decision::now(Reply::Once(None)))
        }
    }
}

/// Keeps the value; it may be used once that is durable.
///
/// # Errors
/// `Cancelled` where the token was revoked.
pub fn record(
    view: &View<'_>,
    token: &Token,
    place: JournalPlace,
    value: &Arc<Value>,
) -> Result<Decision> {
    view.require_live(token)?;
    let part = NewPart::json(value);
    let facts = OnceRecorded {
        step: token.step.clone(),
        attempt: token.attempt,
        ordinal: place.ordinal,
        request: place.request,
        answer: Digest::of(&[&part.bytes]),
    };
    Ok(Decision::events(vec![
        NewEvent::new(token.run_id, facts).with(part),
    ]))
}
