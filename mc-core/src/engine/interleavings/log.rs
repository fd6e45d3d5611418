//! A log for models: it keeps what it is given, and other threads go on while it writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use shuttle::sync::Mutex;

use crate::error::{Error, ErrorKind, Result};
use crate::event::{PartContent, PartRef, Record};
use crate::id::{AgentName, Digest, RunId, WorkflowName};
use crate::ports::{
    AccountRow, Batch, EventLog, EventQuery, Head, KeyRow, Lease, Page, Recovered, RunQuery,
    RunRow, RunSummary, WorkflowRow, WorkspaceRow,
};
use crate::time::Timestamp;

/// What becomes of the next append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Next {
    /// It is written.
    #[default]
    Works,
    /// It fails, and nothing is written.
    Fails,
    /// It is written, and fails all the same.
    FailsAfter,
}

#[derive(Debug, Default)]
struct Kept {
    epoch: u64,
    next: Next,
    records: Vec<Record>,
    runs: BTreeMap<RunId, RunRow>,
    accounts: BTreeMap<Arc<str>, AccountRow>,
    workflows: BTreeMap<(WorkflowName, u32), WorkflowRow>,
    workspace: Option<WorkspaceRow>,
}

/// The log. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct ModelLog(Arc<Mutex<Kept>>);

impl ModelLog {
    fn with<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    /// Says what becomes of the next append.
    pub(super) fn set(&self, next: Next) {
        self.with(|kept| kept.next = next);
    }

    /// How many events of a run are of a kind.
    pub(super) fn count(&self, run: RunId, kind: &str) -> usize {
        let of = |record: &&Record| record.run_id == run && &*record.kind == kind;
        self.with(|kept| kept.records.iter().filter(of).count())
    }
}

fn away() -> Error {
    Error::new(ErrorKind::Unavailable, "the disk is away")
}

fn take(kept: &mut Kept, batch: Batch) {
    kept.records.extend(batch.records);
    let runs = batch.runs.into_iter();
    kept.runs.extend(runs.map(|row| (row.summary.run_id, row)));
    let accounts = batch.accounts.into_iter();
    let accounts = accounts.map(|row| (Arc::clone(&row.account), row));
    kept.accounts.extend(accounts);
    let workflows = batch.workflows.into_iter();
    let workflows = workflows.map(|row| ((row.workflow.clone(), row.version), row));
    kept.workflows.extend(workflows);
    kept.workspace = Some(batch.workspace);
}

fn head(kept: &Kept) -> Head {
    Head {
        next_seq: kept.records.len() as u64,
        epoch: kept.epoch,
    }
}

#[async_trait]
impl EventLog for ModelLog {
    async fn acquire(&self) -> Result<Recovered> {
        Ok(self.with(|kept| {
            kept.epoch += 1;
            Recovered {
                lease: Lease {
                    epoch: kept.epoch,
                    valid_until: None,
                },
                head: head(kept),
                workspace: kept.workspace.clone(),
                accounts: kept.accounts.values().cloned().collect(),
                workflows: kept.workflows.values().cloned().collect(),
                last_ts: kept.records.last().map(|record| record.ts),
            }
        }))
    }

    async fn append(&self, lease: Lease, batch: Batch) -> Result<()> {
        shuttle::future::yield_now().await;
        let next = self.with(|kept| std::mem::take(&mut kept.next));
        if next == Next::Fails {
            return Err(away());
        }
        self.with(|kept| {
            assert_eq!(lease.epoch, kept.epoch, "an older owner writes");
            let first = batch.records.first().map(|record| record.seq);
            assert_eq!(first, Some(kept.records.len() as u64));
            take(kept, batch);
        });
        shuttle::future::yield_now().await;
        if next == Next::FailsAfter {
            return Err(away());
        }
        Ok(())
    }

    async fn head(&self) -> Result<Head> {
        Ok(self.with(|kept| head(kept)))
    }

    async fn read_workspace(&self, from: u64, limit: usize) -> Result<Vec<Record>> {
        let behind = |record: &&Record| record.seq >= from;
        Ok(self.with(|kept| {
            let records = kept.records.iter().filter(behind);
            records.take(limit).cloned().collect()
        }))
    }

    async fn read_run(&self, run: RunId, from: u64, limit: usize) -> Result<Vec<Record>> {
        let behind = |record: &&Record| record.run_id == run && record.run_seq >= from;
        Ok(self.with(|kept| {
            let records = kept.records.iter().filter(behind);
            records.take(limit).cloned().collect()
        }))
    }

    async fn read_part(&self, place: PartRef) -> Result<Arc<[u8]>> {
        let records = self.read_workspace(place.seq, 1).await?;
        let part = records
            .first()
            .and_then(|record| record.parts.get(usize::from(place.part)));
        match part.map(|part| &part.content) {
            Some(PartContent::Inline(bytes)) => Ok(Arc::clone(bytes)),
            Some(PartContent::Blob(_) | PartContent::Erased(_)) | None => {
                Err(Error::not_found("part", place.seq))
            }
        }
    }

    async fn run_row(&self, run: RunId) -> Result<Option<RunRow>> {
        Ok(self.with(|kept| kept.runs.get(&run).cloned()))
    }

    async fn runs_in_need(&self, after: Option<RunId>, limit: usize) -> Result<Vec<RunId>> {
        let in_need = |row: &&RunRow| {
            row.needs.attention && after.is_none_or(|after| row.summary.run_id > after)
        };
        Ok(self.with(|kept| {
            let rows = kept.runs.values().filter(in_need);
            rows.take(limit).map(|row| row.summary.run_id).collect()
        }))
    }

    async fn runs_due(&self, _: Timestamp, _: usize) -> Result<Vec<(Timestamp, RunId)>> {
        Ok(Vec::new())
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        Ok(None)
    }

    async fn runs_waiting_for(
        &self,
        _: &AgentName,
        _: Option<RunId>,
        _: usize,
    ) -> Result<Vec<RunId>> {
        Ok(Vec::new())
    }

    async fn run_by_key(&self, _: &WorkflowName, _: &str) -> Result<(Option<KeyRow>, Head)> {
        Ok((None, self.head().await?))
    }

    async fn accounts(&self) -> Result<Vec<AccountRow>> {
        Ok(Vec::new())
    }

    async fn tile_root(&self, _: u64) -> Result<Option<Digest>> {
        Ok(None)
    }

    async fn query_runs(&self, _: RunQuery) -> Result<Page<RunSummary>> {
        Err(Error::internal("a model asks no questions"))
    }

    async fn query_events(&self, _: EventQuery) -> Result<Page<Record>> {
        Err(Error::internal("a model asks no questions"))
    }
}
