//! The journal: where a batch is made durable with one write and one sync, before the database has it.
//!
//! A record is a mark, epoch u64, number u64, length u32 and the batch, under a seal, at the start of a
//! block. Records of an epoch are numbered from one without a gap. They fill one area; when that is
//! full, the other, while the first is brought into the database, many batches in one transaction.
//! The database's head names the last record that it has (`applied`); an area whose records it
//! has all may be written over.
//!
//! After a crash the records behind `applied` are brought in before anything else happens. The last
//! one may be half written: nobody was told of it, and it is left out. A broken record with a good
//! one behind it is damage, for a record is begun only when the one before it is on disk.

use std::collections::VecDeque;
use std::sync::Arc;

use mc_core::id::{Digest, RunId, WorkflowName};
use mc_core::ports::{Batch, Head, KeyRow, Lease, RunRow};
use redb::StorageBackend as _;

use super::append::brings;
use super::fault::Outcome;
use super::frames::MetaHead;
use super::gate::Gate;
use super::layout::{AREAS, BLOCK, Layout};
use crate::batch;
use crate::bytes::{Reader, Writer};
use crate::contract::{self, End};
use crate::seal::{sealed, unsealed};

const MARK: &[u8; 4] = b"wave";
/// Mark, epoch, number, length.
const RECORD_HEAD: usize = 4 + 8 + 8 + 4;
const SEAL: usize = 8;

/// The journal of an open store, from its owner's side.
#[derive(Debug)]
pub(super) struct Journal {
    gate: Gate,
    layout: Layout,
    end: End,
    /// The number of the next record.
    next: u64,
    /// The last record that the database has.
    applied: u64,
    areas: [Area; AREAS],
    filling: usize,
    waiting: VecDeque<Waiting>,
}

/// What an area holds.
#[derive(Clone, Copy, Debug, Default)]
struct Area {
    used: u64,
    /// The number of its last record.
    last: u64,
}

/// A batch that is durable and that the database does not have yet.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) number: u64,
    pub(super) batch: Arc<Batch>,
}

/// What became of a batch that was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It is on disk.
    Durable,
    /// It is on disk, and the other area is full: its records should go to the database.
    DurableAndDue,
    /// Nothing was written: both areas are full of what the database has not got.
    NoRoom,
    /// Nothing was written: it is larger than an area.
    TooLarge,
}

impl Journal {
    /// The journal of a store whose database has every record.
    pub(super) fn new((gate, layout): (Gate, Layout), head: MetaHead) -> Self {
        Self {
            gate,
            layout,
            end: head.end(),
            next: head.applied.saturating_add(1),
            applied: head.applied,
            areas: [Area::default(); AREAS],
            filling: 0,
            waiting: VecDeque::new(),
        }
    }

    /// The end of the log.
    pub(super) const fn end(&self) -> End {
        self.end
    }

    /// Whether the database lacks nothing.
    pub(super) fn is_applied(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What the database lacks, oldest first.
    pub(super) fn waiting(&self) -> Vec<Waiting> {
        self.waiting.iter().cloned().collect()
    }

    /// The last record.
    pub(super) const fn last(&self) -> u64 {
        self.next - 1
    }

    /// Notes that the database has every record up to `number`.
    pub(super) fn set_applied(&mut self, number: u64) {
        self.applied = self.applied.max(number);
        while self
            .waiting
            .front()
            .is_some_and(|first| first.number <= number)
        {
            self.waiting.pop_front();
        }
    }

    /// Notes that a batch went to the database without the journal.
    pub(super) fn passed_by(&mut self, batch: &Batch) {
        self.end = contract::end_after(self.end, batch);
    }

    /// Writes a batch; it is on disk when this says so.
    ///
    /// # Errors
    /// Those of the contract, with nothing written; those of the disk, after which it may be there.
    pub(super) fn write(&mut self, lease: Lease, batch: &Arc<Batch>) -> Outcome<Written> {
        contract::check(self.end, lease, batch)?;
        let record = encode(self.end.head.epoch, self.next, batch);
        let len = (record.len() as u64).next_multiple_of(BLOCK as u64);
        if len > self.layout.area() {
            return Ok(Written::TooLarge);
        }
        let Some((area, at)) = self.room(len) else {
            return Ok(Written::NoRoom);
        };
        self.gate.write(self.layout.start_of(area) + at, &record)?;
        self.gate.sync_data()?;
        let due = area != self.filling && !self.waiting.is_empty();
        self.filling = area;
        self.areas[area] = Area {
            used: at + len,
            last: self.next,
        };
        self.waiting.push_back(Waiting {
            number: self.next,
            batch: Arc::clone(batch),
        });
        self.next += 1;
        self.end = contract::end_after(self.end, batch);
        Ok(if due {
            Written::DurableAndDue
        } else {
            Written::Durable
        })
    }

    /// An area and a place in it where `len` bytes may be written.
    fn room(&self, len: u64) -> Option<(usize, u64)> {
        let used = |area: usize| match self.areas[area] {
            Area { last, .. } if last <= self.applied => 0,
            Area { used, .. } => used,
        };
        let other = AREAS - 1 - self.filling;
        if used(self.filling) + len <= self.layout.area() {
            Some((self.filling, used(self.filling)))
        } else {
            (used(other) == 0).then_some((other, 0))
        }
    }

    /// Whether a blob comes with what the database lacks.
    pub(super) fn brings(&self, digest: Digest) -> bool {
        let mut waiting = self.waiting.iter();
        waiting.any(|waiting| brings(&waiting.batch, digest))
    }

    /// A run's newest row among what the database lacks.
    pub(super) fn run_row(&self, run: RunId) -> Option<RunRow> {
        let batches = self.waiting.iter().rev();
        let mut rows = batches.flat_map(|waiting| waiting.batch.runs.iter().rev());
        rows.find(|row| row.summary.run_id == run).cloned()
    }

    /// An idempotency key among what the database lacks.
    pub(super) fn key_row(&self, workflow: &WorkflowName, key: &str) -> Option<KeyRow> {
        let mut rows = self
            .waiting
            .iter()
            .flat_map(|waiting| waiting.batch.keys.iter());
        rows.find(|row| row.workflow == *workflow && &*row.key == key)
            .cloned()
    }
}

fn encode(epoch: u64, number: u64, batch: &Batch) -> Vec<u8> {
    let mut body = Writer::default();
    batch::encode(&mut body, batch);
    let body = body.finish();
    let mut record = Vec::with_capacity(RECORD_HEAD + body.len() + SEAL);
    record.extend_from_slice(MARK);
    record.extend_from_slice(&epoch.to_be_bytes());
    record.extend_from_slice(&number.to_be_bytes());
    // A body that is longer does not fit in an area, and is refused for that.
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    record.extend_from_slice(&len.to_be_bytes());
    record.extend_from_slice(&body);
    sealed(&[], record)
}

/// A record in an area.
#[derive(Clone, Copy, Debug)]
struct Record<'a> {
    number: u64,
    body: &'a [u8],
    /// The bytes that it takes, in whole blocks.
    len: usize,
}

/// The whole record of an epoch at the start of `bytes`, if there is one.
fn record(bytes: &[u8], epoch: u64) -> Option<Record<'_>> {
    let mut head = Reader::new(bytes.strip_prefix(MARK)?);
    let of = u64::from_be_bytes(head.array().ok()?);
    let number = u64::from_be_bytes(head.array().ok()?);
    let len = usize::try_from(u32::from_be_bytes(head.array().ok()?)).ok()?;
    if of != epoch {
        return None;
    }
    let end = RECORD_HEAD.checked_add(len)?.checked_add(SEAL)?;
    let whole = unsealed(&[], bytes.get(..end)?).ok()?;
    Some(Record {
        number,
        body: &whole[RECORD_HEAD..],
        len: end.next_multiple_of(BLOCK),
    })
}

/// What lies in the journal of a store that was not closed.
#[derive(Debug)]
pub(super) struct Found {
    /// The batches that the database lacks, oldest first.
    pub(super) batches: Vec<Arc<Batch>>,
    /// The last record's number.
    pub(super) last: u64,
    /// Whether records are broken or missing that somebody was told of.
    pub(super) damage: Damage,
}

/// Whether a journal is as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// It is.
    None,
    /// There are records behind a broken one.
    Hole,
}

/// Reads what the journal holds behind a database's head.
pub(super) fn read((gate, layout): (&Gate, Layout), head: MetaHead) -> Outcome<Found> {
    let Head { epoch, .. } = head.head;
    let areas = areas(gate, layout)?;
    let mut found = Found {
        batches: Vec::new(),
        last: head.applied,
        damage: Damage::None,
    };
    // A chain of records may begin in one area and go on in the other.
    let mut chains: Vec<Vec<Record<'_>>> = areas.iter().map(|area| chain(area, epoch)).collect();
    chains.sort_by_key(|chain| chain.first().map(|record| record.number));
    let records = chains.concat();
    for record in records.iter().filter(|record| record.number > head.applied) {
        if record.number != found.last + 1 {
            break;
        }
        match batch::decode(record.body) {
            Ok(batch) => found.batches.push(Arc::new(batch)),
            Err(_) => break,
        }
        found.last = record.number;
    }
    let behind = |bytes: &[u8]| record(bytes, epoch).is_some_and(|it| it.number > found.last);
    let mut blocks = areas
        .iter()
        .flat_map(|area| (0..area.len()).step_by(BLOCK).map(|at| &area[at..]));
    if blocks.any(behind) {
        found.damage = Damage::Hole;
    }
    Ok(found)
}

fn areas(gate: &Gate, layout: Layout) -> Outcome<[Vec<u8>; AREAS]> {
    let mut areas = [const { Vec::new() }; AREAS];
    for (number, area) in areas.iter_mut().enumerate() {
        area.resize(usize::try_from(layout.area()).unwrap_or(0), 0);
        gate.read(layout.start_of(number), area)?;
    }
    Ok(areas)
}

/// The records of an epoch from the start of an area on, as long as their numbers follow.
fn chain(area: &[u8], epoch: u64) -> Vec<Record<'_>> {
    let mut records: Vec<Record<'_>> = Vec::new();
    let mut at = 0;
    while let Some(next) = area.get(at..).and_then(|rest| record(rest, epoch)) {
        if records
            .last()
            .is_some_and(|last| next.number != last.number + 1)
        {
            break;
        }
        records.push(next);
        at += next.len;
    }
    records
}
