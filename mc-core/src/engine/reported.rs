//! Calls that an agent has made by itself, without asking: written down and paid for in full.
//!
//! What is *not* here: calls that are held first (`calls`), and calls that were held and are settled
//! after their attempt has ended (`receipt`).

use std::sync::Arc;

use super::calls::{ModelAnswer, ModelRequest, refused, unexpected};
use super::content;
use super::context::StepContext;
use super::receipt::Receipt;
use crate::error::Result;
use crate::id::Digest;
use crate::sequencer::{AttemptRequest, CallReply, Patience, PricedBy, Reply};

/// What came of a report.
#[derive(Clone, Debug, PartialEq)]
pub enum Reported {
    /// It is written down, and what it cost is spent.
    Written,
    /// Nothing was written: an earlier attempt reported this request here, with this answer.
    Before(Box<ModelAnswer>),
}

impl StepContext {
    /// Writes a model call down that was made without asking, and what it used. It is recorded in full,
    /// over a limit too; an account that it breaches stops the run as any other call does. Nothing is
    /// waited for: neither a budget nor a rate nor a breaker.
    ///
    /// # Errors
    /// `PolicyDenied` where a rule would not have let it out: it is written down all the same; or where
    /// the model has no price: then it is not. `InvalidInput` for usage that cannot be counted or an answer
    /// that cannot be kept; `Unavailable` while the store refuses.
    pub async fn report(&self, request: &ModelRequest, answer: &ModelAnswer) -> Result<Reported> {
        content::check_call(request)?;
        let caller = &self.caller;
        let ordinal = caller.cell.next_ordinal();
        let receipt = Receipt {
            attempt: self.attempt(),
            ordinal,
            model: request.model.clone(),
            terms: request.terms.clone(),
            // The sequencer says by which.
            by: PricedBy {
                version: Digest::ZERO,
                at: caller.inner.time().0,
            },
        };
        let (settle, kept) = receipt.settlement(answer, 0);
        kept?;
        let settle = Arc::new(settle);
        let call = Arc::new(request.at(ordinal, Patience::TellsOnly));
        let reply = caller
            .attempt(AttemptRequest::ReportCall(call, settle))
            .await?;
        if matches!(reply, Reply::Done) {
            // Its token was revoked: it is charged by now.
            return Ok(Reported::Written);
        }
        let Reply::Call(reply) = reply else {
            let odd = unexpected(&reply);
            refused(reply)?;
            return Err(odd);
        };
        match reply {
            CallReply::Reported { by, refused: why } => {
                let permit = caller.permit(ordinal, request, (None, by, Vec::new()));
                permit.settle(answer).await?;
                why.map_or(Ok(Reported::Written), |error| {
                    Err(super::tools::again(&error))
                })
            }
            CallReply::Answered { seq } => {
                let before = caller.answer_at(seq).await?;
                Ok(Reported::Before(Box::new(before)))
            }
            CallReply::Denied(error) => Err(super::tools::again(&error)),
            odd @ (CallReply::Allowed { .. }
            | CallReply::Clamped { .. }
            | CallReply::WaitUntil(_)
            | CallReply::Again
            | CallReply::NeedsApproval(_)) => Err(unexpected(&Reply::Call(odd))),
        }
    }
}
