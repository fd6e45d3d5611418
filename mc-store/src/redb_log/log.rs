//! The port, call by call: each is one piece of work on a lane.

use std::sync::Arc;

use async_trait::async_trait;
use mc_core::error::Result;
use mc_core::event::{PartRef, Record};
use mc_core::id::{AgentName, Digest, RunId, WorkflowName};
use mc_core::ports::{
    AccountRow, Batch, EventLog, EventQuery, Head, KeyRow, Lease, Page, Recovered, RunQuery,
    RunRow, RunSummary, WorkflowRow, WorkspaceRow,
};
use mc_core::time::Timestamp;
use redb::ReadTransaction;

use super::fault::Outcome;
use super::pages::read_in_pages;
use super::store::Store;
use super::worker::Lane;
use super::{RedbLog, reads, search};

impl RedbLog {
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Outcome<T> + Send + 'static,
    ) -> Result<T> {
        self.workers.run(Lane::Read, |store| store.read(read)).await
    }
}

#[async_trait]
impl EventLog for RedbLog {
    async fn acquire(&self) -> Result<Recovered> {
        self.workers.run(Lane::Write, Store::acquire).await
    }

    async fn append(&self, lease: Lease, batch: Batch) -> Result<()> {
        self.workers
            .append(move |store| store.append(lease, batch))
            .await
    }

    async fn head(&self) -> Result<Head> {
        self.workers.run(Lane::Read, Store::head).await
    }

    async fn read_workspace(&self, from: u64, limit: usize) -> Result<Vec<Record>> {
        let page = |next, most| self.read(move |tx| reads::workspace_events(tx, next, most));
        read_in_pages(from, limit, |record| record.seq, page).await
    }

    async fn read_run(&self, run: RunId, from: u64, limit: usize) -> Result<Vec<Record>> {
        let page = |next, most| self.read(move |tx| reads::run_events(tx, (run, next), most));
        read_in_pages(from, limit, |record| record.run_seq, page).await
    }

    async fn read_part(&self, part: PartRef) -> Result<Arc<[u8]>> {
        self.workers
            .run(Lane::Read, move |store| store.part(part))
            .await
    }

    async fn run_row(&self, run: RunId) -> Result<Option<RunRow>> {
        self.workers
            .run(Lane::Read, move |store| store.run_row(run))
            .await
    }

    async fn runs_in_need(&self, after: Option<RunId>, limit: usize) -> Result<Vec<RunId>> {
        self.read(move |tx| reads::runs_in_need(tx, after, limit))
            .await
    }

    async fn runs_due(&self, until: Timestamp, limit: usize) -> Result<Vec<(Timestamp, RunId)>> {
        self.read(move |tx| reads::runs_due(tx, until, limit)).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.read(reads::next_due).await
    }

    async fn runs_waiting_for(
        &self,
        agent: &AgentName,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<RunId>> {
        let agent = agent.clone();
        self.read(move |tx| reads::runs_waiting_for(tx, &agent, (after, limit)))
            .await
    }

    async fn run_by_key(
        &self,
        workflow: &WorkflowName,
        key: &str,
    ) -> Result<(Option<KeyRow>, Head)> {
        let (workflow, key) = (workflow.clone(), Arc::from(key));
        self.workers
            .run(Lane::Read, move |store| store.run_by_key((workflow, key)))
            .await
    }

    async fn accounts(&self) -> Result<Vec<AccountRow>> {
        self.read(reads::accounts).await
    }

    async fn tile_root(&self, tile: u64) -> Result<Option<Digest>> {
        self.read(move |tx| reads::tile_root(tx, tile)).await
    }

    async fn query_runs(&self, query: RunQuery) -> Result<Page<RunSummary>> {
        self.read(move |tx| search::runs(tx, &query)).await
    }

    async fn query_events(&self, query: EventQuery) -> Result<Page<Record>> {
        self.read(move |tx| search::events(tx, &query)).await
    }

    async fn workspace_row(&self) -> Result<Option<WorkspaceRow>> {
        self.read(reads::workspace_row).await
    }

    async fn workflow_rows(&self) -> Result<Vec<WorkflowRow>> {
        self.read(reads::workflows).await
    }
}
