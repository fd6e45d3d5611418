//! Search terms: what a run or an event can be found by, as 64-bit hashes.
//!
//! A hash keeps keys short and of one width. Two terms may share a hash, so whoever finds a
//! candidate by one checks it against the query (`filter`).

use mc_core::event::Record;
use mc_core::id::Actor;
use mc_core::ports::{EventQuery, RunQuery, RunSummary};

const WORKFLOW: &str = "workflow";
const AGENT: &str = "agent";
const STATUS: &str = "status";
const LABEL: &str = "label";
const KIND: &str = "kind";
const ACTOR: &str = "actor";

/// FNV-1a over the field's name and its values, each ended by a byte that no value has.
fn hash(field: &str, values: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut eat = |byte: u8| {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    };
    for text in std::iter::once(&field).chain(values) {
        text.bytes().for_each(&mut eat);
        eat(0xff);
    }
    hash
}

/// A check sum over bytes, for cursors.
pub(crate) fn check(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Every term of a run, sorted.
pub(crate) fn of_run(run: &RunSummary) -> Vec<u64> {
    let workflow = run
        .workflow
        .iter()
        .map(|name| hash(WORKFLOW, &[name.as_str()]));
    let agents = run.agents.iter().map(|name| hash(AGENT, &[name.as_str()]));
    let labels = run
        .labels
        .iter()
        .map(|(key, value)| hash(LABEL, &[key.as_str(), value]));
    let mut terms: Vec<u64> = workflow
        .chain(agents)
        .chain(labels)
        .chain([hash(STATUS, &[run.status.as_str()])])
        .collect();
    terms.sort_unstable();
    terms.dedup();
    terms
}

/// The terms that a query for runs asks for.
pub(crate) fn of_run_query(query: &RunQuery) -> Vec<u64> {
    let workflow = query
        .workflow
        .iter()
        .map(|name| hash(WORKFLOW, &[name.as_str()]));
    let agent = query.agent.iter().map(|name| hash(AGENT, &[name.as_str()]));
    let status = query
        .status
        .iter()
        .map(|status| hash(STATUS, &[status.as_str()]));
    let label = query
        .label
        .iter()
        .map(|(key, value)| hash(LABEL, &[key.as_str(), value]));
    workflow.chain(agent).chain(status).chain(label).collect()
}

/// The two terms of an event: its kind and its actor.
pub(crate) fn of_event(record: &Record) -> [u64; 2] {
    [kind(&record.kind), actor(&record.actor)]
}

/// The terms that a query for events asks for.
pub(crate) fn of_event_query(query: &EventQuery) -> Vec<u64> {
    let kinds = query.kind.iter().map(|name| kind(name));
    let actors = query.actor.iter().map(actor);
    kinds.chain(actors).collect()
}

fn kind(name: &str) -> u64 {
    hash(KIND, &[name])
}

fn actor(actor: &Actor) -> u64 {
    match actor {
        Actor::Operator(name) => hash(ACTOR, &["operator", name.as_str()]),
        Actor::Agent(name) => hash(ACTOR, &["agent", name.as_str()]),
        Actor::System => hash(ACTOR, &["system"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_told_apart_by_field_and_by_where_their_values_end() {
        let terms = [
            hash(AGENT, &["a"]),
            hash(STATUS, &["a"]),
            hash(LABEL, &["a", "b"]),
            hash(LABEL, &["ab", ""]),
            hash(LABEL, &["", "ab"]),
        ];
        for (index, term) in terms.iter().enumerate() {
            assert!(!terms[..index].contains(term), "{index}");
        }
    }

    /// Terms lie on disk: a change of the hash needs a new format.
    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(check(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(check(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
