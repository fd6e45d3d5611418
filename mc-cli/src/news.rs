//! One line an event, of the events that a person cares about: what `watch` writes.
//!
//! The line is made of the facts as they stand, by their names, so that an event which this version
//! does not know is told like any other. What is *not* here: which events there are
//! (`mc_core::event`), and how they are heard of (`commands::news`).

use mc_core::event::Record;
use mc_core::id::RunId;
use mc_core::money::NanoUsd;
use mc_core::time::Timestamp;
use serde_json::{Map, Value, json};

use crate::text::{clean, shortened};

/// Events of every call and of the store's own keeping: for auditors, not for somebody who watches.
const QUIET: &[&str] = &[
    "approval.consumed",
    "attempt.adopted",
    "attempt.ended",
    "budget.window_closed",
    "budget.window_opened",
    "decision.recorded",
    "epoch.started",
    "journal.diverged",
    "model_call.reserved",
    "model_call.settled",
    "once.recorded",
    "run.planned",
    "run.started",
    "side_effect.recorded",
    "tool_call.completed",
    "tool_call.dispatched",
];

/// Facts that only a program can use; `--json` has them.
const LEFT_OUT: &[&str] = &[
    "answer",
    "definition_hash",
    "doubted",
    "effect_key",
    "event_count",
    "held",
    "hold",
    "input_digest",
    "inputs_hash",
    "labels",
    "tags",
    "last_event_hash",
    "layers",
    "lapses",
    "lapsing",
    "number",
    "ordinal",
    "params_digest",
    "period",
    "plan",
    "policy",
    "policy_hash",
    "price_version",
    "released",
    "request",
    "retry_from",
    "step",
];

/// Facts that are moments, in microseconds.
const MOMENTS: &[&str] = &[
    "at",
    "expires_at",
    "retry_at",
    "since",
    "until",
    "wall",
    "expected",
];

/// What is told of one event.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    record: &'a Record,
    facts: Value,
    message: Option<&'a str>,
}

impl<'a> Told<'a> {
    /// An event with what it says in words; none of an event that nobody watches for.
    pub(crate) fn of(record: &'a Record, message: Option<&'a str>) -> Option<Self> {
        if QUIET.contains(&&*record.kind) {
            return None;
        }
        let facts = serde_json::from_str(&record.facts).unwrap_or_default();
        Some(Self {
            record,
            facts,
            message,
        })
    }

    /// The id of the request that it is about, as `approve` takes it.
    fn approval(&self) -> Option<String> {
        let number = self.facts["number"].as_u64();
        let number = number.filter(|_| self.record.kind.starts_with("approval."))?;
        Some(format!("{}/{number}", self.record.run_id))
    }

    fn step(&self) -> Option<&str> {
        self.facts["step"].as_str()
    }

    /// One plain line.
    pub(crate) fn text(&self) -> String {
        let record = self.record;
        let run = match record.run_id {
            RunId::ZERO => "-".to_owned(),
            run => run.to_string(),
        };
        let mut words = vec![second(record.ts), run, record.kind.to_string()];
        words.extend(self.step().map(str::to_owned));
        words.extend(self.approval().map(|id| format!("approval={id}")));
        let mut facts = Vec::new();
        if let Value::Object(object) = &self.facts {
            flatten("", object, &mut facts);
        }
        words.extend(facts.into_iter().map(|(key, value)| {
            let value = if value.contains(' ') || value.is_empty() {
                Value::from(value).to_string()
            } else {
                value
            };
            format!("{key}={value}")
        }));
        words.push(format!("by={}", record.actor));
        words.extend(self.message.map(|said| format!("said={}", quoted(said))));
        clean(&words.join(" "))
    }

    /// The line for programs.
    pub(crate) fn json(&self) -> Value {
        let record = self.record;
        let run = (record.run_id != RunId::ZERO).then_some(record.run_id);
        json!({
            "seq": record.seq, "at": record.ts.to_string(), "run_id": run, "type": record.kind,
            "actor": record.actor.to_string(), "step": self.step(), "approval": self.approval(),
            "facts": self.facts, "message": self.message,
        })
    }
}

fn quoted(text: &str) -> String {
    Value::from(shortened(text)).to_string()
}

/// To the second, in UTC.
fn second(at: Timestamp) -> String {
    let text = at.to_string();
    match text.get(..19) {
        Some(begin) => format!("{begin}Z"),
        None => text,
    }
}

/// Every fact under its path, but for those that only a program can use.
fn flatten(path: &str, object: &Map<String, Value>, into: &mut Vec<(String, String)>) {
    for (key, value) in object {
        if LEFT_OUT.contains(&key.as_str()) {
            continue;
        }
        let name = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        match value {
            Value::Null => {}
            Value::Object(inner) => flatten(&name, inner, into),
            Value::String(text) => into.push((name, text.clone())),
            Value::Number(number) => into.push(number_of((path, key, name), number)),
            Value::Array(items) => into.push((name, items_of(items))),
            Value::Bool(_) => into.push((name, value.to_string())),
        }
    }
}

/// A number as people write it: money in USD, moments as such.
fn number_of(
    (path, key, name): (&str, &str, String),
    number: &serde_json::Number,
) -> (String, String) {
    let Some(value) = number.as_i64() else {
        return (name, number.to_string());
    };
    if key == "nano_usd" {
        let name = if path.is_empty() { "usd" } else { path };
        return (name.to_owned(), format!("{}usd", NanoUsd::from_nano(value)));
    }
    if MOMENTS.contains(&key) {
        return (name, second(Timestamp::from_unix_us(value)));
    }
    (name, value.to_string())
}

/// Of accounts that refused their names; anything else as it stands.
fn items_of(items: &[Value]) -> String {
    let names: Option<Vec<&str>> = items.iter().map(|item| item["account"].as_str()).collect();
    match names {
        Some(names) if !names.is_empty() => names.join(","),
        Some(_) | None => Value::from(items).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mc_core::id::{Actor, AuthMethod, CommandId};

    use super::*;

    fn record(kind: &str, facts: &str) -> Record {
        Record {
            seq: 7,
            run_id: RunId::from_bytes([1; 16]),
            run_seq: 3,
            epoch: 1,
            ts: Timestamp::from_unix_us(1_767_225_600_500_000),
            kind: Arc::from(kind),
            actor: Actor::System,
            auth_method: AuthMethod::Library,
            schema_ver: 1,
            cmd_id: CommandId::from_bytes([2; 16]),
            facts: Arc::from(facts),
            parts: Vec::new(),
        }
    }

    fn line(kind: &str, facts: &str) -> String {
        let record = record(kind, facts);
        let told = Told::of(&record, None).unwrap();
        let begin = "2026-01-01T00:00:00Z 01010101-0101-0101-0101-010101010101 ";
        told.text().strip_prefix(begin).unwrap().to_owned()
    }

    #[test]
    fn an_event_is_told_by_its_step_and_its_facts() {
        let facts = r#"{"step":"write","attempt":2,"agent":"writer","risk":"write","effect_key":"11","hold":{"nano_usd":5}}"#;
        let told = line("step.dispatched", facts);
        assert_eq!(
            told,
            "step.dispatched write agent=writer attempt=2 risk=write by=system"
        );
        let facts = r#"{"step":"write","code":"budget_exceeded","failing":[{"account":"workspace"},{"account":"agent:a"}]}"#;
        let told = line("step.blocked", facts);
        assert_eq!(
            told,
            "step.blocked write code=budget_exceeded failing=workspace,agent:a by=system"
        );
    }

    #[test]
    fn money_is_in_usd_and_moments_are_readable() {
        let facts = r#"{"number":1,"step":"w","agent":"a","risk":"financial","maximum":{"nano_usd":100000000},"expires_at":1767312000000000}"#;
        let told = line("approval.requested", facts);
        let id = "approval=01010101-0101-0101-0101-010101010101/1";
        let rest = "agent=a expires_at=2026-01-02T00:00:00Z maximum=0.10usd risk=financial";
        assert_eq!(told, format!("approval.requested w {id} {rest} by=system"));
    }

    #[test]
    fn an_event_of_a_later_version_is_told_and_one_that_nobody_watches_for_is_not() {
        let told = line("planet.found", r#"{"name":"a b","moons":[1,2]}"#);
        assert_eq!(told, "planet.found moons=[1,2] name=\"a b\" by=system");
        let broken = line("planet.found", "no json");
        assert_eq!(broken, "planet.found by=system");
        let quiet = record("model_call.settled", "{}");
        assert!(Told::of(&quiet, None).is_none());
    }

    #[test]
    fn what_it_says_cannot_steer_a_terminal() {
        let record = record("step.failed", r#"{"step":"w","code":"x"}"#);
        let told = Told::of(&record, Some("\u{1b}[2J\n\u{202e}")).unwrap();
        let text = told.text();
        assert!(
            text.is_ascii() && !text.contains(['\n', '\u{1b}']),
            "{text}"
        );
        assert_eq!(told.json()["message"], "\u{1b}[2J\n\u{202e}");
    }

    #[test]
    fn every_event_that_is_left_out_is_one() {
        for name in QUIET {
            assert!(mc_core::event::EventKind::NAMES.contains(name), "{name}");
        }
    }
}
