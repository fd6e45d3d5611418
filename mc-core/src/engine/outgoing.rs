//! A call that is out, as who sends it sees it: its limit, and where it tells how far it has come.
//!
//! `model_stream` hands it to the sender; what a rule in flight forbids comes back by it, and is
//! what the caller then gets. What is *not* here: what ends the call (`calls`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::call_error::{CallError, ProviderError};
use super::calls::{Caller, ModelAnswer, ModelRequest, refused};
use super::context::StepContext;
use super::tools::again;
use crate::error::{Error, ErrorKind, Result};
use crate::id::ModelId;
use crate::pricing::CallTerms;
use crate::sequencer::{AttemptRequest, CallProgress, Patience};

/// A model call that is out.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub(super) caller: Caller,
    pub(super) ordinal: u32,
    pub(super) terms: CallTerms,
    pub(super) max_output_tokens: Option<u64>,
    pub(super) suggests: Option<ModelId>,
    /// What a rule said that wants the call cut.
    pub(super) cut: Arc<OnceLock<Error>>,
    /// Output tokens, as they were reported last.
    pub(super) reported: Arc<AtomicU64>,
}

impl Outgoing {
    /// Ask the provider for at most so many output tokens.
    pub const fn max_output_tokens(&self) -> Option<u64> {
        self.max_output_tokens
    }

    /// The model that the budget suggests for further calls, as of a permit.
    pub const fn suggested_model(&self) -> Option<&ModelId> {
        self.suggests.as_ref()
    }

    /// Reports how far the answer has come: so many output tokens, and the text since the last report
    /// where rules are to see it. An error of the kind `PolicyDenied` names the rule that wants the
    /// call cut: stop reading and fail; whoever made the call gets that error.
    ///
    /// # Errors
    /// `PolicyDenied`; `Cancelled` where the attempt is to stop.
    pub async fn progress(&self, output_tokens: u64, text: Option<&str>) -> Result<()> {
        self.reported.store(output_tokens, Ordering::Relaxed);
        let report = AttemptRequest::Progress(CallProgress {
            ordinal: self.ordinal,
            output_tokens,
            text: text.map(Arc::from),
            terms: self.terms.clone(),
            elapsed_ms: None,
        });
        let said = refused(self.caller.attempt(report).await?);
        if let Err(error) = &said
            && error.kind() == ErrorKind::PolicyDenied
        {
            // The first rule that cuts it is the one that is told.
            let _ = self.cut.set(again(error));
        }
        said
    }

    /// Output tokens, as they were reported last.
    pub(super) fn reported(&self) -> u64 {
        self.reported.load(Ordering::Relaxed)
    }

    /// Whether a rule wanted the call cut.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.get().is_some()
    }

    /// What the failure of this call is to who made it: the rule that cut it, if one did.
    pub(super) fn failed(&self, error: ProviderError) -> CallError {
        match self.cut.get() {
            Some(rule) => CallError::Denied(Arc::new(again(rule))),
            None => CallError::Provider(error),
        }
    }
}

impl StepContext {
    /// As [`model_call`](Self::model_call), for a sender that reports how far the answer has come, so
    /// that rules in flight bind it: `send` gets the call that is out.
    ///
    /// # Errors
    /// A [`CallError`]; `Denied` with the rule that wanted it cut.
    pub async fn model_stream<F, Fut>(
        &self,
        request: &ModelRequest,
        send: F,
    ) -> std::result::Result<ModelAnswer, CallError>
    where
        F: Fn(Outgoing) -> Fut + Send,
        Fut: Future<Output = std::result::Result<ModelAnswer, ProviderError>> + Send,
    {
        let asked = (request, Patience::Waits);
        self.caller.model_call(asked, send).await
    }

    /// As [`model_stream`](Self::model_stream), without waiting for a person, as
    /// [`try_model_call`](Self::try_model_call).
    ///
    /// # Errors
    /// As [`model_stream`](Self::model_stream), and `CallError::NeedsApproval`.
    pub async fn try_model_stream<F, Fut>(
        &self,
        request: &ModelRequest,
        send: F,
    ) -> std::result::Result<ModelAnswer, CallError>
    where
        F: Fn(Outgoing) -> Fut + Send,
        Fut: Future<Output = std::result::Result<ModelAnswer, ProviderError>> + Send,
    {
        let asked = (request, Patience::TellsOnly);
        self.caller.model_call(asked, send).await
    }
}
