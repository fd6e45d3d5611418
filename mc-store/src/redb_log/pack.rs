//! Packing: zstd where it pays, and slices that fill pages.
//!
//! A packed value is a byte that tells how (0 plain, 1 zstd), for zstd the length as u32, then the bytes.
//! redb gives a value larger than a page a power of two of pages, so a frame of 17 KiB would
//! take 32 KiB. Cut into slices that just fill 16, 8 or 4 KiB pages, it loses at most a part of the last.

use std::cell::RefCell;

use mc_core::error::Error;

use super::fault::Outcome;

/// Compressing is tried from this length on, for what is written once and kept: frames and blobs.
pub(super) const KEPT: usize = 256;
/// Compressing is tried from this length on, for what is written over and over: states.
pub(super) const REWRITTEN: usize = 1_024;
/// The largest value that is unpacked: a frame or blob of a commit.
const MAX_UNPACKED: usize = 256 * 1024 * 1024;
const LEVEL: i32 = 1;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// Packs values, with a compressor that is made once.
pub(super) struct Packer {
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

impl Default for Packer {
    fn default() -> Self {
        Self {
            // Without memory for a compressor, values stay plain.
            zstd: zstd::bulk::Compressor::new(LEVEL).ok(),
        }
    }
}

impl Packer {
    /// Packs a value, compressed if it has `from` bytes and gets smaller.
    pub(super) fn pack(&mut self, bytes: &[u8], from: usize) -> Vec<u8> {
        self.smaller(bytes, from).unwrap_or_else(|| {
            let mut plain = Vec::with_capacity(bytes.len() + 1);
            plain.push(PLAIN);
            plain.extend_from_slice(bytes);
            plain
        })
    }

    fn smaller(&mut self, bytes: &[u8], from: usize) -> Option<Vec<u8>> {
        if bytes.len() < from {
            return None;
        }
        let len = u32::try_from(bytes.len()).ok()?;
        let squeezed = self.zstd.as_mut()?.compress(bytes).ok()?;
        if squeezed.len() + 4 >= bytes.len() {
            return None;
        }
        let mut packed = Vec::with_capacity(squeezed.len() + 5);
        packed.push(ZSTD);
        packed.extend_from_slice(&len.to_be_bytes());
        packed.extend_from_slice(&squeezed);
        Some(packed)
    }
}

/// Unpacks values, with a decompressor that is made at the first one that needs it.
#[derive(Default)]
struct Unpacker {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

impl Unpacker {
    /// Unpacks a value.
    fn unpack(&mut self, packed: &[u8]) -> Outcome<Vec<u8>> {
        let bytes = match packed.split_first() {
            Some((&PLAIN, bytes)) => Some(bytes.to_vec()),
            Some((&ZSTD, rest)) => self.unzip(rest),
            _ => None,
        };
        bytes.ok_or_else(|| Error::corrupt("packing", None).into())
    }

    fn unzip(&mut self, rest: &[u8]) -> Option<Vec<u8>> {
        let (len, squeezed) = rest.split_first_chunk()?;
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        if len > MAX_UNPACKED {
            return None;
        }
        if self.zstd.is_none() {
            self.zstd = zstd::bulk::Decompressor::new().ok();
        }
        let bytes = self.zstd.as_mut()?.decompress(squeezed, len).ok()?;
        (bytes.len() == len).then_some(bytes)
    }
}

thread_local! {
    /// A decompressor costs more to make than most rows cost to unpack.
    static UNPACKER: RefCell<Unpacker> = RefCell::default();
}

/// Unpacks one value.
pub(super) fn unpack(packed: &[u8]) -> Outcome<Vec<u8>> {
    UNPACKER.with_borrow_mut(|unpacker| unpacker.unpack(packed))
}

/// A leaf page's own bytes, beside the key and the value of its one entry.
const LEAF_HEADER: usize = 8;
const PAGE: usize = 4096;
/// The largest page that slices fill.
const LARGEST_PAGE: usize = 16 * PAGE;

/// Cuts a packed value into slices that fill pages, for keys of `key_len` bytes.
pub(super) fn slices(packed: &[u8], key_len: usize) -> Vec<&[u8]> {
    let mut out = Vec::new();
    let mut rest = packed;
    loop {
        let room = room_for(rest.len(), key_len);
        match rest.split_at_checked(room) {
            Some((head, tail)) if !tail.is_empty() => {
                out.push(head);
                rest = tail;
            }
            _ => {
                out.push(rest);
                return out;
            }
        }
    }
}

/// What the largest page holds that `len` bytes fill; a first page takes anything.
fn room_for(len: usize, key_len: usize) -> usize {
    let mut page = PAGE;
    while page < LARGEST_PAGE && 2 * page - LEAF_HEADER - key_len <= len {
        page *= 2;
    }
    page - LEAF_HEADER - key_len
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_comes_back(bytes: Vec<u8>, times in 0_usize..200) {
            let value = bytes.repeat(times);
            let packed = Packer::default().pack(&value, KEPT);
            prop_assert!(packed.len() <= value.len() + 1);
            prop_assert_eq!(unpack(&packed).unwrap(), value);
        }

        #[test]
        fn slices_are_the_value_and_fill_their_pages(len in 0_usize..300_000) {
            let value = vec![1; len];
            let cut = slices(&value, 10);
            prop_assert_eq!(cut.concat(), value.clone());
            for slice in &cut[..cut.len() - 1] {
                prop_assert!((slice.len() + LEAF_HEADER + 10).is_power_of_two());
            }
            let last = cut[cut.len() - 1].len();
            prop_assert!(last <= PAGE || (last + LEAF_HEADER + 10).is_power_of_two());
        }

        #[test]
        fn any_bytes_are_unpacked_or_refused(bytes: Vec<u8>) {
            let _ = unpack(&bytes);
        }
    }

    #[test]
    fn a_forged_length_is_refused() {
        let mut packed = Packer::default().pack(&vec![0; 5_000], KEPT);
        packed[1] = 0xff;
        assert!(unpack(&packed).is_err());
    }
}
