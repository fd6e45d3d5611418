//! The log port: append with a lease, read back, ask.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::query::{EventQuery, Page, RunQuery};
use super::rows::{AccountRow, Batch, Head, KeyRow, Lease, Recovered, RunRow, RunSummary};
use crate::error::Result;
use crate::event::{PartRef, Record};
use crate::id::{AgentName, Digest, RunId, WorkflowName};
use crate::time::Timestamp;

/// One workspace's append-only log and the rows beside it.
///
/// The contract is held by the public suite `mc_testkit::event_log_suite`. Nothing in the core may
/// assume that it is the only process with this log: the lease is what makes it the owner.
///
/// Reads see whole batches only, and every batch whose append returned.
#[async_trait]
pub trait EventLog: Send + Sync + fmt::Debug + 'static {
    /// Becomes the owner: raises the epoch durably and reads back what a sequencer starts from.
    /// Also the way to recover after a failed append: what the log then holds is the truth.
    ///
    /// # Errors
    /// `Unavailable` (disk full, read-only, another owner), `Corrupt`.
    async fn acquire(&self) -> Result<Recovered>;

    /// Appends a batch: atomic, and durable when it returns.
    ///
    /// # Errors
    /// `Conflict` with `StaleEpoch` where a newer owner exists, and where the batch does not begin
    /// at the head; nothing is written then. `Unavailable` where the write failed: whether the
    /// batch is in the log is then not known until [`EventLog::acquire`].
    async fn append(&self, lease: Lease, batch: Batch) -> Result<()>;

    /// The end of the log.
    async fn head(&self) -> Result<Head>;

    /// Events in order of `seq`, from `from`, at most `limit`.
    async fn read_workspace(&self, from: u64, limit: usize) -> Result<Vec<Record>>;

    /// A run's events in order of `run_seq`, from `from`, at most `limit`.
    async fn read_run(&self, run: RunId, from: u64, limit: usize) -> Result<Vec<Record>>;

    /// The bytes of a part.
    ///
    /// # Errors
    /// `NotFound` where there is no such part or it was erased.
    async fn read_part(&self, part: PartRef) -> Result<Arc<[u8]>>;

    /// A run's row.
    async fn run_row(&self, run: RunId) -> Result<Option<RunRow>>;

    /// Runs that need attention, in order of id, behind `after`, at most `limit`.
    async fn runs_in_need(&self, after: Option<RunId>, limit: usize) -> Result<Vec<RunId>>;

    /// Runs that are due, earliest first: those whose due time is at most `until`, at most `limit`.
    async fn runs_due(&self, until: Timestamp, limit: usize) -> Result<Vec<(Timestamp, RunId)>>;

    /// The earliest due time of all runs.
    async fn next_due(&self) -> Result<Option<Timestamp>>;

    /// Runs that wait for an agent, in order of id, behind `after`, at most `limit`.
    async fn runs_waiting_for(
        &self,
        agent: &AgentName,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<RunId>>;

    /// The run of an idempotency key, and the head at which that was looked up.
    async fn run_by_key(
        &self,
        workflow: &WorkflowName,
        key: &str,
    ) -> Result<(Option<KeyRow>, Head)>;

    /// Every shared account that was ever touched, in order of its name.
    async fn accounts(&self) -> Result<Vec<AccountRow>>;

    /// The root of a complete tile of 256 leaves.
    async fn tile_root(&self, tile: u64) -> Result<Option<Digest>>;

    /// Runs that match, newest first.
    async fn query_runs(&self, query: RunQuery) -> Result<Page<RunSummary>>;

    /// Events that match, oldest first.
    async fn query_events(&self, query: EventQuery) -> Result<Page<Record>>;
}
