//! Every released shape of facts is read and written back by today's code, byte for byte.

use std::collections::BTreeSet;

use mc_core::error::ErrorKind;
use mc_core::event::EventKind;
use serde_json::{Map, Value};

use super::{golden, source};

fn object(facts: &str) -> Map<String, Value> {
    serde_json::from_str(facts).unwrap()
}

#[test]
fn every_kind_has_a_golden_line_in_its_order() {
    let mut types: Vec<&str> = golden().into_iter().map(|(name, _)| name).collect();
    types.dedup();
    assert_eq!(types, EventKind::NAMES);
}

#[test]
fn golden_facts_read_and_write_back_the_same_bytes() {
    for (name, facts) in golden() {
        let kind = EventKind::read(name, facts).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!(kind.name(), name);
        assert_eq!(kind.facts().unwrap(), facts, "{name}");
    }
}

#[test]
fn the_first_golden_line_of_a_kind_shows_all_of_its_fields() {
    let mut seen = BTreeSet::new();
    for (name, facts) in golden() {
        if seen.insert(name) {
            let shown: BTreeSet<String> = object(facts).keys().cloned().collect();
            let fields = source::kind(name).facts.fields.iter();
            assert_eq!(shown, fields.map(|f| f.name.clone()).collect(), "{name}");
        }
    }
}

#[test]
fn facts_without_what_may_be_left_out_read_back_the_same() {
    for (name, facts) in golden() {
        let mut least = object(facts);
        let fields = source::kind(name).facts.fields.iter();
        for field in fields.filter(|field| field.may_be_left_out) {
            least.remove(&field.name);
        }
        let text = serde_json::to_string(&least).unwrap();
        let kind = EventKind::read(name, &text).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!(object(&kind.facts().unwrap()), least, "{name}");
    }
}

#[test]
fn facts_with_an_unknown_field_are_corrupt() {
    for (name, facts) in golden() {
        let mut more = object(facts);
        more.insert("another_field".to_owned(), Value::Null);
        let read = EventKind::read(name, &serde_json::to_string(&more).unwrap());
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Corrupt, "{name}");
    }
}

#[test]
fn an_unknown_type_is_corrupt() {
    let read = EventKind::read("step.imagined", "{}");
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn no_number_of_golden_facts_is_a_fraction() {
    fn whole(value: &Value) -> bool {
        match value {
            Value::Number(number) => number.is_i64() || number.is_u64(),
            Value::Array(items) => items.iter().all(whole),
            Value::Object(fields) => fields.values().all(whole),
            Value::Null | Value::Bool(_) | Value::String(_) => true,
        }
    }
    for (name, facts) in golden() {
        assert!(object(facts).values().all(whole), "{name}");
    }
}
