//! Callers that give up: a reservation that nobody waits for any more is taken back.
//!
//! A host may drop the future of a model call at any time: in a `select`, by a time-out, with its
//! task. Until the answer is in its hands nothing was sent, so the sequencer is told so: a place in
//! a queue is left, and what was held meanwhile is released. What is *not* here: a permit that is
//! dropped (`calls`); its call may be out.

use std::sync::Arc;

use super::inner::Inner;
use crate::id::Digest;
use crate::resilience::CallFailure;
use crate::sequencer::{AttemptRequest, Command, FailCall, PricedBy, Request};
use crate::time::Timestamp;

/// Stands beside the wait for an answer; dropped before it came, it takes the reservation back.
pub(super) struct GivenUp<'a> {
    inner: &'a Inner,
    command: Option<Arc<Command>>,
}

impl<'a> GivenUp<'a> {
    /// Watches over a command, where it is a reservation.
    pub(super) fn of(inner: &'a Inner, command: &Arc<Command>) -> Self {
        let reserves = matches!(
            command.request,
            Request::Attempt(_, AttemptRequest::ReserveCall(_))
        );
        let command = reserves.then(|| Arc::clone(command));
        Self { inner, command }
    }

    /// The answer is there, and its caller has it.
    pub(super) fn answered(mut self) {
        self.command = None;
    }
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        let Some(command) = self.command.take() else {
            return;
        };
        let Request::Attempt(token, AttemptRequest::ReserveCall(call)) = &command.request else {
            return;
        };
        let failure = AttemptRequest::FailCall(Box::new(FailCall {
            ordinal: call.place.ordinal,
            failure: CallFailure::NotSent,
            retry_after_ms: None,
            observed: None,
            by: PricedBy {
                version: Digest::ZERO,
                at: Timestamp::EPOCH,
            },
            message: "its caller gave up before it was sent".into(),
        }));
        let request = Request::Attempt(token.clone(), failure);
        self.inner.tell(command.actor.clone(), request);
    }
}
