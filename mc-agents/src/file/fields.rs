//! The fields of an agent, read strictly: every fault with its place, none of them the last.

use std::time::Duration;

use mc_core::error::Violation;
use mc_core::json::escape_pointer;
use mc_core::time::parse_duration;
use serde_json::{Map, Value};

/// The fields of one object of the file.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    at: String,
    object: &'a Map<String, Value>,
    known: Vec<&'static str>,
    faults: Vec<Violation>,
}

impl<'a> Fields<'a> {
    pub(super) const fn new(at: String, object: &'a Map<String, Value>) -> Self {
        Self {
            at,
            object,
            known: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// A fault of a field; the value that stands for it is never used.
    pub(super) fn fault(&mut self, key: &str, rule: impl Into<String>) {
        let path = format!("{}/{}", self.at, escape_pointer(key));
        self.faults.push(Violation::new(path, rule.into()));
    }

    /// A field that may be absent.
    pub(super) fn find(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.object.get(key)
    }

    /// A text that may be absent; an empty one is a fault.
    pub(super) fn text_if(&mut self, key: &'static str) -> Option<&'a str> {
        let value = self.find(key)?;
        let text = value.as_str().filter(|text| !text.is_empty());
        if text.is_none() {
            self.fault(key, "a text is required: put it in quotes");
        }
        text
    }

    /// A text; an absent or empty one is a fault.
    pub(super) fn text(&mut self, key: &'static str, what: &str) -> &'a str {
        let text = self.find(key).and_then(Value::as_str);
        text.filter(|text| !text.is_empty()).unwrap_or_else(|| {
            self.fault(key, format!("{what} is required"));
            ""
        })
    }

    /// A list of texts that may be absent.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<&'a str> {
        let Some(value) = self.find(key) else {
            return Vec::new();
        };
        let texts = value.as_array().map(|list| list.iter().map(Value::as_str));
        let texts: Option<Vec<&str>> = texts.and_then(Iterator::collect);
        texts.unwrap_or_else(|| {
            self.fault(key, "a list of texts is required");
            Vec::new()
        })
    }

    /// A span that may be absent.
    pub(super) fn span(&mut self, key: &'static str) -> Option<Duration> {
        let text = self.text_if(key)?;
        let span = parse_duration(text);
        { span }
            .map_err(|fault| self.fault(key, fault.to_string()))
            .ok()
    }

    /// A whole number of a range that may be absent.
    pub(super) fn count(&mut self, key: &'static str, range: (u64, u64)) -> Option<u64> {
        let value = self.find(key)?;
        let count = value.as_u64().filter(|n| (range.0..=range.1).contains(n));
        if count.is_none() {
            let rule = format!("a whole number from {} to {} is required", range.0, range.1);
            self.fault(key, rule);
        }
        count
    }

    /// The faults; fields that nobody asked for are among them.
    pub(super) fn finish(mut self) -> Vec<Violation> {
        let known = self.known.join(", ");
        let unknown = self.object.keys();
        let unknown: Vec<&String> = { unknown }
            .filter(|key| !self.known.contains(&key.as_str()))
            .collect();
        for key in unknown {
            self.fault(key, format!("there is no such key; there is {known}"));
        }
        self.faults
    }

    /// A fault inside a field's value, at a JSON pointer of it.
    pub(super) fn fault_inside(&mut self, key: &str, pointer: &str, rule: impl Into<String>) {
        let path = format!("{}/{}{pointer}", self.at, escape_pointer(key));
        self.faults.push(Violation::new(path, rule.into()));
    }

    /// An object that a field is, with fields of its own; its faults are put to these.
    pub(super) fn object<T>(
        &mut self,
        key: &str,
        value: &Value,
        read: impl FnOnce(&mut Fields<'_>) -> T,
    ) -> Option<T> {
        self.nested(format!("{}/{key}", self.at), value, read)
    }

    /// An object inside a field, with fields of its own; its faults are put to these.
    pub(super) fn inside<T>(
        &mut self,
        key: &str,
        (at, value): (&str, &Value),
        read: impl FnOnce(&mut Fields<'_>) -> T,
    ) -> Option<T> {
        let at = format!("{}/{key}/{}", self.at, escape_pointer(at));
        self.nested(at, value, read)
    }

    fn nested<T>(
        &mut self,
        at: String,
        value: &Value,
        read: impl FnOnce(&mut Fields<'_>) -> T,
    ) -> Option<T> {
        let Some(fields) = value.as_object() else {
            self.faults
                .push(Violation::new(at, "an object is required"));
            return None;
        };
        let mut inner = Fields::new(at, fields);
        let read = read(&mut inner);
        self.faults.extend(inner.finish());
        Some(read)
    }
}
