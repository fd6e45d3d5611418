//! Record: an agent's own account of a decision, and of what it changed in the world.

use serde_json::Value;

use super::View;
use crate::error::Result;
use crate::event::step::{DecisionRecorded, SideEffectRecorded};
use crate::sequencer::decision::{Decision, NewEvent, NewPart};
use crate::sequencer::token::Token;

/// Writes a decision down: input, reasoning, outcome.
///
/// # Errors
/// `Cancelled` where the token was revoked.
pub fn decision(view: &View<'_>, token: &Token, parts: &[Value; 3]) -> Result<Decision> {
    view.require_live(token)?;
    let facts = DecisionRecorded {
        step: token.step.clone(),
        attempt: token.attempt,
    };
    let mut event = NewEvent::new(token.run_id, facts);
    event.parts = parts.iter().map(NewPart::json).collect();
    Ok(Decision::events(vec![event]))
}

/// Writes a side effect down before or after it happened: target and key.
///
/// # Errors
/// `Cancelled` where the token was revoked.
pub fn side_effect(view: &View<'_>, token: &Token, what: &Value) -> Result<Decision> {
    view.require_live(token)?;
    let facts = SideEffectRecorded {
        step: token.step.clone(),
        attempt: token.attempt,
    };
    let event = NewEvent::new(token.run_id, facts).with(NewPart::json(what));
    Ok(Decision::events(vec![event]))
}
