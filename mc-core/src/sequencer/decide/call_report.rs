//! Report: a model call was made that nobody had been asked for. What it cost is spent, whatever the
//! budgets have room for and the rules say: it is written down without a hold, and settled like others.
//!
//! What the rules say of it is told beside that. Of a dead token it is charged as a late result. What is
//! *not* here: calls that ask first (`call_reserve`).

use std::sync::Arc;

use super::call_reserve::Asking;
use super::call_settle::settle_reported;
use super::journal::{self, Found};
use super::{View, late};
use crate::budget::Amount;
use crate::error::Result;
use crate::run::CallKind;
use crate::sequencer::command::{PricedBy, ReserveCall, SettleCall};
use crate::sequencer::decision::{Answer, CallReply, Decision, Reply};
use crate::sequencer::token::Token;

/// Writes a call down that was made already.
///
/// # Errors
/// `InvalidTransition` for a place whose call is out; `NotFound` for an attempt that never was.
pub fn report(
    view: &View<'_>,
    token: &Token,
    call: &ReserveCall,
    answer: &Arc<SettleCall>,
) -> Result<Decision> {
    let settings = &view.workspace.settings;
    let by = PricedBy {
        version: settings.prices.version(),
        at: view.now,
    };
    if view.live(token).is_none() {
        late::known(view, token)?;
        let answer = SettleCall {
            by,
            ..SettleCall::clone(answer)
        };
        return settle_reported(view, token, &answer);
    }
    let mut asking = Asking::new(view, token, call)?;
    match journal::look_up(token, asking.step, CallKind::Model, call.place) {
        Found::Answered { seq } => {
            return Ok(Decision::now(Reply::Call(CallReply::Answered { seq })));
        }
        Found::Diverged(event) => asking.events.push(*event),
        Found::Throttled(_) | Found::Released | Found::Nothing => {}
    }
    let unknown = view.workspace.unknown_models();
    if settings
        .prices
        .quote(&call.model, view.now, unknown)
        .is_none()
    {
        return Ok(asking.deny_by_policy("unknown_model"));
    }
    let caller = asking.caller();
    let refused = asking.guard(caller.as_ref(), Amount::ZERO, None);
    let refused = refused.map(|denial| Arc::new(denial.error));
    let reply = Reply::Call(CallReply::Reported { by, refused });
    Ok(Decision {
        answer: Answer::Now(reply),
        ..asking.allow(Amount::ZERO, Amount::ZERO, None)
    })
}
