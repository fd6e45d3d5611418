//! A recorded run: its calls in order, and the workflow that they make.

use std::time::Duration;

use mc_core::error::Result;
use mc_core::id::{AgentName, ModelId, StepName};
use mc_core::money::NanoUsd;
use mc_core::policy::RiskTier;
use mc_core::pricing::{Charged, PriceTable, Terms, UnknownModels, charge};
use mc_core::time::Timestamp;
use mc_core::usage::Usage;
use mc_core::workflow::{StepSpec, Workflow};
use serde_json::{Value, json};

/// The workflow of every recorded run; each order of phases is a version of it.
pub const WORKFLOW: &str = "recorded";
/// The agent of every step of it.
pub const AGENT: &str = "recorded";

/// One run of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRun {
    /// Its id, at most 100 bytes, once in a file.
    pub id: String,
    /// What was asked for.
    pub task: String,
    /// The name of what was made.
    pub project: String,
    /// The model that most of it used, as the file names it; empty where it does not.
    pub model: String,
    /// When it began: the file's local time, read as UTC.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// Its model calls in recorded order; at least one.
    pub calls: Vec<RecordedCall>,
}

/// One model call of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedCall {
    /// The phase as the file names it.
    pub phase: String,
    /// The phase as a step's name.
    pub step: StepName,
    /// Place in the phase's dialogue.
    pub turn: u32,
    /// The agent that asked, as a name.
    pub agent: AgentName,
    /// The agent that it spoke to, as the file names it.
    pub counterpart: String,
    /// The model as `recorded/MODEL`; `recorded/unknown` where the file has none.
    pub model: ModelId,
    /// How long it took.
    pub latency: Duration,
    /// How often the provider refused it before it answered.
    pub refusals: u32,
    /// What was asked.
    pub prompt: String,
    /// What was answered.
    pub completion: String,
    /// Input tokens, as the provider counted them.
    pub prompt_tokens: u64,
    /// Output tokens, as the provider counted them.
    pub completion_tokens: u64,
    /// The output limit that goes with it: its output tokens, rounded up to a power of two.
    pub max_output_tokens: u64,
    /// What the original system computed, in micro-USD.
    pub reported_cost_micro_usd: Option<u64>,
    /// With what the step's first attempt fails once this call was answered; later attempts get the
    /// answer from the log and go on.
    pub fail: Option<String>,
}

impl RecordedCall {
    /// What it used.
    pub fn usage(&self) -> Usage {
        Usage::text(self.prompt_tokens, self.completion_tokens)
    }

    /// What it costs at a table's prices; nothing where its model has none there.
    pub fn cost(&self, prices: &PriceTable, unknown: &UnknownModels) -> NanoUsd {
        let usage = self.usage();
        let charged = Charged {
            request: &self.model,
            response: None,
            usage: &usage,
            terms: Terms::default(),
        };
        charge(prices, unknown, &charged).map_or(NanoUsd::ZERO, |cost| cost.money)
    }
}

impl RecordedRun {
    /// Its steps: its phases in order of first appearance.
    pub fn steps(&self) -> Vec<&StepName> {
        let mut steps: Vec<&StepName> = Vec::new();
        for call in &self.calls {
            if !steps.contains(&&call.step) {
                steps.push(&call.step);
            }
        }
        steps
    }

    /// The calls of a step, in recorded order.
    pub fn calls_of(&self, step: &str) -> impl Iterator<Item = &RecordedCall> {
        self.calls
            .iter()
            .filter(move |call| call.step.as_str() == step)
    }

    /// The workflow that it makes: a chain of its steps, each done by the agent `recorded`.
    ///
    /// # Errors
    /// `InvalidWorkflow` for more than 1,000 phases.
    pub fn workflow(&self) -> Result<Workflow> {
        let mut builder = Workflow::builder(WORKFLOW);
        let mut before: Option<&StepName> = None;
        for step in self.steps() {
            // Reading an answer from a file changes nothing in the world.
            let spec = StepSpec::agent(step.as_str(), AGENT).risk(RiskTier::Read);
            let spec = match before {
                Some(before) => spec.needs([before.as_str()]),
                None => spec,
            };
            builder = builder.step(spec);
            before = Some(step);
        }
        builder.build()
    }

    /// The input of a run that re-enacts it: `{"recorded_run":"272ab6","project":..,"task":..}`.
    pub fn input(&self) -> Value {
        json!({"recorded_run": self.id, "project": self.project, "task": self.task})
    }

    /// What it costs at a table's prices; calls of models without a price count nothing.
    pub fn cost(&self, prices: &PriceTable, unknown: &UnknownModels) -> NanoUsd {
        self.calls.iter().fold(NanoUsd::ZERO, |sum, call| {
            sum.saturating_add(call.cost(prices, unknown))
        })
    }
}
