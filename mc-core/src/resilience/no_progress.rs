//! The no-progress detector: the same request answered in the same way again and again.
//!
//! It counts pairs of (request, answer) within one step; a request that gets a new answer each time
//! is progress. What follows from the verdict (block or observe) is the policy's.
//! What is *not* here: how requests and answers are hashed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::Digest;

/// The same pair this many times is no progress.
pub const REPEATS: u32 = 3;

/// The most pairs that are remembered of a step; the one not seen for longest is forgotten first.
pub const MAX_PAIRS: usize = 256;

/// A verdict: the same request had the same answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeats {
    /// How often, this time included.
    pub times: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    times: u32,
    last: u64,
}

/// The answered calls of one step.
///
/// # Units
/// At most [`MAX_PAIRS`] pairs of 32 bytes and two counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoProgress {
    observed: u64,
    pairs: BTreeMap<Digest, Seen>,
}

impl NoProgress {
    /// Folds an answered call; says so from the third same answer to the same request on.
    pub fn observe(&mut self, request: Digest, answer: Digest) -> Option<Repeats> {
        self.observed = self.observed.saturating_add(1);
        let pair = Digest::of(&[request.as_bytes(), answer.as_bytes()]);
        if !self.pairs.contains_key(&pair) && self.pairs.len() >= MAX_PAIRS {
            self.forget_oldest();
        }
        let seen = self.pairs.entry(pair).or_insert(Seen { times: 0, last: 0 });
        seen.times = seen.times.saturating_add(1);
        seen.last = self.observed;
        (seen.times >= REPEATS).then_some(Repeats { times: seen.times })
    }

    fn forget_oldest(&mut self) {
        let oldest = self
            .pairs
            .iter()
            .min_by_key(|(_, seen)| seen.last)
            .map(|(pair, _)| *pair);
        if let Some(pair) = oldest {
            self.pairs.remove(&pair);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(&[text.as_bytes()])
    }

    fn observe(detector: &mut NoProgress, request: &str, answer: &str) -> Option<u32> {
        detector
            .observe(digest(request), digest(answer))
            .map(|repeats| repeats.times)
    }

    #[test]
    fn the_third_same_answer_to_the_same_request_is_no_progress() {
        let mut detector = NoProgress::default();
        let verdicts: Vec<_> = (0..4).map(|_| observe(&mut detector, "a", "x")).collect();
        assert_eq!(verdicts, [None, None, Some(3), Some(4)]);
    }

    #[test]
    fn other_calls_in_between_do_not_hide_a_loop() {
        let mut detector = NoProgress::default();
        observe(&mut detector, "a", "x");
        observe(&mut detector, "b", "y");
        observe(&mut detector, "a", "x");
        observe(&mut detector, "b", "y");
        assert_eq!(observe(&mut detector, "a", "x"), Some(3));
    }

    #[test]
    fn a_new_answer_is_progress() {
        let mut detector = NoProgress::default();
        for answer in 0..100 {
            assert_eq!(observe(&mut detector, "poll", &answer.to_string()), None);
        }
    }

    #[test]
    fn a_pair_is_not_its_parts_swapped() {
        let mut detector = NoProgress::default();
        observe(&mut detector, "a", "b");
        observe(&mut detector, "b", "a");
        assert_eq!(observe(&mut detector, "a", "b"), None);
    }

    #[test]
    fn memory_is_bounded_and_recent_pairs_are_kept() {
        let mut detector = NoProgress::default();
        observe(&mut detector, "loop", "x");
        for call in 0..MAX_PAIRS - 1 {
            observe(&mut detector, &call.to_string(), "x");
        }
        observe(&mut detector, "loop", "x");
        (0..10_000).for_each(|call| {
            if call % 200 == 0 {
                observe(&mut detector, "kept", "x");
            }
            observe(&mut detector, &format!("new {call}"), "x");
        });
        assert_eq!(detector.pairs.len(), MAX_PAIRS);
        assert_eq!(observe(&mut detector, "kept", "x"), Some(51));
        assert_eq!(observe(&mut detector, "loop", "x"), None);
    }

    #[test]
    fn a_detector_reads_what_it_writes() {
        let mut detector = NoProgress::default();
        observe(&mut detector, "a", "x");
        let text = serde_json::to_string(&detector).unwrap();
        assert_eq!(serde_json::from_str::<NoProgress>(&text).unwrap(), detector);
    }
}
