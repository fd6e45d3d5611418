//! Frames and the head: how events are written and found again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use mc_core::error::Error;
use mc_core::event::Record;
use mc_core::id::RunId;
use mc_core::ports::{Batch, Head};
use mc_core::time::Timestamp;
use redb::{ReadableTable, Table};

use super::fault::Outcome;
use super::gate::lock;
use super::pack::{KEPT, Packer, slices, unpack};
use super::tables::{frame_key, index_key, number_at};
use crate::bytes::{Malformed, Reader, Writer};
use crate::contract::{self, End};
use crate::seal::{sealed, unsealed};
use mc_core::audit::frame;

/// The most events in one frame: a page of scattered hits unpacks a frame a hit.
const FRAME_EVENTS: usize = 32;

/// The key of the head.
pub(super) const HEAD: &str = "head";

/// The end of the log, as the row `head` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MetaHead {
    pub(super) head: Head,
    pub(super) last_ts: Timestamp,
    /// The journal's last record that the database has.
    pub(super) applied: u64,
}

impl MetaHead {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.raw(&self.head.next_seq.to_be_bytes());
        out.raw(&self.head.epoch.to_be_bytes());
        out.raw(&self.last_ts.as_unix_us().to_be_bytes());
        out.raw(&self.applied.to_be_bytes());
        sealed(HEAD.as_bytes(), out.finish())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut row = Reader::new(unsealed(HEAD.as_bytes(), bytes)?);
        let next_seq = u64::from_be_bytes(row.array()?);
        let epoch = u64::from_be_bytes(row.array()?);
        let last_ts = Timestamp::from_unix_us(i64::from_be_bytes(row.array()?));
        let applied = u64::from_be_bytes(row.array()?);
        row.end()?;
        Ok(Self {
            head: Head { next_seq, epoch },
            last_ts,
            applied,
        })
    }

    /// The end that the row tells.
    pub(super) fn end(&self) -> End {
        End {
            head: self.head,
            last_ts: (self.head.next_seq > 0).then_some(self.last_ts),
        }
    }

    /// The head behind a batch.
    pub(super) fn behind(&self, batch: &Batch) -> Outcome<Self> {
        contract::check_events(self.end(), batch)?;
        let end = contract::end_after(self.end(), batch);
        Ok(Self {
            head: end.head,
            last_ts: end.last_ts.unwrap_or_default(),
            applied: self.applied,
        })
    }

    pub(super) fn read(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Outcome<Self> {
        match meta.get(HEAD)? {
            Some(row) => Ok(Self::decode(row.value())?),
            None => Err(Error::corrupt("head", None).into()),
        }
    }
}

/// A table of frames, open for reading or for writing.
pub(super) trait FrameTable: ReadableTable<&'static [u8; 10], &'static [u8]> {}
impl<T: ReadableTable<&'static [u8; 10], &'static [u8]>> FrameTable for T {}

type FramesToWrite<'a> = Table<'a, &'static [u8; 10], &'static [u8]>;
type IndexToWrite<'a> = Table<'a, &'static [u8; 24], u64>;

/// Writes a batch's events as frames, and where each run's events in them begin.
pub(super) fn write(
    (frames, index): (&mut FramesToWrite<'_>, &mut IndexToWrite<'_>),
    records: &[Record],
    packer: &mut Packer,
) -> Outcome<()> {
    for chunk in records.chunks(FRAME_EVENTS) {
        let Some(first) = chunk.first() else {
            continue;
        };
        let value = packer.pack(&frame::encode(chunk), KEPT);
        for (number, slice) in slices(&value, 10).into_iter().enumerate() {
            let number = chunk_number(number)?;
            frames.insert(&frame_key(first.seq, number), slice)?;
        }
        for key in run_starts(chunk) {
            index.insert(&key, first.seq)?;
        }
    }
    Ok(())
}

/// The number of a slice in a key.
pub(super) fn chunk_number(number: usize) -> Outcome<u16> {
    u16::try_from(number).map_err(|_| Error::internal("a value has too many slices").into())
}

/// The index keys of a frame: one a run, of its first event in there; sorted, as trees like it.
fn run_starts(records: &[Record]) -> Vec<[u8; 24]> {
    let mut starts: Vec<(RunId, u64)> = records
        .iter()
        .map(|record| (record.run_id, record.run_seq))
        .collect();
    starts.sort_unstable();
    starts.dedup_by_key(|(run, _)| *run);
    starts
        .into_iter()
        .map(|(run, run_seq)| index_key(run, run_seq))
        .collect()
}

/// The frame that has an event, if the log goes so far; by its first event.
pub(super) fn first_seq_of(frames: &impl FrameTable, seq: u64) -> Outcome<Option<u64>> {
    let key = frame_key(seq, u16::MAX);
    let last = frames.range::<&[u8; 10]>(..=&key)?.next_back();
    Ok(last.transpose()?.map(|(key, _)| number_at(key.value(), 0)))
}

/// The events of a frame.
pub(super) fn load(frames: &impl FrameTable, first_seq: u64) -> Outcome<Vec<Record>> {
    let (from, to) = (frame_key(first_seq, 0), frame_key(first_seq, u16::MAX));
    let mut packed = Vec::new();
    for slice in frames.range::<&[u8; 10]>(&from..=&to)? {
        packed.extend_from_slice(slice?.1.value());
    }
    Ok(frame::decode(first_seq, &unpack(&packed)?)?)
}

/// Reads events one after another, with the last frame at hand.
#[derive(Debug)]
pub(super) struct Frames<T> {
    table: T,
    last: Vec<Record>,
}

impl<T: FrameTable> Frames<T> {
    pub(super) fn new(table: T) -> Self {
        Self {
            table,
            last: Vec::new(),
        }
    }

    /// The event at `seq` and those behind it in its frame; empty behind the end of the log.
    pub(super) fn from(&mut self, seq: u64) -> Outcome<&[Record]> {
        if position(&self.last, seq).is_none() {
            self.last = match first_seq_of(&self.table, seq)? {
                Some(first) => load(&self.table, first)?,
                None => Vec::new(),
            };
        }
        let at = position(&self.last, seq).unwrap_or(self.last.len());
        Ok(self.last.get(at..).unwrap_or_default())
    }

    /// The events of the frame that begins with `first_seq`.
    pub(super) fn frame(&mut self, first_seq: u64) -> Outcome<&[Record]> {
        self.from(first_seq)
    }
}

/// How many frames stay at hand.
const AT_HAND: usize = 16;

/// The frames that were read last, the latest behind: who reads the parts of many runs comes back to
/// the same ones. Frames do not change under an owner.
#[derive(Debug, Default)]
pub(super) struct AtHand(Mutex<VecDeque<Arc<[Record]>>>);

impl AtHand {
    /// The frame that has an event; empty behind the end of the log.
    pub(super) fn frame(&self, frames: &impl FrameTable, seq: u64) -> Outcome<Arc<[Record]>> {
        let has_it = |frame: &&Arc<[Record]>| position(frame, seq).is_some();
        if let Some(frame) = lock(&self.0).iter().rev().find(has_it) {
            return Ok(Arc::clone(frame));
        }
        let frame: Arc<[Record]> = match first_seq_of(frames, seq)? {
            Some(first) => load(frames, first)?.into(),
            None => Arc::default(),
        };
        let mut all = lock(&self.0);
        if all.len() == AT_HAND {
            all.pop_front();
        }
        all.push_back(Arc::clone(&frame));
        Ok(frame)
    }

    pub(super) fn clear(&self) {
        lock(&self.0).clear();
    }
}

/// Where an event lies in its frame, which is dense.
pub(super) fn position(records: &[Record], seq: u64) -> Option<usize> {
    let first = records.first()?.seq;
    let at = usize::try_from(seq.checked_sub(first)?).ok()?;
    (at < records.len()).then_some(at)
}
