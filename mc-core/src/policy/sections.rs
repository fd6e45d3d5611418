//! What a policy file says, section by section. Each section has a file that reads it and one place
//! in `write`; a section that is left out says nothing.

use std::collections::BTreeMap;

use serde_json::Value;

use super::approvals::ApprovalRules;
use super::guard::Guardrail;
use super::mode::Mode;
use super::rates::RateRule;
use super::tier::RiskTier;
use crate::budget::{AccountId, Limit, LimitMode, OnExceed, Threshold, Window};
use crate::form::Schema;
use crate::id::Opaque;
use crate::money::NanoUsd;
use crate::pricing::UnknownModels;

/// The sections of a policy file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sections {
    pub(super) approvals: Option<ApprovalRules>,
    pub(super) unknown_models: Option<UnknownModels>,
    pub(super) tools: BTreeMap<Opaque, ToolRule>,
    pub(super) budgets: BTreeMap<AccountId, BudgetRule>,
    pub(super) guardrails: Vec<Guardrail>,
    pub(super) rates: Vec<RateRule>,
    pub(super) no_progress: Option<Mode>,
}

/// What is known of a tool.
#[derive(Clone, Debug, Default)]
pub struct ToolRule {
    /// Its tier; no agent can lower it.
    pub risk: RiskTier,
    /// What its parameters look like.
    pub schema: Option<Value>,
    /// What one call costs at most beside model calls; it counts in what an approval covers.
    pub price: NanoUsd,
    pub(super) compiled: Option<Schema>,
}

impl ToolRule {
    /// The schema of its parameters, compiled.
    pub const fn parameters(&self) -> Option<&Schema> {
        self.compiled.as_ref()
    }
}

impl PartialEq for ToolRule {
    fn eq(&self, other: &Self) -> bool {
        (self.risk, &self.schema, self.price) == (other.risk, &other.schema, other.price)
    }
}

/// What a shared account may spend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetRule {
    /// Its limit; at least one dimension is limited.
    pub limit: Limit,
    /// In which stretches of time; none counts for ever.
    pub window: Option<Window>,
    /// What it does to a run that it refuses for good.
    pub on_exceed: OnExceed,
    /// Whether its limit holds, or is only looked at.
    pub mode: LimitMode,
    /// The shares of its limit that are told of, the lowest first; none for the host's.
    pub thresholds: Option<Vec<Threshold>>,
}
