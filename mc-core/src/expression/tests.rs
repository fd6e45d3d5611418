//! Expressions: what parses, what is refused with its column, and what each operator gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::id::StepName;

fn outputs(pairs: &[(&str, Value)]) -> BTreeMap<StepName, Arc<Value>> {
    pairs
        .iter()
        .map(|(name, v)| (StepName::new(name).unwrap(), Arc::new(v.clone())))
        .collect()
}

fn evaluate(text: &str) -> Result<Value, EvaluationFault> {
    let inputs = json!({"topic": "redb", "n": 3, "list": [1, 2.5, "x"], "o": {"a b": [7]}});
    let outputs = outputs(&[
        ("a", json!({"text": "hello", "angles": ["p", "q"]})),
        ("b", json!(null)),
    ]);
    let item = json!({"id": 9});
    let scope = Scope {
        inputs: &inputs,
        outputs: &outputs,
        item: Some((&item, 1)),
    };
    Expression::parse(text).unwrap().evaluate(&scope)
}

fn refused(text: &str) -> ExpressionFault {
    Expression::parse(text).unwrap_err()
}

#[test]
fn every_form_has_its_value() {
    for (text, value) in [
        ("inputs.topic", json!("redb")),
        ("steps.a.output.angles[1]", json!("q")),
        ("steps[\"a\"].output['text']", json!("hello")),
        ("steps.a.output.angles[index]", json!("q")),
        ("inputs[\"to\" + \"pic\"]", json!("redb")),
        ("inputs.o['a b'][0]", json!(7)),
        ("item.id + index", json!(10)),
        ("steps.unknown.output", json!(null)),
        (
            "size(steps.a.output.text) > 4 && inputs.n <= 3",
            json!(true),
        ),
        ("!(inputs.n == 3) || 'x' in inputs.list", json!(true)),
        ("'topic' in inputs", json!(true)),
        (
            "has(inputs.topic) && !has(inputs.nothing.at.all)",
            json!(true),
        ),
        ("has(steps.a.output) && !has(steps.b.output)", json!(true)),
        (
            "[1, 'a', null, true] + inputs.list",
            json!([1, "a", null, true, 1, 2.5, "x"]),
        ),
        ("-5 + 3", json!(-2)),
        ("-1.5 < -1", json!(true)),
        ("2.5 in inputs.list", json!(true)),
        ("\"a\\n\\u00e4\\\"\" + 'b\\'c'", json!("a\n\u{e4}\"b'c")),
        ("size('\u{e4}\u{20ac}')", json!(2)),
        ("[]", json!([])),
        ("18446744073709551615", json!(u64::MAX)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("'a' < 'b' && 'B' < 'a'", json!(true)),
        ("inputs.topic.startsWith('re')", json!(true)),
        ("!'abc'.startsWith(inputs.topic) && true", json!(true)),
        ("(inputs.topic + 'x').startsWith('redbx')", json!(true)),
        ("under('/srv/' + inputs.topic, '/srv')", json!(true)),
        ("host('https://A.b/') in ['a.b']", json!(true)),
    ] {
        assert_eq!(evaluate(text), Ok(value), "{text}");
    }
}

#[test]
fn values_of_different_types_differ_but_have_no_order() {
    assert_eq!(
        evaluate("1 == '1' || null == false || inputs == 'x'"),
        Ok(json!(false))
    );
    assert_eq!(evaluate("1 == 1.0 && [1] != ['1']"), Ok(json!(true)));
    assert!(evaluate("null < 1").is_err());
}

#[test]
fn a_path_that_leads_nowhere_is_an_error_outside_has() {
    for (text, path) in [
        ("inputs.nothing.more", "inputs.nothing"),
        ("steps.a.output.angles[2]", "steps.a.output.angles[2]"),
        ("steps.b.output.text", "steps.b.output.text"),
        ("inputs.topic.x", "inputs.topic.x"),
        ("inputs.o['a c']", "inputs.o[\"a c\"]"),
        ("index.x", "index.x"),
    ] {
        assert_eq!(
            evaluate(text),
            Err(EvaluationFault::Missing {
                path: path.to_owned()
            }),
            "{text}"
        );
    }
}

#[test]
fn types_that_do_not_fit_are_named() {
    for (text, found) in [
        ("1 < '1'", "a number and text"),
        ("inputs.list < inputs.list", "a list and a list"),
        ("!inputs.n", "a number"),
        ("true && 1", "a number"),
        ("size(1)", "a number"),
        ("inputs.n.startsWith('3')", "a number and text"),
        ("under('/a', null)", "text and null"),
        ("host(inputs.n)", "a number"),
        ("host('no url')", "another text"),
        ("1 in 'abc'", "a number and text"),
        ("1 + 'a'", "a number and text"),
        ("1 + 1.5", "a decimal"),
        ("inputs.list[true]", "true or false"),
    ] {
        let fault = evaluate(text).unwrap_err();
        assert!(
            fault.to_string().ends_with(&format!("found {found}")),
            "{text}: {fault}"
        );
    }
    assert_eq!(
        evaluate("18446744073709551615 + 1"),
        Err(EvaluationFault::Overflow)
    );
    assert_eq!(
        evaluate("-9223372036854775808 + -1"),
        Err(EvaluationFault::Overflow)
    );
}

#[test]
fn the_left_side_decides_when_it_can() {
    assert_eq!(evaluate("false && inputs.nothing"), Ok(json!(false)));
    assert_eq!(evaluate("true || inputs.nothing"), Ok(json!(true)));
    assert!(evaluate("true && inputs.nothing").is_err());
}

#[test]
fn what_is_not_in_the_grammar_is_refused_with_its_column() {
    for (text, column, reason) in [
        ("", 1, "expected a value, found the end"),
        ("inputs.a = 1", 10, "compare with `==`"),
        ("inputs.a -1", 10, "no subtraction"),
        ("-inputs.a", 2, "only before a number"),
        ("1 < 2 < 3", 7, "do not chain"),
        ("inputs.a ? 1", 10, "`?` is not part"),
        ("foo.bar", 1, "`foo` is not known"),
        ("inputs.list.map(x, x)", 16, "expected the end"),
        ("map(1)", 1, "no function `map`"),
        ("steps.a.text", 6, "steps.NAME.output"),
        ("steps", 6, "steps.NAME.output"),
        ("steps.A.output", 7, "form"),
        ("has(inputs)", 5, "path to a field"),
        ("has(1)", 5, "takes a path"),
        ("under('a')", 10, "expected `,`"),
        ("host('a', 'b')", 9, "expected `)`"),
        ("inputs.a.startsWith()", 21, "a value"),
        ("has(inputs.a.startsWith('b'))", 13, "expected `)`"),
        ("'open", 1, "not closed"),
        ("'\\ud800'", 2, "escape"),
        ("1.", 2, "expected the end"),
        ("01", 1, "leading zeros"),
        ("1e5", 2, "decimal digits"),
        ("18446744073709551616", 1, "lose digits"),
        ("9007199254740993.5", 1, "lose digits"),
        ("-9223372036854775809", 2, "outside 64 bits"),
        ("(1", 3, "expected `)`"),
        ("[1 2]", 4, "expected `]`"),
        ("\u{e4}", 1, "no meaning"),
        ("inputs . 5", 10, "field's name"),
        ("1 & 2", 3, "use `&&`"),
    ] {
        let fault = refused(text);
        assert_eq!(fault.column, column, "{text}: {fault}");
        assert!(fault.reason.contains(reason), "{text}: {fault}");
    }
}

#[test]
fn an_expression_has_at_most_512_bytes() {
    let text = |n: usize| format!("'{}'", "x".repeat(n - 2));
    assert!(Expression::parse(&text(512)).is_ok());
    assert!(refused(&text(513)).reason.contains("512 bytes"));
}

#[test]
fn an_expression_has_at_most_64_nodes() {
    let text = |n: usize| vec!["1"; n].join("+");
    assert!(Expression::parse(&text(32)).is_ok());
    assert!(refused(&text(33)).reason.contains("64 nodes"));
    assert!(
        refused(&format!("inputs{}", ".a".repeat(64)))
            .reason
            .contains("64 nodes")
    );
}

#[test]
fn an_expression_nests_at_most_16_deep() {
    let nested = |open: &str, close: &str, n| format!("{}1{}", open.repeat(n), close.repeat(n));
    for (open, close) in [("(", ")"), ("[", "]"), ("!", ""), ("size(", ")")] {
        assert!(
            Expression::parse(&nested(open, close, 16)).is_ok(),
            "{open}"
        );
        assert!(
            refused(&nested(open, close, 17)).reason.contains("16 deep"),
            "{open}"
        );
    }
}

#[test]
fn references_name_everything_that_is_looked_at() {
    let text = "inputs.a.b == steps.s.output[inputs['c']] && has(item.x) || index in inputs";
    let step = StepName::new("s").unwrap();
    assert_eq!(
        Expression::parse(text).unwrap().references(),
        [
            Reference::Input("a".to_owned()),
            Reference::Input("c".to_owned()),
            Reference::WholeInput,
            Reference::StepOutput(step),
            Reference::Item,
            Reference::Index,
        ]
    );
}

#[test]
fn a_result_that_is_too_large_is_refused() {
    let big = json!("x".repeat(40 * 1024 * 1024));
    let inputs = json!({"big": big, "list": [big]});
    let scope = Scope {
        inputs: &inputs,
        outputs: &BTreeMap::new(),
        item: None,
    };
    for text in [
        "inputs.big + inputs.big",
        "[inputs.big, inputs.big]",
        "inputs.list + inputs.list",
    ] {
        let expression = Expression::parse(text).unwrap();
        assert_eq!(
            expression.evaluate(&scope),
            Err(EvaluationFault::TooLarge),
            "{text}"
        );
    }
    let binding = InputBinding::parse(json!(["${{ inputs.big }}", "${{ inputs.big }}"])).unwrap();
    assert_eq!(
        binding.bind(&scope).unwrap_err().fault,
        EvaluationFault::TooLarge
    );
}

#[test]
fn a_text_of_one_expression_keeps_the_type_and_others_give_text() {
    let inputs = json!({"n": 3, "l": [1], "t": "x", "z": null});
    let scope = Scope {
        inputs: &inputs,
        outputs: &BTreeMap::new(),
        item: None,
    };
    for (source, value) in [
        (json!("${{ inputs.n }}"), json!(3)),
        (json!("${{inputs.l}}"), json!([1])),
        (json!(" ${{ inputs.n }}"), json!(" 3")),
        (
            json!("a ${{ inputs.t }}${{ inputs.l }} ${{ inputs.z }} }}"),
            json!("a x[1] null }}"),
        ),
        (json!("${{ '}}' + \"${{\" }}"), json!("}}${{")),
        (
            json!({"k": ["${{ inputs.t }}", 1, {"${{ x }}": true}]}),
            json!({"k": ["x", 1, {"${{ x }}": true}]}),
        ),
        (json!("$ {{ no }}"), json!("$ {{ no }}")),
        (json!(null), json!(null)),
    ] {
        let binding = InputBinding::parse(source.clone()).unwrap();
        assert_eq!(binding.bind(&scope), Ok(value), "{source}");
    }
}

#[test]
fn a_bindings_faults_are_all_named_with_their_places() {
    let source = json!({"a": "${{ 1 + }}", "b": [{"c/d": "x ${{ y"}, "ok ${{ inputs.a }}"]});
    let faults = InputBinding::parse(source).unwrap_err();
    let places: Vec<&str> = faults.iter().map(|fault| fault.at.as_str()).collect();
    assert_eq!(places, ["/a", "/b/0/c~1d"]);

    let binding = InputBinding::parse(json!({"a": ["${{ inputs.gone }}"]})).unwrap();
    let scope = Scope {
        inputs: &json!({}),
        outputs: &BTreeMap::new(),
        item: None,
    };
    let fault = binding.bind(&scope).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "/a/0: `inputs.gone`: there is no `inputs.gone`"
    );
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-z0-9 .\\[\\]()'\"\\\\!&|<>=+,{}$\u{e4}-]{0,80}") {
        let _ = Expression::parse(&text);
        let _ = InputBinding::parse(Value::String(text));
    }

    #[test]
    fn what_parses_evaluates_the_same_each_time(
        text in "(inputs\\.a|1|'x'|\\[1\\]|true)( (==|\\+|<|&&|in) (inputs\\.a|2|'y'|\\[2\\]|false)){0,3}"
    ) {
        let inputs = json!({"a": [1]});
        let scope = Scope { inputs: &inputs, outputs: &BTreeMap::new(), item: None };
        if let Ok(expression) = Expression::parse(&text) {
            prop_assert_eq!(expression.evaluate(&scope), expression.evaluate(&scope));
        }
    }
}
