//! Ended runs in memory: which came to their end first, and what they take.
//!
//! They stay for a while, because whoever started them asks for them. Nothing else needs them: the
//! oldest leave first, by number and by bytes.

use std::collections::BTreeMap;

use crate::id::RunId;

/// The ended runs that are in memory, the oldest end first.
#[derive(Debug, Default)]
pub(super) struct Ended {
    runs: BTreeMap<u64, (RunId, u64)>,
    places: BTreeMap<RunId, u64>,
    next: u64,
    bytes: u64,
}

impl Ended {
    /// A run has ended, or came back into memory after its end.
    pub(super) fn add(&mut self, run: RunId, bytes: u64) {
        if self.places.contains_key(&run) {
            return;
        }
        self.places.insert(run, self.next);
        self.runs.insert(self.next, (run, bytes));
        self.next += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// A run has left memory.
    pub(super) fn remove(&mut self, run: RunId) {
        let place = self.places.remove(&run);
        if let Some((_, bytes)) = place.and_then(|place| self.runs.remove(&place)) {
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// What all of them take.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Each run with what it takes, the oldest end first.
    pub(super) fn oldest(&self) -> impl Iterator<Item = (RunId, u64)> {
        self.runs.values().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(n: u8) -> RunId {
        RunId::from_bytes([n; 16])
    }

    #[test]
    fn bytes_are_those_of_the_runs_that_are_there() {
        let mut ended = Ended::default();
        for (n, bytes) in [(3, 10), (1, 20), (2, 30), (1, 99)] {
            ended.add(run(n), bytes);
        }
        assert_eq!(ended.bytes(), 60);
        ended.remove(run(1));
        ended.remove(run(7));
        assert_eq!(ended.bytes(), 40);
        let left: Vec<RunId> = ended.oldest().map(|(run, _)| run).collect();
        assert_eq!(left, [run(3), run(2)]);
    }
}
