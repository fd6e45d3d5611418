//! The rules: a closed list, each with the checkpoints at which it can stand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::anomaly::Measure;
use super::names::{ModelPattern, Names};
use super::pattern::Pattern;
use super::secrets::SecretKind;
use crate::expression::Expression;
use crate::form::Schema;
use crate::id::{AgentName, LabelKey, ModelId, Opaque, Region, RuleId, WorkflowName};
use crate::money::NanoUsd;
use crate::pricing::{Named, TierChoice, Unit};

/// Where a rule judges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checkpoint {
    /// Before a run starts, or a session opens.
    Admission,
    /// Before a model call goes out.
    #[default]
    ModelCall,
    /// Before a tool call goes out.
    ToolCall,
    /// While the answer of a model call comes in.
    InFlight,
    /// Once a model call or a tool call was answered.
    After,
}

impl Checkpoint {
    /// Every checkpoint with its spelling.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("admission", Self::Admission),
        ("model_call", Self::ModelCall),
        ("tool_call", Self::ToolCall),
        ("in_flight", Self::InFlight),
        ("after", Self::After),
    ];

    /// The text that stands in the policy file and in the log.
    pub fn as_str(self) -> &'static str {
        let mut all = Self::NAMES.iter();
        all.find(|(_, one)| *one == self)
            .map_or("", |(name, _)| name)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a rule that is broken does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBreach {
    /// What was asked for does not go out.
    #[default]
    Deny,
    /// That, and what is in flight in the same step is cut; the step waits for a person.
    Halt,
    /// A person is asked whether it may go out.
    NeedsApproval,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It may go out.
    Allow,
    /// It may go out with a smaller output.
    Clamp(u64),
    /// It does not go out, and who asked gets an answer that says so.
    DryRun,
    /// It may go out once a person has approved it.
    NeedsApproval,
    /// It may not go out.
    Deny,
    /// It may not, and the step ends here.
    Halt,
}

impl Verdict {
    /// The text that stands in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Clamp(_) => "clamp",
            Self::DryRun => "dry_run",
            Self::NeedsApproval => "needs_approval",
            Self::Deny => "deny",
            Self::Halt => "halt",
        }
    }
}

impl Verdict {
    /// Its own, where that forbids; else `Deny`.
    #[must_use]
    pub const fn at_least_deny(self) -> Self {
        match self {
            Self::Halt => Self::Halt,
            Self::Allow | Self::Clamp(_) | Self::DryRun | Self::NeedsApproval | Self::Deny => {
                Self::Deny
            }
        }
    }
}

/// Whom a rule concerns: those that every list that is given names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Calls in the name of these agents.
    pub agents: BTreeSet<AgentName>,
    /// Runs of these workflows.
    pub workflows: BTreeSet<WorkflowName>,
    /// Calls of these models.
    pub models: BTreeSet<ModelPattern>,
    /// Calls of these tools.
    pub tools: BTreeSet<Opaque>,
}

/// Who asks, as far as that is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Who<'a> {
    /// The agents in whose name it is.
    pub agents: &'a [AgentName],
    /// The workflow.
    pub workflow: Option<&'a WorkflowName>,
    /// The model.
    pub model: Option<Named<'a>>,
    /// The tool.
    pub tool: Option<&'a Opaque>,
}

impl Scope {
    /// Whether the rule concerns who asks.
    pub fn holds(&self, who: &Who<'_>) -> bool {
        let named = |list: &BTreeSet<AgentName>| who.agents.iter().any(|one| list.contains(one));
        let agents = self.agents.is_empty() || named(&self.agents);
        let flows = self.workflows.is_empty()
            || who.workflow.is_some_and(|one| self.workflows.contains(one));
        let model = |one: &ModelId| self.models.iter().any(|pattern| pattern.matches(one));
        let models = self.models.is_empty() || who.model.is_some_and(|named| named.is(model));
        let tools = self.tools.is_empty() || who.tool.is_some_and(|one| self.tools.contains(one));
        agents && flows && models && tools
    }
}

/// A rule with its id, its checkpoint and how it acts.
#[derive(Clone, Debug)]
pub struct Guardrail {
    /// Its id: once in a policy.
    pub id: RuleId,
    /// Where it judges.
    pub at: Checkpoint,
    /// How it acts.
    pub mode: crate::policy::Mode,
    /// What it does where it is broken.
    pub on_breach: OnBreach,
    /// Whom it concerns.
    pub scope: Scope,
    /// What it says.
    pub rule: Rule,
}

impl Guardrail {
    /// Whether a call that asks for too much output goes out with less; one that a person is asked of
    /// goes out with all of it.
    pub const fn clamps(&self) -> bool {
        match self.on_breach {
            OnBreach::Deny | OnBreach::Halt => true,
            OnBreach::NeedsApproval => false,
        }
    }
}

/// What a rule says.
#[derive(Clone, Debug)]
pub enum Rule {
    /// So many runs at most that have not ended.
    MaxRunsInFlight(u64),
    /// So many runs at most begin within any minute.
    MaxRunsPerMinute(u64),
    /// These agents only, or not these.
    Agents(Names<AgentName>),
    /// These workflows only, or not these.
    Workflows(Names<WorkflowName>),
    /// A run is nested in so many others at most.
    MaxDepth(u64),
    /// A `for_each` has so many items at most.
    MaxItems(u64),
    /// Every estimate of a workflow is at a price that was checked within this time.
    FreshPrices(Duration),
    /// A run carries all of these labels.
    Metadata(BTreeSet<LabelKey>),
    /// These models only, or not these; the one that answers counts too.
    Models(Names<ModelPattern>),
    /// These service tiers only, or not these.
    ServiceTiers(Names<TierName>),
    /// These regions only, or not these.
    Regions(Names<Region>),
    /// So many input tokens at most, in the worst case.
    MaxInputTokens(u64),
    /// So many output tokens at most: a call that could use more is asked for less.
    MaxOutputTokens(u64),
    /// So much at most for one call, in the worst case.
    MaxCostPerCall(NanoUsd),
    /// So much at most for all calls of a step.
    MaxCostPerStep(NanoUsd),
    /// So much at most for all calls of a run.
    MaxCostPerRun(NanoUsd),
    /// So many model calls at most in a step.
    MaxCallsPerStep(u64),
    /// So many model calls at most in a run.
    MaxCallsPerRun(u64),
    /// No model call goes out later than this after its run was started.
    Deadline(Duration),
    /// Each of the provider's own tools is capped, and at no more than this.
    MaxUnits(BTreeMap<Unit, u64>),
    /// So much at most within any stretch of this length.
    Velocity {
        /// The most money.
        money: NanoUsd,
        /// The stretch.
        window: Duration,
    },
    /// The same request of one run so many times at most within a stretch.
    RepeatedPrompt {
        /// How often.
        times: u64,
        /// The stretch.
        within: Duration,
    },
    /// So many bytes at most, written as JSON.
    MaxBytes(u64),
    /// No text holds one of these.
    Forbidden(BTreeSet<Pattern>),
    /// No text holds a secret of these kinds.
    Secrets(BTreeSet<SecretKind>),
    /// No text holds what one of the detectors of these names finds.
    Pii(BTreeSet<Opaque>),
    /// These tools only, or not these.
    Tools(Names<Opaque>),
    /// The parameters are like this.
    Schema(Value, Schema),
    /// This holds for the parameters.
    Predicate(Expression),
    /// A tool is called so often at most in a run.
    MaxUsesPerRun(u64),
    /// A call of tier `irreversible` or `financial` is made once in a run with the same parameters.
    OncePerIntent,
    /// The tool is not called: the agent is told so in place of an answer.
    DryRun,
    /// What the policy says that one call of the tool costs is at most this.
    MaxPrice(NanoUsd),
    /// An answer takes so long at most.
    MaxDuration(Duration),
    /// What was used is no more than was held, and the provider said what it was.
    UsageWithinHold,
    /// What a call cost or took lies no further above what its agent's calls of its model did before.
    Anomaly {
        /// What is compared.
        of: Measure,
        /// How many standard deviations above the mean are allowed.
        sigma: u64,
        /// How many calls there have to be before it says anything.
        least: u64,
    },
}

/// A service tier or `auto`, ordered by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierName(pub TierChoice);

impl Ord for TierName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.to_string().cmp(&other.0.to_string())
    }
}

impl PartialOrd for TierName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl std::str::FromStr for TierName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl std::fmt::Display for TierName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Rule {
    /// Whether it counts what runs have done, with everything that is nested in them.
    pub const fn counts_runs(&self) -> bool {
        matches!(
            self,
            Self::MaxCostPerRun(_)
                | Self::MaxCallsPerRun(_)
                | Self::MaxUsesPerRun(_)
                | Self::OncePerIntent
        )
    }

    /// The field that states it.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::MaxRunsInFlight(_) => "max_runs_in_flight",
            Self::MaxRunsPerMinute(_) => "max_runs_per_minute",
            Self::Agents(_) => "agents",
            Self::Workflows(_) => "workflows",
            Self::MaxDepth(_) => "max_depth",
            Self::MaxItems(_) => "max_items",
            Self::FreshPrices(_) => "fresh_prices",
            Self::Metadata(_) => "metadata",
            Self::Models(_) => "models",
            Self::ServiceTiers(_) => "service_tiers",
            Self::Regions(_) => "regions",
            Self::MaxInputTokens(_) => "max_input_tokens",
            Self::MaxOutputTokens(_) => "max_output_tokens",
            Self::MaxCostPerCall(_) => "max_cost_per_call",
            Self::MaxCostPerStep(_) => "max_cost_per_step",
            Self::MaxCostPerRun(_) => "max_cost_per_run",
            Self::MaxCallsPerStep(_) => "max_calls_per_step",
            Self::MaxCallsPerRun(_) => "max_calls_per_run",
            Self::Deadline(_) => "deadline",
            Self::MaxUnits(_) => "max_units",
            Self::Velocity { .. } => "velocity",
            Self::RepeatedPrompt { .. } => "repeated_prompt",
            Self::MaxBytes(_) => "max_bytes",
            Self::Forbidden(_) => "forbidden",
            Self::Secrets(_) => "secrets",
            Self::Pii(_) => "pii",
            Self::Tools(_) => "tools",
            Self::Schema(..) => "schema",
            Self::Predicate(_) => "predicate",
            Self::MaxUsesPerRun(_) => "max_uses_per_run",
            Self::OncePerIntent => "once_per_intent",
            Self::DryRun => "dry_run",
            Self::MaxPrice(_) => "max_price",
            Self::MaxDuration(_) => "max_duration",
            Self::UsageWithinHold => "usage",
            Self::Anomaly { .. } => "anomaly",
        }
    }

    /// The checkpoints at which it can stand.
    pub fn checkpoints(key: &str) -> &'static [Checkpoint] {
        use Checkpoint::{Admission, After, InFlight, ModelCall, ToolCall};
        match key {
            "max_runs_in_flight"
            | "max_runs_per_minute"
            | "workflows"
            | "max_depth"
            | "max_items"
            | "fresh_prices" => &[Admission],
            "metadata" => &[Admission, ModelCall],
            "agents" => &[Admission, ModelCall, ToolCall],
            "max_output_tokens" | "max_cost_per_call" => &[ModelCall, InFlight],
            "max_bytes" | "secrets" | "pii" => &[ModelCall, ToolCall, After],
            "forbidden" => &[ModelCall, ToolCall, InFlight, After],
            "tools" | "schema" | "predicate" | "max_uses_per_run" | "max_price"
            | "once_per_intent" | "dry_run" => &[ToolCall],
            "max_duration" => &[InFlight],
            "usage" | "anomaly" => &[After],
            _ => &[ModelCall],
        }
    }
}
