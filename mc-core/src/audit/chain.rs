//! What a run's chain takes from facts: the definition it begins with and the seal it ends with.
//!
//! Two keys of facts are part of the format: `definition_hash` of a run's first event, and
//! `event_count` with `last_event_hash` of its `run.sealed`. All other facts are in `event`.

use serde::Deserialize;

use crate::id::Digest;

/// The type of the event that ends a run's evidence.
pub(super) const SEALED: &str = "run.sealed";

/// The type of the event that opens a run again; the next seal covers it too.
pub(super) const REDRIVEN: &str = "run.redriven";

/// What the chain takes from the facts of a run's first event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct RunFacts {
    /// The hash of the run's definition; none for a session.
    #[serde(default)]
    pub definition_hash: Option<Digest>,
}

impl RunFacts {
    /// Reads them; none where the facts are not an object or the hash is not one.
    pub fn read(facts: &str) -> Option<Self> {
        serde_json::from_str(facts).ok()
    }
}

/// What the chain takes from the facts of `run.sealed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct SealFacts {
    /// The number of events before the seal, so also its own `run_seq`.
    pub event_count: u64,
    /// The hash of the event before the seal.
    pub last_event_hash: Digest,
}

impl SealFacts {
    /// Reads them; none where one is missing or has another form.
    pub fn read(facts: &str) -> Option<Self> {
        serde_json::from_str(facts).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_no_definition_and_a_wrong_hash_is_no_session() {
        let of = |facts: &str| RunFacts::read(facts).map(|f| f.definition_hash);
        assert_eq!(of(r#"{"a":1}"#), Some(None));
        assert_eq!(of(r#"{"definition_hash":null}"#), Some(None));
        let hash = Digest::of(&[b"x"]);
        let facts = format!(r#"{{"workflow":"w","definition_hash":"{hash}"}}"#);
        assert_eq!(of(&facts), Some(Some(hash)));
        assert_eq!(of(r#"{"definition_hash":"00"}"#), None);
        assert_eq!(of("[]x"), None);
    }

    #[test]
    fn a_seal_needs_both_facts() {
        let hash = Digest::ZERO;
        let facts = format!(r#"{{"event_count":3,"last_event_hash":"{hash}"}}"#);
        assert_eq!(SealFacts::read(&facts).map(|f| f.event_count), Some(3));
        assert_eq!(SealFacts::read(r#"{"event_count":3}"#), None);
    }
}
