//! Every limit of definitions holds at its edge and is named beyond it.

use super::{one_problem, problems_of};
use crate::error::WorkflowProblem;
use crate::workflow::{StepSpec, Workflow, WorkflowBuilder};

/// `steps` steps in layers of `width`, each needing every step of the layer before it.
fn layers(steps: usize, width: usize) -> WorkflowBuilder {
    (0..steps).fold(Workflow::builder("w"), |builder, n| {
        let layer = n / width * width;
        let needs = (layer.saturating_sub(width)..layer).map(|need| format!("s{need}"));
        builder.step(StepSpec::agent(&format!("s{n}"), "x").needs(needs))
    })
}

fn only_limit(builder: WorkflowBuilder) -> (String, u64) {
    match problems_of(builder.build()).as_slice() {
        [WorkflowProblem::Limit { name, max, .. }] => (name.clone(), *max),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_workflow_has_at_most_1000_steps() {
    assert!(layers(1_000, 1).build().is_ok());
    assert_eq!(only_limit(layers(1_001, 1)), ("steps".to_owned(), 1_000));
    assert_eq!(only_limit(layers(10_000, 1)), ("steps".to_owned(), 1_000));
}

#[test]
fn a_workflow_has_at_most_5000_edges() {
    // 200 layers of 5: 199 x 25 = 4,975 edges.
    let steps = |more: usize| {
        let needs = (0..more).map(|n| format!("s{n}"));
        layers(999, 5).step(StepSpec::agent("last", "x").needs(needs))
    };
    assert!(steps(5_000 - 198 * 25 - 20).build().is_ok());
    assert_eq!(
        only_limit(steps(5_001 - 198 * 25 - 20)),
        ("edges".to_owned(), 5_000)
    );
}

#[test]
fn a_for_each_has_at_most_10000_items() {
    let list = |n: u32| format!("agent: x, for_each: '[1]', max_items: {n}");
    assert!(
        Workflow::from_yaml(format!(
            "{{ workflow: w, steps: {{ a: {{ {} }} }} }}",
            list(10_000)
        ))
        .is_ok()
    );
    one_problem(&list(10_001), "more than 10000 for_each items");
    one_problem("agent: x, for_each: '[1]', max_items: 0", "from 1");
    one_problem(
        "agent: x, for_each: '[1]', max_parallel: 10001",
        "more than 10000 for_each items in parallel",
    );
}

#[test]
fn names_have_at_most_128_bytes() {
    let named = |n: usize| {
        Workflow::builder("w")
            .step(StepSpec::agent(&"a".repeat(n), "x"))
            .build()
    };
    assert!(named(128).is_ok());
    assert!(
        problems_of(named(129))[0]
            .to_string()
            .contains("at most 128 bytes")
    );
    let agent = |n: usize| {
        Workflow::builder("w")
            .step(StepSpec::agent("a", &"x".repeat(n)))
            .build()
    };
    assert!(agent(128).is_ok());
    assert!(
        problems_of(agent(129))[0]
            .to_string()
            .contains("at most 128 bytes")
    );
    assert!(
        problems_of(
            Workflow::builder("w".repeat(129))
                .step(StepSpec::agent("a", "x"))
                .build()
        )
        .len()
            == 1
    );
}

#[test]
fn a_schema_has_at_most_64_kib() {
    let long = "x".repeat(65_536);
    one_problem(
        &format!("agent: x, output_schema: {{ description: {long} }}"),
        "/steps/a/output_schema: more than 65536 bytes in a schema",
    );
}

#[test]
fn expressions_are_limited_where_they_stand() {
    one_problem(
        &format!("agent: x, when: '{}'", "x".repeat(513)),
        "/steps/a/when: column 1: an expression has at most 512 bytes",
    );
    one_problem(&format!("agent: x, when: '{}1'", "!".repeat(17)), "16 deep");
    one_problem(
        &format!("agent: x, input: '${{{{ {} }}}}'", vec!["1"; 33].join("+")),
        "64 nodes",
    );
}

#[test]
fn json_is_at_most_64_deep() {
    one_problem_deep(&nested(62), false);
    one_problem_deep(&nested(61), true);
}

fn nested(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

fn one_problem_deep(input: &str, good: bool) {
    let text = format!("{{ workflow: w, steps: {{ a: {{ agent: x, input: {input} }} }} }}");
    let result = Workflow::from_yaml(text);
    assert_eq!(result.is_ok(), good);
    if !good {
        assert!(
            problems_of(result)[0]
                .to_string()
                .contains("deeper than 64")
        );
    }
}

#[test]
fn the_largest_workflow_has_the_right_closure() {
    let workflow = layers(1_000, 5).build().unwrap();
    let definition = workflow.definition();
    assert_eq!(
        definition
            .steps()
            .values()
            .map(|step| step.needs.len())
            .sum::<usize>(),
        4_975
    );
    assert_eq!(definition.roots().count(), 5);
    assert_eq!(
        definition
            .dependents()
            .values()
            .map(Vec::len)
            .sum::<usize>(),
        4_975
    );
}

#[test]
fn a_definition_has_at_most_64_mib() {
    let text = " ".repeat(64 * 1_024 * 1_024 + 1);
    assert!(
        problems_of(Workflow::from_json(&text))[0]
            .to_string()
            .contains("67108864 bytes")
    );
}

#[test]
fn cycles_beyond_the_hundredth_are_counted_as_a_limit() {
    let step = |n| StepSpec::agent(&format!("s{n}"), "x").needs([format!("s{n}")]);
    let builder = (0..150).fold(Workflow::builder("w"), |builder, n| builder.step(step(n)));
    let found = problems_of(builder.build());
    let cycles = found
        .iter()
        .filter(|p| matches!(p, WorkflowProblem::Cycle { .. }))
        .count();
    assert_eq!(cycles, 100);
    assert!(
        found
            .iter()
            .any(|p| p.to_string().contains("more than 100 cycles named"))
    );
}
