//! What a follower has heard and not taken yet: which runs moved, put together.
//!
//! Bounded: beyond so many runs only that anything may have moved is kept, so that a follower which is
//! slow costs nobody anything. Nothing is lost by that: what moved is read from the log.

use std::collections::BTreeSet;
use std::sync::Mutex;

use mc_core::error::{Error, Result};
use mc_core::id::RunId;
use tokio::sync::Notify;

use crate::opening::Moved;
use crate::outbox::lock;

/// Runs that are kept apart.
const MOST_RUNS: usize = 4_096;

/// What was heard.
#[derive(Debug, Default)]
pub(crate) struct News {
    heard: Mutex<Heard>,
    rung: Notify,
}

#[derive(Debug, Default)]
struct Heard {
    runs: BTreeSet<RunId>,
    anything: bool,
    ended: Option<Error>,
}

impl News {
    /// These runs have moved.
    pub(crate) fn moved(&self, runs: &[RunId]) {
        let mut heard = lock(&self.heard);
        if !heard.anything {
            heard.runs.extend(runs);
        }
        if heard.runs.len() > MOST_RUNS {
            heard.runs.clear();
            heard.anything = true;
        }
        drop(heard);
        self.rung.notify_one();
    }

    /// Any run may have moved.
    pub(crate) fn anything(&self) {
        let mut heard = lock(&self.heard);
        heard.runs.clear();
        heard.anything = true;
        drop(heard);
        self.rung.notify_one();
    }

    /// Nothing more is heard, for this reason.
    pub(crate) fn end(&self, error: Error) {
        lock(&self.heard).ended = Some(error);
        self.rung.notify_one();
    }

    fn take(&self) -> Option<Result<Moved>> {
        let mut heard = lock(&self.heard);
        if std::mem::take(&mut heard.anything) {
            return Some(Ok(Moved::Anything));
        }
        let runs = std::mem::take(&mut heard.runs);
        if !runs.is_empty() {
            return Some(Ok(Moved::Runs(runs)));
        }
        heard.ended.take().map(Err)
    }

    /// Waits for the next move, and takes all that was heard.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn next(&self) -> Result<Moved> {
        loop {
            let rung = self.rung.notified();
            if let Some(heard) = self.take() {
                return heard;
            }
            rung.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(n: u64) -> RunId {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&n.to_be_bytes());
        RunId::from_bytes(bytes)
    }

    fn taken(news: &News) -> Option<Moved> {
        news.take().map(Result::unwrap)
    }

    #[test]
    fn what_moved_twice_is_told_once() {
        let news = News::default();
        news.moved(&[run(1), run(2)]);
        news.moved(&[run(1)]);
        let both = Moved::Runs([run(1), run(2)].into());
        assert_eq!((taken(&news), taken(&news)), (Some(both), None));
    }

    #[test]
    fn beyond_a_bound_anything_may_have_moved() {
        let news = News::default();
        for n in 0..=4_096 {
            news.moved(&[run(n)]);
        }
        news.moved(&[run(1)]);
        assert_eq!((taken(&news), taken(&news)), (Some(Moved::Anything), None));
    }

    #[test]
    fn the_end_is_told_behind_what_was_heard() {
        let news = News::default();
        news.end(Error::internal("gone"));
        news.anything();
        assert_eq!(taken(&news), Some(Moved::Anything));
        assert!(news.take().unwrap().is_err());
    }
}
