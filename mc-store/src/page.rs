//! Pages and their cursors.
//!
//! A cursor is `place.check`, both hexadecimal. The check covers the place and the query's filter,
//! so that a cursor of another query, or a mistyped one, is refused instead of giving odd pages. It is
//! no secret: a cursor gives no right to anything.

use mc_core::error::{Error, Result};
use mc_core::id::RunId;
use mc_core::ports::{Cursor, EventQuery, RunQuery};

use crate::bytes::Writer;
use crate::term;

/// The filter of a query, as bytes; the cursor and the size of the page are no part of it.
#[derive(Clone, Debug)]
pub(crate) struct Fingerprint(Vec<u8>);

impl Fingerprint {
    pub(crate) fn of_runs(query: &RunQuery) -> Self {
        let mut out = Writer::default();
        out.text("runs");
        out.option(query.workflow.as_ref(), |out, name| out.text(name.as_str()));
        out.option(query.agent.as_ref(), |out, name| out.text(name.as_str()));
        out.option(query.status, |out, status| out.text(status.as_str()));
        out.option(query.label.as_ref(), |out, (key, value)| {
            out.text(key.as_str());
            out.text(value);
        });
        for time in [query.started_from, query.started_before] {
            out.option(time, |out, time| out.signed(time.as_unix_us()));
        }
        for money in [query.spent_at_least, query.spent_at_most] {
            out.option(money, |out, money| out.signed(money.as_nano()));
        }
        Self(out.finish())
    }

    pub(crate) fn of_events(query: &EventQuery) -> Self {
        let mut out = Writer::default();
        out.text("events");
        out.option(query.kind.as_ref(), |out, kind| out.text(kind));
        out.option(query.actor.as_ref(), |out, actor| {
            out.text(&actor.to_string());
        });
        out.option(query.run_id, |out, run| out.raw(run.as_bytes()));
        for time in [query.from, query.before] {
            out.option(time, |out, time| out.signed(time.as_unix_us()));
        }
        Self(out.finish())
    }

    /// The cursor of a place.
    pub(crate) fn cursor(&self, place: u128) -> Cursor {
        Cursor::new(format!("{place:032x}.{:016x}", self.check(place)))
    }

    /// The place of a cursor; `None` for the first page.
    ///
    /// # Errors
    /// `InvalidInput` for a cursor that this query did not give.
    pub(crate) fn place(&self, cursor: Option<&Cursor>) -> Result<Option<u128>> {
        let Some(cursor) = cursor else {
            return Ok(None);
        };
        let place = cursor
            .as_str()
            .get(..32)
            .and_then(|digits| u128::from_str_radix(digits, 16).ok());
        match place {
            // Comparing the whole text leaves one spelling only.
            Some(place) if self.cursor(place) == *cursor => Ok(Some(place)),
            _ => Err(Error::invalid("cursor", "this cursor is not of this query")),
        }
    }

    fn check(&self, place: u128) -> u64 {
        let mut bytes = self.0.clone();
        bytes.extend_from_slice(&place.to_be_bytes());
        term::check(&bytes)
    }
}

/// A run's id as a place.
pub(crate) const fn place_of(run: RunId) -> u128 {
    u128::from_be_bytes(*run.as_bytes())
}

/// The run's id of a place.
pub(crate) const fn run_at(place: u128) -> RunId {
    RunId::from_bytes(place.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mc_core::error::ErrorKind;
    use mc_core::run::RunStatus;

    fn failed() -> Fingerprint {
        Fingerprint::of_runs(&RunQuery {
            status: Some(RunStatus::Failed),
            ..RunQuery::default()
        })
    }

    #[test]
    fn a_cursor_leads_back_to_its_place() {
        let cursor = failed().cursor(u128::MAX);
        assert_eq!(failed().place(Some(&cursor)).unwrap(), Some(u128::MAX));
        assert_eq!(failed().place(None).unwrap(), None);
    }

    #[test]
    fn a_cursor_of_another_query_or_of_nobody_is_refused() {
        let other = Fingerprint::of_runs(&RunQuery::default()).cursor(7);
        let mut upper = failed().cursor(0xabc).as_str().to_uppercase();
        for forged in [
            other.as_str(),
            "",
            "zz",
            &"0".repeat(49),
            &upper.split_off(0),
        ] {
            let error = failed().place(Some(&Cursor::new(forged))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{forged}");
        }
    }
}
