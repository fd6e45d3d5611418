//! What a program is run with: the same for a command agent and for a tool of a chat agent.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use mc_core::engine::StepContext;

use super::process::{Program, Why};
use crate::hiding::Secrets;
use crate::spending::ModelBound;

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

impl CommandSpec {
    /// The program, as it is started.
    pub(crate) fn program(&self) -> Program {
        Program {
            path: self.program.clone(),
            arguments: self.arguments.clone(),
            dir: self.dir.clone(),
            environment: self.environment.clone(),
            grace: self.grace,
            max_output: self.max_output,
        }
    }

    /// The values of the environment that must not show.
    pub(crate) fn secrets(&self) -> Secrets {
        let named = self.environment.iter();
        let named = named.filter(|(name, _)| self.secret.contains(name));
        let values = named.map(|(_, value)| value.to_string_lossy().into_owned());
        Secrets::new(values.filter(|value| value.len() >= MIN_SECRET_BYTES))
    }

    /// When the program is to be ended, and why.
    pub(crate) async fn stop(&self, ctx: &StepContext) -> Why {
        let too_long = async {
            match self.timeout {
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
