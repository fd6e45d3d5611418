//! Random definitions: every way in gives the same hash, and stored bytes read back.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::budget::OnExceed;
use crate::json;
use crate::resilience::Coefficient;
use crate::time::parse_duration;
use crate::workflow::{BudgetSpec, Definition, OnFailure, RetrySpec, StepSpec, Workflow};

/// A random literal, with texts that YAML and expressions could take for something else.
fn literals() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (0_u64..9_000_000_000).prop_map(|n| format!("{}.{:03}", n / 1_000, n % 1_000)
            .parse::<f64>()
            .unwrap()
            .into()),
        "(yes|null|~|1|0x1|<<|&a|\\*a|!b|: |# |- |[a-z\"'\\\\\n\t \u{e4}\u{1f600}-]{0,12})"
            .prop_map(Value::from),
        Just(json!("${{ inputs.a }} and ${{ size(inputs.b) }}")),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("(on|1|null|[a-z ]{1,4})", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Maybe a field.
fn maybe(
    key: &'static str,
    value: impl Strategy<Value = Value>,
) -> impl Strategy<Value = (String, Option<Value>)> {
    proptest::option::of(value.prop_filter("a field has a value", |v| !v.is_null()))
        .prop_map(move |value| (key.to_owned(), value))
}

fn spans() -> impl Strategy<Value = Value> {
    (
        1_u32..100,
        prop_oneof![Just("ms"), Just("s"), Just("m"), Just("h"), Just("d")],
    )
        .prop_map(|(n, unit)| Value::from(format!("{n}{unit}")))
}

fn budgets() -> impl Strategy<Value = Value> {
    let usd = (0_u64..1_000_000, 0_u32..1_000_000_000).prop_map(|(w, f)| format!("{w}.{f:09}"));
    (usd, any::<u32>(), any::<bool>()).prop_map(|(usd, calls, pause)| {
        json!({"usd": usd, "calls": calls, "on_exceed": if pause { "pause" } else { "abort" }})
    })
}

fn retries() -> impl Strategy<Value = Value> {
    (spans(), 1_000_u32..9_000, 1_u32..9).prop_map(|(initial, coefficient, attempts)| {
        let coefficient = format!("{}.{:03}", coefficient / 1_000, coefficient % 1_000);
        json!({"initial_interval": initial, "maximum_interval": "365d", "maximum_attempts": attempts,
            "backoff_coefficient": coefficient})
    })
}

/// The fields of a step beside its needs.
fn steps() -> impl Strategy<Value = Map<String, Value>> {
    let choice =
        |names: &'static [&'static str]| proptest::sample::select(names).prop_map(Value::from);
    (
        maybe(
            "risk",
            choice(&["read", "write", "irreversible", "financial"]),
        ),
        maybe("input", literals()),
        maybe(
            "output_schema",
            Just(json!({"type": "object", "minProperties": 1, "multipleOf": 0.5})),
        ),
        maybe("budget", budgets()),
        maybe("retry", retries()),
        maybe("timeout", spans()),
        maybe(
            "when",
            choice(&["true", "inputs.a == 1.5", "${{ has(inputs.b) }}"]),
        ),
        maybe("on_failure", choice(&["fail", "pause", "continue"])),
        maybe("for_each", choice(&["inputs.l", "[1, 'two']"])),
    )
        .prop_map(|(a, b, c, d, e, f, g, h, i)| {
            let fields = [a, b, c, d, e, f, g, h, i];
            let fields = fields
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?)));
            fields.chain([("agent".to_owned(), json!("x"))]).collect()
        })
}

/// A random valid document: a step needs some of those before it.
fn documents() -> impl Strategy<Value = Value> {
    let step = (steps(), proptest::collection::btree_set(0_usize..8, 0..4));
    (
        proptest::collection::vec(step, 1..8),
        proptest::option::of(budgets()),
    )
        .prop_map(|(steps, budget)| {
            let steps: Map<String, Value> = steps
                .into_iter()
                .enumerate()
                .map(|(n, (mut fields, needs))| {
                    let needs: Vec<String> = needs
                        .into_iter()
                        .filter(|need| *need < n)
                        .map(|need| format!("s{need}"))
                        .collect();
                    fields.insert("needs".to_owned(), json!(needs));
                    (format!("s{n}"), Value::Object(fields))
                })
                .collect();
            let mut document = json!({"workflow": "w", "steps": steps});
            if let Some(budget) = budget {
                document["budget"] = budget;
            }
            document
        })
}

/// Writes block YAML, so that the two readers see different text.
fn block_yaml(value: &Value, indent: usize, out: &mut String) {
    let line = |lead: &str| format!("\n{}{lead}", " ".repeat(indent));
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, inner) in fields {
                *out += &line(&format!("{}:", Value::from(key.as_str())));
                block_yaml(inner, indent + 2, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                *out += &line("-");
                block_yaml(item, indent + 2, out);
            }
        }
        Value::String(text) if !text.contains(char::is_control) => {
            let quoted = text.replace('\'', "''");
            out.extend([" '", &quoted, "'"]);
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => out.extend([" ", &value.to_string()]),
    }
}

fn text<'a>(fields: &'a Value, key: &str) -> &'a str {
    fields[key].as_str().unwrap()
}

fn budget_spec(fields: &Value) -> BudgetSpec {
    let on_exceed = if fields["on_exceed"] == "pause" {
        OnExceed::Pause
    } else {
        OnExceed::Abort
    };
    BudgetSpec::usd(text(fields, "usd").parse().unwrap())
        .calls(fields["calls"].as_u64().unwrap())
        .on_exceed(on_exceed)
}

fn retry_spec(fields: &Value) -> RetrySpec {
    let span = |key| parse_duration(text(fields, key)).unwrap();
    RetrySpec::new()
        .initial_interval(span("initial_interval"))
        .maximum_interval(span("maximum_interval"))
        .maximum_attempts(u32::try_from(fields["maximum_attempts"].as_u64().unwrap()).unwrap())
        .backoff_coefficient(Coefficient::parse(text(fields, "backoff_coefficient")).unwrap())
}

fn with_field(step: StepSpec, key: &str, value: &Value) -> StepSpec {
    let choice = |text: &str| match text {
        "pause" => OnFailure::Pause,
        "continue" => OnFailure::Continue,
        _ => OnFailure::Fail,
    };
    match key {
        "needs" => step.needs(
            value
                .as_array()
                .unwrap()
                .iter()
                .map(|need| need.as_str().unwrap()),
        ),
        "risk" => step.risk(value.as_str().unwrap().parse().unwrap()),
        "input" => step.input(value.clone()),
        "output_schema" => step.output_schema(value.clone()),
        "budget" => step.budget(budget_spec(value)),
        "retry" => step.retry(retry_spec(value)),
        "timeout" => step.timeout(parse_duration(value.as_str().unwrap()).unwrap()),
        "when" => step.when(value.as_str().unwrap()),
        "for_each" => step.for_each(value.as_str().unwrap()),
        "on_failure" => step.on_failure(choice(value.as_str().unwrap())),
        other => panic!("{other}"),
    }
}

/// The same document through the builder, field by field.
fn built(document: &Value) -> Workflow {
    let mut builder = Workflow::builder("w");
    if let Some(budget) = document.get("budget") {
        builder = builder.budget(budget_spec(budget));
    }
    for (name, fields) in document["steps"].as_object().unwrap() {
        let fields = fields
            .as_object()
            .unwrap()
            .iter()
            .filter(|(key, _)| *key != "agent");
        let step = StepSpec::agent(name, "x");
        builder =
            builder.step(fields.fold(step, |step, (key, value)| with_field(step, key, value)));
    }
    builder.build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_way_in_gives_the_same_hash(document in documents()) {
        let from_json = Workflow::from_json(document.to_string()).unwrap();
        let mut yaml = String::new();
        block_yaml(&document, 0, &mut yaml);
        let from_yaml = Workflow::from_yaml(&yaml).unwrap();
        prop_assert_eq!(from_json.definition(), from_yaml.definition());
        prop_assert_eq!(from_json.hash(), from_yaml.hash());
        prop_assert_eq!(from_json.hash(), built(&document).hash());
    }

    #[test]
    fn stored_bytes_read_back_to_the_same_definition(document in documents()) {
        let workflow = Workflow::from_json(document.to_string()).unwrap();
        let bytes = workflow.definition().to_canonical();
        let stored = Definition::from_canonical(&bytes).unwrap();
        prop_assert_eq!(&stored, &**workflow.definition());
        prop_assert_eq!(stored.hash(), workflow.hash());
        prop_assert_eq!(json::canonical(&json::parse(&bytes).unwrap()), bytes);
    }

    #[test]
    fn no_document_makes_the_reader_panic(document in literals(), text in "[a-z:{}\\[\\]&*!<>?|'\" \n-]{0,60}") {
        let _ = Workflow::from_json(document.to_string());
        let _ = Workflow::from_json(json!({"workflow": document, "steps": {"a": document}}).to_string());
        let _ = Workflow::from_yaml(text);
    }
}
