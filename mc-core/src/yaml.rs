//! Strict YAML: the part of it that means the same to every reader, as a JSON value.
//!
//! Refused, each with line, column and JSON pointer: tags, anchors, aliases, merge keys, directives,
//! more than one document, keys that are not text, keys given twice, numbers that are not plain
//! decimal or would lose digits, `yes no on off` without quotes, nesting deeper than 64.
//! What is *not* here: what the values mean.

use std::borrow::Cow;

use serde_json::{Map, Value};
use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use crate::error::{Detail, Error, ErrorKind, Result, Violation};
use crate::json::{self, MAX_DEPTH, escape_pointer};

/// The most values of one document.
const MAX_VALUES: usize = 2_000_000;

/// Reads one YAML document.
///
/// # Errors
/// `InvalidInput` with the place and the rule.
pub fn parse(bytes: &[u8]) -> Result<Value> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Error::invalid("", format!("not UTF-8 from byte {}", error.valid_up_to()))
    })?;
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_comments: false,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut composer = Composer::default();
    match composer.run(&mut parser) {
        Ok(()) => composer
            .document
            .ok_or_else(|| Error::invalid("", "the document is empty")),
        Err(fault) => Err(composer.error(&fault)),
    }
}

/// A broken rule and where it is, counted from 1.
struct Fault {
    rule: String,
    line: usize,
    column: usize,
}

fn fault(span: &Span, rule: impl Into<String>) -> Fault {
    Fault {
        rule: rule.into(),
        line: span.start.line(),
        column: span.start.col() + 1,
    }
}

fn not_yaml(error: &ScanError) -> Fault {
    // The parser's own limit is higher, but it looks ahead of what it hands out.
    let too_deep = matches!(
        error.kind(),
        granit_parser::ErrorKind::RecursionLimitExceeded
    );
    let rule = if too_deep {
        format!("nested deeper than {MAX_DEPTH}")
    } else {
        format!("not YAML: {}", error.info())
    };
    Fault {
        rule,
        line: error.marker().line(),
        column: error.marker().col() + 1,
    }
}

/// A list or an object that is being read.
enum Open {
    List(Vec<Value>),
    Object {
        fields: Map<String, Value>,
        key: Option<String>,
    },
}

#[derive(Default)]
struct Composer {
    open: Vec<Open>,
    document: Option<Value>,
    documents: usize,
    values: usize,
}

impl Composer {
    fn run<'a>(&mut self, parser: &mut Parser<'a, StrInput<'a>>) -> Result<(), Fault> {
        while let Some(next) = parser.next_event() {
            let (event, span) = next.map_err(|error| not_yaml(&error))?;
            self.event(event, &span)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), Fault> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(fault(span, "there is more than one document"));
                }
                Ok(())
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                Err(fault(span, "aliases are not allowed; write the value out"))
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.plain_node(span, anchor, tag.is_some())?;
                self.scalar(text, style, span)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.plain_node(span, anchor, tag.is_some())?;
                self.enter(Open::List(Vec::new()), span)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.plain_node(span, anchor, tag.is_some())?;
                self.enter(
                    Open::Object {
                        fields: Map::new(),
                        key: None,
                    },
                    span,
                )
            }
            Event::SequenceEnd | Event::MappingEnd => {
                match self.open.pop() {
                    Some(Open::List(items)) => self.place(Value::Array(items)),
                    Some(Open::Object { fields, .. }) => self.place(Value::Object(fields)),
                    None => {}
                }
                Ok(())
            }
            // Anchors are refused with their node.
            Event::Anchor(..)
            | Event::Comment(..)
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentEnd => Ok(()),
            _ => Err(fault(span, "this form of YAML is not known here")),
        }
    }

    fn plain_node(&mut self, span: &Span, anchor: usize, tag: bool) -> Result<(), Fault> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(fault(
                span,
                format!("a document has at most {MAX_VALUES} values"),
            ));
        }
        if anchor != 0 {
            return Err(fault(span, "anchors are not allowed; write the value out"));
        }
        if tag {
            return Err(fault(span, "tags are not allowed"));
        }
        Ok(())
    }

    fn enter(&mut self, open: Open, span: &Span) -> Result<(), Fault> {
        if let Some(Open::Object { key: None, .. }) = self.open.last() {
            return Err(fault(span, "a key is text, not a list or an object"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(fault(span, format!("nested deeper than {MAX_DEPTH}")));
        }
        self.open.push(open);
        Ok(())
    }

    fn scalar(&mut self, text: Cow<'_, str>, style: ScalarStyle, span: &Span) -> Result<(), Fault> {
        let plain = style == ScalarStyle::Plain;
        if let Some(Open::Object {
            fields,
            key: key @ None,
        }) = self.open.last_mut()
        {
            if plain && text == "<<" {
                return Err(fault(
                    span,
                    "merge keys are not allowed; write the fields out",
                ));
            }
            let twice = fields.contains_key(&*text);
            let is_text = !plain || matches!(resolve(&text), Ok(Value::String(_)));
            let key = key.insert(text.into_owned());
            return match (is_text, twice) {
                (false, _) => Err(fault(span, format!("a key is text; write it as \"{key}\""))),
                (_, true) => Err(fault(span, "this key is given twice")),
                (true, false) => Ok(()),
            };
        }
        let value = if plain {
            resolve(&text).map_err(|rule| fault(span, rule))?
        } else {
            Value::String(text.into_owned())
        };
        self.place(value);
        Ok(())
    }

    /// Puts a finished value where it belongs.
    fn place(&mut self, value: Value) {
        match self.open.last_mut() {
            None => self.document = Some(value),
            Some(Open::List(items)) => items.push(value),
            Some(Open::Object { fields, key }) => {
                if let Some(key) = key.take() {
                    fields.insert(key, value);
                }
            }
        }
    }

    /// Where the reader stands, as a JSON pointer.
    fn pointer(&self) -> String {
        let part = |open: &Open| match open {
            Open::List(items) => Some(items.len().to_string()),
            Open::Object { key, .. } => key.clone(),
        };
        let mut pointer = String::new();
        for part in self.open.iter().filter_map(part) {
            pointer.push('/');
            pointer.push_str(&escape_pointer(&part));
        }
        pointer
    }

    fn error(&self, fault: &Fault) -> Error {
        let path = self.pointer();
        let rule = format!(
            "{} (line {}, column {})",
            fault.rule, fault.line, fault.column
        );
        let message = if path.is_empty() {
            rule.clone()
        } else {
            format!("{path}: {rule}")
        };
        Error::new(ErrorKind::InvalidInput, message)
            .with_detail(Detail::Violations(vec![Violation { path, rule }]))
            .with_context("line", fault.line)
            .with_context("column", fault.column)
    }
}

/// What a scalar without quotes means.
fn resolve(text: &str) -> std::result::Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    // Most texts begin with a letter that no number and no odd boolean begins with.
    let first = text.as_bytes().first().map_or(b' ', u8::to_ascii_lowercase);
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.' | b'y' | b'n' | b'o' | b'i'))
    {
        return Ok(Value::String(text.to_owned()));
    }
    let lower = text.to_ascii_lowercase();
    if matches!(lower.as_str(), "yes" | "no" | "on" | "off") {
        return Err(format!(
            "some readers take {text} for true or false: write true or false, or \"{text}\""
        ));
    }
    if !looks_like_a_number(&lower) {
        return Ok(Value::String(text.to_owned()));
    }
    match json::parse(text.as_bytes()) {
        Ok(number @ Value::Number(_)) => Ok(number),
        _ => Err(format!(
            "a number is plain decimal and exact; write it so, or as text: \"{text}\""
        )),
    }
}

/// Whether some reader of YAML would take this text, in lower case, for a number.
fn looks_like_a_number(lower: &str) -> bool {
    let body = lower.strip_prefix(['+', '-']).unwrap_or(lower);
    if matches!(body, ".inf" | ".nan" | "inf" | "nan" | "infinity") {
        return true;
    }
    if let Some(digits) = ["0x", "0o", "0b"]
        .iter()
        .find_map(|prefix| body.strip_prefix(prefix))
    {
        return !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit() || b == b'_');
    }
    let (mantissa, exponent) = body.split_once('e').unwrap_or((body, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let digits = mantissa.bytes().any(|b| b.is_ascii_digit());
    let starts = mantissa.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let points = mantissa.bytes().filter(|b| *b == b'.').count();
    let number = mantissa
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'_'));
    let exponent = !exponent.is_empty() && exponent.bytes().all(|b| b.is_ascii_digit());
    digits && starts && points <= 1 && number && exponent
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
}
