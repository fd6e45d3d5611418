//! Chance from a seed: the same seed gives the same bytes, on every machine.

use std::sync::{Mutex, PoisonError};

use crate::ports::Entropy;

/// Bytes of a seed.
///
/// **Source:** `SplitMix64`, Steele, Lea and Flood, OOPSLA 2014.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<u64>);

impl SeededEntropy {
    /// Starts at a seed.
    pub const fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// The next 64 bits.
    pub fn next_u64(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = *state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `end`; 0 where `end` is 0.
    pub fn below(&self, end: u64) -> u64 {
        self.next_u64().checked_rem(end).unwrap_or(0)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let random = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(seed: u64) -> [u8; 37] {
        let mut out = [0; 37];
        SeededEntropy::new(seed).fill(&mut out);
        out
    }

    #[test]
    fn a_seed_gives_the_same_bytes_each_time_and_another_gives_others() {
        assert_eq!(bytes(7), bytes(7));
        assert_ne!(bytes(7), bytes(8));
    }

    /// Scenarios in other languages rely on these very bytes.
    #[test]
    fn the_first_number_of_seed_0_is_that_of_the_paper() {
        assert_eq!(SeededEntropy::new(0).next_u64(), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn below_stays_below() {
        let entropy = SeededEntropy::new(1);
        assert!((0..1_000).all(|_| entropy.below(7) < 7));
        assert_eq!(entropy.below(0), 0);
    }
}
