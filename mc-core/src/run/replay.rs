//! `replay`: a run's state from its records alone.

use super::apply::RunEvent;
use super::state::Run;
use crate::error::{Error, Result};
use crate::event::{EventKind, Record};

/// Reads the typed event of a record.
///
/// # Errors
/// `Corrupt` with the record's place.
pub fn read_event(record: &Record) -> Result<EventKind> {
    EventKind::read(&record.kind, &record.facts)
        .map_err(|e| Error::corrupt("event", Some(record.seq)).with_source(e))
}

/// Folds a run's records, in order from the first, into its state. No side effects.
///
/// # Errors
/// `NotFound` without records, `Corrupt` where they do not follow from each other.
pub fn replay<'a>(records: impl IntoIterator<Item = &'a Record>) -> Result<Run> {
    let mut run: Option<Run> = None;
    for record in records {
        let kind = read_event(record)?;
        let event = RunEvent::of(record, &kind);
        match &mut run {
            None => run = Some(Run::create(record.run_id, &event)?),
            Some(run) => drop(run.apply(&event)?),
        }
    }
    run.ok_or_else(|| Error::not_found("run", "(no records)"))
}
