//! Tests of workflows by theme; the helpers that they share.

mod chaining;
mod forms;
mod limit_table;
mod limits;
mod properties;
mod refused;

use crate::error::{Detail, ErrorKind, WorkflowProblem};
use crate::workflow::Workflow;

/// The example of the reference, with one of each form.
const RESEARCH: &str = r#"
workflow: research-to-qa
input_schema: { type: object, required: [topic] }
budget: { usd: "5.00", on_exceed: abort }
steps:
  research: { agent: researcher, risk: read, input: { topic: "${{ inputs.topic }}" },
              output_schema: { type: object, required: [angles] },
              estimate: { model: openai/gpt-5.4, input_tokens: 4000, max_output_tokens: 2000, calls: 3 } }
  angle:    { agent: analyst, needs: [research], for_each: "${{ steps.research.output.angles }}", max_items: 20, max_parallel: 8 }
  draft:    { agent: writer, needs: [angle], retry: { maximum_attempts: 4 }, timeout: 5m }
  qa:       { agent: checker, needs: [draft], when: "size(steps.draft.output.text) > 100" }
  publish:  { agent: publisher, needs: [qa], risk: irreversible }
"#;

fn yaml(text: &str) -> Workflow {
    Workflow::from_yaml(text).unwrap()
}

/// Every problem of a document, as text.
fn problems(text: &str) -> Vec<String> {
    problems_of(Workflow::from_yaml(text))
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn problems_of(result: crate::error::Result<Workflow>) -> Vec<WorkflowProblem> {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidWorkflow);
    match error.detail() {
        Some(Detail::Workflow(problems)) => problems.clone(),
        other => panic!("{other:?}"),
    }
}

/// Checks that a step `a` with `fields` has exactly one problem, and that it contains `rule`.
fn one_problem(fields: &str, rule: &str) {
    let found = problems(&format!(
        "{{ workflow: w, steps: {{ a: {{ {fields} }} }} }}"
    ));
    assert_eq!(found.len(), 1, "{fields}: {found:?}");
    assert!(found[0].contains(rule), "{fields}: {found:?}");
}
