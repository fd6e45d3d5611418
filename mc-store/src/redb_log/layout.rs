//! The file from above: a page that names it, the two areas of the journal, then the database.
//!
//! The page holds the mark, the format u32, the blocks of an area u16 and 16 random bytes, under a seal;
//! the rest of it is zero. The random bytes go into the seals of the journal: what an agent hands in lies
//! there as it is, and must not be able to look like a record. Read `journal` for what lies in the areas, `tables` for what lies in the database.

use std::fmt;
use std::io;
use std::ops::Bound;

use mc_core::error::{Detail, Error, ErrorKind};
use redb::{BackendError, StorageBackend};

use super::fault::{self, Outcome};
use super::gate::Gate;
use crate::seal::{sealed, unsealed};

/// The format that this version writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 1;
/// The first bytes of every store.
pub(super) const MARK: &[u8; 16] = b"mission-control\0";
/// What a disk writes whole or not at all, as far as the journal relies on it.
pub(super) const BLOCK: usize = 4096;
/// How many areas there are: one is filled while the other is brought into the database.
pub(super) const AREAS: usize = 2;

const FORMAT_AT: usize = MARK.len();
const AREA_AT: usize = FORMAT_AT + 4;
const SECRET_AT: usize = AREA_AT + 2;
const NAMED: usize = SECRET_AT + 16 + 8;

/// Where in the file everything lies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    blocks: u16,
    secret: [u8; 16],
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layout")
            .field("blocks", &self.blocks)
            .finish_non_exhaustive()
    }
}

impl Layout {
    /// The layout of a new file whose areas have `blocks` blocks each.
    pub(super) fn new(blocks: u16) -> Self {
        let secret = rand::random();
        Self { blocks, secret }
    }

    /// What seals a record at a place of an area, beside its bytes: elsewhere, and in another file,
    /// they are no record.
    pub(super) fn seal_key(self, area: usize, at: usize) -> [u8; 24] {
        let place = self.start_of(area) + at as u64;
        let mut key = [0; 24];
        key[..16].copy_from_slice(&self.secret);
        key[16..].copy_from_slice(&place.to_be_bytes());
        key
    }

    /// The bytes of an area.
    pub(super) const fn area(self) -> u64 {
        self.blocks as u64 * BLOCK as u64
    }

    /// Where an area begins.
    pub(super) const fn start_of(self, area: usize) -> u64 {
        BLOCK as u64 + self.area() * area as u64
    }

    /// Where the database begins.
    pub(super) const fn database(self) -> u64 {
        self.start_of(AREAS)
    }

    /// Writes the page that names a new file, and real zeros where the journal will be: blocks that
    /// the disk has given already cost less to write and cannot be refused.
    pub(super) fn write(self, gate: &Gate) -> io::Result<()> {
        gate.set_len(self.database())?;
        let zeros = vec![0; 64 * BLOCK];
        let mut at = BLOCK as u64;
        while at < self.database() {
            let room = usize::try_from(self.database() - at).unwrap_or(usize::MAX);
            let size = zeros.len().min(room);
            gate.write(at, &zeros[..size])?;
            at += size as u64;
        }
        let fields = (FORMAT.to_be_bytes(), self.blocks.to_be_bytes());
        let name = [&MARK[..], &fields.0, &fields.1, &self.secret].concat();
        gate.write(0, &sealed(&[], name))?;
        gate.sync_data()
    }

    /// Reads the page.
    ///
    /// # Errors
    /// `ForeignFile`, `NewerFormat`; `Damaged` for a page or a file that is not whole.
    pub(super) fn read(gate: &Gate) -> Outcome<Self> {
        let len = gate.len()?;
        if len < MARK.len() as u64 {
            return Err(fault::foreign("it is too short").into());
        }
        let mut name = vec![0; NAMED.min(usize::try_from(len).unwrap_or(NAMED))];
        gate.read(0, &mut name)?;
        if !name.starts_with(MARK) {
            return Err(fault::foreign("it does not begin as one").into());
        }
        let format = u32::from_be_bytes(array_at(&name, FORMAT_AT)?);
        let layout = Self {
            blocks: u16::from_be_bytes(array_at(&name, AREA_AT)?),
            secret: array_at(&name, SECRET_AT)?,
        };
        if format > FORMAT {
            return Err(newer(format).into());
        }
        let whole = unsealed(&[], &name).is_ok() && format == FORMAT;
        if !whole || layout.blocks == 0 {
            return Err(Error::corrupt("format", None).into());
        }
        if len <= layout.database() {
            return Err(Error::corrupt("truncated", None).into());
        }
        Ok(layout)
    }
}

fn array_at<const N: usize>(name: &[u8], at: usize) -> Outcome<[u8; N]> {
    let bytes = name.get(at..at + N).and_then(|bytes| bytes.try_into().ok());
    Ok(bytes.ok_or_else(|| Error::corrupt("truncated", None))?)
}

fn newer(found: u32) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("the file has format {found}, this version reads up to {FORMAT}"),
    )
    .with_detail(Detail::NewerFormat {
        found,
        supported: FORMAT,
    })
}

/// The part of the file that the database has, as a file of its own.
#[derive(Clone, Debug)]
pub(super) struct Region {
    pub(super) gate: Gate,
    start: u64,
}

impl Region {
    pub(super) const fn of(gate: Gate, layout: Layout) -> Self {
        Self {
            gate,
            start: layout.database(),
        }
    }

    fn place(&self, offset: u64) -> io::Result<u64> {
        let place = self.start.checked_add(offset);
        place.ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

impl StorageBackend for Region {
    fn len(&self) -> io::Result<u64> {
        Ok(self.gate.len()?.saturating_sub(self.start))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.gate.read(self.place(offset)?, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.gate.set_len(self.place(len)?)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.gate.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.gate.write(self.place(offset)?, data)
    }

    fn close(&self) -> io::Result<()> {
        self.gate.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.gate.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.gate.try_lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.gate.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.gate.query_lock_range(start, end)
    }
}
