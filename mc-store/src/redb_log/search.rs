//! Searches: runs by terms, events by postings; a page at a time, and bounded work a page.
//!
//! A page that met its bound before it was full is short and still has a cursor: the caller goes on.

use std::ops::ControlFlow;

use mc_core::error::Error;
use mc_core::event::Record;
use mc_core::id::RunId;
use mc_core::ports::{EventQuery, Page, RunQuery, RunSummary, page_size};
use mc_core::time::Timestamp;
use redb::{ReadOnlyTable, ReadTransaction};

use super::fault::Outcome;
use super::frames::Frames;
use super::postings::{Bits, events_of};
use super::reads::{each_of_run, head};
use super::tables::{
    FRAMES, POSTINGS, RUN_TERMS, RUNS, TILE, TILE_MARKS, number_at, posting_key, run_of_term,
    term_key,
};
use crate::filter::{event_matches, run_matches};
use crate::page::{Fingerprint, place_of, run_at};
use crate::rows;
use crate::seal::unsealed;
use crate::term;

/// How many rows or tiles a page looks at.
const MAX_LOOKS: usize = 4_096;
/// How many events of a run a page looks at.
const MAX_RUN_EVENTS: usize = 65_536;
/// How far a run's id may be from its start: ids are made a little before.
const ID_SLACK_US: i64 = 3_600_000_000;

/// A page in the making.
struct Building<T> {
    items: Vec<T>,
    limit: usize,
    next: Option<u128>,
}

impl<T> Building<T> {
    fn new(limit: usize) -> Self {
        Self {
            items: Vec::with_capacity(limit),
            limit,
            next: None,
        }
    }

    /// Takes a match; the first one too many only says where the next page begins.
    fn take(&mut self, place: u128, item: impl FnOnce() -> T) -> ControlFlow<()> {
        if self.items.len() < self.limit {
            self.items.push(item());
            return ControlFlow::Continue(());
        }
        self.stop_at(place)
    }

    /// Ends the page; the next one begins at `place`.
    fn stop_at(&mut self, place: u128) -> ControlFlow<()> {
        self.next = Some(place);
        ControlFlow::Break(())
    }

    fn finish(self, print: &Fingerprint) -> Page<T> {
        Page {
            items: self.items,
            next: self.next.map(|place| print.cursor(place)),
        }
    }
}

/// A number out of a cursor, which may be forged.
fn as_seq(place: u128) -> Outcome<u64> {
    u64::try_from(place)
        .map_err(|_| Error::invalid("cursor", "this cursor is not of this query").into())
}

/// Runs that match, newest first.
pub(super) fn runs(tx: &ReadTransaction, query: &RunQuery) -> Outcome<Page<RunSummary>> {
    let print = Fingerprint::of_runs(query);
    let mut page = Building::new(page_size(query.limit)?);
    let mut next = Some(match print.place(query.cursor.as_ref())? {
        Some(place) => place,
        None => newest(query),
    });
    let oldest = query
        .started_from
        .map_or(0, |from| id_floor(from, -ID_SLACK_US));
    let candidates = Candidates::open(tx, query)?;
    let mut looks = 0;
    while let Some(place) = next {
        if looks == MAX_LOOKS {
            let _ = page.stop_at(place);
            break;
        }
        looks += 1;
        let Some(run) = candidates.at_or_below(run_at(place))? else {
            break;
        };
        let found = place_of(run);
        if found < oldest {
            break;
        }
        let summary = candidates.summary(run)?;
        if run_matches(query, &summary) && page.take(found, || summary).is_break() {
            break;
        }
        next = found.checked_sub(1);
    }
    Ok(page.finish(&print))
}

/// Where the first page begins.
fn newest(query: &RunQuery) -> u128 {
    query
        .started_before
        .map_or(u128::MAX, |before| id_floor(before, ID_SLACK_US))
}

/// The lowest id of a run started at a time: a `UUIDv7` begins with its milliseconds.
fn id_floor(at: Timestamp, slack_us: i64) -> u128 {
    let ms = at.as_unix_us().saturating_add(slack_us).max(0) / 1_000;
    u128::from(ms.unsigned_abs()) << 80
}

/// Runs that have every term of a query, by descending id.
struct Candidates {
    terms: Vec<u64>,
    lists: ReadOnlyTable<&'static [u8; 24], ()>,
    runs: ReadOnlyTable<&'static [u8; 16], &'static [u8]>,
}

impl Candidates {
    fn open(tx: &ReadTransaction, query: &RunQuery) -> Outcome<Self> {
        Ok(Self {
            terms: term::of_run_query(query),
            lists: tx.open_table(RUN_TERMS)?,
            runs: tx.open_table(RUNS)?,
        })
    }

    /// The newest run that is no newer than `run` and has every term: each term in turn lowers
    /// the bound until all agree.
    fn at_or_below(&self, run: RunId) -> Outcome<Option<RunId>> {
        if self.terms.is_empty() {
            let last = self.runs.range::<&[u8; 16]>(..=run.as_bytes())?.next_back();
            return Ok(last
                .transpose()?
                .map(|(key, _)| RunId::from_bytes(*key.value())));
        }
        let mut bound = run;
        let mut agreed = 0;
        while agreed < self.terms.len() {
            for term in &self.terms {
                match self.of_term(*term, bound)? {
                    None => return Ok(None),
                    Some(found) if found == bound => agreed += 1,
                    Some(found) => {
                        bound = found;
                        agreed = 1;
                    }
                }
                if agreed == self.terms.len() {
                    break;
                }
            }
        }
        Ok(Some(bound))
    }

    fn of_term(&self, term: u64, bound: RunId) -> Outcome<Option<RunId>> {
        let (from, to) = (term_key(term, bound), term_key(term, RunId::ZERO));
        let first = self.lists.range::<&[u8; 24]>(&from..=&to)?.next();
        Ok(first.transpose()?.map(|(key, _)| run_of_term(key.value())))
    }

    fn summary(&self, run: RunId) -> Outcome<RunSummary> {
        match self.runs.get(run.as_bytes())? {
            Some(row) => Ok(rows::decode_summary(
                run,
                unsealed(run.as_bytes(), row.value())?,
            )?),
            None => Err(Error::corrupt("run_terms", None).into()),
        }
    }
}

/// Events that match, oldest first.
pub(super) fn events(tx: &ReadTransaction, query: &EventQuery) -> Outcome<Page<Record>> {
    let print = Fingerprint::of_events(query);
    let mut page = Building::new(page_size(query.limit)?);
    let place = print
        .place(query.cursor.as_ref())?
        .map(as_seq)
        .transpose()?;
    let terms = term::of_event_query(query);
    if let Some(run) = query.run_id {
        of_run(tx, query, (run, place.unwrap_or(0)), &mut page)?;
    } else {
        let mut search = EventSearch::open(tx, query)?;
        let start = match place {
            Some(place) => place,
            None => search.first_at(query.from)?,
        };
        let start = match terms.split_first() {
            None => Some(start),
            Some((first, others)) => search.by_postings((*first, others), start, &mut page)?,
        };
        if let Some(start) = start {
            search.scan(start, &mut page)?;
        }
    }
    Ok(page.finish(&print))
}

/// A run's events; places are its own `run_seq`.
fn of_run(
    tx: &ReadTransaction,
    query: &EventQuery,
    start: (RunId, u64),
    page: &mut Building<Record>,
) -> Outcome<()> {
    let mut looks = 0;
    each_of_run(tx, start, |record| {
        let place = u128::from(record.run_seq);
        looks += 1;
        if looks > MAX_RUN_EVENTS {
            page.stop_at(place)
        } else if event_matches(query, record) {
            page.take(place, || record.clone())
        } else {
            ControlFlow::Continue(())
        }
    })
}

/// A search over the whole log.
struct EventSearch<'a> {
    query: &'a EventQuery,
    frames: Frames<ReadOnlyTable<&'static [u8; 10], &'static [u8]>>,
    postings: ReadOnlyTable<&'static [u8; 16], &'static [u8; 32]>,
    marks: ReadOnlyTable<u64, i64>,
    /// Tiles that are complete.
    tiles: u64,
}

impl<'a> EventSearch<'a> {
    fn open(tx: &ReadTransaction, query: &'a EventQuery) -> Outcome<Self> {
        Ok(Self {
            query,
            frames: Frames::new(tx.open_table(FRAMES)?),
            postings: tx.open_table(POSTINGS)?,
            marks: tx.open_table(TILE_MARKS)?,
            tiles: head(tx)?.next_seq / TILE,
        })
    }

    fn mark(&self, tile: u64) -> Outcome<Option<Timestamp>> {
        let mark = self.marks.get(tile)?;
        Ok(mark.map(|mark| Timestamp::from_unix_us(mark.value())))
    }

    /// The start of the last complete tile that begins before `from`: times never decrease, so
    /// nothing before that tile is wanted.
    fn first_at(&self, from: Option<Timestamp>) -> Outcome<u64> {
        let Some(from) = from else {
            return Ok(0);
        };
        let (mut low, mut high) = (0, self.tiles);
        while low < high {
            let middle = low.midpoint(high);
            if self.mark(middle)?.is_some_and(|mark| mark < from) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low.saturating_sub(1) * TILE)
    }

    /// Searches the complete tiles. Gives where to scan on, or none if the page ended.
    fn by_postings(
        &mut self,
        terms: (u64, &[u64]),
        start: u64,
        page: &mut Building<Record>,
    ) -> Outcome<Option<u64>> {
        let mut tile = start / TILE;
        let mut looks = 0;
        while let Some((found, bits)) = self.next_tile(terms.0, tile)? {
            if looks == MAX_LOOKS {
                let _ = page.stop_at(u128::from(found * TILE));
                return Ok(None);
            }
            looks += 1;
            if self.is_past(self.mark(found)?) {
                return Ok(None);
            }
            let bits = self.both(bits, (terms.1, found))?;
            for seq in events_of(found, bits).filter(|seq| *seq >= start) {
                if self.offer(seq, page)?.is_break() {
                    return Ok(None);
                }
            }
            tile = found + 1;
        }
        Ok(Some(start.max(self.tiles * TILE)))
    }

    fn is_past(&self, at: Option<Timestamp>) -> bool {
        matches!((self.query.before, at), (Some(before), Some(at)) if at >= before)
    }

    /// The next complete tile, from `tile` on, in which a term occurs.
    fn next_tile(&self, term: u64, tile: u64) -> Outcome<Option<(u64, Bits)>> {
        if tile >= self.tiles {
            return Ok(None);
        }
        let (from, to) = (posting_key(term, tile), posting_key(term, self.tiles - 1));
        let next = self.postings.range::<&[u8; 16]>(&from..=&to)?.next();
        Ok(next
            .transpose()?
            .map(|(key, bits)| (number_at(key.value(), 8), *bits.value())))
    }

    /// The bits that the other terms have too.
    fn both(&self, mut bits: Bits, (others, tile): (&[u64], u64)) -> Outcome<Bits> {
        for term in others {
            let other = self.postings.get(&posting_key(*term, tile))?;
            let other = other.map_or([0; 32], |bits| *bits.value());
            for (bit, other) in bits.iter_mut().zip(other) {
                *bit &= other;
            }
        }
        Ok(bits)
    }

    fn offer(&mut self, seq: u64, page: &mut Building<Record>) -> Outcome<ControlFlow<()>> {
        let query = self.query;
        let record = self.frames.from(seq)?.first();
        let record = record.ok_or_else(|| Error::corrupt("postings", Some(seq)))?;
        if event_matches(query, record) {
            Ok(page.take(u128::from(seq), || record.clone()))
        } else {
            Ok(ControlFlow::Continue(()))
        }
    }

    /// Looks at every event from `start` on.
    fn scan(&mut self, start: u64, page: &mut Building<Record>) -> Outcome<()> {
        let query = self.query;
        let mut seq = start;
        loop {
            let records = self.frames.from(seq)?;
            if records.is_empty() {
                return Ok(());
            }
            for record in records {
                let past = query.before.is_some_and(|before| record.ts >= before);
                let full = event_matches(query, record)
                    && page
                        .take(u128::from(record.seq), || record.clone())
                        .is_break();
                if past || full {
                    return Ok(());
                }
            }
            seq = seq.saturating_add(records.len() as u64);
        }
    }
}
