//! Reads by place: events, parts, rows and lists, each within one short transaction.

use std::ops::ControlFlow;
use std::sync::Arc;

use mc_core::error::Error;
use mc_core::event::{PartContent, PartRef, Record};
use mc_core::id::{AgentName, Digest, RunId, WorkflowName};
use mc_core::ports::{
    AccountRow, Head, KeyRow, Lease, Recovered, RunRow, WorkflowRow, WorkspaceRow,
};
use mc_core::time::Timestamp;
use redb::{ReadTransaction, ReadableTable as _};

use super::append::blob_range;
use super::fault::Outcome;
use super::frames::{AtHand, Frames, MetaHead, position};
use super::pack::unpack;
use super::tables::{
    ACCOUNTS, BLOB_CHUNKS, BLOBS, FRAMES, KEYS, META, RUN_AGENTS, RUN_ATTENTION, RUN_DUE,
    RUN_INDEX, RUNS, TILES, WORKFLOWS, agent_key, blob_chunk_key, due_key, due_of, idempotency_key,
    index_key, run_at, workflow_of,
};
use crate::rows;
use crate::seal::unsealed;

/// The key of the workspace's row.
pub(super) const WORKSPACE: &str = "workspace";

pub(super) fn meta_head(tx: &ReadTransaction) -> Outcome<MetaHead> {
    MetaHead::read(&tx.open_table(META)?)
}

pub(super) fn head(tx: &ReadTransaction) -> Outcome<Head> {
    Ok(meta_head(tx)?.head)
}

/// Everything that an owner starts from.
pub(super) fn recovered(tx: &ReadTransaction) -> Outcome<Recovered> {
    let end = meta_head(tx)?.end();
    let workspace = workspace_row(tx)?;
    Ok(Recovered {
        lease: Lease {
            epoch: end.head.epoch,
            valid_until: None,
        },
        head: end.head,
        workspace,
        accounts: accounts(tx)?,
        workflows: workflows(tx)?,
        last_ts: end.last_ts,
    })
}

/// The workspace's row.
pub(super) fn workspace_row(tx: &ReadTransaction) -> Outcome<Option<WorkspaceRow>> {
    let row = tx.open_table(META)?.get(WORKSPACE)?;
    let row = row.map(|row| rows::decode_workspace(unsealed(WORKSPACE.as_bytes(), row.value())?));
    Ok(row.transpose()?)
}

/// Every shared account.
pub(super) fn accounts(tx: &ReadTransaction) -> Outcome<Vec<AccountRow>> {
    let table = tx.open_table(ACCOUNTS)?;
    let mut out = Vec::new();
    for row in table.range::<&str>(..)? {
        let (account, state) = row?;
        let state = unsealed(account.value().as_bytes(), state.value())?;
        out.push(AccountRow {
            account: Arc::from(account.value()),
            state: Arc::from(unpack(state)?),
        });
    }
    Ok(out)
}

/// Every published version, by workflow and number.
pub(super) fn workflows(tx: &ReadTransaction) -> Outcome<Vec<WorkflowRow>> {
    let table = tx.open_table(WORKFLOWS)?;
    let mut out = Vec::new();
    for row in table.range::<&[u8]>(..)? {
        let (key, value) = row?;
        let value = unsealed(key.value(), value.value())?.to_vec();
        let key = workflow_of(key.value()).ok_or_else(|| Error::corrupt("workflow", None))?;
        out.push(rows::decode_workflow(key, &value)?);
    }
    Ok(out)
}

pub(super) fn workspace_events(
    tx: &ReadTransaction,
    from: u64,
    limit: usize,
) -> Outcome<Vec<Record>> {
    let mut frames = Frames::new(tx.open_table(FRAMES)?);
    let mut out: Vec<Record> = Vec::new();
    while out.len() < limit {
        let next = from.saturating_add(out.len() as u64);
        let records = frames.from(next)?;
        if records.is_empty() {
            break;
        }
        let room = limit - out.len();
        out.extend(records.iter().take(room).cloned());
    }
    Ok(out)
}

/// Shows a run's events from `from` on, until `each` has enough.
pub(super) fn each_of_run(
    tx: &ReadTransaction,
    (run, from): (RunId, u64),
    mut each: impl FnMut(&Record) -> ControlFlow<()>,
) -> Outcome<()> {
    let index = tx.open_table(RUN_INDEX)?;
    let mut frames = Frames::new(tx.open_table(FRAMES)?);
    let (floor, end) = (index_key(run, 0), index_key(run, u64::MAX));
    let start = index
        .range::<&[u8; 24]>(&floor..=&index_key(run, from))?
        .next_back()
        .transpose()?
        .map_or(floor, |(key, _)| *key.value());
    for row in index.range::<&[u8; 24]>(&start..=&end)? {
        let first_seq = row?.1.value();
        for record in frames.frame(first_seq)? {
            let wanted = record.run_id == run && record.run_seq >= from;
            if wanted && each(record).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

pub(super) fn run_events(
    tx: &ReadTransaction,
    start: (RunId, u64),
    limit: usize,
) -> Outcome<Vec<Record>> {
    let mut out = Vec::new();
    if limit == 0 {
        return Ok(out);
    }
    each_of_run(tx, start, |record| {
        out.push(record.clone());
        if out.len() < limit {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(out)
}

/// Reads a part; its frame stays at hand.
pub(super) fn part(tx: &ReadTransaction, place: PartRef, at_hand: &AtHand) -> Outcome<Arc<[u8]>> {
    let missing = || Error::not_found("part", format!("{}/{}", place.seq, place.part));
    let frame = at_hand.frame(&tx.open_table(FRAMES)?, place.seq)?;
    let content = position(&frame, place.seq)
        .and_then(|at| frame.get(at)?.parts.get(usize::from(place.part)))
        .map(|part| part.content.clone())
        .ok_or_else(missing)?;
    match content {
        PartContent::Inline(bytes) => Ok(bytes),
        PartContent::Erased(_) => Err(missing().into()),
        PartContent::Blob(digest) => {
            blob(tx, digest)?.ok_or_else(|| Error::corrupt("blob", Some(place.seq)).into())
        }
    }
}

/// The bytes of a blob, of whichever family: a SHA-256 has one content.
fn blob(tx: &ReadTransaction, digest: Digest) -> Outcome<Option<Arc<[u8]>>> {
    let any = blob_range(digest);
    let blobs = tx.open_table(BLOBS)?;
    let Some(found) = blobs.range::<&[u8; 48]>(&any.0..=&any.1)?.next() else {
        return Ok(None);
    };
    let key = *found?.0.value();
    let chunks = tx.open_table(BLOB_CHUNKS)?;
    let (from, to) = (blob_chunk_key(&key, 0), blob_chunk_key(&key, u16::MAX));
    let mut packed = Vec::new();
    for slice in chunks.range::<&[u8; 50]>(&from..=&to)? {
        packed.extend_from_slice(slice?.1.value());
    }
    let bytes = unpack(&packed)?;
    Ok((Digest::of(&[&bytes]) == digest).then(|| Arc::from(bytes)))
}

pub(super) fn run_row(tx: &ReadTransaction, run: RunId) -> Outcome<Option<RunRow>> {
    let table = tx.open_table(RUNS)?;
    let Some(value) = table.get(run.as_bytes())? else {
        return Ok(None);
    };
    let value = unsealed(run.as_bytes(), value.value())?;
    let (mut row, state) = rows::decode_run(run, value)?;
    row.state = Arc::from(unpack(state)?);
    Ok(Some(row))
}

pub(super) fn runs_in_need(
    tx: &ReadTransaction,
    after: Option<RunId>,
    limit: usize,
) -> Outcome<Vec<RunId>> {
    let table = tx.open_table(RUN_ATTENTION)?;
    let from = from_behind(after);
    let rows = table.range::<&[u8; 16]>(from.as_bytes()..)?;
    let mut out = Vec::new();
    for row in rows.take(limit.saturating_add(1)) {
        out.push(RunId::from_bytes(*row?.0.value()));
    }
    Ok(behind(out, after, limit))
}

/// Reads the row of every run that needs its owner.
pub(super) fn check_needy(tx: &ReadTransaction) -> Outcome<()> {
    for run in runs_in_need(tx, None, usize::MAX)? {
        if run_row(tx, run)?.is_none() {
            return Err(Error::corrupt("run", None).with_context("run", run).into());
        }
    }
    Ok(())
}

pub(super) fn runs_due(
    tx: &ReadTransaction,
    until: Timestamp,
    limit: usize,
) -> Outcome<Vec<(Timestamp, RunId)>> {
    let table = tx.open_table(RUN_DUE)?;
    let end = due_key(until, RunId::from_bytes([0xff; 16]));
    let mut out = Vec::new();
    for row in table.range::<&[u8; 24]>(..=&end)?.take(limit) {
        let key = *row?.0.value();
        out.push((due_of(&key), run_at(&key, 8)));
    }
    Ok(out)
}

pub(super) fn next_due(tx: &ReadTransaction) -> Outcome<Option<Timestamp>> {
    let table = tx.open_table(RUN_DUE)?;
    let first = table.first()?;
    Ok(first.map(|(key, _)| due_of(key.value())))
}

pub(super) fn runs_waiting_for(
    tx: &ReadTransaction,
    agent: &AgentName,
    (after, limit): (Option<RunId>, usize),
) -> Outcome<Vec<RunId>> {
    let table = tx.open_table(RUN_AGENTS)?;
    let from = agent_key(agent, from_behind(after));
    let to = agent_key(agent, RunId::from_bytes([0xff; 16]));
    let mut out = Vec::new();
    let rows = table.range::<&[u8]>(from.as_slice()..=to.as_slice())?;
    for row in rows.take(limit.saturating_add(1)) {
        let key = row?.0;
        out.push(run_at(key.value(), key.value().len().saturating_sub(16)));
    }
    Ok(behind(out, after, limit))
}

fn from_behind(after: Option<RunId>) -> RunId {
    after.unwrap_or(RunId::ZERO)
}

/// A list that began at `after` itself, without it.
fn behind(mut runs: Vec<RunId>, after: Option<RunId>, limit: usize) -> Vec<RunId> {
    runs.retain(|run| Some(*run) != after);
    runs.truncate(limit);
    runs
}

pub(super) fn run_by_key(
    tx: &ReadTransaction,
    workflow: WorkflowName,
    key: Arc<str>,
) -> Outcome<Option<KeyRow>> {
    let table = tx.open_table(KEYS)?;
    let value = table.get(idempotency_key(&workflow, &key).as_slice())?;
    let found = value
        .map(|value| rows::decode_key(value.value()))
        .transpose()?;
    Ok(found.map(|(run_id, request)| KeyRow {
        workflow,
        key,
        run_id,
        request,
    }))
}

pub(super) fn tile_root(tx: &ReadTransaction, tile: u64) -> Outcome<Option<Digest>> {
    let table = tx.open_table(TILES)?;
    let root = table.get(tile)?;
    Ok(root.map(|root| Digest::from_bytes(*root.value())))
}

/// Whether any family has a blob.
pub(super) fn has_blob(tx: &ReadTransaction, digest: Digest) -> Outcome<bool> {
    let (first, last) = blob_range(digest);
    let blobs = tx.open_table(BLOBS)?;
    Ok(blobs.range::<&[u8; 48]>(&first..=&last)?.next().is_some())
}

/// How often a family refers to a blob; 0 where it is not there.
#[cfg(test)]
pub(super) fn references(tx: &ReadTransaction, digest: Digest, family: RunId) -> Outcome<u64> {
    let table = tx.open_table(BLOBS)?;
    let value = table.get(&super::tables::blob_key(digest, family))?;
    Ok(value.map_or(0, |value| super::tables::number_at(value.value(), 0)))
}
