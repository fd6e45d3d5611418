//! Strict JSON in, canonical JSON out.
//!
//! Reading refuses duplicate keys, nesting deeper than 64, numbers that would lose digits, and
//! whatever is not JSON, each with its place as a JSON pointer. It notes every fault and goes on with
//! null in its place; only what is not JSON at all ends it. Writing sorts keys and keeps one spelling.
//! What is *not* here: the facts of events, which have their own encoder (`event`).

pub mod as_base64;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::{Detail, Error, ErrorKind, Result, Violation};
use crate::id::Digest;

mod decimals;
mod depth;

pub use decimals::parse_decimals;
pub(crate) use depth::{cut, is_too_deep, take_apart};

/// The deepest nesting of arrays and objects.
pub const MAX_DEPTH: usize = 64;

/// The most faults of one document; reading ends behind the last.
pub const MAX_FAULTS: usize = 1_000;

/// Integers of a float beyond this are not exact.
const EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// A document whose values may be wrong: everything that could be read, and every fault.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The document, with null where a value was wrong.
    pub value: Value,
    /// The faults in the order of the text.
    pub faults: Vec<Violation>,
    /// The places, as JSON pointers, where null stands for a value that was wrong.
    pub blanks: BTreeSet<String>,
}

impl Reading {
    /// The value, if nothing was wrong.
    ///
    /// # Errors
    /// `InvalidInput` with every fault.
    pub fn into_value(self) -> Result<Value> {
        if self.faults.is_empty() {
            Ok(self.value)
        } else {
            Err(refusal(self.faults))
        }
    }
}

/// Reads one JSON document.
///
/// # Errors
/// `InvalidInput` with the place and the rule of every fault: not UTF-8, not JSON, a lone surrogate,
/// a key given twice, deeper than [`MAX_DEPTH`], an integer outside `i64` and `u64`, text behind the
/// document.
pub fn parse(bytes: &[u8]) -> Result<Value> {
    read(bytes)?.into_value()
}

/// Reads one JSON document and notes what is wrong in it.
///
/// # Errors
/// `InvalidInput` where reading had to end: not UTF-8, not JSON, more than [`MAX_FAULTS`]. It names
/// the faults before that too.
pub fn read(bytes: &[u8]) -> Result<Reading> {
    let text = text(bytes)?;
    match read_text(text) {
        Err((_, error)) if error.to_string().starts_with("number out of range") => {
            read_text(&within_range(text))
        }
        other => other,
    }
    .map_err(|(mut faults, error)| {
        let path = faults.pointer();
        let mut faults = std::mem::take(faults.faults.get_mut());
        faults.push(Violation::new(path, error));
        refusal(faults)
    })
}

/// A document as text.
pub(crate) fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes)
        .map_err(|error| Error::invalid("", format!("not UTF-8 from byte {}", error.valid_up_to())))
}

fn read_text(text: &str) -> std::result::Result<Reading, (Place, serde_json::Error)> {
    let place = Place::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    // Our own depth limit is lower and names the place.
    reader.disable_recursion_limit();
    let read = StrictValue { place: &place }.deserialize(&mut reader);
    match read.and_then(|value| reader.end().map(|()| value)) {
        Ok(value) => Ok(Reading {
            value,
            faults: place.faults.into_inner(),
            blanks: place.blanks.into_inner(),
        }),
        Err(error) => Err((place, error)),
    }
}

/// The text with another number, refused for its digits, instead of each that no float can hold:
/// the parser ends at those.
fn within_range(text: &str) -> String {
    const INEXACT: &str = "9e17";
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = if rest.starts_with('"') {
            string_length(rest)
        } else {
            rest.find(|c| !numeric(c)).unwrap_or(rest.len())
        };
        let (token, behind) = rest.split_at(length);
        let infinite = token.parse().is_ok_and(f64::is_infinite);
        out.push_str(if infinite { INEXACT } else { token });
        // The places that the parser tells stay right.
        out.extend(std::iter::repeat_n(
            ' ',
            if infinite { length - INEXACT.len() } else { 0 },
        ));
        rest = behind;
    }
    out + rest
}

/// The bytes of the quoted text that `rest` begins with.
fn string_length(rest: &str) -> usize {
    let mut escaped = false;
    let end = rest.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(rest.len(), |end| end + 2)
}

/// One error of all faults; the message has the first.
pub(crate) fn refusal(faults: Vec<Violation>) -> Error {
    let told = |Violation { path, rule }: &Violation| match path.as_str() {
        "" => rule.clone(),
        path => format!("{path}: {rule}"),
    };
    let message = match faults.split_first() {
        None => String::new(),
        Some((first, [])) => told(first),
        Some((first, more)) => format!("{} (and {} more)", told(first), more.len()),
    };
    Error::new(ErrorKind::InvalidInput, message).with_detail(Detail::Violations(faults))
}

/// One step of the way to a value; its text is made only for a fault.
#[derive(Debug)]
enum Part {
    Key(String),
    Item(usize),
}

/// Where a reader stands, and what it has noted.
#[derive(Debug, Default)]
struct Place {
    path: RefCell<Vec<Part>>,
    faults: RefCell<Vec<Violation>>,
    blanks: RefCell<BTreeSet<String>>,
}

impl Place {
    /// The place as a JSON pointer: `/steps/draft`; empty for the whole document.
    fn pointer(&self) -> String {
        self.path
            .borrow()
            .iter()
            .fold(String::new(), |path, part| match part {
                Part::Key(key) => path + "/" + &escape_pointer(key),
                Part::Item(index) => format!("{path}/{index}"),
            })
    }

    fn depth(&self) -> usize {
        self.path.borrow().len()
    }

    /// Notes a fault of this place.
    fn fault<E: serde::de::Error>(&self, rule: impl fmt::Display) -> std::result::Result<(), E> {
        let mut faults = self.faults.borrow_mut();
        if faults.len() >= MAX_FAULTS {
            return Err(E::custom(too_many_faults()));
        }
        faults.push(Violation::new(self.pointer(), rule));
        Ok(())
    }

    /// Notes that the value here is wrong; null stands for it.
    fn blank<E: serde::de::Error>(&self, rule: impl fmt::Display) -> std::result::Result<Value, E> {
        self.fault(rule)?;
        self.blanks.borrow_mut().insert(self.pointer());
        Ok(Value::Null)
    }
}

/// The rule of the limit on faults.
pub(crate) fn too_many_faults() -> String {
    format!("more than {MAX_FAULTS} faults; reading ends here")
}

/// The rule of the limit on nesting.
pub(crate) fn too_deep() -> String {
    format!("nested deeper than {MAX_DEPTH}")
}

/// Escapes one part of a JSON pointer (RFC 6901).
pub fn escape_pointer(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}

/// Reads any value by the strict rules. After an error `place` says where it was.
#[derive(Clone, Copy, Debug)]
struct StrictValue<'a> {
    place: &'a Place,
}

impl StrictValue<'_> {
    fn enter(self, part: Part) {
        self.place.path.borrow_mut().push(part);
    }

    // Not called on an error, so that the place stays where the error was.
    fn leave(self) -> Option<Part> {
        self.place.path.borrow_mut().pop()
    }
}

impl<'de> DeserializeSeed<'de> for StrictValue<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictValue<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i128<E: serde::de::Error>(self, value: i128) -> std::result::Result<Value, E> {
        match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => self.visit_i64(value),
            (_, Ok(value)) => self.visit_u64(value),
            _ => self.place.blank("an integer outside 64 bits"),
        }
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> std::result::Result<Value, E> {
        match u64::try_from(value) {
            Ok(value) => self.visit_u64(value),
            Err(_) => self.place.blank("an integer outside 64 bits"),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> std::result::Result<Value, E> {
        if value.abs() >= EXACT_FLOAT {
            let rule = "a number that would lose digits; write it as text";
            return self.place.blank(rule);
        }
        match Number::from_f64(value) {
            Some(number) => Ok(Value::Number(number)),
            None => self.place.blank("NaN and infinity are not numbers here"),
        }
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> std::result::Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: serde::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Value, A::Error> {
        if self.place.depth() >= MAX_DEPTH {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return self.place.blank(too_deep());
        }
        let mut items = Vec::new();
        loop {
            self.enter(Part::Item(items.len()));
            let item = seq.next_element_seed(self)?;
            self.leave();
            match item {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Value, A::Error> {
        if self.place.depth() >= MAX_DEPTH {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return self.place.blank(too_deep());
        }
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let twice = object.contains_key(&key);
            self.enter(Part::Key(key));
            if twice {
                self.place.fault::<A::Error>("this key is given twice")?;
            }
            let value = map.next_value_seed(self)?;
            if let (Some(Part::Key(key)), false) = (self.leave(), twice) {
                object.insert(key, value);
            }
        }
        Ok(Value::Object(object))
    }
}

/// Writes a value with sorted keys and no spaces; fractions keep their shortest decimal text.
///
/// A float without a fraction stays a float (`1.0`), so `1` and `1.0` differ.
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write_canonical(value, &mut out);
    out
}

/// Writes a value behind what `out` has.
pub(crate) fn write_canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_canonical(item, out);
            }
            out.push(b']');
        }
        Value::Object(object) => {
            // A map may be one that keeps the order of the text.
            if object.keys().is_sorted() {
                write_object(object, out, write_canonical);
            } else {
                let mut fields: Vec<(&String, &Value)> = object.iter().collect();
                fields.sort_unstable_by_key(|(key, _)| *key);
                write_object(fields, out, write_canonical);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            write_scalar(value, out);
        }
    }
}

/// Writes an object of fields that are sorted, behind what `out` has.
pub(crate) fn write_object<K: AsRef<str>, V>(
    fields: impl IntoIterator<Item = (K, V)>,
    out: &mut Vec<u8>,
    mut write: impl FnMut(V, &mut Vec<u8>),
) {
    out.push(b'{');
    for (index, (key, value)) in fields.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_scalar(&key.as_ref(), out);
        out.push(b':');
        write(value, out);
    }
    out.push(b'}');
}

fn write_scalar(scalar: &impl serde::Serialize, out: &mut Vec<u8>) {
    // Writing to memory does not fail, and neither do texts and numbers.
    let written = serde_json::to_writer(out, scalar);
    debug_assert!(written.is_ok(), "{written:?}");
}

/// The SHA-256 of a value's canonical bytes.
pub fn digest(value: &Value) -> Digest {
    Digest::of(&[&canonical(value)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_key_given_twice_is_refused_with_its_place() {
        let message = refused(r#"{"a":{"b":1,"b":2}}"#);
        assert!(
            message.contains("/a/b") && message.contains("given twice"),
            "{message}"
        );
    }

    #[test]
    fn nesting_ends_at_64() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(nested(64).as_bytes()).is_ok());
        assert!(refused(&nested(65)).contains("deeper than 64"));
        assert!(refused(&nested(100_000)).contains("deeper than 64"));
    }

    #[test]
    fn numbers_are_exact_or_refused() {
        assert_eq!(
            parse(b"18446744073709551615").unwrap(),
            Value::from(u64::MAX)
        );
        assert_eq!(
            parse(b"9007199254740993").unwrap().to_string(),
            "9007199254740993"
        );
        for bad in [
            "18446744073709551616",
            "1e400",
            "1e16",
            "NaN",
            "Infinity",
            "-9223372036854775809",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_fault_of_a_document_is_named_in_one_error() {
        let deep = "[".repeat(70) + &"]".repeat(70);
        let text = format!(
            r#"{{"a":1,"a":[1e400],"b":"1e400 \" 1e400 \\","c":18446744073709551616,
               "d":{deep},"e":-1e999,"a":2,"f":{{"g":1,"g":2}}}}"#
        );
        let error = parse(text.as_bytes()).unwrap_err();
        let Some(Detail::Violations(faults)) = error.detail() else {
            panic!("{error:?}");
        };
        let places: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        let deep = format!("/d{}", "/0".repeat(63));
        assert_eq!(
            places,
            ["/a", "/a/0", "/c", deep.as_str(), "/e", "/a", "/f/g"]
        );
        assert!(error.message().ends_with("(and 6 more)"), "{error}");
    }

    #[test]
    fn what_ends_the_reading_is_named_behind_the_faults_before_it() {
        let error = parse(br#"{"a":1,"a":2,"b":1e400,"c":NaN}"#).unwrap_err();
        let Some(Detail::Violations(faults)) = error.detail() else {
            panic!("{error:?}");
        };
        let places: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(places, ["/a", "/b", "/c"]);
        let many = format!("[{}]", vec!["1e17"; 2_000].join(","));
        let error = parse(many.as_bytes()).unwrap_err();
        assert!(matches!(error.detail(), Some(Detail::Violations(faults)) if
            faults.len() == 1_001 && faults[1_000].rule.contains("more than 1000 faults")));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for bad in [
            &b"{\"a\":\"\\ud800\"}"[..],
            b"\"\xff\"",
            b"{} x",
            b"",
            b"{'a':1}",
            b"[1,]",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn canonical_bytes_do_not_depend_on_the_order_of_keys() {
        let one = parse(br#"{"b":[1,1.5,{"y":null,"x":true}],"a":"\u00e4"}"#).unwrap();
        let two = parse(br#"{"a":"\u00e4","b":[1,1.50,{"x":true,"y":null}]}"#).unwrap();
        assert_eq!(canonical(&one), canonical(&two));
        assert_eq!(
            canonical(&one),
            "{\"a\":\"\u{e4}\",\"b\":[1,1.5,{\"x\":true,\"y\":null}]}".as_bytes()
        );
        assert_ne!(
            digest(&parse(b"1").unwrap()),
            digest(&parse(b"1.0").unwrap())
        );
    }
}
