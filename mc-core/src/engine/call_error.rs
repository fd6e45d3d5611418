//! Why a model call gave no answer, as a value, as the public error, and as an agent's failure.

use std::sync::Arc;
use std::time::Duration;

use super::agent::AgentError;
use super::tools::again;
use crate::error::{Detail, Error, ErrorKind};
use crate::id::ApprovalId;
use crate::resilience::{CallFailure, CallOutcome};
use crate::time::as_ms;
use crate::usage::Usage;

/// The code of an attempt that its provider failed otherwise than by refusing or by silence.
const PROVIDER_FAILED: &str = "provider_failed";

/// How a provider failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderError {
    /// What happened: decides what becomes of the money.
    pub failure: CallFailure,
    /// How long the provider asks to wait.
    pub retry_after: Option<Duration>,
    /// Of a stream that was cut: what it can have used at most, by the input that was sent and the
    /// output that came. It counts where the workspace believes it (`Settings::cut_streams`).
    pub observed: Option<Box<Usage>>,
    /// The error in words.
    pub message: String,
}

impl ProviderError {
    /// A stream that was cut after it had used at most so much.
    pub fn cut(observed: Usage, message: impl Into<String>) -> Self {
        Self {
            observed: Some(Box::new(observed)),
            ..Self::new(CallFailure::Cut, message)
        }
    }

    /// A failure without a wish to wait.
    pub fn new(failure: CallFailure, message: impl Into<String>) -> Self {
        Self {
            failure,
            retry_after: None,
            observed: None,
            message: message.into(),
        }
    }
}

/// Why a model call gave no answer.
#[derive(Debug)]
pub enum CallError {
    /// A budget or a policy refuses it.
    Denied(Arc<Error>),
    /// A person has to approve it first: the request.
    NeedsApproval(ApprovalId),
    /// The provider failed it; the call was ended as its outcome says.
    Provider(ProviderError),
    /// The engine could not take it: the token was revoked, or the store refuses.
    Engine(Error),
}

impl ProviderError {
    /// What the failure is to who made the call: a provider that refuses for too long is
    /// `RateLimited`, one that does not answer in time is `Timeout`.
    pub const fn kind(&self) -> ErrorKind {
        match self.failure {
            CallFailure::Timeout => ErrorKind::Timeout,
            CallFailure::Status { .. } => match self.failure.outcome() {
                CallOutcome::Throttled => ErrorKind::RateLimited,
                CallOutcome::Release | CallOutcome::SettleReserved(_) | CallOutcome::InDoubt => {
                    ErrorKind::AgentFailed
                }
            },
            CallFailure::NotSent
            | CallFailure::Unreachable
            | CallFailure::Reset
            | CallFailure::Cut
            | CallFailure::UsageMissing
            | CallFailure::Abandoned
            | CallFailure::Crashed => ErrorKind::AgentFailed,
        }
    }

    fn retry_after_ms(&self) -> Option<u64> {
        self.retry_after.map(as_ms)
    }
}

impl From<ProviderError> for Error {
    fn from(error: ProviderError) -> Self {
        let this = Self::new(error.kind(), error.message.as_str());
        let this = this.with_context("failure", error.failure.code());
        match error.retry_after_ms() {
            Some(retry_after_ms) => this.with_detail(Detail::RetryAfter { retry_after_ms }),
            None => this,
        }
    }
}

/// The error of a call that a person has to approve first.
fn asked(id: ApprovalId) -> Error {
    let message = format!("the model call is asked of a person: `{id}`");
    let detail = Detail::ApprovalRequest {
        request_id: id.to_string(),
    };
    Error::new(ErrorKind::ApprovalRequired, message).with_detail(detail)
}

impl From<CallError> for Error {
    /// The one public error, for hosts that tell all of them alike.
    fn from(error: CallError) -> Self {
        match error {
            CallError::Denied(error) => again(&error),
            CallError::NeedsApproval(id) => asked(id),
            CallError::Provider(error) => error.into(),
            CallError::Engine(error) => error,
        }
    }
}

impl From<CallError> for AgentError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Denied(error) => Self::from(again(&error)).fatal(),
            CallError::NeedsApproval(id) => asked(id).into(),
            CallError::Provider(error) => {
                let kind = error.kind();
                let code = if matches!(kind, ErrorKind::RateLimited | ErrorKind::Timeout) {
                    kind.code()
                } else {
                    PROVIDER_FAILED
                };
                let after = error.retry_after_ms();
                let this = Self::with_code(code, error.message);
                match after {
                    Some(ms) => this.retry_after_ms(ms),
                    None => this,
                }
            }
            CallError::Engine(error) => error.into(),
        }
    }
}
