//! SHA-256, of which every chain, leaf and reference is made.
//!
//! It is `ring`'s: where a processor has no instructions for it, that takes little more than half of the
//! time of one written in Rust alone, and hashing is a good part of what an event costs.

use std::fmt;
use std::str::FromStr;

use ring::digest::{Context, SHA256};

use super::NameFault;
use super::wire::as_text;

/// A SHA-256, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

as_text!(Digest, |digest, serializer| {
    serializer.serialize_str(digest.hex(&mut [0; 64]))
});

impl Digest {
    /// The digest of all zeros: "nothing".
    pub const ZERO: Self = Self([0; 32]);

    /// Hashes the concatenation of `pieces`.
    pub fn of(pieces: &[&[u8]]) -> Self {
        let mut hasher = Context::new(&SHA256);
        for piece in pieces {
            hasher.update(piece);
        }
        Self::taken(hasher)
    }

    /// Hashes `prefix` and the bytes of every digest behind it.
    pub fn of_digests(prefix: &[u8], digests: impl IntoIterator<Item = Self>) -> Self {
        let mut hasher = Context::new(&SHA256);
        hasher.update(prefix);
        for digest in digests {
            hasher.update(&digest.0);
        }
        Self::taken(hasher)
    }

    fn taken(hasher: Context) -> Self {
        let mut digest = Self::ZERO;
        digest.0.copy_from_slice(hasher.finish().as_ref());
        digest
    }

    /// Its digits.
    fn hex<'a>(&self, digits: &'a mut [u8; 64]) -> &'a str {
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        str::from_utf8(digits).unwrap_or_default()
    }

    /// Wraps 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex(&mut [0; 64]))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Digest {
    type Err = NameFault;

    fn from_str(text: &str) -> Result<Self, NameFault> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(NameFault::NotADigest);
        }
        let mut bytes = [0_u8; 32];
        let mut any = 0;
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (NIBBLES[usize::from(pair[0])], NIBBLES[usize::from(pair[1])]);
            any |= high | low;
            *byte = (high << 4) | low;
        }
        if any > 0x0f {
            return Err(NameFault::NotADigest);
        }
        Ok(Self(bytes))
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// What a digit is worth; 0xff for what is none. A table: replay reads millions of random digits, and
/// no branch can be foretold.
const NIBBLES: [u8; 256] = {
    let mut worth = [0xff; 256];
    let mut value = 0_u8;
    while value < 16 {
        worth[HEX[value as usize] as usize] = value;
        value += 1;
    }
    worth
};
