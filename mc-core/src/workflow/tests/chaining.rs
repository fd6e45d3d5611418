//! What a step gets as its input.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::error::{Detail, Error};
use crate::id::StepName;
use crate::workflow::chain::{ChainFault, bind_input, expand, runs};
use crate::workflow::{Scope, Step, Workflow};

fn outputs(pairs: &[(&str, Value)]) -> BTreeMap<StepName, Arc<Value>> {
    pairs
        .iter()
        .map(|(name, v)| (StepName::new(name).unwrap(), Arc::new(v.clone())))
        .collect()
}

/// The step `z` with `fields`, beside steps `a` and `b`.
fn step(fields: &str) -> Step {
    let text = format!(
        "{{ workflow: w, steps: {{ a: {{ agent: x }}, b: {{ agent: x }}, z: {{ agent: x{fields} }} }} }}"
    );
    let workflow = Workflow::from_yaml(text).unwrap();
    workflow.definition().step("z").unwrap().clone()
}

fn bound(fields: &str, inputs: &Value, done: &[(&str, Value)]) -> Value {
    let outputs = outputs(done);
    bind_input(
        &step(fields),
        &Scope {
            inputs,
            outputs: &outputs,
            item: None,
        },
    )
    .unwrap()
}

#[test]
fn a_root_gets_the_runs_input() {
    for input in [json!({"t": 1}), json!([1]), json!(null), json!("x")] {
        assert_eq!(bound("", &input, &[]), input);
    }
}

#[test]
fn one_needs_object_is_merged_deeply_over_the_runs_input() {
    let inputs = json!({"t": 1, "o": {"x": 1, "y": [1, 2]}, "k": {"deep": true}});
    let output = json!({"o": {"y": [3], "z": 2}, "k": 5, "n": null});
    assert_eq!(
        bound(", needs: [a]", &inputs, &[("a", output)]),
        json!({"t": 1, "o": {"x": 1, "y": [3], "z": 2}, "k": 5, "n": null})
    );
}

#[test]
fn one_needs_other_output_stands_under_its_name() {
    for output in [json!([1]), json!("x"), json!(null), json!(1.5)] {
        let expected = json!({"t": 1, "a": output});
        assert_eq!(
            bound(", needs: [a]", &json!({"t": 1}), &[("a", output)]),
            expected
        );
    }
}

#[test]
fn outputs_of_several_needs_do_not_overwrite_each_other() {
    let done = [("a", json!({"x": 1})), ("b", json!({"x": 2}))];
    assert_eq!(
        bound(", needs: [a, b]", &json!({"t": 1, "a": {"mine": 0}}), &done),
        json!({"t": 1, "a": {"mine": 0, "x": 1}, "b": {"x": 2}})
    );
}

#[test]
fn a_need_without_an_output_is_null() {
    let expected = json!({"t": 1, "a": {"x": 1}, "b": null});
    assert_eq!(
        bound(
            ", needs: [a, b]",
            &json!({"t": 1}),
            &[("a", json!({"x": 1}))]
        ),
        expected
    );
    assert_eq!(bound(", needs: [a]", &json!({}), &[]), json!({"a": null}));
}

#[test]
fn an_input_that_is_no_object_is_joined_under_its_own_name() {
    assert_eq!(
        bound(", needs: [a]", &json!("q"), &[("a", json!({"x": 1}))]),
        json!({"input": "q", "x": 1})
    );
    assert_eq!(
        bound(", needs: [a]", &json!(null), &[("a", json!({"x": 1}))]),
        json!({"x": 1})
    );
}

#[test]
fn input_binds_exactly() {
    let fields =
        ", needs: [a], input: { q: '${{ steps.a.output.x }}', t: 'about ${{ inputs.t }}' }";
    assert_eq!(
        bound(fields, &json!({"t": "redb"}), &[("a", json!({"x": [1]}))]),
        json!({"q": [1], "t": "about redb"})
    );
}

#[test]
fn an_item_comes_with_its_index() {
    let (inputs, outputs) = (json!({"t": 1}), outputs(&[("a", json!(["p", "q"]))]));
    let scope = Scope {
        inputs: &inputs,
        outputs: &outputs,
        item: None,
    };
    let step = step(", needs: [a], for_each: steps.a.output");
    let items = expand(&step, &scope).unwrap().unwrap();
    assert_eq!(items, [Arc::new(json!("p")), Arc::new(json!("q"))]);
    let input = bind_input(
        &step,
        &Scope {
            item: Some((&items[1], 1)),
            ..scope
        },
    )
    .unwrap();
    assert_eq!(
        input,
        json!({"t": 1, "a": ["p", "q"], "item": "q", "index": 1})
    );
    let exact =
        self::step(", needs: [a], for_each: steps.a.output, input: { i: '${{ item + \"!\" }}' }");
    let input = bind_input(
        &exact,
        &Scope {
            item: Some((&items[0], 0)),
            ..scope
        },
    )
    .unwrap();
    assert_eq!(input, json!({"i": "p!"}));
}

#[test]
fn a_fan_out_is_a_list_of_at_most_max_items() {
    let outputs = outputs(&[("a", json!({"l": [1, 2, 3], "t": "x"}))]);
    let inputs = json!({});
    let scope = Scope {
        inputs: &inputs,
        outputs: &outputs,
        item: None,
    };
    let expanded = |fields: &str| expand(&step(&format!(", needs: [a]{fields}")), &scope);
    assert_eq!(expanded(""), Ok(None));
    assert_eq!(
        expanded(", for_each: steps.a.output.l, max_items: 3")
            .unwrap()
            .unwrap()
            .len(),
        3
    );
    let error = expanded(", for_each: steps.a.output.l, max_items: 2").unwrap_err();
    assert_eq!(error, ChainFault::TooManyItems { count: 3, max: 2 });
    assert_eq!(error.to_string(), "the list has 3 items; max_items is 2");
    let error = expanded(", for_each: steps.a.output.t").unwrap_err();
    assert!(matches!(error, ChainFault::NotAList { .. }), "{error}");
    assert!(matches!(
        expanded(", for_each: steps.a.output.m"),
        Err(ChainFault::Evaluate { .. })
    ));
}

#[test]
fn a_joined_input_has_at_most_64_mib() {
    let big = json!("x".repeat(33 * 1_024 * 1_024));
    let (inputs, outputs) = (json!({}), outputs(&[("a", big.clone()), ("b", big)]));
    let scope = Scope {
        inputs: &inputs,
        outputs: &outputs,
        item: None,
    };
    assert!(bind_input(&step(", needs: [a]"), &scope).is_ok());
    let fault = bind_input(&step(", needs: [a, b]"), &scope).unwrap_err();
    let error = Error::from(fault);
    let detail = Detail::Limit {
        name: "joined input",
        max: 64 * 1_024 * 1_024,
    };
    assert_eq!(error.detail(), Some(&detail));
    let fan_out = expand(&step(", needs: [a, b], for_each: '[1, 2]'"), &scope);
    assert_eq!(
        fan_out,
        Err(ChainFault::TooLarge),
        "checked before the fan-out"
    );
    let one = Scope {
        item: None,
        inputs: &json!({"list": ["small", outputs["a"].as_ref()]}),
        outputs: &outputs,
    };
    for input in ["", ", input: { a: '${{ item }}', b: '${{ item }}' }"] {
        let items = step(&format!(", needs: [b], for_each: inputs.list{input}"));
        assert_eq!(expand(&items, &one), Err(ChainFault::TooLarge), "{input}");
    }
    let text = step(", needs: [a, b], input: '${{ steps.a.output }}${{ steps.b.output }}'");
    assert_eq!(bind_input(&text, &scope), Err(ChainFault::TooLarge));
}

#[test]
fn a_condition_decides_whether_a_step_runs() {
    let outputs = outputs(&[("a", json!({"ok": false, "n": 1}))]);
    let inputs = json!({});
    let scope = Scope {
        inputs: &inputs,
        outputs: &outputs,
        item: None,
    };
    assert_eq!(runs(&step(""), &scope), Ok(true));
    assert_eq!(
        runs(&step(", needs: [a], when: steps.a.output.ok"), &scope),
        Ok(false)
    );
    let fault = runs(&step(", needs: [a], when: steps.a.output.n"), &scope).unwrap_err();
    assert!(
        fault
            .to_string()
            .starts_with("when: `steps.a.output.n`: a condition is"),
        "{fault}"
    );
}

fn objects() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(json!(null)), any::<i64>().prop_map(Value::from)];
    leaf.prop_recursive(3, 16, 4, |inner| {
        proptest::collection::btree_map("[a-c]", inner, 0..4)
            .prop_map(|fields| Value::Object(fields.into_iter().collect()))
    })
    .prop_map(|value| {
        if value.is_object() {
            value
        } else {
            json!({ "v": value })
        }
    })
}

/// Whether every leaf of `part` stands in `whole` at the same place.
fn holds(whole: &Value, part: &Value) -> bool {
    match part.as_object() {
        Some(fields) if fields.is_empty() => whole.is_object(),
        Some(fields) => fields
            .iter()
            .all(|(key, inner)| whole.get(key).is_some_and(|w| holds(w, inner))),
        None => whole == part,
    }
}

proptest! {
    #[test]
    fn everything_a_single_need_gave_is_in_the_joined_input(inputs in objects(), output in objects()) {
        let joined = bound(", needs: [a]", &inputs, &[("a", output.clone())]);
        prop_assert!(holds(&joined, &output));
        prop_assert!(inputs.as_object().unwrap().keys().all(|key| joined.get(key).is_some()));
        prop_assert_eq!(bound(", needs: [a]", &joined, &[("a", output)]), joined);
    }
}
