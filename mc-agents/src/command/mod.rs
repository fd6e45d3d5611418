//! The command agent: runs a program for each attempt, with JSON on its standard input and output.
//!
//! `process` runs it and ends it with all its children; `crate::exchange` has the JSON,
//! `crate::spending` the money. Unix only: elsewhere the file that names one is refused.

pub(crate) mod process;
mod spec;

use async_trait::async_trait;
use mc_core::engine::{AgentError, AgentExecutor, ProviderError, StepContext, StepOutcome};
use mc_core::error::ErrorKind;
use mc_core::id::AgentVersion;
use mc_core::json;
use mc_core::resilience::CallFailure;
use serde_json::{Value, json};

use crate::exchange::{INVALID_OUTPUT, Reply, ask};
use crate::hiding::{Secrets, end};
use crate::runtime;
use crate::spending::{Opening, Spending, suspended};
pub use process::kill_programs;
use process::{Ended, Why};
pub use spec::CommandSpec;

/// The most of standard error that an attempt's message repeats, in bytes.
const MAX_EVIDENCE_BYTES: usize = 2 * 1024;

/// An agent that runs a program for each attempt.
#[derive(Clone, Debug)]
pub struct CommandAgent {
    spec: CommandSpec,
    secrets: Secrets,
    version: Option<AgentVersion>,
}

impl CommandAgent {
    /// An agent that runs the program.
    pub fn new(spec: CommandSpec, version: Option<AgentVersion>) -> Self {
        Self {
            secrets: spec.secrets(),
            spec,
            version,
        }
    }

    /// Why there is no answer, with the end of standard error as evidence.
    fn failure(&self, ended: &Ended, fault: &str) -> AgentError {
        // Hidden first: a secret that is cut in two is not found.
        let said = self.secrets.hide_end(&ended.stderr, ended.stderr_whole);
        let said = end(&said, MAX_EVIDENCE_BYTES);
        let (code, message) = match ended.why {
            Why::Cancelled => (
                ErrorKind::Cancelled.code(),
                "it was told to stop".to_owned(),
            ),
            Why::TimedOut => (
                ErrorKind::Timeout.code(),
                "the program took too long".to_owned(),
            ),
            Why::TooMuchOutput => {
                let most = self.spec.max_output;
                (
                    INVALID_OUTPUT,
                    format!("the program wrote more than {most} bytes"),
                )
            }
            Why::Exited(status) if status.success() => {
                let fault = self.secrets.hide(fault);
                (INVALID_OUTPUT, format!("the program's answer: {fault}"))
            }
            Why::Exited(status) => ("command_failed", format!("the program ended with {status}")),
        };
        let colon = if said.is_empty() { "" } else { ": " };
        AgentError::with_code(code, format!("{message}{colon}{said}"))
    }

    async fn finish(
        &self,
        ctx: &StepContext,
        spending: Spending,
        ended: Ended,
    ) -> Result<StepOutcome, AgentError> {
        let reply = match ended.why {
            Why::TooMuchOutput => Err("it is too long".to_owned()),
            Why::Exited(_) | Why::Cancelled | Why::TimedOut => Reply::parse(&ended.stdout),
        };
        let reply = reply.map(|reply| reply.without(&self.secrets));
        match reply {
            Ok(mut reply) => {
                // An output counts only from a program that ended well; an error always does.
                let ended_well = matches!(ended.why, Why::Exited(status) if status.success());
                let failed = reply.is_output() && !ended_well;
                let failed = failed.then(|| self.failure(&ended, ""));
                if let Some(error) = &failed {
                    // No later attempt may take it for an answer.
                    reply.whole = json!({"error": {"code": error.code()}});
                }
                spending.settle(ctx, &reply).await?;
                failed.map_or_else(|| reply.into_outcome(), Err)
            }
            Err(fault) => {
                let (failure, message) = match ended.why {
                    Why::Cancelled | Why::TimedOut => (CallFailure::Abandoned, "it was stopped"),
                    Why::Exited(_) | Why::TooMuchOutput => {
                        (CallFailure::Crashed, "it ended without a report")
                    }
                };
                spending.fail(&ProviderError::new(failure, message)).await?;
                Err(self.failure(&ended, &fault))
            }
        }
    }
}

#[async_trait]
impl AgentExecutor for CommandAgent {
    fn version(&self) -> Option<&str> {
        self.version.as_ref().map(AgentVersion::as_str)
    }

    async fn execute(&self, ctx: StepContext, input: Value) -> Result<StepOutcome, AgentError> {
        runtime::required()?;
        let spending = match Spending::open(&ctx, &self.spec.models, &input).await? {
            Opening::Open(spending) => spending,
            Opening::Answered(reply) => return reply.into_outcome(),
            Opening::Waits(id) => return Ok(suspended(id)),
        };
        let asked = json::canonical(&ask(&ctx, &input, &spending.admitted()));
        let stop = self.spec.stop(&ctx);
        match self.spec.program().run(asked, stop).await {
            Ok(ended) => self.finish(&ctx, spending, ended).await,
            Err(error) => {
                let program = self.spec.program.display();
                let message = format!("{program} cannot be started: {error}");
                spending.release(&message).await?;
                Err(AgentError::with_code("command_not_started", message))
            }
        }
    }
}
