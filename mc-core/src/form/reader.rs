//! Reads the fields of a document and notes every problem, with its place, instead of stopping.
//!
//! The same fields have two spellings: in documents (`timeout: 5m`, `usd: "5.00"`) and in canonical
//! bytes (`timeout_ms: 300000`, `nano_usd: 5000000000`). What is *not* here: which fields there are.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Map, Number, Value};

use super::at::At;
use crate::error::WorkflowProblem;
use crate::money::NanoUsd;
use crate::resilience::{Coefficient, RetryFault};
use crate::time::parse_duration;

/// How scalars with a unit are spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// As people write them.
    Document,
    /// As integers, in canonical bytes.
    Canonical,
}

impl Spelling {
    fn key(self, field: &'static str) -> &'static str {
        match (self, field) {
            (Self::Canonical, "usd") => "nano_usd",
            (Self::Canonical, "price_usd") => "price_nano_usd",
            (Self::Canonical, "timeout") => "timeout_ms",
            (Self::Canonical, "expires_in") => "expires_in_ms",
            (Self::Canonical, "initial_interval") => "initial_interval_ms",
            (Self::Canonical, "maximum_interval") => "maximum_interval_ms",
            (Self::Canonical, "max_elapsed") => "max_elapsed_ms",
            (Self::Canonical, "backoff_coefficient") => "backoff_coefficient_thousandths",
            (Self::Canonical | Self::Document, field) => field,
        }
    }
}

/// Notes the problems of one document.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) spelling: Spelling,
    pub(crate) problems: Vec<WorkflowProblem>,
}

impl Reader {
    /// Notes a wrong form.
    pub(crate) fn form(&mut self, at: &At<'_>, rule: impl Display) {
        let rule = rule.to_string();
        self.problems.push(WorkflowProblem::Form {
            at: at.pointer(),
            rule,
        });
    }

    /// Notes a limit that is passed.
    pub(crate) fn limit(&mut self, at: &At<'_>, name: &str, max: usize) {
        let max = u64::try_from(max).unwrap_or(u64::MAX);
        let problem = WorkflowProblem::Limit {
            name: name.to_owned(),
            max,
            at: at.pointer(),
        };
        self.problems.push(problem);
    }
}

/// An object of known fields, and its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    map: &'a Map<String, Value>,
    at: &'a At<'a>,
}

impl<'a> Fields<'a> {
    /// Opens an object; notes every field that is not in `known` or `later`.
    pub(crate) fn open(
        reader: &mut Reader,
        value: &'a Value,
        at: &'a At<'a>,
        known: &[&'static str],
    ) -> Option<Self> {
        Self::open_with_later(reader, value, at, (known, &[]))
    }

    /// As [`open`](Self::open), with fields that are known but not available in this version.
    pub(crate) fn open_with_later(
        reader: &mut Reader,
        value: &'a Value,
        at: &'a At<'a>,
        (known, later): (&[&'static str], &[&'static str]),
    ) -> Option<Self> {
        let Value::Object(map) = value else {
            reader.form(
                at,
                format!("an object of fields is wanted, not {}", kind(value)),
            );
            return None;
        };
        for key in map.keys() {
            if known.iter().any(|field| reader.spelling.key(field) == key) {
                continue;
            }
            let place = at.child(key);
            if later.contains(&key.as_str()) {
                let (at, feature) = (place.pointer(), key.clone());
                reader
                    .problems
                    .push(WorkflowProblem::NotAvailable { at, feature });
            } else {
                reader.form(&place, unknown(key, known));
            }
        }
        Some(Self { map, at })
    }

    /// The place of the object.
    pub(crate) const fn place(&self) -> &'a At<'a> {
        self.at
    }

    /// The place of a field.
    pub(crate) fn at(&self, field: &'static str) -> At<'a> {
        self.at.child(field)
    }

    /// Whether a field is written.
    pub(crate) fn has(&self, field: &'static str) -> bool {
        self.map.contains_key(field)
    }

    /// A field's value; null is noted, since a field is written with a value or left out.
    pub(crate) fn get(&self, reader: &mut Reader, field: &'static str) -> Option<&'a Value> {
        let value = self.map.get(reader.spelling.key(field))?;
        if value.is_null() {
            reader.form(
                &self.at(field),
                "this field has no value; write one or leave it out",
            );
            return None;
        }
        Some(value)
    }

    /// Notes a field that has to be there and is not.
    pub(crate) fn require(&self, reader: &mut Reader, field: &'static str) {
        if !self.map.contains_key(reader.spelling.key(field)) {
            reader.form(self.at, format!("the field `{field}` is missing"));
        }
    }

    /// A text.
    pub(crate) fn text(&self, reader: &mut Reader, field: &'static str) -> Option<&'a str> {
        let value = self.get(reader, field)?;
        let text = value.as_str();
        if text.is_none() {
            reader.form(
                &self.at(field),
                format!("text is wanted, not {}", kind(value)),
            );
        }
        text
    }

    /// A text that reads as `T`.
    pub(crate) fn parsed<T>(&self, reader: &mut Reader, field: &'static str) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        let text = self.text(reader, field)?;
        text.parse()
            .map_err(|fault: T::Err| reader.form(&self.at(field), fault))
            .ok()
    }

    /// One of a few texts.
    pub(crate) fn choice<T: Copy>(
        &self,
        reader: &mut Reader,
        field: &'static str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let text = self.text(reader, field)?;
        let found = choices
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            reader.form(
                &self.at(field),
                format!("one of {} is wanted", names.join(", ")),
            );
        }
        found
    }

    /// A list of different texts that read as `T`.
    pub(crate) fn set<T>(&self, reader: &mut Reader, field: &'static str) -> BTreeSet<T>
    where
        T: FromStr<Err: Display> + Ord,
    {
        let mut found = BTreeSet::new();
        let Some(value) = self.get(reader, field) else {
            return found;
        };
        let list = self.at(field);
        let Value::Array(items) = value else {
            reader.form(
                &list,
                format!("a list of texts is wanted, not {}", kind(value)),
            );
            return found;
        };
        for (index, item) in items.iter().enumerate() {
            let index = index.to_string();
            let at = list.child(&index);
            match item.as_str().map(str::parse) {
                None => reader.form(&at, format!("text is wanted, not {}", kind(item))),
                Some(Err(fault)) => reader.form(&at, fault),
                Some(Ok(item)) => {
                    if !found.insert(item) {
                        reader.form(&at, "this is given twice");
                    }
                }
            }
        }
        found
    }

    /// A whole number within `range`.
    pub(crate) fn count(
        &self,
        reader: &mut Reader,
        field: &'static str,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let value = self.get(reader, field)?;
        let count = value.as_u64().filter(|count| range.contains(count));
        if count.is_none() {
            let (least, most) = range.into_inner();
            let rule = format!("a whole number from {least} to {most} is wanted, without quotes");
            reader.form(&self.at(field), rule);
        }
        count
    }

    /// A duration: `5m` in documents, milliseconds in canonical bytes.
    pub(crate) fn duration(&self, reader: &mut Reader, field: &'static str) -> Option<Duration> {
        let value = self.get(reader, field)?;
        let span = match reader.spelling {
            Spelling::Document => value.as_str().and_then(|text| parse_duration(text).ok()),
            Spelling::Canonical => value.as_u64().map(Duration::from_millis),
        };
        if span.is_none() {
            let rule = "a duration is text of an integer and one of ms, s, m, h, d, e.g. `5m`";
            reader.form(&self.at(field), rule);
        }
        span
    }

    /// Money: `"5.00"` in documents, nano-USD in canonical bytes.
    pub(crate) fn money(&self, reader: &mut Reader, field: &'static str) -> Option<NanoUsd> {
        let value = self.get(reader, field)?;
        let money = match (reader.spelling, value) {
            (Spelling::Document, Value::String(text)) => text.parse().map_err(|f| format!("{f}")),
            (Spelling::Document, Value::Number(number)) => Err(quoted(field, number)),
            (Spelling::Canonical, Value::Number(nano)) => nano
                .as_i64()
                .filter(|nano| *nano >= 0)
                .map(NanoUsd::from_nano)
                .ok_or_else(|| "nano-USD are a positive integer".to_owned()),
            (_, other) => Err(format!(
                "an amount is text, e.g. {field}: \"5.00\", not {}",
                kind(other)
            )),
        };
        money
            .map_err(|rule| reader.form(&self.at(field), rule))
            .ok()
    }

    /// A backoff coefficient: `2`, `1.5` or text in documents, thousandths in canonical bytes.
    pub(crate) fn coefficient(
        &self,
        reader: &mut Reader,
        field: &'static str,
    ) -> Option<Coefficient> {
        let value = self.get(reader, field)?;
        let found = match (reader.spelling, value) {
            (Spelling::Document, Value::Number(number)) => Coefficient::parse(&number.to_string()),
            (Spelling::Document, Value::String(text)) => Coefficient::parse(text),
            (Spelling::Canonical, Value::Number(number)) => number
                .as_u64()
                .and_then(|thousandths| u32::try_from(thousandths).ok())
                .ok_or(RetryFault::Coefficient)
                .and_then(Coefficient::from_thousandths),
            (_, _) => Err(RetryFault::Coefficient),
        };
        found
            .map_err(|fault| reader.form(&self.at(field), fault))
            .ok()
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Says how to write an amount that was written as a number.
fn quoted(field: &str, number: &Number) -> String {
    let example = number
        .to_string()
        .parse()
        .unwrap_or(NanoUsd::from_nano(5_000_000_000));
    format!("an amount is written in quotes, so that no digit is lost: {field}: \"{example}\"")
}

/// So many fields are named to whoever wrote another.
const FEW: usize = 4;

fn unknown(key: &str, known: &[&'static str]) -> String {
    let near = known
        .iter()
        .map(|field| (distance(key, field), *field))
        .min();
    match near {
        Some((distance, field)) if distance <= 2 => {
            format!("there is no such field; did you mean `{field}`?")
        }
        Some(_) | None if known.len() <= FEW => {
            format!("there is no such field, only {}", known.join(", "))
        }
        Some(_) | None => "there is no such field".to_owned(),
    }
}

/// The edit distance of two names (Levenshtein), held at 3 for names of very different length.
fn distance(left: &str, right: &str) -> usize {
    if left.len().abs_diff(right.len()) > 2 {
        return 3;
    }
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, r) in right.bytes().enumerate() {
            let changed = diagonal + usize::from(l != r);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_suggested() {
        assert!(unknown("neds", &["agent", "needs"]).contains("`needs`"));
        assert!(unknown("max_item", &["max_items"]).contains("`max_items`"));
        assert_eq!(
            unknown("colour", &["agent", "needs"]),
            "there is no such field, only agent, needs"
        );
        assert_eq!(
            unknown("colour", &["a", "b", "c", "d", "e"]),
            "there is no such field"
        );
    }

    #[test]
    fn the_edit_distance_counts_single_changes() {
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("abc", "abd"), 1);
        assert_eq!(distance("", "ab"), 2);
        assert_eq!(distance("abcdef", "ab"), 3);
    }
}
