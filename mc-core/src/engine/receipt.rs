//! Receipts: what settles a call whose answer comes after its attempt has ended, by another way.
//!
//! An agent that is told "later" leaves the call's money in doubt and suspends with the receipt in its
//! checkpoint. Entered again with the answer it settles the doubt by it: what was used is priced, and
//! the doubt ends with that price, in one step, so that nobody gets the money in between.
//! What is *not* here: a call that ends within its attempt (`calls`).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::call_error::ProviderError;
use super::calls::{ModelAnswer, Permit};
use super::content;
use super::context::StepContext;
use crate::error::Result;
use crate::id::ModelId;
use crate::pricing::CallTerms;
use crate::resilience::CallFailure;
use crate::run::HoldKey;
use crate::sequencer::{AttemptRequest, FailCall, PricedBy, Request, SettleCall, Token};
use crate::time::as_ms;

/// What settles a call whose attempt has ended before the answer came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The attempt that made the call.
    pub attempt: u32,
    /// The call's place in the journal.
    pub ordinal: u32,
    /// The model that was asked.
    pub model: ModelId,
    /// The terms that it was made on.
    #[serde(default, skip_serializing_if = "CallTerms::is_default")]
    pub terms: CallTerms,
    /// The prices that it was reserved by.
    pub by: PricedBy,
}

impl Receipt {
    /// What is reported of an answer, and whether its content is kept; `took` stands where the answer
    /// has no latency.
    pub(super) fn settlement(
        &self,
        answer: &ModelAnswer,
        took_ms: u64,
    ) -> (SettleCall, Result<()>) {
        let kept = content::check_answer(answer);
        let content = kept.is_ok().then_some(answer);
        let settle = SettleCall {
            ordinal: self.ordinal,
            asked: self.model.clone(),
            model: answer.model.clone(),
            terms: self.terms.clone(),
            service_tier: answer.service_tier,
            by: self.by,
            usage: answer.usage,
            entries: answer.entries.clone(),
            answer: content.map(|answer| answer.output.clone()),
            reasoning: content.and_then(|answer| answer.reasoning.clone()),
            latency_ms: answer.latency.map_or(took_ms, as_ms),
        };
        (settle, kept)
    }

    /// What is reported of a call that was not made after all.
    fn unused(&self) -> FailCall {
        FailCall {
            ordinal: self.ordinal,
            failure: CallFailure::NotSent,
            retry_after_ms: None,
            observed: None,
            by: self.by,
            message: "it was not used".into(),
        }
    }
}

impl Permit {
    /// Leaves the call's money in doubt until its answer comes; that is settled with the receipt.
    ///
    /// # Errors
    /// As [`fail`](Self::fail).
    pub async fn answered_later(self, why: &str) -> Result<Receipt> {
        let receipt = self.receipt();
        let later = ProviderError::new(CallFailure::Abandoned, why);
        self.fail(&later).await?;
        Ok(receipt)
    }
}

impl StepContext {
    /// Whether the money of a call of an earlier attempt of this step is still in doubt.
    ///
    /// # Errors
    /// `Unavailable` while that is not known.
    pub async fn is_in_doubt(&self, receipt: &Receipt) -> Result<bool> {
        let step = self.caller.cell.token().step;
        let key = HoldKey::call(step, receipt.attempt, receipt.ordinal);
        Ok(self.doubts().await?.iter().any(|(hold, _)| *hold == key))
    }

    /// Settles a call of an earlier attempt of this step by the answer that came meanwhile; none
    /// where it was not made after all. What somebody has settled before stays as it is.
    ///
    /// # Errors
    /// `InvalidInput` for usage that has no price, or for an answer that cannot be kept, which is paid for
    /// all the same; `Unavailable` while the store refuses.
    pub async fn settle_later(
        &self,
        receipt: &Receipt,
        answer: Option<&ModelAnswer>,
    ) -> Result<()> {
        // Where it is not known, the sequencer says.
        if let Ok(false) = self.is_in_doubt(receipt).await {
            return Ok(());
        }
        let (request, kept) = match answer {
            Some(answer) => {
                let (settle, kept) = receipt.settlement(answer, 0);
                (AttemptRequest::SettleCall(Arc::new(settle)), kept)
            }
            None => (AttemptRequest::FailCall(Box::new(receipt.unused())), Ok(())),
        };
        let token = Token {
            attempt: receipt.attempt,
            ..self.caller.cell.token()
        };
        let request = Request::Attempt(token, request);
        let actor = self.caller.actor.clone();
        self.caller.inner.submit(actor, request).await?;
        kept
    }
}
