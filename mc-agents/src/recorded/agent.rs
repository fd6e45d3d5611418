//! The recorded agent: answers the calls of a step as its file says.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use mc_core::budget::Amount;
use mc_core::engine::{
    AgentError, AgentExecutor, ModelAnswer, ModelRequest, ProviderError, StepContext, StepOutcome,
};
use mc_core::error::Result;
use mc_core::id::{AgentVersion, RunId, StepKey};
use mc_core::resilience::{CallFailure, OutputBegun};
use serde_json::{Value, json};

use super::file::read_runs;
use super::run::{RecordedCall, RecordedRun};

/// The status of a refusal.
const TOO_MANY_REQUESTS: u16 = 429;
/// What reconciles a call that was out when its process died.
const EVIDENCE: &str = "the recorded provider bills only answers that were settled";

/// What a step's output is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputRule {
    /// Always `{"text": last completion}`.
    #[default]
    Text,
    /// A last completion that is a JSON object is the output; any other gives `{"text": ..}`.
    ObjectOrText,
}

/// What the recorded provider replied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It refused the call, with a 429.
    Refused,
    /// It answered.
    Answered,
}

/// A call that reached the recorded provider.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step: &'a StepKey,
    /// The call's place in the step's journal, from 0.
    pub ordinal: u32,
    /// What came of it.
    pub reply: Reply,
}

/// Is told of each call that reaches the provider.
type Observer = Arc<dyn Fn(&Sent<'_>) + Send + Sync>;
/// Names a call of a run.
type CallKey = (RunId, StepKey, u32);

/// An agent that answers from recorded runs.
///
/// Whose calls it makes is said by the input: `{"recorded_run": id}`. Without that it takes the
/// calls of every run of its file, in order of the file. In either case those of the step's phase.
#[derive(Clone)]
pub struct RecordedAgent {
    runs: Arc<[RecordedRun]>,
    output: OutputRule,
    version: Option<AgentVersion>,
    refused: Arc<BTreeMap<CallKey, u32>>,
    observer: Option<Observer>,
}

impl fmt::Debug for RecordedAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedAgent")
            .field("runs", &self.runs.len())
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

impl RecordedAgent {
    /// An agent for runs that were read.
    pub fn new(runs: impl Into<Arc<[RecordedRun]>>) -> Self {
        Self {
            runs: runs.into(),
            output: OutputRule::default(),
            version: None,
            refused: Arc::default(),
            observer: None,
        }
    }

    /// The agent of an agents file: `{ kind: recorded, file: calls.jsonl }`.
    ///
    /// # Errors
    /// As [`read_runs`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::new(read_runs(path)?).with_output(OutputRule::ObjectOrText))
    }

    /// Makes outputs by another rule.
    #[must_use]
    pub fn with_output(mut self, rule: OutputRule) -> Self {
        self.output = rule;
        self
    }

    /// Tells the provider how often it refused calls in an earlier process: by run, step and place
    /// in the step's journal.
    #[must_use]
    pub fn with_refusals(mut self, refused: BTreeMap<(RunId, StepKey, u32), u32>) -> Self {
        self.refused = Arc::new(refused);
        self
    }

    /// Names the version that every dispatch to it records.
    #[must_use]
    pub fn with_version(mut self, version: AgentVersion) -> Self {
        self.version = Some(version);
        self
    }

    /// Is told of each call that reaches the provider, once it replied.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Fn(&Sent<'_>) + Send + Sync>) -> Self {
        self.observer = Some(observer);
        self
    }

    fn calls(&self, input: &Value, step: &str) -> Result<Vec<&RecordedCall>, AgentError> {
        let id = input.get("recorded_run").and_then(Value::as_str);
        let runs = self.runs.iter();
        let runs = runs.filter(|run| id.is_none_or(|id| run.id == id));
        let calls: Vec<_> = runs.flat_map(|run| run.calls_of(step)).collect();
        if calls.is_empty() {
            let whose = id.unwrap_or("any run");
            let message = format!("no recorded call of phase `{step}` in {whose}");
            return Err(AgentError::with_code("not_recorded", message).fatal());
        }
        Ok(calls)
    }

    /// Makes one call through a permit of its own.
    async fn make(
        &self,
        ctx: &StepContext,
        ordinal: u32,
        call: &RecordedCall,
    ) -> Result<(), AgentError> {
        let request = request(call);
        let step = ctx.step();
        let key = (ctx.run_id(), step.clone(), ordinal);
        let refused = AtomicU32::new(self.refused.get(&key).copied().unwrap_or(0));
        let tell = |reply| {
            let sent = Sent {
                run_id: ctx.run_id(),
                step: &step,
                ordinal,
                reply,
            };
            if let Some(observer) = &self.observer {
                observer(&sent);
            }
        };
        let (tell, refused) = (&tell, &refused);
        let reply = |_| async move {
            if refused.load(Ordering::Relaxed) < call.refusals {
                refused.fetch_add(1, Ordering::Relaxed);
                tell(Reply::Refused);
                return Err(too_many_requests());
            }
            ctx.sleep(call.latency).await;
            tell(Reply::Answered);
            Ok(ModelAnswer::text(&call.completion, call.usage()))
        };
        ctx.model_call(&request, reply).await?;
        Ok(())
    }

    fn output(&self, last: &str) -> Value {
        let object = match self.output {
            OutputRule::Text => None,
            OutputRule::ObjectOrText => mc_core::json::parse(last.as_bytes())
                .ok()
                .filter(Value::is_object),
        };
        object.unwrap_or_else(|| json!({ "text": last }))
    }
}

fn too_many_requests() -> ProviderError {
    let failure = CallFailure::Status {
        code: TOO_MANY_REQUESTS,
        output_begun: OutputBegun::No,
    };
    ProviderError::new(failure, "rate limit reached, as recorded")
}

/// What a recorded call asks for.
fn request(call: &RecordedCall) -> ModelRequest {
    let request = ModelRequest {
        agent: Some(call.agent.clone()),
        ..ModelRequest::text(call.model.clone(), &call.prompt)
    };
    request
        .input_tokens(call.prompt_tokens)
        .max_output_tokens(call.max_output_tokens)
}

/// Settles what its own calls of earlier attempts left in doubt, with nothing.
///
/// This provider is a file and has no account of its own. What it answered and nobody settled was
/// never paid for: the call is made again, and charged then. A real provider may have billed it, so
/// what another agent of this name has sent stays in doubt.
async fn reconcile(ctx: &StepContext, calls: &[&RecordedCall]) -> Result<(), AgentError> {
    let own: Vec<ModelRequest> = calls.iter().map(|call| request(call)).collect();
    for (hold, _) in ctx.doubts_of(&own).await? {
        ctx.reconcile(&hold, Amount::ZERO, EVIDENCE).await?;
    }
    Ok(())
}

#[async_trait]
impl AgentExecutor for RecordedAgent {
    fn version(&self) -> Option<&str> {
        self.version.as_ref().map(AgentVersion::as_str)
    }

    async fn execute(&self, ctx: StepContext, input: Value) -> Result<StepOutcome, AgentError> {
        let step = ctx.step();
        let calls = self.calls(&input, step.name())?;
        if ctx.attempt() > 1 {
            reconcile(&ctx, &calls).await?;
        }
        for (ordinal, call) in (0..).zip(&calls) {
            self.make(&ctx, ordinal, call).await?;
            if let (1, Some(message)) = (ctx.attempt(), &call.fail) {
                return Err(AgentError::new(message));
            }
        }
        let last = calls.last().map_or("", |call| &call.completion);
        Ok(self.output(last).into())
    }
}
