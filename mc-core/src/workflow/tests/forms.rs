//! YAML, JSON, the builder and stored bytes give one form and one hash.

use std::time::Duration;

use serde_json::{Value, json};

use super::{RESEARCH, yaml};
use crate::budget::OnExceed;
use crate::error::ErrorKind;
use crate::id::{ModelId, StepName};
use crate::json;
use crate::money::NanoUsd;
use crate::policy::RiskTier;
use crate::resilience::Coefficient;
use crate::workflow::{
    BudgetSpec, Definition, Estimate, Join, OnFailure, RetrySpec, StepChange, StepSpec, Workflow,
    diff,
};

fn research_in_code() -> Workflow {
    Workflow::builder("research-to-qa")
        .input_schema(json!({"type": "object", "required": ["topic"]}))
        .budget(BudgetSpec::usd(NanoUsd::from_nano(5_000_000_000)))
        .step(
            StepSpec::agent("research", "researcher")
                .risk(RiskTier::Read)
                .input(json!({"topic": "${{ inputs.topic }}"}))
                .output_schema(json!({"type": "object", "required": ["angles"]}))
                .estimate(Estimate {
                    model: ModelId::new("openai/gpt-5.4").unwrap(),
                    input_tokens: 4_000,
                    max_output_tokens: 2_000,
                    calls: 3,
                }),
        )
        .step(
            StepSpec::agent("angle", "analyst")
                .needs(["research"])
                .for_each("steps.research.output.angles")
                .max_items(20)
                .max_parallel(8),
        )
        .step(
            StepSpec::agent("draft", "writer")
                .needs(["angle"])
                .retry(RetrySpec::new().maximum_attempts(4))
                .timeout(Duration::from_secs(300)),
        )
        .step(
            StepSpec::agent("qa", "checker")
                .needs(["draft"])
                .when("size(steps.draft.output.text) > 100"),
        )
        .step(
            StepSpec::agent("publish", "publisher")
                .needs(["qa"])
                .risk(RiskTier::Irreversible),
        )
        .build()
        .unwrap()
}

#[test]
fn yaml_json_and_the_builder_give_one_definition_and_hash() {
    let document = crate::yaml::parse(RESEARCH.as_bytes()).unwrap();
    let ways = [
        yaml(RESEARCH),
        Workflow::from_json(document.to_string()).unwrap(),
        research_in_code(),
    ];
    for way in &ways {
        assert_eq!(way.definition(), ways[0].definition());
        assert_eq!(way.hash(), ways[0].hash());
    }
}

#[test]
fn a_composed_step_has_one_form_in_yaml_json_and_code() {
    let text = "{ workflow: w, steps: { a: { agent: x }, qa: { uses: 'gate@3', needs: [a] } } }";
    let document = crate::yaml::parse(text.as_bytes()).unwrap();
    let in_code = Workflow::builder("w")
        .step(StepSpec::agent("a", "x"))
        .step(StepSpec::uses("qa", "gate@3").needs(["a"]));
    for way in [
        Workflow::from_json(document.to_string()).unwrap(),
        in_code.build().unwrap(),
    ] {
        assert_eq!(way.hash(), yaml(text).hash());
    }
    let bytes = yaml(text).definition().to_canonical();
    let canonical = String::from_utf8(bytes.clone()).unwrap();
    assert!(
        canonical.contains(r#""qa":{"needs":["a"],"uses":"gate@3"}"#),
        "{canonical}"
    );
    assert_eq!(
        Definition::from_canonical(&bytes).unwrap().hash(),
        yaml(text).hash()
    );
}

#[test]
fn the_canonical_bytes_are_compact_sorted_and_of_integers_only() {
    let text = r#"{ workflow: w, budget: { usd: "0.10", calls: 5, on_exceed: pause }, steps: {
        b: { agent: x, needs: [a], timeout: 5m, retry: { backoff_coefficient: 1.5, max_elapsed: 2h } },
        a: { agent: x, input: { f: 1.50 }, risk: financial, retry: { maximum_attempts: 2 } } } }"#;
    let expected = concat!(
        r#"{"budget":{"calls":5,"nano_usd":100000000,"on_exceed":"pause"},"schema_version":1,"steps":{"#,
        r#""a":{"agent":"x","input":{"f":1.5},"retry":{"maximum_attempts":2},"risk":"financial"},"#,
        r#""b":{"agent":"x","needs":["a"],"retry":{"backoff_coefficient_thousandths":1500,"#,
        r#""max_elapsed_ms":7200000},"timeout_ms":300000}},"workflow":"w"}"#,
    );
    let workflow = yaml(text);
    assert_eq!(
        String::from_utf8(workflow.definition().to_canonical()).unwrap(),
        expected
    );
    assert_eq!(
        workflow.hash(),
        crate::id::Digest::of(&[expected.as_bytes()])
    );
}

#[test]
fn a_field_with_its_default_value_hashes_as_if_it_were_left_out() {
    let short = yaml(
        "{ workflow: w, steps: { a: { agent: x }, b: { agent: x, needs: [a], for_each: '[1]', risk: irreversible } }, budget: { calls: 1 } }",
    );
    let long = yaml(
        r#"{ workflow: w, schema_version: 1, budget: { calls: 1, on_exceed: abort },
          model_retry: { initial_interval: 1s, backoff_coefficient: "2.0", maximum_interval: 1m, max_elapsed: 10m },
          steps: {
            a: { agent: x, needs: [], risk: write, join: all, on_failure: fail,
                 retry: { initial_interval: 1000ms, backoff_coefficient: 2, maximum_interval: 60s,
                          maximum_attempts: 3, non_retryable: [] } },
            b: { agent: x, needs: [a], for_each: "${{ [1] }}", max_items: 10000, max_parallel: 256,
                 risk: irreversible, retry: { maximum_attempts: 1 } } } }"#,
    );
    assert_eq!(short.definition(), long.definition());
    assert_eq!(short.hash(), long.hash());
}

#[test]
fn every_field_that_differs_changes_the_hash() {
    let base = "agent: x, needs: [r], for_each: '[1]'";
    let step = |extra: &str| {
        yaml(&format!(
            "{{ workflow: w, steps: {{ r: {{ agent: x }}, a: {{ {base}{extra} }} }} }}"
        ))
        .hash()
    };
    let hashes: std::collections::BTreeSet<_> = [
        "",
        ", risk: read",
        ", risk: financial",
        ", input: 1",
        ", input: 1.0",
        ", output_schema: {}",
        ", output_schema: true",
        ", estimate: { model: a/b, input_tokens: 1, max_output_tokens: 1 }",
        ", estimate: { model: a/b, input_tokens: 1, max_output_tokens: 1, calls: 2 }",
        ", budget: { calls: 1 }",
        ", budget: { calls: 1, on_exceed: pause }",
        ", budget: { usd: \"1\" }",
        ", max_items: 2",
        ", max_parallel: 2",
        ", retry: { maximum_attempts: 2 }",
        ", timeout: 1ms",
        ", retry: { non_retryable: [a] }",
        ", when: 'true'",
        ", join: { at_least: 1 }",
        ", on_failure: pause",
        ", on_failure: continue",
        ", retry: { max_elapsed: 1m }",
    ]
    .into_iter()
    .map(step)
    .collect();
    assert_eq!(hashes.len(), 22);
}

#[test]
fn canonical_bytes_read_back_to_the_same_definition() {
    let workflow = yaml(RESEARCH);
    let bytes = workflow.definition().to_canonical();
    let stored = Definition::from_canonical(&bytes).unwrap();
    assert_eq!(&stored, &**workflow.definition());
    assert_eq!(stored.hash(), workflow.hash());
    let compiled = Workflow::from_canonical(&bytes).unwrap();
    assert!(compiled.output_schema("research").is_some() && compiled.input_schema().is_some());
}

#[test]
fn bytes_that_are_not_canonical_are_corrupt() {
    let good = yaml(RESEARCH).definition().to_canonical();
    let text = String::from_utf8(good).unwrap();
    for bad in [
        text.replace("\"timeout_ms\":300000", "\"timeout\":\"5m\""),
        text.replace("\"schema_version\":1", "\"schema_version\":2"),
        text.replace("{\"agent\":\"checker\"", "{ \"agent\":\"checker\""),
        text.replace("\"needs\":[\"qa\"]", "\"needs\":[\"gone\"]"),
        text.replace("\"risk\":\"read\"", "\"risk\":\"write\""),
        String::new(),
    ] {
        let error = Definition::from_canonical(bad.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{bad}");
    }
}

#[test]
fn the_normal_form_is_readable() {
    let workflow = yaml(RESEARCH);
    let definition = workflow.definition();
    let angle = definition.step("angle").unwrap();
    assert_eq!((angle.max_items, angle.max_parallel), (20, 8));
    assert_eq!(
        definition
            .step("draft")
            .unwrap()
            .retry_policy(RiskTier::Write)
            .maximum_attempts(),
        4
    );
    assert_eq!(
        definition
            .step("publish")
            .unwrap()
            .retry_policy(RiskTier::Irreversible)
            .maximum_attempts(),
        1
    );
    assert_eq!(definition.step("qa").unwrap().join, Join::All);
    assert_eq!(definition.step("qa").unwrap().on_failure, OnFailure::Fail);
    assert_eq!(definition.budget().unwrap().on_exceed, OnExceed::Abort);
    assert_eq!(
        definition.model_retry().max_elapsed(),
        Duration::from_secs(600)
    );
    assert_eq!(
        definition.roots().map(StepName::as_str).collect::<Vec<_>>(),
        ["research"]
    );
    let after: Vec<_> = definition
        .dependents()
        .values()
        .flatten()
        .map(StepName::as_str)
        .collect();
    assert_eq!(after, ["draft", "qa", "publish", "angle"]);
    assert_eq!(
        angle.referenced_steps().first().unwrap().as_str(),
        "research"
    );
}

#[test]
fn schemas_check_inputs_and_outputs() {
    let workflow = yaml(RESEARCH);
    assert!(workflow.check_input(&json!({"topic": "x"})).is_ok());
    assert_eq!(
        workflow.check_input(&json!({})).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    assert!(workflow.check_output("draft", &json!(1)).is_ok());
    let error = workflow.check_output("research", &json!({})).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AgentFailed);
    assert!(error.message().contains("angles"), "{error}");
}

#[test]
fn a_diff_names_steps_and_fields() {
    let before =
        yaml("{ workflow: w, steps: { a: { agent: x }, b: { agent: x }, c: { agent: x } } }");
    let after = yaml(
        "{ workflow: w, budget: { calls: 1 }, steps: { a: { agent: x, timeout: 1s, needs: [d] }, c: { agent: x }, d: { agent: x } } }",
    );
    let found = diff(before.definition(), after.definition());
    assert_eq!(found.fields, ["budget"]);
    let steps: Vec<_> = found
        .steps
        .iter()
        .map(|s| (s.step.as_str(), s.change.clone()))
        .collect();
    let fields = vec!["needs".to_owned(), "timeout_ms".to_owned()];
    assert_eq!(
        steps,
        [
            ("a", StepChange::Changed { fields }),
            ("b", StepChange::Removed),
            ("d", StepChange::Added)
        ]
    );
    assert!(diff(before.definition(), before.definition()).is_empty());
}

#[test]
fn the_builder_writes_every_field() {
    let retry = RetrySpec::new()
        .initial_interval(Duration::from_millis(250))
        .backoff_coefficient(Coefficient::parse("1.5").unwrap())
        .maximum_interval(Duration::from_secs(9))
        .max_elapsed(Duration::from_secs(60));
    let budget = BudgetSpec::new()
        .input_tokens(1)
        .output_tokens(2)
        .calls(3)
        .on_exceed(OnExceed::Pause);
    let step = StepSpec::agent("b", "x")
        .needs(["a"])
        .join(Join::AtLeast(1))
        .on_failure(OnFailure::Continue)
        .budget(budget)
        .retry(retry.clone().maximum_attempts(2).non_retryable(&["bad"]));
    let built = Workflow::builder("w")
        .model_retry(retry)
        .step(StepSpec::agent("a", "x"))
        .step(step);
    let canonical = built.build().unwrap().definition().to_canonical();
    let value: Value = json::parse(&canonical).unwrap();
    let expected = json!({"initial_interval_ms": 250, "backoff_coefficient_thousandths": 1500,
        "maximum_interval_ms": 9000, "max_elapsed_ms": 60000});
    assert_eq!(value["model_retry"], expected);
    assert_eq!(
        value["steps"]["b"]["retry"]["non_retryable"],
        json!(["bad"])
    );
    assert_eq!(value["steps"]["b"]["join"], json!({"at_least": 1}));
    assert_eq!(value["steps"]["b"]["on_failure"], json!("continue"));
    assert_eq!(
        value["steps"]["b"]["budget"],
        json!({"input_tokens": 1, "output_tokens": 2, "calls": 3, "on_exceed": "pause"})
    );
}
