//! The runtime that programs and sockets need: virtual time has none.

use mc_core::engine::AgentError;

/// Whether this attempt runs where programs can be started and sockets opened.
///
/// # Errors
/// It does not: said in words, before anything is held.
pub(crate) fn required() -> Result<(), AgentError> {
    tokio::runtime::Handle::try_current()
        .map(drop)
        .map_err(|_| {
            let message = "this agent needs a tokio runtime: it does not run in virtual time";
            AgentError::with_code("no_runtime", message).fatal()
        })
}
