//! Which runs left memory lately, so that whoever read a row knows whether it may be old.

use std::collections::VecDeque;

use crate::id::RunId;

/// So many are remembered. Many more cannot leave while one row is read; if they do, it is read
/// again.
const MOST: usize = 4_096;

/// The runs that left memory, the last ones by name.
#[derive(Debug, Default)]
pub(super) struct Departures {
    total: u64,
    last: VecDeque<RunId>,
}

impl Departures {
    pub(super) fn add(&mut self, run: RunId) {
        self.total += 1;
        self.last.push_back(run);
        if self.last.len() > MOST {
            self.last.pop_front();
        }
    }

    /// How many there were.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// Whether a run was among those behind the first so many, or may have been.
    pub(super) fn have(&self, run: RunId, first: u64) -> bool {
        let behind = usize::try_from(self.total.saturating_sub(first)).unwrap_or(usize::MAX);
        behind > self.last.len() || self.last.iter().rev().take(behind).any(|gone| *gone == run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn run(n: u8) -> RunId {
        RunId::from_bytes([n; 16])
    }

    #[test]
    fn a_run_has_left_only_since_before_it_did() {
        let mut departures = Departures::default();
        departures.add(run(1));
        let between = departures.total();
        departures.add(run(2));
        assert!(departures.have(run(1), 0));
        assert!(!departures.have(run(1), between), "another left since");
        assert!(departures.have(run(2), between));
        assert!(!departures.have(run(2), departures.total()));
    }

    #[test]
    fn what_is_remembered_no_more_may_have_left() {
        let mut departures = Departures::default();
        for _ in 0..=MOST {
            departures.add(run(1));
        }
        assert!(departures.have(run(2), 0));
        assert!(!departures.have(run(2), 1));
    }
}
