//! The command agent: runs a program for each attempt, with JSON on its standard input and output.
//!
//! `process` runs it and ends it with all its children; `crate::exchange` has the JSON,
//! `crate::spending` the money. Unix only: elsewhere the file that names one is refused.

mod process;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use mc_core::engine::{AgentError, AgentExecutor, ProviderError, StepContext, StepOutcome};
use mc_core::error::ErrorKind;
use mc_core::id::AgentVersion;
use mc_core::json;
use mc_core::resilience::CallFailure;
use serde_json::{Value, json};

use crate::exchange::{INVALID_OUTPUT, Reply, ask};
use crate::runtime;
use crate::spending::{ModelBound, Opening, Spending};
pub use process::kill_programs;
use process::{Ended, Program, Why};

/// The most of standard error that an attempt's message repeats, in bytes.
const MAX_EVIDENCE_BYTES: usize = 2 * 1024;
/// Shorter values of the environment are no secrets worth hiding.
const MIN_SECRET_BYTES: usize = 6;

/// What a command agent is made of.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandSpec {
    /// The program, found and runnable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where it runs.
    pub dir: PathBuf,
    /// The environment that it gets, and nothing else; values may be secrets.
    pub environment: Vec<(String, OsString)>,
    /// The names in the environment whose values must not show.
    pub secret: Vec<String>,
    /// How long an attempt may take; none leaves that to the step.
    pub timeout: Option<Duration>,
    /// Between TERM and KILL.
    pub grace: Duration,
    /// The most bytes of standard output.
    pub max_output: usize,
    /// The models that it may call by itself.
    pub models: Vec<ModelBound>,
}

impl fmt::Debug for CommandSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandSpec")
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .field("models", &self.models)
            .finish_non_exhaustive()
    }
}

/// An agent that runs a program for each attempt.
#[derive(Clone, Debug)]
pub struct CommandAgent {
    spec: CommandSpec,
    version: Option<AgentVersion>,
}

impl CommandAgent {
    /// An agent that runs the program.
    pub const fn new(spec: CommandSpec, version: Option<AgentVersion>) -> Self {
        Self { spec, version }
    }

    fn program(&self) -> Program {
        Program {
            path: self.spec.program.clone(),
            arguments: self.spec.arguments.clone(),
            dir: self.spec.dir.clone(),
            environment: self.spec.environment.clone(),
            grace: self.spec.grace,
            max_output: self.spec.max_output,
        }
    }

    /// When the program is to be ended, and why.
    async fn stop(&self, ctx: &StepContext) -> Why {
        let too_long = async {
            match self.spec.timeout {
                Some(most) => ctx.sleep(most).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = ctx.cancelled() => Why::Cancelled,
            () = too_long => Why::TimedOut,
        }
    }

    /// Why there is no answer, with the end of standard error as evidence.
    fn failure(&self, ended: &Ended, fault: &str) -> AgentError {
        let said = String::from_utf8_lossy(&ended.stderr);
        let mut said = said.trim().to_owned();
        for (name, value) in &self.spec.environment {
            let value = value.to_string_lossy();
            if self.spec.secret.contains(name) && value.len() >= MIN_SECRET_BYTES {
                said = said.replace(&*value, "***");
            }
        }
        let mut from = said.len().saturating_sub(MAX_EVIDENCE_BYTES);
        while !said.is_char_boundary(from) {
            from += 1;
        }
        let said = said.get(from..).unwrap_or_default();
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
                (INVALID_OUTPUT, format!("the program's answer: {fault}"))
            }
            Why::Exited(status) => ("command_failed", format!("the program ended with {status}")),
        };
        let end = if said.is_empty() { "" } else { ": " };
        AgentError::with_code(code, format!("{message}{end}{said}"))
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
        };
        let asked = json::canonical(&ask(&ctx, &input, &spending.admitted()));
        let stop = self.stop(&ctx);
        match self.program().run(asked, stop).await {
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
