//! A run's events as they become durable.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::broadcast;

use super::inner::{Inner, stopped};
use crate::error::Result;
use crate::event::Record;
use crate::id::RunId;

/// Events that are read from the log at a time.
const PAGE: usize = 256;

/// What all subscribers of an engine hear.
#[derive(Clone, Debug)]
pub(super) enum News {
    /// These runs have moved; all of them may have, where none is named.
    Moved(Arc<BTreeSet<RunId>>),
    /// The owner that was joined left out so many notices.
    Missed(u64),
}

/// What a subscriber is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunNews {
    /// The next event.
    Event(Box<Record>),
    /// The subscriber was too slow for the notices of so many commits. No event is lost: the next
    /// ones come from the log.
    Lagged(u64),
}

/// A run's events in order, from its first; ends behind the seal that is the last of them by then. Asked
/// again after a redrive, it goes on.
///
/// A slow subscriber is told that it lags and never holds a run up.
#[derive(Debug)]
pub struct RunEvents {
    inner: Arc<Inner>,
    run_id: RunId,
    next: u64,
    ready: VecDeque<Record>,
    notices: broadcast::Receiver<News>,
    sealed: bool,
}

impl RunEvents {
    pub(super) fn new(inner: Arc<Inner>, run_id: RunId, from: u64) -> Self {
        let notices = inner.news.subscribe();
        Self {
            inner,
            run_id,
            next: from,
            ready: VecDeque::new(),
            notices,
            sealed: false,
        }
    }

    /// The next event, once it is durable; none behind the seal.
    ///
    /// # Errors
    /// `NotFound` without such a run, `Unavailable` where the engine was shut down.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<RunNews>> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                self.next = record.run_seq + 1;
                self.sealed = &*record.kind == "run.sealed";
                return Ok(Some(RunNews::Event(Box::new(record))));
            }
            let page = self
                .inner
                .log
                .read_run(self.run_id, self.next, PAGE)
                .await?;
            if !page.is_empty() {
                self.ready.extend(page);
                continue;
            }
            // Not before: a run that was redriven goes on behind its seal.
            if self.sealed {
                return Ok(None);
            }
            if self.next == 0 {
                // Every run has a first event, once it is durable.
                self.inner.durable_run(self.run_id).await?;
            }
            self.inner.require_open()?;
            if let Some(news) = self.wait().await? {
                return Ok(Some(news));
            }
        }
    }

    /// Waits until the run, or one nested in it, has moved; looks first whether it ever can.
    pub(super) async fn wait_open(&mut self) -> Result<Option<RunNews>> {
        self.inner.durable_run(self.run_id).await?;
        self.inner.require_open()?;
        self.wait().await
    }

    /// Waits until the run has moved.
    async fn wait(&mut self) -> Result<Option<RunNews>> {
        loop {
            match self.notices.recv().await {
                Ok(News::Moved(runs)) => {
                    if runs.contains(&self.run_id) || runs.is_empty() {
                        return Ok(None);
                    }
                }
                Ok(News::Missed(missed)) => return Ok(Some(RunNews::Lagged(missed))),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    return Ok(Some(RunNews::Lagged(missed)));
                }
                Err(broadcast::error::RecvError::Closed) => return Err(stopped()),
            }
        }
    }
}
