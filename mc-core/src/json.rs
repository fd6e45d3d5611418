//! Strict JSON in, canonical JSON out.
//!
//! Reading refuses duplicate keys, nesting deeper than 64, numbers that would lose digits, and
//! whatever is not JSON, each with its place as a JSON pointer. [`StrictValue`] is the same reader
//! for any format that serde speaks. Writing sorts keys and keeps one spelling.
//! What is *not* here: the facts of events, which have their own encoder (`event`).

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::{Detail, Error, ErrorKind, Result, Violation};
use crate::id::Digest;

/// The deepest nesting of arrays and objects.
pub const MAX_DEPTH: usize = 64;

/// Integers of a float beyond this are not exact.
const EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// Reads one JSON document.
///
/// # Errors
/// `InvalidInput` with the place and the rule: not UTF-8, not JSON, a lone surrogate, a key given
/// twice, deeper than [`MAX_DEPTH`], an integer outside `i64` and `u64`, text behind the document.
pub fn parse(bytes: &[u8]) -> Result<Value> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Error::invalid("", format!("not UTF-8 from byte {}", error.valid_up_to()))
    })?;
    let place = Place::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    // Our own depth limit is lower and names the place.
    reader.disable_recursion_limit();
    let value = StrictValue::root(&place)
        .deserialize(&mut reader)
        .map_err(|e| fault(&place, &e))?;
    reader.end().map_err(|e| fault(&Place::default(), &e))?;
    Ok(value)
}

fn fault(place: &Place, error: &serde_json::Error) -> Error {
    let rule = error.to_string();
    let path = place.pointer();
    let message = if path.is_empty() {
        rule.clone()
    } else {
        format!("{path}: {rule}")
    };
    Error::new(ErrorKind::InvalidInput, message)
        .with_detail(Detail::Violations(vec![Violation { path, rule }]))
}

/// Where a reader stands, as a JSON pointer.
#[derive(Debug, Default)]
pub struct Place(RefCell<Vec<String>>);

impl Place {
    /// The place as a JSON pointer: `/steps/draft`; empty for the whole document.
    pub fn pointer(&self) -> String {
        self.0.borrow().iter().fold(String::new(), |path, part| {
            path + "/" + &escape_pointer(part)
        })
    }

    fn depth(&self) -> usize {
        self.0.borrow().len()
    }
}

/// Escapes one part of a JSON pointer (RFC 6901).
pub fn escape_pointer(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}

/// Reads any value by the strict rules; after an error `place` says where it was.
#[derive(Clone, Copy, Debug)]
pub struct StrictValue<'a> {
    place: &'a Place,
}

impl<'a> StrictValue<'a> {
    /// A reader for a whole document.
    pub const fn root(place: &'a Place) -> Self {
        Self { place }
    }

    fn enter<E: serde::de::Error>(self, part: String) -> std::result::Result<(), E> {
        self.place.0.borrow_mut().push(part);
        if self.place.depth() > MAX_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(())
    }

    // Not called on an error, so that the place stays where the error was.
    fn leave(self) {
        self.place.0.borrow_mut().pop();
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
            _ => Err(E::custom("an integer outside 64 bits")),
        }
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> std::result::Result<Value, E> {
        let value = u64::try_from(value).map_err(|_| E::custom("an integer outside 64 bits"))?;
        self.visit_u64(value)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> std::result::Result<Value, E> {
        if value.abs() >= EXACT_FLOAT {
            return Err(E::custom(
                "a number that would lose digits; write it as text",
            ));
        }
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("NaN and infinity are not numbers here"))
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
        let mut items = Vec::new();
        loop {
            self.enter(items.len().to_string())?;
            match seq.next_element_seed(self)? {
                Some(item) => items.push(item),
                None => break,
            }
            self.leave();
        }
        self.leave();
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.enter(key.clone())?;
            if object.contains_key(&key) {
                return Err(A::Error::custom("this key is given twice"));
            }
            let value = map.next_value_seed(self)?;
            object.insert(key, value);
            self.leave();
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

fn write_canonical(value: &Value, out: &mut Vec<u8>) {
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
            let mut keys: Vec<&String> = object.keys().collect();
            keys.sort_unstable();
            out.push(b'{');
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_scalar(key, out);
                out.push(b':');
                write_canonical(&object[key], out);
            }
            out.push(b'}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            write_scalar(value, out);
        }
    }
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
