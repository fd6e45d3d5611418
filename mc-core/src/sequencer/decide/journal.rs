//! The journal: what an earlier attempt was answered is not asked again.

use crate::event::call::JournalDiverged;
use crate::run::{Call, CallKind, CallState, Step};
use crate::sequencer::command::JournalPlace;
use crate::sequencer::decision::NewEvent;
use crate::sequencer::token::Token;

/// What the journal says of a place.
#[derive(Debug)]
pub enum Found<'a> {
    /// Nothing that can be used: ask live.
    Nothing,
    /// It was answered: there.
    Answered {
        /// The event with the answer.
        seq: u64,
    },
    /// The provider refused it before.
    Throttled(&'a Call),
    /// It went out before and nothing was billed: ask live.
    Released,
    /// An earlier attempt asked for something else here: from here on it runs live.
    Diverged(Box<NewEvent>),
}

/// Looks a place up for a live attempt.
pub fn look_up<'a>(
    token: &Token,
    step: &'a Step,
    kind: CallKind,
    place: JournalPlace,
) -> Found<'a> {
    let Some(call) = step.calls.get(&place.ordinal) else {
        return Found::Nothing;
    };
    if call.kind != kind || call.request != place.request {
        let facts = JournalDiverged {
            step: token.step.clone(),
            attempt: token.attempt,
            ordinal: place.ordinal,
            recorded: call.request,
            request: place.request,
        };
        return Found::Diverged(Box::new(NewEvent::new(token.run_id, facts)));
    }
    match &call.state {
        CallState::Answered { seq, .. } => Found::Answered { seq: *seq },
        CallState::Throttled { .. } => Found::Throttled(call),
        CallState::Released => Found::Released,
        CallState::Open { .. } | CallState::Failed => Found::Nothing,
    }
}
