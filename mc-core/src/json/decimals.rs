//! JSON whose numbers keep their digits: each is read as its text.
//!
//! For files whose fractions are money: no number ever becomes a float. What is *not* here: what the
//! texts mean (`pricing`).

use serde::de::IgnoredAny;
use serde_json::Value;

use super::{parse, string_length, text};
use crate::error::{Error, Result};

/// Reads one JSON document with every number as its text: `2.50` is read as `"2.50"`.
///
/// # Errors
/// As [`parse`], except that numbers may be of any size and precision.
pub fn parse_decimals(bytes: &[u8]) -> Result<Value> {
    let text = text(bytes)?;
    // Once the numbers are quoted, nobody sees any more that one is not written as JSON wants it.
    let mut reader = serde_json::Deserializer::from_str(text);
    reader.disable_recursion_limit();
    let read = serde::Deserialize::deserialize(&mut reader);
    read.and_then(|IgnoredAny| reader.end())
        .map_err(|error| Error::invalid("", error))?;
    parse(quoted(text).as_bytes())
}

/// The text with each number in quotes.
fn quoted(text: &str) -> String {
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    let mut out = String::with_capacity(text.len().saturating_mul(9) / 8);
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        let (before, token) = rest.split_at(at);
        out.push_str(before);
        if token.starts_with('"') {
            let (string, behind) = token.split_at(string_length(token));
            out.push_str(string);
            rest = behind;
        } else {
            let end = token.find(|c| !numeric(c)).unwrap_or(token.len());
            let (number, behind) = token.split_at(end);
            out.extend(["\"", number, "\""]);
            rest = behind;
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_keep_every_digit() {
        let text =
            br#"{"a":[1e-07,2.50,-0.0,123456789012345678901234567890],"b":"1.5 \" 2","c":true}"#;
        let value = json!({
            "a": ["1e-07", "2.50", "-0.0", "123456789012345678901234567890"],
            "b": "1.5 \" 2", "c": true,
        });
        assert_eq!(parse_decimals(text).unwrap(), value);
        assert_eq!(parse_decimals(b"1e999").unwrap(), json!("1e999"));
    }

    #[test]
    fn what_is_not_json_stays_refused() {
        for bad in [
            "NaN",
            "01",
            "1.",
            "-",
            "{\"a\":1,\"a\":2}",
            "1 2",
            "[1,]",
            "1e",
        ] {
            assert!(parse_decimals(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
