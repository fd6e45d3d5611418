//! Reads the fields of one TOML table and collects every fault with its place.
//!
//! What is *not* here: what the fields mean (`read`).

use std::cell::RefCell;
use std::fmt;

use serde_json::{Map, Value};

use crate::error::{Detail, Error, ErrorKind, Violation};
use crate::json::escape_pointer;

/// The most faults that are reported at once.
const MAX_FAULTS: usize = 100;

/// The faults found so far.
#[derive(Debug, Default)]
pub(super) struct Faults(RefCell<Vec<Violation>>);

impl Faults {
    pub(super) fn add(&self, path: impl Into<String>, rule: impl fmt::Display) {
        let mut faults = self.0.borrow_mut();
        if faults.len() < MAX_FAULTS {
            faults.push(Violation::new(path, rule));
        }
    }

    /// The error of all faults, or nothing.
    pub(super) fn into_error(self) -> Option<Error> {
        let faults = self.0.into_inner();
        let first = faults.first()?;
        let more = match faults.len() {
            1 => String::new(),
            n => format!(" ({n} faults in all)"),
        };
        let message = format!("{}: {}{more}", first.path, first.rule);
        Some(Error::new(ErrorKind::InvalidInput, message).with_detail(Detail::Violations(faults)))
    }
}

/// One table and its place.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    path: String,
    map: &'a Map<String, Value>,
    faults: &'a Faults,
}

impl<'a> Fields<'a> {
    /// The fields of a table; keys that are not `known` are faults.
    pub(super) fn of(
        value: &'a Value,
        path: String,
        known: &[&str],
        faults: &'a Faults,
    ) -> Option<Self> {
        let Value::Object(map) = value else {
            faults.add(path, "must be a table");
            return None;
        };
        for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
            faults.add(
                format!("{path}/{}", escape_pointer(key)),
                "this key is not known",
            );
        }
        Some(Self { path, map, faults })
    }

    pub(super) fn faults(&self) -> &'a Faults {
        self.faults
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn fault(&self, key: &str, rule: impl fmt::Display) {
        self.faults
            .add(format!("{}/{}", self.path, escape_pointer(key)), rule);
    }

    pub(super) fn raw(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key)
    }

    /// Text, if the key is there.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        let value = self.map.get(key)?;
        if !value.is_string() {
            self.fault(key, "must be text in quotes");
        }
        value.as_str()
    }

    /// Text that reads as `T`, if the key is there.
    pub(super) fn parsed<T, E: fmt::Display>(
        &self,
        key: &str,
        read: impl FnOnce(&'a str) -> Result<T, E>,
    ) -> Option<T> {
        match read(self.text(key)?) {
            Ok(value) => Some(value),
            Err(rule) => {
                self.fault(key, rule);
                None
            }
        }
    }

    /// Says that a key must be there, if it is not.
    pub(super) fn require(&self, key: &str) {
        if !self.map.contains_key(key) {
            self.fault(key, "this key is missing");
        }
    }

    /// A whole number of at least zero, if the key is there.
    pub(super) fn count(&self, key: &str) -> Option<u64> {
        let value = self.map.get(key)?;
        if value.as_u64().is_none() {
            self.fault(key, "must be a whole number of at least 0");
        }
        value.as_u64()
    }

    /// `true` or `false`, if the key is there.
    pub(super) fn switch(&self, key: &str) -> Option<bool> {
        let value = self.map.get(key)?;
        if value.as_bool().is_none() {
            self.fault(key, "must be true or false");
        }
        value.as_bool()
    }

    /// The items of a list, each with its place; none if the key is not there.
    pub(super) fn list(&self, key: &str) -> Vec<(String, &'a Value)> {
        match self.map.get(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => {
                let place = |index: usize| format!("{}/{key}/{index}", self.path);
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| (place(index), item))
                    .collect()
            }
            Some(_) => {
                self.fault(key, "must be a list");
                Vec::new()
            }
        }
    }

    /// The pairs of a table of texts; none if the key is not there.
    pub(super) fn pairs(&self, key: &str) -> Vec<(&'a str, &'a str)> {
        let Some(value) = self.map.get(key) else {
            return Vec::new();
        };
        let Value::Object(map) = value else {
            self.fault(key, "must be a table");
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for (name, value) in map {
            match value.as_str() {
                Some(text) => pairs.push((name.as_str(), text)),
                None => self.fault(key, format_args!("`{name}` must be text in quotes")),
            }
        }
        pairs
    }
}
