//! A view of the file that changes nothing: what redb writes stays in memory.
//!
//! Opening a database writes (it marks the file as open, and repairs it after a crash). Through this
//! view a file is looked at before anyone decides that it is ours, a store is inspected that nobody
//! may change, and reads go on while the disk takes no writes.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::Mutex;

use redb::{BackendError, StorageBackend};

use super::gate::lock;
use super::layout::Region;

const BLOCK: usize = 4096;

/// Which lock the view asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Nobody else has the file.
    Alone,
    /// Others may look at it too.
    WithReaders,
}

/// The view.
#[derive(Debug)]
pub(super) struct Overlay {
    below: Region,
    sharing: Sharing,
    changed: Mutex<Changed>,
}

#[derive(Debug)]
struct Changed {
    len: u64,
    base_len: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    pub(super) fn new(below: Region, sharing: Sharing) -> io::Result<Self> {
        let len = below.len()?;
        let changed = Changed {
            len,
            base_len: len,
            blocks: BTreeMap::new(),
        };
        Ok(Self {
            below,
            sharing,
            changed: Mutex::new(changed),
        })
    }
}

/// A piece of a request: where it lies in its block and where in the request.
struct Piece {
    block: u64,
    inside: std::ops::Range<usize>,
    request: std::ops::Range<usize>,
}

/// Cuts a request at the ends of blocks.
fn pieces(offset: u64, len: usize) -> Vec<Piece> {
    let mut out = Vec::new();
    let mut done = 0;
    while done < len {
        let at = offset + done as u64;
        let block = at / BLOCK as u64;
        // The rest of a division by a block's length fits in any usize.
        let start = usize::try_from(at % BLOCK as u64).unwrap_or(0);
        let size = (BLOCK - start).min(len - done);
        out.push(Piece {
            block,
            inside: start..start + size,
            request: done..done + size,
        });
        done += size;
    }
    out
}

impl Changed {
    /// A block as it is in the file; zeros behind its end.
    fn base(&self, below: &Region, block: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; BLOCK];
        let start = block * BLOCK as u64;
        let there = self.base_len.saturating_sub(start);
        let there = usize::try_from(there).unwrap_or(BLOCK).min(BLOCK);
        if there > 0 {
            below.read(start, &mut bytes[..there])?;
        }
        Ok(bytes)
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.changed).len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let changed = lock(&self.changed);
        if offset.saturating_add(out.len() as u64) > changed.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if changed.blocks.is_empty() && changed.len == changed.base_len {
            return self.below.read(offset, out);
        }
        for piece in pieces(offset, out.len()) {
            let to = &mut out[piece.request];
            if let Some(bytes) = changed.blocks.get(&piece.block) {
                to.copy_from_slice(&bytes[piece.inside]);
            } else {
                let bytes = changed.base(&self.below, piece.block)?;
                to.copy_from_slice(&bytes[piece.inside]);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut changed = lock(&self.changed);
        changed.base_len = changed.base_len.min(len);
        changed.len = len;
        changed
            .blocks
            .retain(|block, _| block * (BLOCK as u64) < len);
        // What is cut off comes back as zeros, also within the last block that stays.
        let block = len / BLOCK as u64;
        if let Some(bytes) = changed.blocks.get_mut(&block) {
            let inside = usize::try_from(len % BLOCK as u64).unwrap_or(0);
            bytes[inside..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changed = lock(&self.changed);
        changed.len = changed.len.max(offset + data.len() as u64);
        for piece in pieces(offset, data.len()) {
            if !changed.blocks.contains_key(&piece.block) {
                let bytes = changed.base(&self.below, piece.block)?;
                changed.blocks.insert(piece.block, bytes);
            }
            if let Some(bytes) = changed.blocks.get_mut(&piece.block) {
                bytes[piece.inside].copy_from_slice(&data[piece.request]);
            }
        }
        Ok(())
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        match self.sharing {
            Sharing::Alone => self.below.try_lock_range(start, end),
            Sharing::WithReaders => self.below.try_lock_shared_range(start, end),
        }
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.below.try_lock_shared_range(start, end)
    }

    fn unlock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.below.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::super::gate::Gate;
    use super::super::layout::Layout;
    use super::*;
    use redb::backends::InMemoryBackend;

    fn view() -> (Region, Overlay) {
        let gate = Gate::new(Box::new(InMemoryBackend::new()));
        let below = Region::of(gate, Layout::new(1));
        below.set_len(10_000).unwrap();
        below.write(0, &[7; 10_000]).unwrap();
        let overlay = Overlay::new(below.clone(), Sharing::Alone).unwrap();
        (below, overlay)
    }

    fn bytes(file: &dyn StorageBackend, offset: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        file.read(offset, &mut out).unwrap();
        out
    }

    #[test]
    fn what_is_written_is_seen_in_the_view_alone() {
        let (below, overlay) = view();
        overlay.write(4_090, &[1; 20]).unwrap();
        assert_eq!(bytes(&overlay, 4_089, 22)[..2], [7, 1]);
        assert_eq!(bytes(&overlay, 4_089, 22)[20..], [1, 7]);
        assert_eq!(bytes(&below, 0, 10_000), vec![7; 10_000]);
    }

    #[test]
    fn what_was_cut_off_comes_back_as_zeros() {
        let (below, overlay) = view();
        overlay.set_len(5_000).unwrap();
        overlay.set_len(20_000).unwrap();
        assert_eq!(bytes(&overlay, 4_999, 2), [7, 0]);
        assert_eq!(bytes(&overlay, 19_999, 1), [0]);
        assert_eq!(
            (overlay.len().unwrap(), below.len().unwrap()),
            (20_000, 10_000)
        );
    }

    #[test]
    fn behind_the_end_is_an_error() {
        let (_, overlay) = view();
        assert!(overlay.read(9_999, &mut [0; 2]).is_err());
    }
}
