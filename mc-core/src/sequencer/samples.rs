//! Samples: what the calls of each agent and model cost and took, as rules about anomalies compare them.
//!
//! Part of the workspace's row, folded from answers (`traffic`). The numbers are `policy::guard`'s.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{AgentName, ModelId, RuleId};
use crate::policy::guard::Moments;

/// The most agents and models of which a rule knows; beyond it those with the fewest calls are
/// forgotten.
const MAX_KEPT: usize = 4_096;

/// What rules know, by their id and by agent and model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Samples(BTreeMap<RuleId, BTreeMap<String, Moments>>);

/// Neither name has a space in it.
fn key(agent: Option<&AgentName>, model: &ModelId) -> String {
    format!("{} {model}", agent.map_or("", AsRef::as_ref))
}

impl Samples {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The calls so far.
    pub(super) fn of(&self, rule: &RuleId, agent: Option<&AgentName>, model: &ModelId) -> Moments {
        let all = self.0.get(rule);
        let found = all.and_then(|all| all.get(&key(agent, model)));
        found.copied().unwrap_or_default()
    }

    /// One more call.
    pub(super) fn add(
        &mut self,
        rule: &RuleId,
        (agent, model): (Option<&AgentName>, &ModelId),
        value: u64,
    ) {
        let all = self.0.entry(rule.clone()).or_default();
        let key = key(agent, model);
        if all.len() >= MAX_KEPT && !all.contains_key(&key) {
            let least = all.iter().min_by_key(|(_, calls)| calls.count());
            if let Some(least) = least.map(|(key, _)| key.clone()) {
                all.remove(&least);
            }
        }
        all.entry(key).or_default().add(value);
    }

    /// Keeps what these rules know.
    pub(super) fn retain(&mut self, keeps: impl Fn(&RuleId) -> bool) {
        self.0.retain(|rule, _| keeps(rule));
    }
}
