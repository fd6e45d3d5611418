//! What every adapter checks of a batch before it writes a byte.

use mc_core::error::{Detail, Error, ErrorKind, Result};
use mc_core::ports::{Batch, Head, Lease};
use mc_core::time::Timestamp;

/// The end of a log: its head and the time of its last event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) head: Head,
    pub(crate) last_ts: Option<Timestamp>,
}

/// The lease is the newest, and the events are dense from the head, their times in order.
///
/// # Errors
/// `Conflict` for an older lease and for a batch that begins elsewhere; `Internal` for events that
/// no sequencer can have made.
pub(crate) fn check(end: End, lease: Lease, batch: &Batch) -> Result<()> {
    if lease.epoch != end.head.epoch {
        let detail = Detail::StaleEpoch {
            held: lease.epoch,
            current: end.head.epoch,
        };
        return Err(conflict("the store has a newer owner").with_detail(detail));
    }
    let first = batch
        .records
        .first()
        .map_or(end.head.next_seq, |record| record.seq);
    if first != end.head.next_seq {
        return Err(conflict("the batch does not begin at the head")
            .with_context("head", end.head.next_seq)
            .with_context("first", first));
    }
    check_events(end, batch)
}

/// The events are dense from the head, and their times in order.
///
/// # Errors
/// `Internal`: no sequencer can have made them.
pub(crate) fn check_events(end: End, batch: &Batch) -> Result<()> {
    let dense = batch
        .records
        .iter()
        .zip(end.head.next_seq..)
        .all(|(record, seq)| record.seq == seq);
    let times = end
        .last_ts
        .into_iter()
        .chain(batch.records.iter().map(|record| record.ts));
    if dense && times.is_sorted() {
        Ok(())
    } else {
        Err(Error::internal("the batch's events are not in order"))
    }
}

/// The end of the log behind a batch.
pub(crate) fn end_after(end: End, batch: &Batch) -> End {
    let last = batch.records.last();
    End {
        head: Head {
            next_seq: last.map_or(end.head.next_seq, |record| record.seq.saturating_add(1)),
            epoch: end.head.epoch,
        },
        last_ts: last.map_or(end.last_ts, |record| Some(record.ts)),
    }
}

fn conflict(message: &str) -> Error {
    Error::new(ErrorKind::Conflict, message)
}
