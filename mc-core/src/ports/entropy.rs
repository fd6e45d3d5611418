//! The entropy port: where salts, ids and jitter come from.

use std::fmt;

use crate::time::Timestamp;

/// Gives random bytes: of the operating system in production, of a seed in tests.
pub trait Entropy: Send + Sync + fmt::Debug + 'static {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// A `UUIDv7` of a time and 74 random bits.
///
/// **Source:** RFC 9562, section 5.7.
pub fn uuid_v7(at: Timestamp, entropy: &dyn Entropy) -> [u8; 16] {
    let mut bytes = [0_u8; 16];
    entropy.fill(&mut bytes);
    let ms = at.as_unix_us().max(0).unsigned_abs() / 1_000;
    bytes[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
    bytes[6] = (bytes[6] & 0x0f) | 0x70;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    bytes
}
