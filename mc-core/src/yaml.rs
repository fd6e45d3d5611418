//! Strict YAML: the part of it that means the same to every reader, as a JSON value.
//!
//! Refused, each with line, column and JSON pointer: tags, anchors, aliases, merge keys, directives,
//! more than one document, keys that are not text, keys given twice, numbers that are not plain
//! decimal or would lose digits, `yes no on off` without quotes, nesting deeper than 64. Every fault
//! is noted and null stands in its place; only what is not YAML at all ends the reading.
//! What is *not* here: what the values mean.

use std::borrow::Cow;

use serde_json::{Map, Value};
use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use crate::error::{Error, Result, Violation};
use crate::json::{self, MAX_DEPTH, MAX_FAULTS, Reading, escape_pointer};

/// The most values of one document.
const MAX_VALUES: usize = 2_000_000;

/// Reads one YAML document.
///
/// # Errors
/// `InvalidInput` with the place and the rule of every fault.
pub fn parse(bytes: &[u8]) -> Result<Value> {
    read(bytes)?.into_value()
}

/// Reads one YAML document and notes what is wrong in it.
///
/// # Errors
/// `InvalidInput` where reading had to end: not UTF-8, not YAML, empty, a limit. It names the faults
/// before that too.
pub fn read(bytes: &[u8]) -> Result<Reading> {
    let text = json::text(bytes)?;
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_comments: false,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut composer = Composer::default();
    let ended = composer.run(&mut parser);
    let Composer {
        mut read, document, ..
    } = composer;
    match (ended, document) {
        (Ok(()), Some(value)) => {
            read.value = value;
            Ok(read)
        }
        (Ok(()), None) => Err(Error::invalid("", "the document is empty")),
        (Err(Ended), _) => Err(json::refusal(read.faults)),
    }
}

/// The reading cannot go on; why is noted.
struct Ended;

type Step = std::result::Result<(), Ended>;

/// A key that was read.
struct Key {
    name: String,
    /// Whether its value is kept: not that of a key given twice.
    kept: bool,
}

/// A list or an object that is being read.
enum Open {
    List(Vec<Value>),
    Object {
        fields: Map<String, Value>,
        key: Option<Key>,
    },
}

/// What a node that is not read stands for.
enum Skipped {
    /// A value: null takes its place.
    Value,
    /// A key: its value is read, but kept nowhere.
    Key,
}

#[derive(Default)]
struct Composer {
    open: Vec<Open>,
    /// The lists and objects open inside a node that is not read.
    skipping: Option<(Skipped, usize)>,
    document: Option<Value>,
    documents: usize,
    values: usize,
    read: Reading,
}

impl Composer {
    fn run<'a>(&mut self, parser: &mut Parser<'a, StrInput<'a>>) -> Step {
        while let Some(next) = parser.next_event() {
            match next {
                Ok((event, span)) => self.event(event, &span)?,
                Err(error) => return self.not_yaml(&error),
            }
            if self.documents > 1 {
                return Ok(());
            }
        }
        Ok(())
    }

    fn not_yaml(&mut self, error: &ScanError) -> Step {
        // The parser's own limit is higher, but it looks ahead of what it hands out.
        let too_deep = matches!(
            error.kind(),
            granit_parser::ErrorKind::RecursionLimitExceeded
        );
        let rule = if too_deep {
            json::too_deep()
        } else {
            format!("not YAML: {}", error.info())
        };
        self.note_at((error.marker().line(), error.marker().col() + 1), &rule);
        Err(Ended)
    }

    fn event(&mut self, event: Event<'_>, span: &Span) -> Step {
        if self.skipping.is_some() {
            return self.skip(&event, span);
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.fault(span, "there is more than one document")?;
                }
                Ok(())
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.count(span)?;
                self.fault(span, "aliases are not allowed; write the value out")?;
                self.blank();
                Ok(())
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
                let (fields, key) = (Map::new(), None);
                self.enter(Open::Object { fields, key }, span)
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
            _ => {
                self.fault(span, "this form of YAML is not known here")?;
                Err(Ended)
            }
        }
    }

    /// Passes over a part of a node that is not read.
    fn skip(&mut self, event: &Event<'_>, span: &Span) -> Step {
        let Some((skipped, depth)) = &mut self.skipping else {
            return Ok(());
        };
        if matches!(event, Event::SequenceStart(..) | Event::MappingStart(..)) {
            *depth += 1;
        } else if matches!(event, Event::SequenceEnd | Event::MappingEnd) {
            *depth -= 1;
        }
        if *depth > 0 {
            return self.count(span);
        }
        let skipped = std::mem::replace(skipped, Skipped::Value);
        self.skipping = None;
        match skipped {
            Skipped::Value => self.blank(),
            Skipped::Key => self.key("?".to_owned(), false),
        }
        Ok(())
    }

    fn count(&mut self, span: &Span) -> Step {
        self.values += 1;
        if self.values <= MAX_VALUES {
            return Ok(());
        }
        let rule = format!("a document has at most {MAX_VALUES} values");
        self.fault(span, &rule)?;
        Err(Ended)
    }

    fn plain_node(&mut self, span: &Span, anchor: usize, tag: bool) -> Step {
        self.count(span)?;
        if anchor != 0 {
            self.fault(span, "anchors are not allowed; write the value out")?;
        }
        if tag {
            self.fault(span, "tags are not allowed")?;
        }
        Ok(())
    }

    /// Whether the next node is a key.
    fn wants_key(&self) -> bool {
        matches!(self.open.last(), Some(Open::Object { key: None, .. }))
    }

    fn enter(&mut self, open: Open, span: &Span) -> Step {
        if self.wants_key() {
            self.fault(span, "a key is text, not a list or an object")?;
            self.skipping = Some((Skipped::Key, 1));
        } else if self.open.len() >= MAX_DEPTH {
            self.fault(span, &json::too_deep())?;
            self.skipping = Some((Skipped::Value, 1));
        } else {
            self.open.push(open);
        }
        Ok(())
    }

    fn scalar(&mut self, text: Cow<'_, str>, style: ScalarStyle, span: &Span) -> Step {
        let plain = style == ScalarStyle::Plain;
        if self.wants_key() {
            return self.scalar_key(text.into_owned(), plain, span);
        }
        let value = if plain {
            resolve(&text)
        } else {
            Ok(Value::String(text.into_owned()))
        };
        match value {
            Ok(value) => {
                self.place(value);
                Ok(())
            }
            Err(rule) => {
                self.fault(span, &rule)?;
                self.blank();
                Ok(())
            }
        }
    }

    fn scalar_key(&mut self, text: String, plain: bool, span: &Span) -> Step {
        let Some(Open::Object { fields, .. }) = self.open.last() else {
            return Ok(());
        };
        let twice = fields.contains_key(&text);
        let merges = plain && text == "<<";
        let is_text = !plain || matches!(resolve(&text), Ok(Value::String(_)));
        let rule = match (merges, is_text, twice) {
            (true, _, _) => Some("merge keys are not allowed; write the fields out".to_owned()),
            (false, false, _) => Some(format!("a key is text; write it as \"{text}\"")),
            (false, true, true) => Some("this key is given twice".to_owned()),
            (false, true, false) => None,
        };
        self.key(text, !merges && !twice);
        rule.map_or(Ok(()), |rule| self.fault(span, &rule))
    }

    fn key(&mut self, name: String, kept: bool) {
        if let Some(Open::Object { key, .. }) = self.open.last_mut() {
            *key = Some(Key { name, kept });
        }
    }

    /// Puts null where a value or a key is wrong.
    fn blank(&mut self) {
        if self.wants_key() {
            self.key("*".to_owned(), false);
            return;
        }
        self.read.blanks.insert(self.pointer());
        self.place(Value::Null);
    }

    /// Puts a finished value where it belongs.
    fn place(&mut self, value: Value) {
        match self.open.last_mut() {
            None => self.document = Some(value),
            Some(Open::List(items)) => items.push(value),
            Some(Open::Object { fields, key }) => {
                if let Some(Key { name, kept: true }) = key.take() {
                    fields.insert(name, value);
                }
            }
        }
    }

    /// Where the reader stands, as a JSON pointer.
    fn pointer(&self) -> String {
        let part = |open: &Open| match open {
            Open::List(items) => Some(items.len().to_string()),
            Open::Object { key, .. } => key.as_ref().map(|key| key.name.clone()),
        };
        let mut pointer = String::new();
        for part in self.open.iter().filter_map(part) {
            pointer.push('/');
            pointer.push_str(&escape_pointer(&part));
        }
        pointer
    }

    /// Notes a fault of the node at `span`.
    fn fault(&mut self, span: &Span, rule: &str) -> Step {
        let place = (span.start.line(), span.start.col() + 1);
        if self.read.faults.len() >= MAX_FAULTS {
            self.note_at(place, &json::too_many_faults());
            return Err(Ended);
        }
        self.note_at(place, rule);
        Ok(())
    }

    fn note_at(&mut self, (line, column): (usize, usize), rule: &str) {
        let rule = format!("{rule} (line {line}, column {column})");
        let fault = Violation::new(self.pointer(), rule);
        self.read.faults.push(fault);
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
mod tests;
