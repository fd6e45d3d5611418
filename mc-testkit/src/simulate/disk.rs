//! A log that fails when it is told to, and shows every batch to the checker.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use mc_core::error::{Detail, Error, ErrorKind, Result};
use mc_core::event::{PartRef, Record};
use mc_core::id::{AgentName, Digest, RunId, WorkflowName};
use mc_core::ports::{
    Batch, EventLog, EventQuery, Head, KeyRow, Lease, Page, Recovered, RunQuery, RunRow, RunSummary,
};
use mc_core::time::Timestamp;
use mc_store::MemoryLog;

use super::checker::Checker;

/// What the next appends do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Disk {
    /// They write.
    #[default]
    Works,
    /// The next one fails and nothing is written.
    FailsBefore,
    /// The next one is written, and fails all the same.
    FailsAfter,
    /// So many fail because the disk is full.
    Full(u32),
}

#[derive(Debug)]
struct State {
    disk: Disk,
    checker: Checker,
}

/// A log in memory under watch.
#[derive(Clone)]
pub struct WatchedLog {
    inner: MemoryLog,
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for WatchedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedLog").finish_non_exhaustive()
    }
}

impl Default for WatchedLog {
    fn default() -> Self {
        Self::new()
    }
}

impl WatchedLog {
    /// An empty log on a disk that works.
    pub fn new() -> Self {
        let state = State {
            disk: Disk::Works,
            checker: Checker::default(),
        };
        Self {
            inner: MemoryLog::new(),
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what the next appends do.
    pub fn set(&self, disk: Disk) {
        self.state().disk = disk;
    }

    /// Looks at what was found so far.
    pub fn checker<T>(&self, look: impl FnOnce(&mut Checker) -> T) -> T {
        look(&mut self.state().checker)
    }

    fn next_fault(&self) -> Disk {
        let mut state = self.state();
        let fault = state.disk;
        state.disk = match fault {
            Disk::Full(times) if times > 1 => Disk::Full(times - 1),
            Disk::Full(_) | Disk::Works | Disk::FailsBefore | Disk::FailsAfter => Disk::Works,
        };
        fault
    }
}

fn failed() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the disk did not say whether it wrote",
    )
}

#[async_trait]
impl EventLog for WatchedLog {
    async fn acquire(&self) -> Result<Recovered> {
        self.inner.acquire().await
    }

    async fn append(&self, lease: Lease, batch: Batch) -> Result<()> {
        let fault = self.next_fault();
        match fault {
            Disk::FailsBefore => return Err(failed()),
            Disk::Full(_) => {
                return Err(Error::new(ErrorKind::Unavailable, "the disk is full")
                    .with_detail(Detail::StorageFull));
            }
            Disk::Works | Disk::FailsAfter => {}
        }
        self.inner.append(lease, batch.clone()).await?;
        self.state().checker.batch(&batch);
        if fault == Disk::FailsAfter {
            Err(failed())
        } else {
            Ok(())
        }
    }

    async fn head(&self) -> Result<Head> {
        self.inner.head().await
    }

    async fn read_workspace(&self, from: u64, limit: usize) -> Result<Vec<Record>> {
        self.inner.read_workspace(from, limit).await
    }

    async fn read_run(&self, run: RunId, from: u64, limit: usize) -> Result<Vec<Record>> {
        self.inner.read_run(run, from, limit).await
    }

    async fn read_part(&self, part: PartRef) -> Result<Arc<[u8]>> {
        self.inner.read_part(part).await
    }

    async fn run_row(&self, run: RunId) -> Result<Option<RunRow>> {
        self.inner.run_row(run).await
    }

    async fn runs_in_need(&self, after: Option<RunId>, limit: usize) -> Result<Vec<RunId>> {
        self.inner.runs_in_need(after, limit).await
    }

    async fn runs_due(&self, until: Timestamp, limit: usize) -> Result<Vec<(Timestamp, RunId)>> {
        self.inner.runs_due(until, limit).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.inner.next_due().await
    }

    async fn runs_waiting_for(
        &self,
        agent: &AgentName,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<RunId>> {
        self.inner.runs_waiting_for(agent, after, limit).await
    }

    async fn run_by_key(
        &self,
        workflow: &WorkflowName,
        key: &str,
    ) -> Result<(Option<KeyRow>, Head)> {
        self.inner.run_by_key(workflow, key).await
    }

    async fn tile_root(&self, tile: u64) -> Result<Option<Digest>> {
        self.inner.tile_root(tile).await
    }

    async fn query_runs(&self, query: RunQuery) -> Result<Page<RunSummary>> {
        self.inner.query_runs(query).await
    }

    async fn query_events(&self, query: EventQuery) -> Result<Page<Record>> {
        self.inner.query_events(query).await
    }
}
