//! Draws from a seed.

use mc_core::id::Digest;
use mc_core::ports::Entropy;
use mc_core::sim::SeededEntropy;

/// A stream of draws.
#[derive(Debug)]
pub struct Draw(SeededEntropy);

impl Draw {
    /// The draws of a seed.
    pub fn new(seed: u64) -> Self {
        Self(SeededEntropy::new(seed))
    }

    /// The draws of a place: the same however often, and in whatever order, it is reached.
    pub fn of(seed: u64, place: &str) -> Self {
        let digest = Digest::of(&[&seed.to_be_bytes(), place.as_bytes()]);
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest.as_bytes()[..8]);
        Self::new(u64::from_be_bytes(bytes))
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_be_bytes(bytes) % end.max(1)
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of a list; the first of an empty one is none.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        let at = self.below(u64::try_from(list.len()).unwrap_or(1));
        list.get(usize::try_from(at).unwrap_or(0))
    }
}
