//! The normal form of a workflow: what YAML, JSON and the builder have in common.
//!
//! Defaults are not filled in: a field that is left out and one written with its default value are
//! the same. A [`Definition`] exists only if it was found valid, and it never changes.
//! What is *not* here: reading (`read`), the canonical bytes (`write`), schemas (`compiled`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::uses::{Uses, Work};
use super::{read, write};
use crate::budget::{Limit, OnExceed};
use crate::error::Result;
use crate::expression::{Expression, InputBinding, Reference};
use crate::id::{AgentName, Digest, ModelId, Opaque, StepName, WorkflowName};
use crate::policy::{OwnApproval, Policy, RiskTier};
use crate::resilience::{ModelRetry, RetryPolicy};

/// The version of the form of definitions; it is part of every hash.
pub const SCHEMA_VERSION: u64 = 1;

/// A limit, and what happens at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The limit; at least one dimension is limited.
    pub limit: Limit,
    /// What the account does to the run when it refuses for good.
    pub on_exceed: OnExceed,
}

/// What a step is expected to use at most; the step's hold is priced from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// The model.
    pub model: ModelId,
    /// Input tokens of one call.
    pub input_tokens: u64,
    /// The most output tokens of one call.
    pub max_output_tokens: u64,
    /// The number of calls, at least 1.
    pub calls: u64,
}

/// How many needs a step waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Join {
    /// All of them.
    #[default]
    All,
    /// So many that completed; then the others are cancelled.
    AtLeast(u32),
}

/// What a step does to its run when it has failed for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The run fails.
    #[default]
    Fail,
    /// The run is paused.
    Pause,
    /// The run goes on; the step's output is null.
    Continue,
}

impl OnFailure {
    /// The text that stands in definitions.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Pause => "pause",
            Self::Continue => "continue",
        }
    }
}

/// One step of a workflow.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// Who does it.
    pub work: Work,
    /// The steps that come before it.
    pub needs: BTreeSet<StepName>,
    /// How much harm it can do.
    pub risk: RiskTier,
    /// The tools that it may use, and no others; any where it names none.
    pub tools: Option<BTreeSet<Opaque>>,
    /// When it asks a person of its own will; it can only tighten what the policy says.
    pub approval: Option<OwnApproval>,
    /// Its input, if it is bound exactly; else see `chain`.
    pub input: Option<InputBinding>,
    /// The schema of its output.
    pub output_schema: Option<Value>,
    /// What it is expected to use at most.
    pub estimate: Option<Estimate>,
    /// A limit of its own.
    pub budget: Option<Budget>,
    /// The list that it is run for, item by item.
    pub for_each: Option<Expression>,
    /// The most items of that list.
    pub max_items: u32,
    /// The most items in flight.
    pub max_parallel: u32,
    /// Its retry policy; none is the default of its tier.
    pub retry: Option<RetryPolicy>,
    /// The longest time of one attempt.
    pub timeout: Option<Duration>,
    /// The condition under which it runs; else it is skipped.
    pub when: Option<Expression>,
    /// How many needs it waits for.
    pub join: Join,
    /// What it does to the run when it has failed for good.
    pub on_failure: OnFailure,
}

impl Step {
    /// The agent that does it; none where another workflow does.
    pub const fn agent(&self) -> Option<&AgentName> {
        match &self.work {
            Work::Agent(agent) => Some(agent),
            Work::Uses(_) => None,
        }
    }

    /// The workflow that does it; none where an agent does.
    pub const fn uses(&self) -> Option<&Uses> {
        match &self.work {
            Work::Agent(_) => None,
            Work::Uses(uses) => Some(uses),
        }
    }

    /// The tier under a policy: the highest of its own and of every tool that it names.
    pub fn tier(&self, policy: &Policy) -> RiskTier {
        let tools = self.tools.iter().flatten();
        let tiers = tools.map(|tool| policy.tier_of(tool.as_str()));
        tiers.fold(self.risk, RiskTier::max)
    }

    /// The retry policy in force: its own, or the default of the tier that it goes out with.
    pub fn retry_policy(&self, tier: RiskTier) -> RetryPolicy {
        self.retry.clone().unwrap_or_else(|| tier.default_retry())
    }

    /// The steps whose outputs its expressions look at; all of them are needs, direct or not.
    pub fn referenced_steps(&self) -> BTreeSet<StepName> {
        let bound = self
            .input
            .iter()
            .flat_map(InputBinding::expressions)
            .map(|(_, e)| e);
        bound
            .chain(&self.when)
            .chain(&self.for_each)
            .flat_map(Expression::references)
            .filter_map(|reference| match reference {
                Reference::StepOutput(step) => Some(step),
                Reference::Input(_)
                | Reference::WholeInput
                | Reference::Item
                | Reference::Index => None,
            })
            .collect()
    }
}

/// A valid workflow in its normal form.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    parts: Parts,
    dependents: BTreeMap<StepName, Vec<StepName>>,
    hash: Digest,
}

/// What a definition is made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parts {
    pub(super) name: WorkflowName,
    pub(super) input_schema: Option<Value>,
    pub(super) budget: Option<Budget>,
    pub(super) model_retry: Option<ModelRetry>,
    pub(super) steps: BTreeMap<StepName, Step>,
}

impl Definition {
    /// Puts valid parts together.
    pub(super) fn assemble(parts: Parts) -> Self {
        let mut dependents: BTreeMap<StepName, Vec<StepName>> = parts
            .steps
            .keys()
            .map(|name| (name.clone(), Vec::new()))
            .collect();
        for (name, step) in &parts.steps {
            for need in &step.needs {
                if let Some(after) = dependents.get_mut(need) {
                    after.push(name.clone());
                }
            }
        }
        let hash = Digest::of(&[&write::canonical_bytes(&parts)]);
        Self {
            parts,
            dependents,
            hash,
        }
    }

    /// Reads what [`to_canonical`](Self::to_canonical) wrote.
    ///
    /// Schemas are not compiled; [`Workflow::from_canonical`](super::Workflow::from_canonical) does.
    ///
    /// # Errors
    /// `Corrupt` for bytes that are not a definition in its canonical form.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self> {
        read::canonical(bytes)
    }

    /// The canonical bytes: compact JSON, sorted keys, defaults left out, integers only.
    ///
    /// # Units
    /// Durations in milliseconds, money in nano-USD, the backoff coefficient in thousandths.
    pub fn to_canonical(&self) -> Vec<u8> {
        write::canonical_bytes(&self.parts)
    }

    /// The content hash: SHA-256 over the canonical bytes. Runs pin a version by it.
    pub const fn hash(&self) -> Digest {
        self.hash
    }

    /// The workflow's name.
    pub const fn name(&self) -> &WorkflowName {
        &self.parts.name
    }

    /// The schema of the run's input.
    pub const fn input_schema(&self) -> Option<&Value> {
        self.parts.input_schema.as_ref()
    }

    /// The limit of each run.
    pub const fn budget(&self) -> Option<&Budget> {
        self.parts.budget.as_ref()
    }

    /// How throttled model calls are tried again: as defined, or the default.
    pub fn model_retry(&self) -> ModelRetry {
        self.parts.model_retry.unwrap_or_default()
    }

    /// The steps by name.
    pub const fn steps(&self) -> &BTreeMap<StepName, Step> {
        &self.parts.steps
    }

    /// One step.
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.parts.steps.get(name)
    }

    /// The agents of its own steps, sorted, each once.
    pub fn agents(&self) -> Vec<AgentName> {
        let all = self.parts.steps.values().filter_map(Step::agent);
        let all: BTreeSet<&AgentName> = all.collect();
        all.into_iter().cloned().collect()
    }

    /// Its steps that run another workflow, with that workflow.
    pub fn composed(&self) -> impl Iterator<Item = (&StepName, &Uses)> {
        let steps = self.parts.steps.iter();
        steps.filter_map(|(name, step)| Some((name, step.uses()?)))
    }

    /// For each step, the steps that need it, in order of their names.
    pub const fn dependents(&self) -> &BTreeMap<StepName, Vec<StepName>> {
        &self.dependents
    }

    /// The steps that need no other.
    pub fn roots(&self) -> impl Iterator<Item = &StepName> {
        self.parts
            .steps
            .iter()
            .filter(|(_, step)| step.needs.is_empty())
            .map(|(name, _)| name)
    }

    pub(super) const fn parts(&self) -> &Parts {
        &self.parts
    }
}
