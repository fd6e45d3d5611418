//! What is refused: each with its place, all at once, nothing half read.

use serde_json::json;

use super::{one_problem, problems, problems_of};
use crate::workflow::{StepSpec, Workflow};

#[test]
fn every_problem_is_named_at_once() {
    let found = problems(
        r#"{ workflow: Bad Name, colour: red, input_schema: { type: objekt }, steps: {
            a: { agent: x, needs: [c], neds: 1 }, b: { agent: x, needs: [a, gone] }, c: { agent: x, needs: [b] },
            d: { needs: [a], timeout: 5, when: "1 +" },
            e: { agent: x, input: { p: "${{ steps.zzz.output }}", q: "${{ steps.d.output }}" } },
            f: { agent: x, risk: risky, guardrails: [] } } }"#,
    );
    for expected in [
        "/workflow: a name is",
        "/colour: there is no such field",
        "/input_schema/type: ",
        "/steps/a/neds: there is no such field; did you mean `needs`?",
        "cycle: a -> c -> b -> a",
        "step `d` can never run: it waits for a step on a cycle",
        "/steps/b/needs: there is no step `gone`",
        "/steps/d: the field `agent` is missing",
        "/steps/d/timeout: a duration",
        "/steps/d/when: column 4",
        "/steps/e/input/p: there is no step `zzz`",
        "/steps/e/input/q: `d` need not be done before `e`",
        "/steps/f/risk: a risk is one of",
        "/steps/f/guardrails: `guardrails` is not available",
    ] {
        assert!(
            found.iter().any(|problem| problem.starts_with(expected)),
            "{expected}: {found:#?}"
        );
    }
    assert_eq!(found.len(), 14, "{found:#?}");
}

#[test]
fn faults_of_values_and_of_the_definition_are_named_together() {
    let yaml = r#"{ workflow: w, colour: red, budget: { usd: -5.00, calls: -1, input_tokens: .nan },
        steps: { a: { agent: x, needs: [b], agent: y }, b: { agent: x, needs: [a], timeout: .inf,
          estimate: { model: a/b, input_tokens: 99999999999999999999, max_output_tokens: yes } },
          c: { agent: x, budget: { usd: "-1" }, input: { d: !t 1 } } } }"#;
    let json = r#"{ "workflow": "w", "colour": "red", "budget": { "usd": -5.00, "calls": -1, "input_tokens": 1e400 },
        "steps": { "a": { "agent": "x", "needs": ["b"], "agent": "y" }, "b": { "agent": "x", "needs": ["a"],
          "timeout": -1e999, "estimate": { "model": "a/b", "input_tokens": 99999999999999999999, "max_output_tokens": "1" } },
          "c": { "agent": "x", "budget": { "usd": "-1" }, "inputs": 1 } } }"#;
    let common = [
        "/budget/input_tokens: ",
        "/steps/a/agent: this key is given twice",
        "/steps/b/timeout: ",
        "/steps/b/estimate/input_tokens: ",
        "/colour: there is no such field",
        "/budget/usd: an amount is written in quotes",
        "/budget/calls: a whole number",
        "/steps/b/estimate/max_output_tokens: ",
        "/steps/c/budget/usd: ",
        "cycle: a -> b -> a",
    ];
    let of_json = problems_of(Workflow::from_json(json));
    let of_json: Vec<String> = of_json.iter().map(ToString::to_string).collect();
    for (found, own) in [
        (problems(yaml), "/steps/c/input/d: tags"),
        (of_json, "/steps/c/inputs: there is"),
    ] {
        for expected in common.iter().chain([&own]) {
            assert!(
                found.iter().any(|problem| problem.starts_with(expected)),
                "{expected}: {found:#?}"
            );
        }
        assert_eq!(found.len(), common.len() + 1, "{found:#?}");
    }
}

#[test]
fn the_message_has_the_first_problem_and_how_many_more() {
    let error =
        Workflow::from_yaml("{ workflow: w, a: 1, b: 2, steps: { s: { agent: x } } }").unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid_workflow: /a: there is no such field (and 1 more)"
    );
}

#[test]
fn fields_of_later_versions_are_not_available() {
    one_problem("agent: x, guardrails: []", "`guardrails` is not available");
    one_problem("agent: x, guardrails: []", "`guardrails` is not available");
    let found = problems("{ workflow: w, guardrails: [], steps: { a: { agent: x } } }");
    assert_eq!(
        found,
        ["/guardrails: `guardrails` is not available in this version"]
    );
}

#[test]
fn what_only_an_agent_has_is_refused_of_a_composed_step_all_at_once() {
    let found = problems(
        r"{ workflow: w, steps: { qa: { uses: gate, agent: x, risk: read, tools: [t], approval: { expires_in: 1h },
            estimate: { model: a/b, input_tokens: 1, max_output_tokens: 1 }, retry: { maximum_attempts: 2 }, timeout: 5m },
            ok: { uses: 'gate@1', for_each: 'inputs.list', max_parallel: 2, when: 'true', on_failure: continue,
              budget: { usd: '1.00' }, output_schema: { type: object }, input: { n: '${{ item }}' } } } }",
    );
    for field in [
        "agent", "risk", "tools", "approval", "estimate", "retry", "timeout",
    ] {
        let expected = format!("/steps/qa/{field}: a step with `uses` has no `{field}`");
        assert!(
            found.iter().any(|one| one.starts_with(&expected)),
            "{expected}: {found:#?}"
        );
    }
    let uses = "/steps/qa/uses: another workflow is used by its name and version";
    assert!(found.iter().any(|one| one.starts_with(uses)), "{found:#?}");
    assert_eq!(found.len(), 8, "{found:#?}");
}

#[test]
fn money_is_text_and_the_fix_is_in_the_message() {
    one_problem(
        "agent: x, budget: { usd: 5.00 }",
        "in quotes, so that no digit is lost: usd: \"5.00\"",
    );
    one_problem("agent: x, budget: { usd: -1 }", "in quotes");
    for (amount, rule) in [
        ("-1", "negative"),
        ("NaN", "plain decimal"),
        ("inf", "plain decimal"),
        ("1e3", "plain decimal"),
        ("0.0000000001", "nine decimals"),
        ("9223372036.854775808", "at most"),
        ("", "plain decimal"),
    ] {
        one_problem(&format!("agent: x, budget: {{ usd: \"{amount}\" }}"), rule);
    }
    one_problem("agent: x, budget: { usd: true }", "an amount is text");
}

#[test]
fn counts_are_whole_and_in_range() {
    for bad in ["-1", "1.5", "1.0", "\"5\"", "9223372036854775808", "[]"] {
        one_problem(
            &format!("agent: x, budget: {{ calls: {bad} }}"),
            "a whole number",
        );
    }
    one_problem("agent: x, budget: {}", "a budget limits");
    one_problem("agent: x, budget: { on_exceed: pause }", "a budget limits");
    one_problem(
        "agent: x, budget: { calls: 1, on_exceed: stop }",
        "one of abort, pause",
    );
    one_problem(
        "agent: x, estimate: { model: a/b, input_tokens: 1 }",
        "`max_output_tokens` is missing",
    );
    let estimate = |rest: &str| {
        format!("agent: x, estimate: {{ input_tokens: 1, max_output_tokens: 1, {rest} }}")
    };
    one_problem(&estimate("model: gpt"), "provider/id");
    one_problem(&estimate("model: a/b, calls: 0"), "from 1");
}

#[test]
fn retry_fields_are_checked() {
    for (field, rule) in [
        ("initial_interval: 0s", "initial_interval is from 1ms"),
        (
            "initial_interval: 2m, maximum_interval: 1m",
            "from initial_interval",
        ),
        ("maximum_interval: 366d", "to 365d"),
        ("backoff_coefficient: 0.5", "from 1 to 1000"),
        ("backoff_coefficient: \"x\"", "from 1 to 1000"),
        ("backoff_coefficient: 1.0001", "three decimals"),
        ("maximum_attempts: 0", "from 1 to 1000"),
        ("max_elapsed: 0s", "max_elapsed is from"),
        ("non_retryable: [a, a]", "given twice"),
        ("non_retryable: [1]", "text is wanted"),
        ("maximum_attempt: 1", "did you mean `maximum_attempts`?"),
    ] {
        one_problem(&format!("agent: x, retry: {{ {field} }}"), rule);
    }
}

#[test]
fn forms_of_a_step_are_checked() {
    for (fields, rule) in [
        ("agent: X", "a name is of the form"),
        ("agent: 1", "text is wanted, not a number"),
        ("agent: x, needs: b", "a list of texts"),
        ("agent: x, needs: [b-c]", "a step's name"),
        ("agent: x, timeout: 0s", "from 1ms to 365d"),
        ("agent: x, timeout: 366d", "from 1ms to 365d"),
        ("agent: x, timeout: 1.5s", "a duration"),
        ("agent: x, max_items: 5", "only with `for_each`"),
        ("agent: x, join: any", "`all` or"),
        ("agent: x, join: { at_least: 0 }", "from 1"),
        ("agent: x, join: { at_least: 1 }", "waits for 1 of 0 needs"),
        (
            "agent: x, on_failure: retry",
            "one of fail, pause, continue",
        ),
        ("agent: x, when: true", "text is wanted"),
        ("agent: x, when: 'false'", "always false"),
        ("agent: x, when: '1'", "true or false"),
        ("agent: x, for_each: '1'", "takes a list"),
        ("agent: x, input: '${{ 1 + }}'", "/steps/a/input: column"),
        ("agent: x, input: '${{ 1 + true }}'", "`+` takes"),
        ("agent: x, input: '${{ item }}'", "seen only by the `input`"),
        ("agent: x, for_each: '[index]'", "seen only by the `input`"),
        ("agent: x, risk: null", "has no value"),
        ("agent: x, output_schema: 5", "/steps/a/output_schema"),
        (
            "agent: x, output_schema: { $ref: 'file:///etc/passwd' }",
            "/steps/a/output_schema/$ref",
        ),
        (
            "agent: x, output_schema: { $ref: 'https://example.com/s' }",
            "a file or URL is refused",
        ),
    ] {
        one_problem(fields, rule);
    }
}

#[test]
fn a_binding_looks_only_at_needs_and_declared_inputs() {
    let steps = |input: &str| {
        format!("{{ workflow: w, input_schema: {{ type: object, required: [r], properties: {{ p: {{}} }} }},
            steps: {{ a: {{ agent: x }}, b: {{ agent: x, needs: [a] }}, c: {{ agent: x, needs: [b], input: '${{{{ {input} }}}}' }}, z: {{ agent: x }} }} }}")
    };
    for good in [
        "steps.a.output",
        "steps.b.output.x",
        "inputs.p",
        "inputs.r",
        "inputs",
    ] {
        assert!(Workflow::from_yaml(steps(good)).is_ok(), "{good}");
    }
    for (bad, rule) in [
        (
            "steps.z.output",
            "/steps/c/input: `z` need not be done before `c`",
        ),
        (
            "steps.c.output",
            "/steps/c/input: `c` need not be done before `c`",
        ),
        ("steps.y.output", "/steps/c/input: there is no step `y`"),
        (
            "inputs.q",
            "/steps/c/input: the input schema declares no `q`",
        ),
        ("inputs.q.p", "declares no `q`"),
    ] {
        let found = problems(&steps(bad));
        assert!(
            found.len() == 1 && found[0].contains(rule),
            "{bad}: {found:?}"
        );
    }
    let open =
        steps("inputs.q").replace("type: object", "type: object, additionalProperties: true");
    assert!(Workflow::from_yaml(open).is_ok());
}

#[test]
fn cycles_are_named_by_their_full_path() {
    let found = problems(
        "{ workflow: w, steps: { a: { agent: x, needs: [b] }, b: { agent: x, needs: [c] },
        c: { agent: x, needs: [a] }, d: { agent: x, needs: [d] }, e: { agent: x } } }",
    );
    assert_eq!(found, ["cycle: a -> b -> c -> a", "cycle: d -> d"]);
}

#[test]
fn documents_that_are_not_definitions_are_refused() {
    for (text, rule) in [
        ("[]", "an object of fields is wanted"),
        ("null", "an object of fields is wanted"),
        ("{}", "`workflow` is missing"),
        ("{ workflow: w, steps: {} }", "at least one step"),
        ("{ workflow: w, steps: [] }", "an object of steps"),
        (
            "{ workflow: w, steps: { a: 1 } }",
            "/steps/a: an object of fields",
        ),
        (
            "{ workflow: w, steps: { a-b: { agent: x } } }",
            "a step's name",
        ),
        (
            "{ workflow: w, schema_version: 2, steps: { a: { agent: x } } }",
            "schema_version 1",
        ),
        (
            "{ workflow: w, model_retry: { maximum_attempts: 2 }, steps: { a: { agent: x } } }",
            "no such field",
        ),
        (
            "{ workflow: w, workflow: w }",
            "/workflow: this key is given twice (line 1",
        ),
        ("workflow: [", "not YAML"),
        (
            "{ workflow: w, steps: { 1: {}, \"1\": {} } }",
            "/steps/1: a key is text",
        ),
    ] {
        let found = problems(text);
        assert!(
            found.iter().any(|problem| problem.contains(rule)),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn json_is_read_as_strictly() {
    for (text, rule) in [
        (
            &br#"{"workflow":"w","workflow":"w"}"#[..],
            "/workflow: this key is given twice",
        ),
        (br#"{"workflow":"\ud800"}"#, "hex escape"),
        (b"{\"workflow\":\"\xff\"}", "not UTF-8 from byte 13"),
        (br#"{"workflow":"w","budget":{"usd":NaN}}"#, "/budget"),
        (br#"{"workflow":"w","budget":{"usd":1e400}}"#, "/budget/usd"),
        (b"{", "EOF"),
    ] {
        let found = problems_of(Workflow::from_json(text));
        assert!(found[0].to_string().contains(rule), "{found:?}");
    }
}

#[test]
fn the_builder_is_checked_like_a_document() {
    let twice = Workflow::builder("w")
        .step(StepSpec::agent("a", "x"))
        .step(StepSpec::agent("a", "y"))
        .step(StepSpec::agent("b", "X"));
    let found = problems_of(twice.build());
    assert_eq!(found[0].to_string(), "/steps/a: this key is given twice");
    assert!(found[1].to_string().starts_with("/steps/b/agent: a name"));
    assert_eq!(found.len(), 2, "{found:?}");
    let deep = (0..70).fold(json!(1), |inner, _| json!([inner]));
    let built = Workflow::builder("w")
        .step(StepSpec::agent("a", "x").input(deep))
        .build();
    assert!(problems_of(built)[0].to_string().contains("deeper than 64"));
    let inexact = Workflow::builder("w")
        .step(StepSpec::agent("a", "x").input(json!(1e300)))
        .build();
    assert!(problems_of(inexact)[0].to_string().contains("lose digits"));
}
