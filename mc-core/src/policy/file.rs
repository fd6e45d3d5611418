//! The policy file: what a workspace allows, asks and spends, as one document with versions.
//!
//! `read` reads it, every problem at once; `write` gives its normal form and so its hash. Storing,
//! counting versions and applying are *not* here: `sequencer::decide::policy`.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::approvals::ApprovalRules;
use super::guard::Guardrail;
use super::mode::Mode;
use super::rates::RateRule;
use super::sections::{BudgetRule, Sections, ToolRule};
use super::tier::RiskTier;
use super::{read, write};
use crate::budget::AccountId;
use crate::error::{Error, Result};
use crate::id::Digest;
use crate::json;
use crate::pricing::UnknownModels;
use crate::yaml;

/// The version of the form of policy files; it is part of every hash.
pub const POLICY_SCHEMA_VERSION: u64 = 1;

/// The largest policy file, in bytes.
pub const MAX_POLICY_BYTES: usize = 1_024 * 1_024;

static DEFAULT_RULES: LazyLock<ApprovalRules> = LazyLock::new(ApprovalRules::default);

/// A valid policy. A clone is cheap.
#[derive(Clone, Debug)]
pub struct Policy {
    sections: Arc<Sections>,
    canonical: Arc<[u8]>,
    hash: Digest,
}

impl Policy {
    pub(super) fn assemble(sections: Sections) -> Self {
        let canonical: Arc<[u8]> = write::canonical_bytes(&sections).into();
        Self {
            hash: Digest::of(&[&canonical]),
            sections: Arc::new(sections),
            canonical,
        }
    }

    /// Reads a policy written as YAML.
    ///
    /// # Errors
    /// `InvalidInput` with every problem and its place.
    pub fn from_yaml(document: impl AsRef<[u8]>) -> Result<Self> {
        read::document(document.as_ref(), yaml::read)
    }

    /// Reads a policy written as JSON.
    ///
    /// # Errors
    /// `InvalidInput` with every problem and its place.
    pub fn from_json(document: impl AsRef<[u8]>) -> Result<Self> {
        read::document(document.as_ref(), json::read)
    }

    /// Reads what [`to_canonical`](Self::to_canonical) gave.
    ///
    /// # Errors
    /// `Corrupt` for bytes that are not a policy in its normal form.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self> {
        let damaged = || Error::corrupt("policy", None);
        let policy = read::canonical(bytes).map_err(|fault| damaged().with_source(fault))?;
        if *policy.canonical == *bytes {
            Ok(policy)
        } else {
            Err(damaged().with_context("problem", "the bytes are not in canonical form"))
        }
    }

    /// The normal form: compact JSON, sorted keys, defaults left out, integers only.
    ///
    /// # Units
    /// Durations in milliseconds, money in nano-USD.
    pub const fn to_canonical(&self) -> &Arc<[u8]> {
        &self.canonical
    }

    /// SHA-256 of the normal form.
    pub const fn hash(&self) -> Digest {
        self.hash
    }

    /// The rules of approvals: as written, or the default ones.
    pub fn approvals(&self) -> &ApprovalRules {
        self.sections.approvals.as_ref().unwrap_or(&DEFAULT_RULES)
    }

    /// What happens to models without a price; none leaves it to the host's settings.
    pub fn unknown_models(&self) -> Option<&UnknownModels> {
        self.sections.unknown_models.as_ref()
    }

    /// What is known of a tool.
    pub fn tool(&self, name: &str) -> Option<&ToolRule> {
        self.sections.tools.get(name)
    }

    /// The tier of a tool; one that is not named counts as `write`.
    pub fn tier_of(&self, tool: &str) -> RiskTier {
        self.tool(tool).map_or(RiskTier::Write, |rule| rule.risk)
    }

    /// The limits of shared accounts.
    pub fn budgets(&self) -> &BTreeMap<AccountId, BudgetRule> {
        &self.sections.budgets
    }

    /// The rules, in the order in which they judge.
    pub fn guardrails(&self) -> &[Guardrail] {
        &self.sections.guardrails
    }

    /// The rates.
    pub fn rates(&self) -> &[RateRule] {
        &self.sections.rates
    }

    /// What follows where the same call gets the same answer again and again; none leaves it to what
    /// the run was started with.
    pub fn no_progress(&self) -> Option<Mode> {
        self.sections.no_progress
    }

    #[cfg(test)]
    pub(super) fn sections_for_tests(&self) -> &Sections {
        &self.sections
    }

    /// The sections in which two policies differ, and in a section of names the names.
    pub fn diff(&self, after: &Self) -> Vec<String> {
        write::differing(&self.sections, &after.sections)
    }
}

impl Default for Policy {
    /// The policy of a workspace that has none: it says nothing, so that every default holds.
    fn default() -> Self {
        Self::assemble(Sections::default())
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Policy {}
