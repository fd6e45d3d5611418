//! In time: a call that takes longer than a rule allows is cut, whether its sender reports or not.
//!
//! The permission to go out says after how long the call is looked at; the engine's clock wakes it then,
//! and the sequencer says whether it may go on. What is *not* here: what the rules say
//! (`sequencer::decide::in_time`).

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use super::call_error::ProviderError;
use super::calls::{Caller, ModelAnswer, Permit, refused};
use super::outgoing::Outgoing;
use crate::error::{Error, ErrorKind, Result};
use crate::pricing::CallTerms;
use crate::resilience::CallFailure;
use crate::sequencer::{AttemptRequest, CallProgress};

/// What a model call comes to.
type Answered = std::result::Result<ModelAnswer, ProviderError>;

/// When a call that is out is looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Looks {
    /// When it was admitted, in monotonic time.
    pub(super) since: Duration,
    /// After how many milliseconds, in order.
    pub(super) after_ms: Vec<u64>,
}

/// What is told at each look, and what keeps the time.
pub(super) struct Watch<'a> {
    pub(super) caller: &'a Caller,
    pub(super) looks: &'a Looks,
}

impl Watch<'_> {
    /// Waits for a call, and lets go of it once it may not go on.
    ///
    /// # Errors
    /// `PolicyDenied`: the rule.
    pub(super) async fn over<T, Look, Looked>(
        &self,
        call: impl Future<Output = T>,
        look: Look,
    ) -> Result<T>
    where
        Look: Fn(u64) -> Looked,
        Looked: Future<Output = Result<()>>,
    {
        let mut call = pin!(call);
        for after in &self.looks.after_ms {
            // A rule is broken once more than its time is over.
            let past = after.saturating_add(1);
            tokio::select! {
                biased;
                done = &mut call => return Ok(done),
                () = self.until(past) => {}
            }
            if let Err(error) = look(past).await
                && error.kind() == ErrorKind::PolicyDenied
            {
                return Err(error);
            }
        }
        Ok(call.await)
    }

    async fn until(&self, past_ms: u64) {
        let span = Duration::from_millis(past_ms);
        let at = self.looks.since.saturating_add(span);
        self.caller.inner.clock.sleep_until(at).await;
    }
}

impl Caller {
    /// Waits for the answer of a model call; one that may not go on is let go of, and failed.
    pub(super) async fn in_time(
        &self,
        looks: &Looks,
        out: &Outgoing,
        sending: impl Future<Output = Answered>,
    ) -> Answered {
        let watch = Watch {
            caller: self,
            looks,
        };
        let answered = watch.over(sending, |_| out.look()).await;
        answered.unwrap_or_else(|rule| {
            let why = rule.message();
            Err(ProviderError::new(CallFailure::Abandoned, why))
        })
    }

    /// Asks whether a tool call that has been out for so long may go on.
    pub(super) async fn look_at_tool(&self, ordinal: u32, elapsed_ms: u64) -> Result<()> {
        let report = AttemptRequest::Progress(CallProgress {
            ordinal,
            output_tokens: 0,
            text: None,
            terms: CallTerms::default(),
            elapsed_ms: Some(elapsed_ms),
        });
        refused(self.attempt(report).await?)
    }
}

impl Permit {
    /// Returns once the call takes longer than a rule allows: stop it then, and
    /// [`fail`](Self::fail) the permit. Never returns where no rule says how long it may take; a call
    /// that is made through `model_call` is stopped without this.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn overdue(&self) -> Error {
        let out = self.outgoing();
        let watch = Watch {
            caller: &self.caller,
            looks: &self.looks,
        };
        let never = std::future::pending::<std::convert::Infallible>();
        match watch.over(never, |_| out.look()).await {
            Err(error) => error,
            Ok(never) => match never {},
        }
    }
}

impl Outgoing {
    /// Asks whether the call may go on, as far as it has come.
    pub(super) async fn look(&self) -> Result<()> {
        let so_far = self.reported();
        self.progress(so_far, None).await
    }
}
