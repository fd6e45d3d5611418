//! The log in memory: the same contract, for tests and for hosts that keep nothing.
//!
//! It is inline and has one lock. Clones share what is in it, so that "reopening" is cloning.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use mc_core::error::{Error, Result};
use mc_core::event::{PartContent, PartRef, Record};
use mc_core::id::{AgentName, Digest, RunId, WorkflowName};
use mc_core::ports::{
    AccountRow, Batch, EventLog, EventQuery, Head, KeyRow, Lease, Page, Recovered, RunNeeds,
    RunQuery, RunRow, RunSummary, WorkflowRow, WorkspaceRow, page_size,
};
use mc_core::time::Timestamp;

use crate::contract::{self, End};
use crate::filter::{event_matches, run_matches};
use crate::page::{Fingerprint, place_of};

/// A workspace's log in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog(Arc<Mutex<Kept>>);

/// Everything that is kept.
#[derive(Debug, Default)]
struct Kept {
    epoch: u64,
    records: Vec<Record>,
    runs: BTreeMap<RunId, RunRow>,
    run_events: BTreeMap<RunId, Vec<u64>>,
    attention: BTreeSet<RunId>,
    due: BTreeSet<(Timestamp, RunId)>,
    waiting: BTreeSet<(AgentName, RunId)>,
    accounts: BTreeMap<Arc<str>, AccountRow>,
    workflows: BTreeMap<(WorkflowName, u32), WorkflowRow>,
    keys: BTreeMap<(WorkflowName, Arc<str>), KeyRow>,
    blobs: BTreeMap<Digest, Arc<[u8]>>,
    tiles: BTreeMap<u64, Digest>,
    workspace: Option<WorkspaceRow>,
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn head(&self) -> Head {
        Head {
            next_seq: self.records.len() as u64,
            epoch: self.epoch,
        }
    }

    fn end(&self) -> End {
        End {
            head: self.head(),
            last_ts: self.records.last().map(|record| record.ts),
        }
    }

    fn record(&self, seq: u64) -> Option<&Record> {
        self.records.get(usize::try_from(seq).ok()?)
    }

    fn check(&self, lease: Lease, batch: &Batch) -> Result<()> {
        contract::check(self.end(), lease, batch)?;
        let parts = batch.records.iter().flat_map(|record| &record.parts);
        for part in parts {
            if let PartContent::Blob(digest) = &part.content {
                let brought = batch.blobs.iter().any(|blob| blob.digest == *digest);
                if !brought && !self.blobs.contains_key(digest) {
                    return Err(Error::internal("a part names a blob that is not there"));
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, batch: Batch) {
        for record in batch.records {
            self.run_events
                .entry(record.run_id)
                .or_default()
                .push(record.seq);
            self.records.push(record);
        }
        for row in batch.runs {
            self.take_run(row);
        }
        for row in batch.accounts {
            self.accounts.insert(Arc::clone(&row.account), row);
        }
        for row in batch.workflows {
            self.workflows
                .insert((row.workflow.clone(), row.version), row);
        }
        for row in batch.keys {
            let key = (row.workflow.clone(), Arc::clone(&row.key));
            self.keys.insert(key, row);
        }
        for blob in batch.blobs {
            self.blobs.insert(blob.digest, blob.bytes);
        }
        self.tiles.extend(batch.tiles);
        self.workspace = Some(batch.workspace);
    }

    fn take_run(&mut self, mut row: RunRow) {
        let run = row.summary.run_id;
        if let Some(old) = self.runs.get(&run).map(|old| old.needs.clone()) {
            self.attention.remove(&run);
            if let Some(due) = old.due {
                self.due.remove(&(due, run));
            }
            for agent in old.agents {
                self.waiting.remove(&(agent, run));
            }
        }
        row.needs.agents.sort_unstable();
        row.needs.agents.dedup();
        let RunNeeds {
            attention,
            due,
            agents,
        } = &row.needs;
        if *attention {
            self.attention.insert(run);
        }
        self.due.extend(due.map(|due| (due, run)));
        self.waiting
            .extend(agents.iter().map(|agent| (agent.clone(), run)));
        self.runs.insert(run, row);
    }

    /// A run's events from a `run_seq` on.
    fn of_run(&self, run: RunId, from: u64) -> impl Iterator<Item = &Record> {
        let seqs = self.run_events.get(&run).map_or(&[][..], Vec::as_slice);
        seqs.iter()
            .filter_map(|seq| self.record(*seq))
            .filter(move |record| record.run_seq >= from)
    }
}

/// Takes a page off matches that come with their places.
fn page<T: Clone>(
    matches: impl Iterator<Item = (u128, T)>,
    limit: usize,
    print: &Fingerprint,
) -> Page<T> {
    let mut items: Vec<(u128, T)> = matches.take(limit.saturating_add(1)).collect();
    let next = (items.len() > limit)
        .then(|| items.pop())
        .flatten()
        .map(|(place, _)| print.cursor(place));
    Page {
        items: items.into_iter().map(|(_, item)| item).collect(),
        next,
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn acquire(&self) -> Result<Recovered> {
        let mut kept = self.kept();
        kept.epoch = kept.epoch.saturating_add(1);
        Ok(Recovered {
            lease: Lease {
                epoch: kept.epoch,
                valid_until: None,
            },
            head: kept.head(),
            workspace: kept.workspace.clone(),
            accounts: kept.accounts.values().cloned().collect(),
            workflows: kept.workflows.values().cloned().collect(),
            last_ts: kept.end().last_ts,
        })
    }

    async fn append(&self, lease: Lease, batch: Batch) -> Result<()> {
        let mut kept = self.kept();
        kept.check(lease, &batch)?;
        kept.take(batch);
        Ok(())
    }

    async fn head(&self) -> Result<Head> {
        Ok(self.kept().head())
    }

    async fn read_workspace(&self, from: u64, limit: usize) -> Result<Vec<Record>> {
        let kept = self.kept();
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        Ok(kept
            .records
            .iter()
            .skip(from)
            .take(limit)
            .cloned()
            .collect())
    }

    async fn read_run(&self, run: RunId, from: u64, limit: usize) -> Result<Vec<Record>> {
        Ok(self.kept().of_run(run, from).take(limit).cloned().collect())
    }

    async fn read_part(&self, place: PartRef) -> Result<Arc<[u8]>> {
        let kept = self.kept();
        let missing = || Error::not_found("part", format!("{}/{}", place.seq, place.part));
        let part = kept
            .record(place.seq)
            .and_then(|record| record.parts.get(usize::from(place.part)))
            .ok_or_else(missing)?;
        match &part.content {
            PartContent::Inline(bytes) => Ok(Arc::clone(bytes)),
            PartContent::Erased(_) => Err(missing()),
            PartContent::Blob(digest) => {
                let bytes = kept.blobs.get(digest).map(Arc::clone);
                bytes.ok_or_else(|| Error::corrupt("blob", Some(place.seq)))
            }
        }
    }

    async fn run_row(&self, run: RunId) -> Result<Option<RunRow>> {
        Ok(self.kept().runs.get(&run).cloned())
    }

    async fn runs_in_need(&self, after: Option<RunId>, limit: usize) -> Result<Vec<RunId>> {
        let kept = self.kept();
        let behind = kept
            .attention
            .iter()
            .filter(|run| after.is_none_or(|after| **run > after));
        Ok(behind.take(limit).copied().collect())
    }

    async fn runs_due(&self, until: Timestamp, limit: usize) -> Result<Vec<(Timestamp, RunId)>> {
        let kept = self.kept();
        let due = kept.due.iter().take_while(|(due, _)| *due <= until);
        Ok(due.take(limit).copied().collect())
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        Ok(self.kept().due.first().map(|(due, _)| *due))
    }

    async fn runs_waiting_for(
        &self,
        agent: &AgentName,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<RunId>> {
        let kept = self.kept();
        let from = (agent.clone(), after.unwrap_or(RunId::ZERO));
        let runs = kept
            .waiting
            .range(from..)
            .take_while(|(name, _)| name == agent)
            .map(|(_, run)| *run)
            .filter(|run| Some(*run) != after);
        Ok(runs.take(limit).collect())
    }

    async fn run_by_key(
        &self,
        workflow: &WorkflowName,
        key: &str,
    ) -> Result<(Option<KeyRow>, Head)> {
        let kept = self.kept();
        let row = kept.keys.get(&(workflow.clone(), Arc::from(key))).cloned();
        Ok((row, kept.head()))
    }

    async fn accounts(&self) -> Result<Vec<AccountRow>> {
        Ok(self.kept().accounts.values().cloned().collect())
    }

    async fn tile_root(&self, tile: u64) -> Result<Option<Digest>> {
        Ok(self.kept().tiles.get(&tile).copied())
    }

    async fn query_runs(&self, query: RunQuery) -> Result<Page<RunSummary>> {
        let limit = page_size(query.limit)?;
        let print = Fingerprint::of_runs(&query);
        let place = print.place(query.cursor.as_ref())?.unwrap_or(u128::MAX);
        let kept = self.kept();
        let matches = kept
            .runs
            .values()
            .rev()
            .map(|row| (place_of(row.summary.run_id), row.summary.clone()))
            .filter(|(at, run)| *at <= place && run_matches(&query, run));
        Ok(page(matches, limit, &print))
    }

    async fn query_events(&self, query: EventQuery) -> Result<Page<Record>> {
        let limit = page_size(query.limit)?;
        let print = Fingerprint::of_events(&query);
        let place = print.place(query.cursor.as_ref())?.unwrap_or(0);
        let kept = self.kept();
        // Places are a run's own where the query is for one, as in the file's adapter.
        let by_run = query.run_id.is_some();
        let matches = kept
            .records
            .iter()
            .map(|record| {
                let at = if by_run { record.run_seq } else { record.seq };
                (u128::from(at), record)
            })
            .filter(|(at, record)| *at >= place && event_matches(&query, record))
            .map(|(at, record)| (at, record.clone()));
        Ok(page(matches, limit, &print))
    }
}
