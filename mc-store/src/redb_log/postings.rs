//! Postings: which events of a complete tile have a term, a bit each.
//!
//! They are written once, in the commit that completes the tile; the events of the unfinished tile
//! are kept at hand by the writer (`Tail`) and scanned by readers.

use std::collections::BTreeMap;

use mc_core::event::Record;
use mc_core::time::Timestamp;
use redb::WriteTransaction;

use super::fault::Outcome;
use super::frames::{FrameTable, Frames};
use super::tables::{POSTINGS, TILE, TILE_MARKS, posting_key};
use crate::term;

/// A bit for each event of a tile, the first event's the lowest of the first byte.
pub(super) type Bits = [u8; 32];

/// The events of the unfinished tile: their times and terms.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    tile: u64,
    events: Vec<(Timestamp, [u64; 2])>,
}

/// A tile that a batch completes.
struct Complete {
    tile: u64,
    first_ts: Timestamp,
    postings: BTreeMap<u64, Bits>,
}

impl Tail {
    /// Reads the unfinished tile of a log that ends at `next_seq`.
    pub(super) fn read(frames: impl FrameTable, next_seq: u64) -> Outcome<Self> {
        let mut tail = Self {
            tile: next_seq / TILE,
            events: Vec::new(),
        };
        let mut frames = Frames::new(frames);
        while tail.next_seq() < next_seq {
            let records = frames.from(tail.next_seq())?;
            if records.is_empty() {
                return Err(mc_core::error::Error::corrupt("gap", Some(tail.next_seq())).into());
            }
            for record in records {
                tail.events.push((record.ts, term::of_event(record)));
            }
        }
        Ok(tail)
    }

    /// The event that comes next.
    pub(super) fn next_seq(&self) -> u64 {
        self.tile * TILE + self.events.len() as u64
    }

    fn push(&mut self, record: &Record) -> Option<Complete> {
        self.events.push((record.ts, term::of_event(record)));
        if (self.events.len() as u64) < TILE {
            return None;
        }
        let mut postings: BTreeMap<u64, Bits> = BTreeMap::new();
        for (at, (_, terms)) in self.events.iter().enumerate() {
            for term in terms {
                let bits = postings.entry(*term).or_default();
                bits[at / 8] |= 1 << (at % 8);
            }
        }
        let complete = Complete {
            tile: self.tile,
            first_ts: self.events.first().map_or(record.ts, |(ts, _)| *ts),
            postings,
        };
        self.tile += 1;
        self.events.clear();
        Some(complete)
    }
}

/// Writes the postings of every tile that the events complete.
pub(super) fn write(tx: &WriteTransaction, tail: &mut Tail, records: &[Record]) -> Outcome<()> {
    let complete: Vec<Complete> = records
        .iter()
        .filter_map(|record| tail.push(record))
        .collect();
    if complete.is_empty() {
        return Ok(());
    }
    let mut marks = tx.open_table(TILE_MARKS)?;
    let mut table = tx.open_table(POSTINGS)?;
    for tile in complete {
        marks.insert(tile.tile, tile.first_ts.as_unix_us())?;
        for (term, bits) in &tile.postings {
            table.insert(&posting_key(*term, tile.tile), bits)?;
        }
    }
    Ok(())
}

/// The events of a tile whose bit is set.
pub(super) fn events_of(tile: u64, bits: Bits) -> impl Iterator<Item = u64> {
    (0..TILE)
        .filter(move |at| {
            let byte = bits.get((at / 8) as usize).copied().unwrap_or_default();
            byte & (1 << (at % 8)) != 0
        })
        .map(move |at| tile * TILE + at)
}
