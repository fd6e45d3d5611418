//! What strict YAML reads, and what it refuses.

use serde_json::json;

use super::*;
use crate::error::Detail;

fn refused(text: &str) -> String {
    parse(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn plain_yaml_is_the_same_value_as_its_json() {
    let yaml = "a: {b: [1, -2, 1.5, true, null], c: 'x'}\nd: |\n  two\n  lines\ne: 5m\nf:\n";
    let json = json!({"a": {"b": [1, -2, 1.5, true, null], "c": "x"},
        "d": "two\nlines\n", "e": "5m", "f": null});
    assert_eq!(parse(yaml.as_bytes()).unwrap(), json);
    assert_eq!(parse(json.to_string().as_bytes()).unwrap(), json);
}

#[test]
fn what_readers_disagree_about_is_refused_with_its_place() {
    for (yaml, rule) in [
        ("a: &x 1", "anchors"),
        ("a: &x [1]\nb: *x", "anchors"),
        ("a: *x", "not YAML"),
        ("a: !!str 1", "tags"),
        ("a: !mine {b: 1}", "tags"),
        ("<<: {a: 1}", "merge keys"),
        ("a: 1\n---\nb: 2", "more than one document"),
        ("%YAML 1.1\n---\na: 1", "not YAML"),
        ("? [a]\n: 1", "a key is text"),
        ("? {a: 1}\n: 1", "a key is text"),
        ("a: yes", "true or false"),
        ("a: Off", "true or false"),
        ("on: 1", "a key is text"),
    ] {
        let message = refused(yaml);
        assert!(
            message.contains(rule) && message.contains("line"),
            "{yaml:?}: {message}"
        );
    }
}

#[test]
fn keys_are_text_and_given_once() {
    for (yaml, rule) in [
        (
            "a: 1\na: 2",
            "/a: this key is given twice (line 2, column 1)",
        ),
        (
            "1: a\n\"1\": b",
            "/1: a key is text; write it as \"1\" (line 1, column 1)",
        ),
        ("x:\n  - {true: 1}", "/x/0/true: a key is text"),
        ("null: 1", "a key is text"),
        ("1.5: 1", "a key is text"),
        ("{'a': 1, \"a\": 2}", "given twice"),
    ] {
        assert!(refused(yaml).contains(rule), "{yaml:?}: {}", refused(yaml));
    }
    assert_eq!(
        parse(b"\"1\": a\n\"<<\": b").unwrap(),
        json!({"1": "a", "<<": "b"})
    );
}

#[test]
fn numbers_are_plain_decimal_and_exact_or_refused() {
    for bad in [
        "0x1F",
        "0o17",
        "010",
        "1_000",
        "+1",
        ".5",
        "5.",
        ".inf",
        "-.INF",
        ".nan",
        "NaN",
        "1e400",
        "18446744073709551616",
        "1e16",
        "-9223372036854775809",
        "Infinity",
    ] {
        assert!(
            refused(&format!("a: {bad}")).contains("plain decimal"),
            "{bad}"
        );
    }
    let exact = parse(b"[18446744073709551615, -9223372036854775808, 1e3]").unwrap();
    assert_eq!(
        exact.to_string(),
        "[18446744073709551615,-9223372036854775808,1000.0]"
    );
    let text = parse(b"[2026-01-01, 1.2.3, 0xg, 5m, 12:30, 1-2, e5, ., -]");
    assert!(text.is_err(), "a lone dash is no value");
    let text = parse(b"[2026-01-01, 1.2.3, 0xg, 5m, '12:30', 1-2, e5, .]").unwrap();
    assert!(
        text.as_array().unwrap().iter().all(Value::is_string),
        "{text}"
    );
}

#[test]
fn nesting_ends_at_64() {
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(parse(nested(64).as_bytes()).is_ok());
    assert!(refused(&nested(65)).contains("deeper than 64"));
    assert!(refused(&nested(100_000)).contains("deeper than 64"));
    let block = (0..70).fold(String::new(), |block, n| block + &" ".repeat(n) + "a:\n");
    assert!(refused(&block).contains("deeper than 64"));
}

#[test]
fn what_is_not_yaml_is_refused() {
    for bad in [
        "a: [1",
        "a: b: c",
        "a:\n\tb: 1",
        "a: \"\\ud800\"",
        "a: 'x",
        "",
        "# only",
        "{a: 1} x",
    ] {
        assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
    assert!(
        parse(b"a: \xff")
            .unwrap_err()
            .to_string()
            .contains("not UTF-8 from byte 3")
    );
}

fn faults(text: &str) -> Vec<String> {
    let error = parse(text.as_bytes()).unwrap_err();
    match error.detail() {
        Some(Detail::Violations(faults)) => faults.iter().map(|f| f.path.clone()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_fault_of_a_document_is_named_in_one_error() {
    let deep = "[".repeat(66) + &"]".repeat(66);
    let text = format!(
        "a: .nan\nb: [yes, .inf, !t 1, &x 2]\na: {{c: 0x1F}}\n1: 2\n? [k]\n: 0x1\n<<: {{d: .nan}}\n\
         e: {deep}\nf: 99999999999999999999\ng: {{h: 1, h: 2}}\n"
    );
    let deep = format!("/e{}", "/0".repeat(63));
    let expected = [
        "/a", "/b/0", "/b/1", "/b/2", "/b/3", "/a", "/a/c", "/1", "", "/?", "/<<", "/<</d", &deep,
        "/f", "/g/h",
    ];
    assert_eq!(faults(&text), expected);
}

#[test]
fn what_could_be_read_is_kept_beside_the_faults() {
    let read = read(b"a: {b: .nan, c: 1, c: 2}\nd: !t x\n1: y\n").unwrap();
    assert_eq!(
        read.value,
        json!({"a": {"b": null, "c": 1}, "d": "x", "1": "y"})
    );
    assert_eq!(read.blanks.into_iter().collect::<Vec<_>>(), ["/a/b"]);
    assert_eq!(read.faults.len(), 4);
}

#[test]
fn what_ends_the_reading_is_named_behind_the_faults_before_it() {
    assert_eq!(faults("a: .nan\nb: [1\n"), ["/a", "/b/0"]);
    assert_eq!(faults("a: .nan\n---\nb: .nan\n"), ["/a", ""]);
    let many = format!("[{}]", vec![".nan"; 2_000].join(", "));
    assert_eq!(faults(&many).len(), MAX_FAULTS + 1);
    assert!(refused(&many).contains("(and 1000 more)"));
}
