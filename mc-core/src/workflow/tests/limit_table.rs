//! The table of limits: each holds at its edge, and one beyond it is refused by an error that names
//! the limit and its maximum.

use std::fmt::Debug;

use serde_json::{Value, json};

use crate::error::Error;
use crate::id::{AgentName, LabelKey, StepName, WorkflowName};
use crate::json;
use crate::workflow::chain::{ChainFault, expand};
use crate::workflow::{Expression, Labels, Schema, Scope, StepSpec, Workflow, WorkflowBuilder};
use crate::yaml;

/// A row: the words of the error, the maximum, and what a value of a size comes to.
type Row = (&'static str, u64, fn(u64) -> Result<(), String>);

fn told<T, E: Debug + ToString>(result: Result<T, E>) -> Result<(), String> {
    result
        .map(drop)
        .map_err(|error| format!("{} {error:?}", error.to_string()))
}

fn size(n: u64) -> usize {
    usize::try_from(n).unwrap()
}

fn text(n: u64) -> String {
    "a".repeat(size(n))
}

/// Steps of which each needs up to `width` before it, with `edges` needs in all.
fn workflow(steps: u64, width: u64, mut edges: u64) -> WorkflowBuilder {
    (0..steps).fold(Workflow::builder("w"), |builder, step| {
        let count = width.min(step).min(edges);
        edges -= count;
        let needs = (step - count..step).map(|need| format!("s{need}"));
        builder.step(StepSpec::agent(&format!("s{step}"), "x").needs(needs))
    })
}

fn one(step: StepSpec) -> Result<(), String> {
    told(Workflow::builder("w").step(step).build())
}

fn labels(count: u64, bytes: u64) -> Result<(), String> {
    told(Labels::new(
        (0..count).map(|n| (format!("l{n}"), text(bytes))),
    ))
}

fn nested(n: u64) -> String {
    "[".repeat(size(n)) + &"]".repeat(size(n))
}

fn schema(bytes: u64) -> Value {
    let around = json!({"description": ""}).to_string().len();
    json!({"description": text(bytes).split_at(around).1})
}

/// As many items as asked for, of a step that takes as many as may be.
fn items(n: u64) -> Result<(), ChainFault> {
    let yaml = "{ workflow: w, steps: { a: { agent: x, for_each: inputs.list, input: 1 } } }";
    let workflow = Workflow::from_yaml(yaml).unwrap();
    let inputs = json!({"list": (0..n).collect::<Vec<_>>()});
    let outputs = std::collections::BTreeMap::new();
    let scope = Scope {
        inputs: &inputs,
        outputs: &outputs,
        item: None,
    };
    expand(workflow.definition().step("a").unwrap(), &scope).map(drop)
}

const TABLE: &[Row] = &[
    ("steps", 1_000, |n| told(workflow(n, 1, u64::MAX).build())),
    ("edges", 5_000, |n| told(workflow(1_000, 6, n).build())),
    ("for_each items", 10_000, |n| {
        let spec = StepSpec::agent("a", "x").for_each("[1]");
        one(spec.max_items(u32::try_from(n).unwrap()))
    }),
    ("for_each items in parallel", 10_000, |n| {
        let spec = StepSpec::agent("a", "x").for_each("[1]");
        one(spec.max_parallel(u32::try_from(n).unwrap()))
    }),
    ("items", 10_000, |n| told(items(n))),
    ("bytes in a schema", 65_536, |n| {
        one(StepSpec::agent("a", "x").output_schema(schema(n)))
    }),
    ("a schema has at most", 65_536, |n| {
        told(Schema::compile(&schema(n)))
    }),
    ("a name has at most", 128, |n| {
        told(WorkflowName::new(&text(n)))
    }),
    ("a name has at most", 128, |n| {
        told(AgentName::new(&text(n)))
    }),
    ("a name has at most", 128, |n| told(LabelKey::new(&text(n)))),
    ("a name has at most", 128, |n| told(StepName::new(&text(n)))),
    ("/workflow: a name has at most", 128, |n| {
        told(
            Workflow::builder(text(n))
                .step(StepSpec::agent("a", "x"))
                .build(),
        )
    }),
    ("agent: a name has at most", 128, |n| {
        one(StepSpec::agent("a", &text(n)))
    }),
    ("a name has at most", 128, |n| {
        one(StepSpec::agent(&text(n), "x"))
    }),
    ("labels", 32, |n| labels(n, 1)),
    ("label's value", 256, |n| labels(1, n)),
    ("an expression has at most bytes", 512, |n| {
        told(Expression::parse(&format!(
            "inputs.{}",
            text(n.saturating_sub(7))
        )))
    }),
    ("nodes", 64, |n| {
        // n literals in a list are n + 1 nodes.
        let list = vec!["1"; size(n.saturating_sub(1))].join(",");
        told(Expression::parse(&format!("[{list}]")))
    }),
    ("deep", 16, |n| {
        told(Expression::parse(&("!".repeat(size(n)) + "true")))
    }),
    ("nested deeper than", 64, |n| {
        told(json::parse(nested(n).as_bytes()))
    }),
    ("nested deeper than", 64, |n| {
        told(yaml::parse(nested(n).as_bytes()))
    }),
    ("bytes in a definition", 67_108_864, |n| {
        let text = r#"{"workflow":"w","steps":{"a":{"agent":"x"}}}"#;
        let spaces = " ".repeat(size(n) - text.len());
        told(Workflow::from_json(format!("{text}{spaces}")))
    }),
];

#[test]
fn every_limit_holds_at_its_edge_and_is_named_one_beyond_it() {
    for (name, max, check) in TABLE {
        assert_eq!(check(*max), Ok(()), "{name} at {max}");
        let Err(told) = check(max + 1) else {
            panic!("{name}: {} is taken", max + 1);
        };
        for word in name.split(' ').chain([max.to_string().as_str()]) {
            assert!(told.contains(word), "{word} of {name}: {told}");
        }
    }
}

#[test]
fn a_refused_limit_is_data_for_machines() {
    let error: Error = workflow(1_001, 1, u64::MAX).build().unwrap_err();
    let detail = format!("{:?}", error.detail());
    assert!(
        detail.contains("steps") && detail.contains("1000"),
        "{detail}"
    );
    let error = Labels::new((0..33).map(|n| (format!("l{n}"), ""))).unwrap_err();
    let detail = format!("{:?}", error.detail());
    assert!(
        detail.contains("labels") && detail.contains("32"),
        "{detail}"
    );
}
