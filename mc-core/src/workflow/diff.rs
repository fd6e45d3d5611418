//! What differs between two definitions, step by step.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::definition::Definition;
use super::write;
use crate::id::StepName;

/// How two definitions differ. Field names are those of the canonical form (`timeout_ms`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// The fields beside the steps that differ, in order.
    pub fields: Vec<String>,
    /// The steps that differ, in order of their names.
    pub steps: Vec<StepDiff>,
}

impl Diff {
    /// Whether the definitions are the same.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.steps.is_empty()
    }
}

/// How one step differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepDiff {
    /// The step.
    pub step: StepName,
    /// How it differs.
    pub change: StepChange,
}

/// The ways in which a step can differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepChange {
    /// Only the second definition has it.
    Added,
    /// Only the first definition has it.
    Removed,
    /// Both have it, with other values in these fields.
    Changed {
        /// The fields, in order.
        fields: Vec<String>,
    },
}

/// Compares two definitions.
pub fn diff(before: &Definition, after: &Definition) -> Diff {
    let fields = differing(
        &write::outline(before.parts()),
        &write::outline(after.parts()),
    );
    let names: BTreeSet<&StepName> = before.steps().keys().chain(after.steps().keys()).collect();
    let steps = names
        .into_iter()
        .filter_map(|name| {
            let change = match (before.steps().get(name), after.steps().get(name)) {
                (None, _) => StepChange::Added,
                (_, None) => StepChange::Removed,
                (Some(one), Some(two)) if one == two => return None,
                (Some(one), Some(two)) => {
                    let (one, two) = (write::step(one), write::step(two));
                    let fields = one.as_object().zip(two.as_object());
                    let fields = fields
                        .map(|(one, two)| differing(one, two))
                        .unwrap_or_default();
                    StepChange::Changed { fields }
                }
            };
            Some(StepDiff {
                step: name.clone(),
                change,
            })
        })
        .collect();
    Diff { fields, steps }
}

fn differing(one: &Map<String, Value>, two: &Map<String, Value>) -> Vec<String> {
    let keys: BTreeSet<&String> = one.keys().chain(two.keys()).collect();
    keys.into_iter()
        .filter(|key| one.get(*key) != two.get(*key))
        .cloned()
        .collect()
}
