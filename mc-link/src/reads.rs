//! Reads of a log that another process has: one question and one answer for each call of the port.
//!
//! The owner answers with [`answer`], and so does a joined process once it owns the log itself: there is
//! one table, and `linked_log` is its other end.

use std::sync::Arc;

use mc_core::error::Result;
use mc_core::event::{PartRef, Record};
use mc_core::id::{AgentName, Digest, RunId, WorkflowName};
use mc_core::ports::{
    AccountRow, EventLog, EventQuery, Head, KeyRow, Page, RunQuery, RunRow, RunSummary,
    WorkflowRow, WorkspaceRow,
};
use mc_core::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A question to a log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Read {
    Head,
    Workspace(u64, usize),
    Run(RunId, u64, usize),
    Part(PartRef),
    RunRow(RunId),
    InNeed(Option<RunId>, usize),
    Due(Timestamp, usize),
    NextDue,
    WaitingFor(AgentName, Option<RunId>, usize),
    Key(WorkflowName, String),
    TileRoot(u64),
    Runs(Box<RunQuery>),
    Events(Box<EventQuery>),
    WorkspaceRow,
    Workflows,
    Accounts,
}

/// Its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReadAnswer {
    Head(Head),
    Records(Vec<Record>),
    Part(Bytes),
    RunRow(Option<Box<RunRow>>),
    RunIds(Vec<RunId>),
    Due(Vec<(Timestamp, RunId)>),
    NextDue(Option<Timestamp>),
    Key(Option<Box<KeyRow>>, Head),
    TileRoot(Option<Digest>),
    Runs(Page<RunSummary>),
    Events(Page<Record>),
    WorkspaceRow(Option<Box<WorkspaceRow>>),
    Workflows(Vec<WorkflowRow>),
    Accounts(Vec<AccountRow>),
}

/// Bytes of a part, which go over the socket as base64.
#[derive(Clone, Debug)]
pub(crate) struct Bytes(pub(crate) Arc<[u8]>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        mc_core::json::as_base64::serialize(&self.0, to)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        mc_core::json::as_base64::deserialize(from).map(Self)
    }
}

/// Asks a log.
///
/// # Errors
/// What the log says.
#[expect(clippy::cognitive_complexity, reason = "a table: one line a question")]
pub(crate) async fn answer(log: &dyn EventLog, read: Read) -> Result<ReadAnswer> {
    Ok(match read {
        Read::Head => ReadAnswer::Head(log.head().await?),
        Read::Workspace(from, limit) => ReadAnswer::Records(log.read_workspace(from, limit).await?),
        Read::Run(run, from, limit) => ReadAnswer::Records(log.read_run(run, from, limit).await?),
        Read::Part(part) => ReadAnswer::Part(Bytes(log.read_part(part).await?)),
        Read::RunRow(run) => ReadAnswer::RunRow(log.run_row(run).await?.map(Box::new)),
        Read::InNeed(after, limit) => ReadAnswer::RunIds(log.runs_in_need(after, limit).await?),
        Read::Due(until, limit) => ReadAnswer::Due(log.runs_due(until, limit).await?),
        Read::NextDue => ReadAnswer::NextDue(log.next_due().await?),
        Read::WaitingFor(agent, after, limit) => {
            ReadAnswer::RunIds(log.runs_waiting_for(&agent, after, limit).await?)
        }
        Read::Key(workflow, key) => {
            let (row, head) = log.run_by_key(&workflow, &key).await?;
            ReadAnswer::Key(row.map(Box::new), head)
        }
        Read::TileRoot(tile) => ReadAnswer::TileRoot(log.tile_root(tile).await?),
        Read::Runs(query) => ReadAnswer::Runs(log.query_runs(*query).await?),
        Read::Events(query) => ReadAnswer::Events(log.query_events(*query).await?),
        Read::WorkspaceRow => ReadAnswer::WorkspaceRow(log.workspace_row().await?.map(Box::new)),
        Read::Accounts => ReadAnswer::Accounts(log.accounts().await?),
        Read::Workflows => ReadAnswer::Workflows(log.workflow_rows().await?),
    })
}
