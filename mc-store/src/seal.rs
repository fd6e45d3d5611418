//! Seals: a check sum behind each row that is written over and over, so that a bit that flipped in a
//! row or in its key is noticed when the row is read, and not when its state misleads somebody.
//!
//! Events need none: their chain and tree tell. What is *not* here: what rows mean (`rows`).

use crate::bytes::Malformed;

/// Odd, so that multiplying can be undone, and with bits everywhere: the golden ratio's.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
/// The bytes of a seal.
const SEAL: usize = 8;

/// A sum by words of eight bytes, of the key, the row and their lengths. Every step can be undone, so
/// that a change within one word never goes unnoticed; turning lets every bit reach every other.
fn sum(key: &[u8], row: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for bytes in [key, row] {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let words = words.iter().copied().chain([last]);
        let length = (bytes.len() as u64).to_le_bytes();
        for word in words.chain([length]) {
            hash = (hash ^ u64::from_le_bytes(word))
                .wrapping_mul(MULTIPLIER)
                .rotate_left(29);
        }
    }
    let hash = (hash ^ (hash >> 32)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 29)
}

/// A row with its seal behind it.
pub(crate) fn sealed(key: &[u8], mut row: Vec<u8>) -> Vec<u8> {
    let sum = sum(key, &row);
    row.extend_from_slice(&sum.to_be_bytes());
    row
}

/// The row in front of an unbroken seal.
pub(crate) fn unsealed<'a>(key: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], Malformed> {
    match bytes.split_last_chunk::<SEAL>() {
        Some((row, seal)) if u64::from_be_bytes(*seal) == sum(key, row) => Ok(row),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_a_key_or_row_breaks_the_seal() {
        let flipped = |bytes: &[u8], bit: usize| {
            let mut bytes = bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        };
        for len in 0..20 {
            let (key, row) = (vec![7; 21 - len], vec![9; len]);
            let bytes = sealed(&key, row.clone());
            assert_eq!(unsealed(&key, &bytes), Ok(&row[..]));
            for bit in 0..bytes.len() * 8 {
                assert_eq!(unsealed(&key, &flipped(&bytes, bit)), Err(Malformed));
            }
            for bit in 0..key.len() * 8 {
                assert_eq!(unsealed(&flipped(&key, bit), &bytes), Err(Malformed));
            }
        }
        assert_eq!(unsealed(b"", b"short"), Err(Malformed));
    }

    #[test]
    fn bytes_do_not_wander_between_key_and_row() {
        let bytes = sealed(b"ab", b"c".to_vec());
        assert_eq!(unsealed(b"a", &bytes), Err(Malformed));
        assert_ne!(sum(b"a", b"bc"), sum(b"ab", b"c"));
        assert_ne!(sum(b"", b"\0"), sum(b"", b""));
    }
}
