//! An output on its way to the sequencer, with what can be known of it before its turn.
//!
//! Writing a large value and holding it against a schema take their time. Neither depends on any state,
//! so whoever hands the output in does both beforehand, where nobody waits for it; what is not known by
//! then is found out in the decision. What is *not* here: when it is done (`engine::prepare`).

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::decision::NewPart;
use crate::error::Violation;
use crate::event::MediaType;
use crate::id::Digest;
use crate::json;
use crate::workflow::Workflow;

/// The output of an attempt.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Output {
    value: Arc<Value>,
    #[serde(skip)]
    bytes: OnceLock<Arc<[u8]>>,
    /// By the definition that it was held against.
    #[serde(skip)]
    judged: OnceLock<(Digest, Vec<Violation>)>,
}

impl From<Value> for Output {
    fn from(value: Value) -> Self {
        Self {
            value: Arc::new(value),
            bytes: OnceLock::new(),
            judged: OnceLock::new(),
        }
    }
}

impl Output {
    /// The value.
    pub const fn value(&self) -> &Arc<Value> {
        &self.value
    }

    /// Its canonical spelling.
    pub fn bytes(&self) -> &Arc<[u8]> {
        self.bytes
            .get_or_init(|| json::canonical(&self.value).into())
    }

    /// Holds it against the schema of a step, and keeps what is found.
    pub fn judge(&self, workflow: &Workflow, step: &str) {
        self.judged
            .get_or_init(|| (workflow.hash(), self.look(workflow, step)));
    }

    /// How it differs from the schema of a step.
    pub fn violations(&self, workflow: &Workflow, step: &str) -> Vec<Violation> {
        match self.judged.get() {
            Some((by, found)) if *by == workflow.hash() => found.clone(),
            Some(_) | None => self.look(workflow, step),
        }
    }

    fn look(&self, workflow: &Workflow, step: &str) -> Vec<Violation> {
        let schema = workflow.output_schema(step);
        schema.map_or_else(Vec::new, |schema| schema.violations(&self.value))
    }

    /// Its content in an event.
    pub fn part(&self) -> NewPart {
        NewPart {
            media_type: MediaType::Json,
            bytes: Arc::clone(self.bytes()),
            value: Some(Arc::clone(&self.value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn workflow(kind: &str) -> Workflow {
        let yaml = format!(
            "{{ workflow: w, steps: {{ a: {{ agent: it, output_schema: {{ type: {kind} }} }} }} }}"
        );
        Workflow::from_yaml(&yaml).unwrap()
    }

    #[test]
    fn what_was_written_beforehand_is_not_written_again() {
        let output = Output::from(json!({"b": 1, "a": [2]}));
        let before = Arc::clone(output.bytes());
        assert!(Arc::ptr_eq(&before, &output.part().bytes));
        assert_eq!(&before[..], br#"{"a":[2],"b":1}"#);
        assert_eq!(output.part(), NewPart::kept(output.value()));
    }

    #[test]
    fn a_judgement_counts_for_its_definition_alone() {
        let output = Output::from(json!("text"));
        output.judge(&workflow("string"), "a");
        assert!(output.violations(&workflow("string"), "a").is_empty());
        assert_eq!(output.violations(&workflow("number"), "a").len(), 1);
        assert!(output.violations(&workflow("number"), "b").is_empty());
    }

    #[test]
    fn it_travels_as_its_value() {
        let output = Output::from(json!([1]));
        output.bytes();
        let text = serde_json::to_string(&output).unwrap();
        assert_eq!(text, "[1]");
        let back: Output = serde_json::from_str(&text).unwrap();
        assert_eq!(back.value(), output.value());
    }
}
