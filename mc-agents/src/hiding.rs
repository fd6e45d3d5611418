//! Texts without the secrets in them: what is logged, shown or sent on goes through here.
//!
//! A text is hidden before it is cut: a secret that was cut is not found any more. Where secrets
//! overlap in a text, all of what they cover is hidden.

use std::ops::Range;

use serde_json::Value;

/// What stands in a text for a secret.
const HIDDEN: &str = "***";

/// Texts that must not show.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Secrets(Vec<String>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

impl Secrets {
    /// Secrets, as they are and as they stand in JSON; empty ones are none.
    pub(crate) fn new(texts: impl IntoIterator<Item = String>) -> Self {
        let mut all = Vec::new();
        for text in texts {
            let quoted = Value::from(text.as_str()).to_string();
            let quoted = quoted.trim_matches('"').to_owned();
            all.extend([text, quoted]);
        }
        all.retain(|text| !text.is_empty());
        all.sort();
        all.dedup();
        Self(all)
    }

    /// The bytes of the longest one.
    pub(crate) fn longest(&self) -> usize {
        self.0.iter().map(String::len).max().unwrap_or_default()
    }

    /// The text without them.
    pub(crate) fn hide(&self, text: &str) -> String {
        let mut found: Vec<Range<usize>> = Vec::new();
        for secret in &self.0 {
            let places = text.match_indices(secret.as_str());
            found.extend(places.map(|(at, _)| at..at + secret.len()));
        }
        found.sort_by_key(|range| range.start);
        let (mut out, mut from) = (String::with_capacity(text.len()), 0);
        let mut covered: Option<usize> = None;
        for range in found {
            if covered.is_none_or(|end| range.start >= end) {
                out.push_str(text.get(from..range.start).unwrap_or_default());
                out.push_str(HIDDEN);
            }
            let end = covered.unwrap_or_default().max(range.end);
            covered = Some(end);
            from = end;
        }
        out + text.get(from..).unwrap_or_default()
    }

    /// The end of a text that may have lost its beginning: without the secrets, and without what may
    /// be the rest of one that was cut.
    pub(crate) fn hide_end(&self, bytes: &[u8], whole: Whole) -> String {
        let skip = match whole {
            Whole::Yes => 0,
            Whole::No => self.longest().saturating_sub(1).min(bytes.len()),
        };
        let kept = bytes.get(skip..).unwrap_or_default();
        self.hide(String::from_utf8_lossy(kept).trim())
    }

    /// The value without them, in texts and in names of fields.
    pub(crate) fn hide_value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => self.hide(&text).into(),
            Value::Array(items) => items.into_iter().map(|one| self.hide_value(one)).collect(),
            Value::Object(fields) => fields
                .into_iter()
                .map(|(key, one)| (self.hide(&key), self.hide_value(one)))
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }
}

/// Whether all of a text is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    /// It is.
    Yes,
    /// Its beginning was dropped.
    No,
}

/// The first so many bytes of a text, cut between characters.
pub(crate) fn beginning(text: &str, most: usize) -> &str {
    let mut to = most.min(text.len());
    while !text.is_char_boundary(to) {
        to -= 1;
    }
    text.get(..to).unwrap_or_default()
}

/// The last so many bytes of a text, cut between characters.
pub(crate) fn end(text: &str, most: usize) -> &str {
    let mut from = text.len().saturating_sub(most);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text.get(from..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secrets(texts: &[&str]) -> Secrets {
        Secrets::new(texts.iter().map(|&text| text.to_owned()))
    }

    #[test]
    fn a_secret_that_begins_another_does_not_leave_the_rest_of_it() {
        for both in [["abcdef", "abcdefgh"], ["abcdefgh", "abcdef"]] {
            assert_eq!(secrets(&both).hide("x abcdefgh y abcdef"), "x *** y ***");
        }
        let crossing = secrets(&["abcdef", "defghi"]);
        assert_eq!(crossing.hide("abcdefghi!"), "***!");
        assert_eq!(crossing.hide("abcdefdefghi"), "******");
    }

    #[test]
    fn an_empty_secret_hides_nothing() {
        assert_eq!(secrets(&[""]).hide("text"), "text");
        assert_eq!(Secrets::default().hide("text"), "text");
    }

    #[test]
    fn a_secret_is_hidden_as_it_stands_in_json_too() {
        let key = secrets(&["a\"b\\c"]);
        let text = json!({"key": "a\"b\\c"}).to_string();
        assert_eq!(key.hide(&text), r#"{"key":"***"}"#);
        let value = key.hide_value(json!({"a\"b\\c": ["a\"b\\c", 1]}));
        assert_eq!(value, json!({"***": ["***", 1]}));
    }

    #[test]
    fn the_rest_of_a_secret_whose_beginning_was_dropped_does_not_show() {
        let key = secrets(&["sk-123456"]);
        assert_eq!(
            key.hide_end(b"23456 rest and sk-123456", Whole::No),
            "st and ***"
        );
        assert_eq!(key.hide_end(b"23456 rest", Whole::Yes), "23456 rest");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(beginning("a\u{e9}b", 2), "a");
        assert_eq!(end("a\u{e9}b", 2), "b");
        assert_eq!((beginning("ab", 9), end("ab", 9)), ("ab", "ab"));
    }
}
