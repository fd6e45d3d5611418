//! The log of a joined handle: asks the owner, and once this process owns the file, the file.
//!
//! Reads that come while nobody owns the log wait for a while, then they are refused; those whose owner
//! went away are asked again, of the next one.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use mc_core::error::{Detail, Error, ErrorKind, Result};
use mc_core::event::{PartRef, Record};
use mc_core::id::{AgentName, Digest, RunId, WorkflowName};
use mc_core::ports::{
    AccountRow, Batch, EventLog, EventQuery, Head, KeyRow, Lease, Page, Recovered, RunQuery,
    RunRow, RunSummary, WorkflowRow, WorkspaceRow,
};
use mc_core::time::Timestamp;
use tokio::sync::watch;

use crate::client::Connection;
use crate::reads::{self, Read, ReadAnswer};

/// Where the log is.
#[derive(Clone)]
pub(crate) enum Source {
    /// At the owner.
    Owner(Arc<Connection>),
    /// Nowhere for now: reads wait.
    Nobody,
    /// Nowhere for longer: reads are refused by this reason.
    Refused(Arc<Error>),
    /// Here.
    Own(Arc<dyn EventLog>),
}

/// A log that is wherever its owner is.
pub(crate) struct LinkedLog {
    source: watch::Sender<Source>,
    pid: u32,
}

impl fmt::Debug for LinkedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkedLog").finish_non_exhaustive()
    }
}

/// The same error once more.
fn again(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.message());
    match error.detail() {
        Some(detail) => copy.with_detail(detail.clone()),
        None => copy,
    }
}

fn unexpected(answer: &ReadAnswer) -> Error {
    Error::internal(format!("the owner answered another question: {answer:?}"))
}

/// The one variant of an answer that is expected.
macro_rules! expect {
    ($answer:expr, $variant:ident($($part:ident),+) => $value:expr) => {
        match $answer {
            ReadAnswer::$variant($($part),+) => Ok($value),
            other => Err(unexpected(&other)),
        }
    };
}

impl LinkedLog {
    pub(crate) fn of(owner: Arc<Connection>) -> Self {
        Self {
            source: watch::channel(Source::Owner(owner)).0,
            pid: std::process::id(),
        }
    }

    /// The log is somewhere else now.
    pub(crate) fn turn_to(&self, source: Source) {
        self.source.send_replace(source);
    }

    fn own(&self) -> Result<Arc<dyn EventLog>> {
        match &*self.source.borrow() {
            Source::Own(log) => Ok(Arc::clone(log)),
            Source::Owner(_) | Source::Nobody | Source::Refused(_) => Err(Error::new(
                ErrorKind::Unavailable,
                "another process owns the store",
            )),
        }
    }

    async fn read(&self, read: Read) -> Result<ReadAnswer> {
        if self.pid != std::process::id() {
            let message = "the handle was inherited over a fork; open the store again";
            let error = Error::new(ErrorKind::Unavailable, message);
            return Err(error.with_detail(Detail::ForkedHandle));
        }
        let mut sources = self.source.subscribe();
        loop {
            let source = sources.borrow_and_update().clone();
            match source {
                Source::Own(log) => return reads::answer(&*log, read).await,
                Source::Owner(owner) => {
                    if let Ok(answer) = owner.read(read.clone()).await {
                        return answer;
                    }
                }
                Source::Nobody => {}
                Source::Refused(error) => return Err(again(&error)),
            }
            if sources.changed().await.is_err() {
                return Err(Error::internal("the link is gone"));
            }
        }
    }
}

#[async_trait]
impl EventLog for LinkedLog {
    async fn acquire(&self) -> Result<Recovered> {
        self.own()?.acquire().await
    }

    async fn append(&self, lease: Lease, batch: Batch) -> Result<()> {
        self.own()?.append(lease, batch).await
    }

    async fn head(&self) -> Result<Head> {
        expect!(self.read(Read::Head).await?, Head(head) => head)
    }

    async fn read_workspace(&self, from: u64, limit: usize) -> Result<Vec<Record>> {
        let read = Read::Workspace(from, limit);
        expect!(self.read(read).await?, Records(records) => records)
    }

    async fn read_run(&self, run: RunId, from: u64, limit: usize) -> Result<Vec<Record>> {
        let read = Read::Run(run, from, limit);
        expect!(self.read(read).await?, Records(records) => records)
    }

    async fn read_part(&self, part: PartRef) -> Result<Arc<[u8]>> {
        expect!(self.read(Read::Part(part)).await?, Part(bytes) => bytes.0)
    }

    async fn run_row(&self, run: RunId) -> Result<Option<RunRow>> {
        expect!(self.read(Read::RunRow(run)).await?, RunRow(row) => row.map(|row| *row))
    }

    async fn runs_in_need(&self, after: Option<RunId>, limit: usize) -> Result<Vec<RunId>> {
        expect!(self.read(Read::InNeed(after, limit)).await?, RunIds(runs) => runs)
    }

    async fn runs_due(&self, until: Timestamp, limit: usize) -> Result<Vec<(Timestamp, RunId)>> {
        expect!(self.read(Read::Due(until, limit)).await?, Due(runs) => runs)
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        expect!(self.read(Read::NextDue).await?, NextDue(at) => at)
    }

    async fn runs_waiting_for(
        &self,
        agent: &AgentName,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<RunId>> {
        let read = Read::WaitingFor(agent.clone(), after, limit);
        expect!(self.read(read).await?, RunIds(runs) => runs)
    }

    async fn run_by_key(
        &self,
        workflow: &WorkflowName,
        key: &str,
    ) -> Result<(Option<KeyRow>, Head)> {
        let read = Read::Key(workflow.clone(), key.to_owned());
        expect!(self.read(read).await?, Key(row, head) => (row.map(|row| *row), head))
    }

    async fn tile_root(&self, tile: u64) -> Result<Option<Digest>> {
        expect!(self.read(Read::TileRoot(tile)).await?, TileRoot(root) => root)
    }

    async fn query_runs(&self, query: RunQuery) -> Result<Page<RunSummary>> {
        expect!(self.read(Read::Runs(Box::new(query))).await?, Runs(page) => page)
    }

    async fn query_events(&self, query: EventQuery) -> Result<Page<Record>> {
        expect!(self.read(Read::Events(Box::new(query))).await?, Events(page) => page)
    }

    async fn workspace_row(&self) -> Result<Option<WorkspaceRow>> {
        expect!(self.read(Read::WorkspaceRow).await?, WorkspaceRow(row) => row.map(|row| *row))
    }

    async fn accounts(&self) -> Result<Vec<AccountRow>> {
        expect!(self.read(Read::Accounts).await?, Accounts(rows) => rows)
    }

    async fn workflow_rows(&self) -> Result<Vec<WorkflowRow>> {
        expect!(self.read(Read::Workflows).await?, Workflows(rows) => rows)
    }
}
