//! A store that takes no writes any more: what is out is told to stop.
//!
//! Nothing new may go out, since nothing of it could be written down; what has ended is kept until
//! the store is back. What is *not* here: how it comes back (`restart`).

use std::sync::Arc;

use super::inner::{Inner, lock};
use crate::error::{Detail, Error, ErrorKind};
use crate::sequencer::decide::session::SESSION_STEP;
use crate::sequencer::{AttemptRequest, Pending, Request};

/// Whether a store will not take writes again by itself.
pub(super) fn is_for_good(cause: &Error) -> bool {
    matches!(cause.detail(), Some(Detail::ReadOnly))
}

/// Whether a request is to begin something that could not be written down.
pub(super) fn refuses(cause: &Error, request: &Request) -> bool {
    let Request::Attempt(token, request) = request else {
        return false;
    };
    let begins = matches!(
        request,
        AttemptRequest::ReserveCall(_)
            | AttemptRequest::BeginTool(_)
            | AttemptRequest::LookUpOnce(_)
    );
    begins && is_for_good(cause) && !is_session(token.step.as_str())
}

/// A session has no attempt that could stop: its host is in charge, and its calls wait.
fn is_session(step: &str) -> bool {
    step == SESSION_STEP
}

/// What an attempt is told that wants to begin something.
pub(super) fn to_stop(cause: &Error) -> Error {
    let message = format!("this attempt is to stop: {}", cause.message());
    Error::new(ErrorKind::Cancelled, message).with_detail(Detail::ReadOnly)
}

/// Answers those that wait to begin something.
pub(super) fn refuse(list: &mut Vec<Pending>, cause: &Error) {
    let all = std::mem::take(list);
    let (begin, rest): (Vec<Pending>, _) = all
        .into_iter()
        .partition(|pending| refuses(cause, &pending.command.request));
    *list = rest;
    for pending in begin {
        pending.refuse(|| to_stop(cause));
    }
}

impl Inner {
    /// Tells every attempt that is out to stop, once.
    pub(super) fn stop_attempts(&self) {
        let attempts: Vec<_> = lock(&self.attempts).values().map(Arc::clone).collect();
        let out = attempts.iter().filter(|cell| !cell.is_cancelled());
        for cell in out.filter(|cell| !is_session(cell.key().1.as_str())) {
            cell.cancel();
        }
    }
}
