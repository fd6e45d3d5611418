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
    used: usize,
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
        let len = (record.len() + SEAL).next_multiple_of(BLOCK);
        if len as u64 > self.layout.area() {
            return Ok(Written::TooLarge);
        }
        let Some((area, at)) = self.room(len) else {
            return Ok(Written::NoRoom);
        };
        let record = sealed(&self.layout.seal_key(area, at), record);
        let place = self.layout.start_of(area) + at as u64;
        self.gate.write(place, &record)?;
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
    fn room(&self, len: usize) -> Option<(usize, usize)> {
        let used = |area: usize| match self.areas[area] {
            Area { last, .. } if last <= self.applied => 0,
            Area { used, .. } => used,
        };
        let other = AREAS - 1 - self.filling;
        if (used(self.filling) + len) as u64 <= self.layout.area() {
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
        let batches = self.waiting.iter().rev();
        let mut rows = batches.flat_map(|waiting| waiting.batch.keys.iter().rev());
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
    record
}

/// A record in an area.
#[derive(Clone, Copy, Debug)]
struct Record<'a> {
    at: usize,
    epoch: u64,
    number: u64,
    body: &'a [u8],
    /// The bytes that it takes, in whole blocks.
    len: usize,
}

/// The whole record at a place of an area, if there is one.
fn record((layout, area): (Layout, usize), bytes: &[u8], at: usize) -> Option<Record<'_>> {
    let bytes = bytes.get(at..)?;
    let mut head = Reader::new(bytes.strip_prefix(MARK)?);
    let epoch = u64::from_be_bytes(head.array().ok()?);
    let number = u64::from_be_bytes(head.array().ok()?);
    let len = usize::try_from(u32::from_be_bytes(head.array().ok()?)).ok()?;
    let end = RECORD_HEAD.checked_add(len)?.checked_add(SEAL)?;
    let whole = unsealed(&layout.seal_key(area, at), bytes.get(..end)?).ok()?;
    Some(Record {
        at,
        epoch,
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
    let records: Vec<Vec<Record<'_>>> = (0..AREAS)
        .map(|area| records((layout, area), &areas[area]))
        .collect();
    let mut found = Found {
        batches: Vec::new(),
        last: head.applied,
        damage: Damage::None,
    };
    // A chain of records may begin in one area and go on in the other.
    let mut chains: Vec<&[Record<'_>]> = records.iter().map(|all| chain(all, epoch)).collect();
    chains.sort_by_key(|chain| chain.first().map(|record| record.number));
    for record in chains.concat() {
        if record.number <= head.applied {
            continue;
        }
        match batch::decode(record.body) {
            Ok(batch) if record.number == found.last + 1 => found.batches.push(Arc::new(batch)),
            _ => break,
        }
        found.last = record.number;
    }
    // An epoch is in the database before its first record is written.
    let behind = |record: &Record<'_>| (record.epoch, record.number) > (epoch, found.last);
    if records.iter().flatten().any(behind) {
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

/// Every whole record of an area, new and old: the first at its start, each at a block's start.
fn records(place: (Layout, usize), area: &[u8]) -> Vec<Record<'_>> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < area.len() {
        let record = record(place, area, at);
        at += record.map_or(BLOCK, |record| record.len);
        records.extend(record);
    }
    records
}

/// The records of an epoch from the start of an area on, as long as their numbers follow.
fn chain<'a, 'b>(records: &'b [Record<'a>], epoch: u64) -> &'b [Record<'a>] {
    let place = |record: &Record<'_>| (record.at, record.epoch, record.number);
    let behind = |record: &Record<'_>| (record.at + record.len, epoch, record.number + 1);
    let starts = |record: &Record<'_>| (record.at, record.epoch) == (0, epoch);
    if !records.first().is_some_and(starts) {
        return &[];
    }
    let mut pairs = records.windows(2);
    let more = pairs.position(|pair| place(&pair[1]) != behind(&pair[0]));
    &records[..=more.unwrap_or(records.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An area that holds one sealed record of an empty body, at its start.
    fn area(layout: Layout) -> Vec<u8> {
        let mut bytes = MARK.to_vec();
        bytes.extend_from_slice(&7_u64.to_be_bytes());
        bytes.extend_from_slice(&1_u64.to_be_bytes());
        bytes.extend_from_slice(&0_u32.to_be_bytes());
        let mut area = sealed(&layout.seal_key(0, 0), bytes);
        area.resize(2 * BLOCK, 0);
        area
    }

    #[test]
    fn a_record_is_one_in_its_place_of_its_own_file_only() {
        let layout = Layout::new(2);
        let mut bytes = area(layout);
        assert_eq!(records((layout, 0), &bytes).len(), 1);
        assert!(records((layout, 1), &bytes).is_empty());
        assert!(records((Layout::new(2), 0), &bytes).is_empty());
        // As what an agent hands in may repeat what lies in front of it.
        bytes.rotate_right(BLOCK);
        assert!(records((layout, 0), &bytes).is_empty());
    }

    #[test]
    fn a_chain_begins_at_the_start_of_an_area_and_has_no_gap() {
        let record = |at: usize, number| Record {
            at: at * BLOCK,
            epoch: 7,
            number,
            body: &[],
            len: BLOCK,
        };
        let chained = |records: &[Record<'_>]| chain(records, 7).len();
        assert_eq!(chained(&[record(0, 4), record(1, 5), record(2, 6)]), 3);
        assert_eq!(chained(&[record(0, 4), record(1, 3), record(2, 4)]), 1);
        assert_eq!(chained(&[record(0, 4), record(2, 5)]), 1);
        assert_eq!(chained(&[record(1, 4), record(2, 5)]), 0);
        assert_eq!(chain(&[record(0, 4)], 8).len(), 0);
    }
}
