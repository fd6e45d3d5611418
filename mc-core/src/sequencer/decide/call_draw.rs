//! Draw: a joined process admitted a model call inside its block; the call is on its way already.
//!
//! The block is durable, so nothing is judged again: what is written is what was drawn. Where an answer
//! cost more than its bound, the block may have less left than that: it grows then, and what no account
//! has room for is written as what is out without a hold. What is *not* here: how a block is granted (`call_reserve`) and how the other
//! process draws on it (`engine::block`).

use crate::budget::{Amount, Hold, Owner, Verdict, Waiter};
use crate::error::{Detail, Error, ErrorKind, Result};
use crate::event::call::ModelCallReserved;
use crate::run::{CallState, HoldKey};
use crate::sequencer::command::{Drawn, ReserveCall};
use crate::sequencer::decision::{Decision, NewEvent, NewPart, Reply};
use crate::sequencer::resident::Resident;
use crate::sequencer::token::Token;

pub use super::worst_case::worst_case;
use super::{View, observed, session::most_messages};

/// Writes down that a call draws on its session's block.
///
/// # Errors
/// `Cancelled` where the token was revoked; `InvalidTransition` for a place that is taken.
pub fn draw(view: &View<'_>, token: &Token, call: &ReserveCall, drawn: Drawn) -> Result<Decision> {
    let (resident, step) = view.require_live(token)?;
    most_messages(&call.messages)?;
    let ordinal = call.place.ordinal;
    let again = |state: &CallState| matches!(state, CallState::Throttled { .. });
    if step
        .calls
        .get(&ordinal)
        .is_some_and(|call| !again(&call.state))
    {
        let message = format!("call {ordinal} was made already");
        return Err(Error::new(ErrorKind::InvalidTransition, message)
            .with_context("token", token)
            .with_detail(Detail::AlreadyCompleted));
    }
    let prices = view.workspace.prices_of(drawn.price_version);
    let unknown = view.workspace.unknown_models();
    let quote = prices.quote(&call.model, view.now, unknown);
    let own = quote.and_then(|quote| quote.price.max_output_tokens);
    let asked = call.bound.max_output_tokens;
    let max_output = asked.into_iter().chain(own).min();
    let key = HoldKey::escrow(token.step.clone(), token.attempt);
    let hold = resident.run.holds.get(&key);
    let free = hold.map_or(Amount::ZERO, Hold::free);
    let short = drawn.amount.saturating_sub(&free);
    let extended = if grows(view, resident, token, short) {
        short
    } else {
        Amount::ZERO
    };
    let amount = drawn.amount.min(&free.saturating_add(&extended));
    let facts = ModelCallReserved {
        step: token.step.clone(),
        attempt: token.attempt,
        ordinal,
        extended,
        unheld: drawn.amount.saturating_sub(&amount),
        agent: None,
        model: call.model.clone(),
        request: call.place.request,
        terms: call.terms.clone(),
        amount,
        max_output_tokens: max_output,
        clamped_from: asked.filter(|asked| max_output.is_some_and(|most| most < *asked)),
        price_version: prices.version(),
        approval: None,
    };
    let judged = told(view, resident, (token, ordinal), extended);
    let mut event = NewEvent::new(token.run_id, facts);
    event.parts = call.messages.iter().map(NewPart::json).collect();
    Ok(Decision {
        events: judged.into_iter().chain([event]).collect(),
        ..Decision::now(Reply::Done)
    })
}

/// What limits that are only looked at say of what the block grew by.
fn told(
    view: &View<'_>,
    resident: &Resident,
    (token, ordinal): (&Token, u32),
    extended: Amount,
) -> Option<NewEvent> {
    let run = &resident.run;
    let agent = run.step(&token.step)?.agent.as_ref()?;
    let path = run.path(&token.step, agent);
    let who = (&token.step, token.attempt, Some(ordinal));
    let asked = (!extended.is_zero()).then_some((&path, extended))?;
    observed::judged(view, resident, who, asked)
}

/// Whether a session's block may grow by what a call has drawn beyond it.
fn grows(view: &View<'_>, resident: &Resident, token: &Token, short: Amount) -> bool {
    let run = &resident.run;
    let agent = run.step(&token.step).and_then(|step| step.agent.as_ref());
    let Some(agent) = agent.filter(|_| !short.is_zero()) else {
        return false;
    };
    let waiter = Waiter {
        ticket: view.ticket(),
        path: run.path(&token.step, agent),
        amount: short,
        owner: Some(Owner {
            run: run.run_id,
            step: token.step.clone(),
        }),
    };
    view.judge(&waiter) == Verdict::Fits
}
