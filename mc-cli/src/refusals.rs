//! Calls of a step that a provider refused and that wait to be tried again.
//!
//! What is *not* here: calls that wait for room in an account or for a rate. They stand in no event and
//! in no row: only the process that has the store knows of them.

use mc_core::id::ModelId;
use mc_core::run::{CallState, Step};
use mc_core::time::Timestamp;
use serde_json::{Value, json};

/// The call that is tried again first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefusedCall<'a> {
    model: Option<&'a ModelId>,
    times: u32,
    /// When it is tried again.
    pub(crate) retry_at: Timestamp,
}

/// What a step waits for that is out: none where no provider has refused it.
pub(crate) fn refused(step: &Step) -> Option<RefusedCall<'_>> {
    step.live?;
    let waiting = step.calls.values().filter_map(|call| match call.state {
        CallState::Throttled { retry_at } => Some(RefusedCall {
            model: call.model.as_ref(),
            times: call.refused.map_or(1, |refused| refused.times),
            retry_at,
        }),
        CallState::Open { .. }
        | CallState::Answered { .. }
        | CallState::Failed
        | CallState::Released => None,
    });
    waiting.min_by_key(|call| call.retry_at)
}

impl RefusedCall<'_> {
    /// As a note in a table.
    pub(crate) fn told(&self) -> String {
        let what = self.model.map_or("a call".to_owned(), ToString::to_string);
        let at = self.retry_at;
        format!("{what} was refused by its provider, again at {at}")
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        json!({ "model": self.model, "times": self.times, "retry_at": self.retry_at.to_string() })
    }
}
