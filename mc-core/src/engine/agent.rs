//! Agents: what a host registers, and what an attempt of one answers.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::context::StepContext;
use super::probe::{EffectProbe, ProbeAnswer};
use crate::error::{ApprovalFault, Detail, Error, ErrorKind};
use crate::event::step::WaitingFor;
use crate::sequencer::{AttemptFailure, Retry};

/// An agent: gets a step's input and gives its output.
#[async_trait]
pub trait AgentExecutor: Send + Sync + 'static {
    /// The version of the agent, as its host counts: 1 to 64 bytes of text without control
    /// characters, read when it is registered. Every dispatch to it records the version.
    fn version(&self) -> Option<&str> {
        None
    }

    /// Does one attempt of a step.
    ///
    /// # Errors
    /// An [`AgentError`]: the attempt failed, and the step's policy decides what follows.
    async fn execute(&self, ctx: StepContext, input: Value) -> Result<StepOutcome, AgentError>;

    /// Finds out what became of an attempt that may have done what cannot be undone: after a crash,
    /// or once an attempt that timed out has ended. None, the default, leaves it to a person.
    async fn probe(&self, effect: EffectProbe) -> Option<ProbeAnswer> {
        let _ = effect;
        None
    }
}

/// What an attempt answers.
#[derive(Clone, Debug, PartialEq)]
pub enum StepOutcome {
    /// The step's output.
    Output(Value),
    /// The attempt ends here and is entered again, with its journal, once what it waits for came.
    Suspend {
        /// What it wants to find again.
        checkpoint: Value,
        /// What it waits for.
        waiting_for: WaitingFor,
    },
}

impl From<Value> for StepOutcome {
    fn from(output: Value) -> Self {
        Self::Output(output)
    }
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentError {
    code: Arc<str>,
    message: Arc<str>,
    retry: Retry,
}

impl AgentError {
    /// A failure after which the step's policy decides.
    pub fn new(message: impl Into<String>) -> Self {
        Self::with_code("agent_failed", message)
    }

    /// A failure with a code that `non_retryable` may name.
    pub fn with_code(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into().into(),
            retry: Retry::AsPolicy,
        }
    }

    /// A failure that no further attempt can mend.
    #[must_use]
    pub fn fatal(mut self) -> Self {
        self.retry = Retry::Never;
        self
    }

    /// A failure that is not tried again before so many milliseconds.
    #[must_use]
    pub fn retry_after_ms(mut self, ms: u64) -> Self {
        self.retry = Retry::After(ms);
        self
    }

    /// The code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn into_failure(self) -> AttemptFailure {
        AttemptFailure {
            code: self.code,
            message: self.message,
            retry: self.retry,
        }
    }
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for AgentError {}

impl From<Error> for AgentError {
    /// A refusal by policy or budget keeps its code, so that the step is blocked and not retried.
    fn from(error: Error) -> Self {
        let code = match error.detail() {
            Some(Detail::Approval {
                reason: ApprovalFault::Rejected,
            }) => "approval_rejected",
            Some(Detail::Approval {
                reason: ApprovalFault::Expired,
            }) => "approval_expired",
            _ => error.code(),
        };
        let this = Self::with_code(code, error.message());
        let refused = matches!(
            error.kind(),
            ErrorKind::PolicyDenied
                | ErrorKind::BudgetExceeded
                | ErrorKind::Cancelled
                | ErrorKind::ApprovalInvalid
                | ErrorKind::ApprovalRequired
        );
        if refused { this.fatal() } else { this }
    }
}
