//! Draw: a joined process admitted a model call inside its block; the call is on its way already.
//!
//! The block is durable, so nothing is judged again: what is written is what was drawn, at most what
//! the block has left. What is *not* here: how a block is granted (`call_reserve`) and how the other
//! process draws on it (`engine::block`).

use crate::budget::{Amount, Hold};
use crate::error::{Detail, Error, ErrorKind, Result};
use crate::event::call::ModelCallReserved;
use crate::run::HoldKey;
use crate::sequencer::command::{Drawn, ReserveCall};
use crate::sequencer::decision::{Decision, NewEvent, NewPart, Reply};
use crate::sequencer::token::Token;

pub use super::worst_case::worst_case;
use super::{View, session::most_messages};

/// Writes down that a call draws on its session's block.
///
/// # Errors
/// `Cancelled` where the token was revoked; `InvalidTransition` for a place that is taken.
pub fn draw(view: &View<'_>, token: &Token, call: &ReserveCall, drawn: Drawn) -> Result<Decision> {
    let (resident, step) = view.require_live(token)?;
    most_messages(&call.messages)?;
    let ordinal = call.place.ordinal;
    if step.calls.contains_key(&ordinal) {
        let message = format!("call {ordinal} was made already");
        return Err(Error::new(ErrorKind::InvalidTransition, message)
            .with_context("token", token)
            .with_detail(Detail::AlreadyCompleted));
    }
    let prices = view.workspace.prices_of(drawn.price_version);
    let unknown = &view.workspace.settings.unknown_models;
    let quote = prices.quote(&call.model, view.now, unknown);
    let own = quote.and_then(|quote| quote.price.max_output_tokens);
    let asked = call.bound.max_output_tokens;
    let max_output = asked.into_iter().chain(own).min();
    let key = HoldKey::escrow(token.step.clone(), token.attempt);
    let hold = resident.run.holds.get(&key);
    let facts = ModelCallReserved {
        step: token.step.clone(),
        attempt: token.attempt,
        ordinal,
        extended: Amount::ZERO,
        agent: None,
        model: call.model.clone(),
        request: call.place.request,
        terms: call.terms.clone(),
        amount: drawn.amount.min(&hold.map_or(Amount::ZERO, Hold::free)),
        max_output_tokens: max_output,
        clamped_from: asked.filter(|asked| max_output.is_some_and(|most| most < *asked)),
        price_version: prices.version(),
    };
    let mut event = NewEvent::new(token.run_id, facts);
    event.parts = call.messages.iter().map(NewPart::json).collect();
    Ok(Decision {
        events: vec![event],
        ..Decision::now(Reply::Done)
    })
}
