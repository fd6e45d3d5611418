//! A log that fails when a test says so: in front of the one in memory, for all that reads.

use std::sync::Arc;

use async_trait::async_trait;
use mc_core::error::Result;
use mc_core::event::{PartRef, Record};
use mc_core::id::{AgentName, Digest, RunId, WorkflowName};
use mc_core::ports::{
    AccountRow, Batch, EventLog, EventQuery, Head, KeyRow, Lease, Page, Recovered, RunQuery,
    RunRow, RunSummary,
};
use mc_core::time::Timestamp;
use mc_store::MemoryLog;

/// What goes wrong; nothing, where a method is left out.
pub trait Faults: std::fmt::Debug + Send + Sync + 'static {
    /// Before a batch is written.
    ///
    /// # Errors
    /// The append fails with it, and nothing is written.
    fn before_append(&self, _batch: &Batch) -> Result<()> {
        Ok(())
    }

    /// After a batch was written.
    ///
    /// # Errors
    /// The append fails with it, although the batch is in the log.
    fn after_append(&self, _batch: &Batch) -> Result<()> {
        Ok(())
    }

    /// What was found at the opening, before the engine sees it.
    ///
    /// # Errors
    /// The opening fails with it.
    fn opened(&self, _found: &mut Recovered) -> Result<()> {
        Ok(())
    }
}

/// A log in memory with faults. Clones are the same log.
#[derive(Clone, Debug, Default)]
pub struct FaultyLog<F> {
    log: MemoryLog,
    faults: F,
}

impl<F: Faults> FaultyLog<F> {
    /// An empty log.
    pub fn new(faults: F) -> Self {
        Self {
            log: MemoryLog::new(),
            faults,
        }
    }

    /// What goes wrong.
    pub const fn faults(&self) -> &F {
        &self.faults
    }
}

#[async_trait]
impl<F: Faults> EventLog for FaultyLog<F> {
    async fn acquire(&self) -> Result<Recovered> {
        let mut found = self.log.acquire().await?;
        self.faults.opened(&mut found)?;
        Ok(found)
    }

    async fn append(&self, lease: Lease, batch: Batch) -> Result<()> {
        self.faults.before_append(&batch)?;
        self.log.append(lease, batch.clone()).await?;
        self.faults.after_append(&batch)
    }

    async fn head(&self) -> Result<Head> {
        self.log.head().await
    }

    async fn read_workspace(&self, from: u64, limit: usize) -> Result<Vec<Record>> {
        self.log.read_workspace(from, limit).await
    }

    async fn read_run(&self, run: RunId, from: u64, limit: usize) -> Result<Vec<Record>> {
        self.log.read_run(run, from, limit).await
    }

    async fn read_part(&self, part: PartRef) -> Result<Arc<[u8]>> {
        self.log.read_part(part).await
    }

    async fn run_row(&self, run: RunId) -> Result<Option<RunRow>> {
        self.log.run_row(run).await
    }

    async fn runs_in_need(&self, after: Option<RunId>, limit: usize) -> Result<Vec<RunId>> {
        self.log.runs_in_need(after, limit).await
    }

    async fn runs_due(&self, until: Timestamp, limit: usize) -> Result<Vec<(Timestamp, RunId)>> {
        self.log.runs_due(until, limit).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.log.next_due().await
    }

    async fn runs_waiting_for(
        &self,
        agent: &AgentName,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<RunId>> {
        self.log.runs_waiting_for(agent, after, limit).await
    }

    async fn run_by_key(
        &self,
        workflow: &WorkflowName,
        key: &str,
    ) -> Result<(Option<KeyRow>, Head)> {
        self.log.run_by_key(workflow, key).await
    }

    async fn accounts(&self) -> Result<Vec<AccountRow>> {
        self.log.accounts().await
    }

    async fn tile_root(&self, tile: u64) -> Result<Option<Digest>> {
        self.log.tile_root(tile).await
    }

    async fn query_runs(&self, query: RunQuery) -> Result<Page<RunSummary>> {
        self.log.query_runs(query).await
    }

    async fn query_events(&self, query: EventQuery) -> Result<Page<Record>> {
        self.log.query_events(query).await
    }
}
