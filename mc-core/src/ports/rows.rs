//! What the log keeps beside the events: rows that the core writes and reads back.
//!
//! The core makes every id, sequence number, time and byte in here; an adapter only stores them,
//! all rows of a batch in one transaction with its events.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::budget::Limit;
use crate::event::Record;
use crate::event::nested::NestedIn;
use crate::id::{AgentName, Digest, LabelKey, RunId, WorkflowName, WorkspaceId};
use crate::money::NanoUsd;
use crate::run::RunStatus;
use crate::time::Timestamp;

/// The right to append, until a newer one is acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The owner's epoch: one more at every acquisition.
    pub epoch: u64,
    /// When it ends; none where the adapter holds a lock for as long as it lives.
    pub valid_until: Option<Timestamp>,
}

/// The end of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The sequence number that the next event gets.
    pub next_seq: u64,
    /// The epoch of the last owner; 0 before the first.
    pub epoch: u64,
}

/// The workspace's own row: one per store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceRow {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The encoded state of what belongs to no run: breakers, clock, settings.
    #[serde(with = "crate::json::as_base64")]
    pub state: Arc<[u8]>,
    /// The encoded frontier of the tree over all events so far.
    #[serde(with = "crate::json::as_base64")]
    pub frontier: Arc<[u8]>,
    /// The hash of run zero's last event.
    pub chain_head: Digest,
    /// The next `run_seq` of run zero.
    pub next_run_seq: u64,
}

/// What a run needs from a process that opens the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunNeeds {
    /// It has an attempt out, something ready or a turn in a queue: load it at open.
    pub attention: bool,
    /// The next time at which it has something to do by itself.
    pub due: Option<Timestamp>,
    /// Agents that it waits for.
    pub agents: Vec<AgentName>,
}

/// What lists and searches show of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSummary {
    /// The run.
    pub run_id: RunId,
    /// Its workflow; none for a session.
    pub workflow: Option<WorkflowName>,
    /// The version of the workflow.
    pub version: u32,
    /// The agents of its steps, sorted.
    pub agents: Vec<AgentName>,
    /// Its status.
    pub status: RunStatus,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether its evidence is sealed.
    pub sealed: bool,
    /// Its labels, sorted by key.
    pub labels: Vec<(LabelKey, Arc<str>)>,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What was settled.
    pub spent: NanoUsd,
    /// What open holds and doubts have.
    pub held: NanoUsd,
    /// What was settled in runs nested in it, as far as it was told.
    pub spent_nested: NanoUsd,
    /// The run that it is nested in, and the step there.
    pub outer: Option<NestedIn>,
    /// Its limit.
    pub limit: Limit,
    /// Why it stands still or how it ended, as a short code: `budget`, `approval`; empty if nothing.
    pub note: Arc<str>,
}

/// A run's row: its folded state and what finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRow {
    /// What lists show.
    pub summary: RunSummary,
    /// The encoded state, the fold of the run's events.
    #[serde(with = "crate::json::as_base64")]
    pub state: Arc<[u8]>,
    /// The hash of the run's last event.
    pub chain_head: Digest,
    /// The next `run_seq`.
    pub next_run_seq: u64,
    /// What it needs from a process that opens the store.
    pub needs: RunNeeds,
}

/// A shared account's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRow {
    /// The account's id as text, e.g. `agent:researcher`.
    pub account: Arc<str>,
    /// The encoded account.
    #[serde(with = "crate::json::as_base64")]
    pub state: Arc<[u8]>,
}

/// A published version of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowRow {
    /// The workflow.
    pub workflow: WorkflowName,
    /// The version, from 1.
    pub version: u32,
    /// The hash of the definition.
    pub hash: Digest,
    /// When it was published.
    pub published_at: Timestamp,
    /// Whether new runs take this version. An adapter stores it as given; the batch that
    /// activates a version also carries the row of the one that was active.
    pub active: bool,
    /// The definition's canonical bytes.
    #[serde(with = "crate::json::as_base64")]
    pub definition: Arc<[u8]>,
}

/// An idempotency key and the run that it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRow {
    /// The workflow that the key belongs to.
    pub workflow: WorkflowName,
    /// The caller's key.
    pub key: Arc<str>,
    /// The run.
    pub run_id: RunId,
    /// The digest of the request, to tell a repeat from a reuse.
    pub request: Digest,
}

/// The bytes of a large part. Stored once per family; a batch may name the same blob twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The first run of the family (a run, its forks and children).
    pub family: RunId,
    /// The SHA-256 of the bytes.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Arc<[u8]>,
}

/// One commit: events and every row that they change.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The events, dense from the head.
    pub records: Vec<Record>,
    /// The bytes of their large parts.
    pub blobs: Vec<Blob>,
    /// The runs that they change.
    pub runs: Vec<RunRow>,
    /// The shared accounts that they change.
    pub accounts: Vec<AccountRow>,
    /// The workflow versions that they publish or activate.
    pub workflows: Vec<WorkflowRow>,
    /// The idempotency keys that they use.
    pub keys: Vec<KeyRow>,
    /// The roots of tiles of 256 leaves that they complete, as (tile index, root).
    pub tiles: Vec<(u64, Digest)>,
    /// The workspace's row after them.
    pub workspace: WorkspaceRow,
}

/// What an owner finds when it acquires the log.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The right to append.
    pub lease: Lease,
    /// The end of the log, with the new epoch.
    pub head: Head,
    /// The workspace's row; none for an empty log.
    pub workspace: Option<WorkspaceRow>,
    /// Every shared account.
    pub accounts: Vec<AccountRow>,
    /// Every published version.
    pub workflows: Vec<WorkflowRow>,
    /// The timestamp of the last event; none for an empty log.
    pub last_ts: Option<Timestamp>,
}
