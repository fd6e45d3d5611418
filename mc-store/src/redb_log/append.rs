//! A batch on its way into the file: one transaction, only the rows that change.

use std::collections::BTreeMap;

use mc_core::error::Error;
use mc_core::event::PartContent;
use mc_core::id::{Digest, RunId};
use mc_core::ports::{Batch, Blob, Lease, RunRow};
use redb::{Database, ReadableTable, Table, WriteTransaction};

use super::fault::Outcome;
use super::frames::{self, HEAD, MetaHead, chunk_number};
use super::open::begin;
use super::pack::{KEPT, Packer, REWRITTEN, slices};
use super::postings::{self, Tail};
use super::reads::WORKSPACE;
use super::tables::{
    ACCOUNTS, BLOB_CHUNKS, BLOBS, FRAMES, KEYS, META, RUN_AGENTS, RUN_ATTENTION, RUN_DUE,
    RUN_INDEX, RUN_TERMS, RUNS, TILES, WORKFLOWS, agent_key, blob_chunk_key, blob_key, due_key,
    idempotency_key, number_at, term_key, workflow_key,
};
use crate::contract;
use crate::rows::{self, RunHead};
use crate::seal::{sealed, unsealed};

/// What the writer keeps from one batch to the next.
#[derive(Debug, Default)]
pub(super) struct Writer {
    packer: Packer,
    /// The events of the unfinished tile; none where they have to be read first.
    pub(super) tail: Option<Tail>,
    /// A write failed: nothing more is written before the database was reopened.
    pub(super) failed: bool,
    /// The last write that failed met a full disk.
    pub(super) met_full_disk: bool,
}

/// Writes a batch; it is on disk when this returns.
pub(super) fn commit(
    db: &Database,
    writer: &mut Writer,
    (lease, batch): (Lease, &Batch),
) -> Outcome<()> {
    let tx = begin(db)?;
    let head = MetaHead::read(&tx.open_table(META)?)?;
    contract::check(head.end(), lease, batch)?;
    let mut tail = match writer.tail.take() {
        Some(tail) if tail.next_seq() == head.head.next_seq => tail,
        _ => Tail::read(tx.open_table(FRAMES)?, head.head.next_seq)?,
    };
    write_events(&tx, batch, &mut writer.packer)?;
    postings::write(&tx, &mut tail, &batch.records)?;
    write_blobs(&tx, batch, &mut writer.packer)?;
    write_runs(&tx, &batch.runs, &mut writer.packer)?;
    write_shared(&tx, batch, &mut writer.packer)?;
    write_meta(&tx, head, batch)?;
    tx.commit()?;
    writer.tail = Some(tail);
    Ok(())
}

fn write_events(tx: &WriteTransaction, batch: &Batch, packer: &mut Packer) -> Outcome<()> {
    if batch.records.is_empty() {
        return Ok(());
    }
    let mut frames = tx.open_table(FRAMES)?;
    let mut index = tx.open_table(RUN_INDEX)?;
    frames::write((&mut frames, &mut index), &batch.records, packer)?;
    if !batch.tiles.is_empty() {
        let mut tiles = tx.open_table(TILES)?;
        for (tile, root) in &batch.tiles {
            tiles.insert(tile, root.as_bytes())?;
        }
    }
    Ok(())
}

fn write_blobs(tx: &WriteTransaction, batch: &Batch, packer: &mut Packer) -> Outcome<()> {
    let named = batch
        .records
        .iter()
        .flat_map(|record| &record.parts)
        .any(|part| matches!(part.content, PartContent::Blob(_)));
    if batch.blobs.is_empty() && !named {
        return Ok(());
    }
    let mut blobs = tx.open_table(BLOBS)?;
    let mut chunks = tx.open_table(BLOB_CHUNKS)?;
    for blob in &batch.blobs {
        write_blob((&mut blobs, &mut chunks), blob, packer)?;
    }
    for part in batch.records.iter().flat_map(|record| &record.parts) {
        if let PartContent::Blob(digest) = &part.content {
            let any = blob_range(*digest);
            if blobs.range::<&[u8; 48]>(&any.0..=&any.1)?.next().is_none() {
                return Err(Error::internal("a part names a blob that is not there").into());
            }
        }
    }
    Ok(())
}

/// The keys of a blob in every family.
pub(super) fn blob_range(digest: Digest) -> ([u8; 48], [u8; 48]) {
    let last = RunId::from_bytes([0xff; 16]);
    (blob_key(digest, RunId::ZERO), blob_key(digest, last))
}

type BlobTable<'a> = Table<'a, &'static [u8; 48], &'static [u8; 16]>;
type ChunkTable<'a> = Table<'a, &'static [u8; 50], &'static [u8]>;

/// Stores a blob, or counts one reference more to the one that its family has.
fn write_blob(
    (blobs, chunks): (&mut BlobTable<'_>, &mut ChunkTable<'_>),
    blob: &Blob,
    packer: &mut Packer,
) -> Outcome<()> {
    let key = blob_key(blob.digest, blob.family);
    let known = blobs.get(&key)?.map(|value| number_at(value.value(), 0));
    let len = (blob.bytes.len() as u64).to_be_bytes();
    let references = known.unwrap_or(0).saturating_add(1).to_be_bytes();
    let mut value = [0; 16];
    value[..8].copy_from_slice(&references);
    value[8..].copy_from_slice(&len);
    blobs.insert(&key, &value)?;
    if known.is_none() {
        let bytes = packer.pack(&blob.bytes, KEPT);
        for (number, slice) in slices(&bytes, 50).into_iter().enumerate() {
            chunks.insert(&blob_chunk_key(&key, chunk_number(number)?), slice)?;
        }
    }
    Ok(())
}

fn write_runs(tx: &WriteTransaction, rows: &[RunRow], packer: &mut Packer) -> Outcome<()> {
    if rows.is_empty() {
        return Ok(());
    }
    // Where a batch has a run twice, the later row is the one; in order of id, as trees like it.
    let latest: BTreeMap<RunId, &RunRow> =
        rows.iter().map(|row| (row.summary.run_id, row)).collect();
    let mut lists = Lists::default();
    {
        let mut runs = tx.open_table(RUNS)?;
        for (run, row) in latest {
            let head = RunHead::of(row);
            let encoded = head.encode();
            let before = old_head(&runs, run, &encoded)?;
            if let Some(before) = before {
                lists.change(run, &before, &head);
            }
            let state = packer.pack(&row.state, REWRITTEN);
            let value = sealed(run.as_bytes(), rows::encode_run(row, &encoded, &state));
            runs.insert(run.as_bytes(), value.as_slice())?;
        }
    }
    lists.write(tx)
}

/// The head that a run had, where it differs from the new one.
fn old_head(
    runs: &impl ReadableTable<&'static [u8; 16], &'static [u8]>,
    run: RunId,
    new: &[u8],
) -> Outcome<Option<RunHead>> {
    let Some(row) = runs.get(run.as_bytes())? else {
        return Ok(Some(RunHead::default()));
    };
    let old = rows::run_head(unsealed(run.as_bytes(), row.value())?)?;
    if old == new {
        Ok(None)
    } else {
        Ok(Some(RunHead::decode(old)?))
    }
}

/// Keys that runs left and that they entered, list by list.
#[derive(Debug, Default)]
struct Lists {
    left: Keys,
    entered: Keys,
}

#[derive(Debug, Default)]
struct Keys {
    terms: Vec<[u8; 24]>,
    due: Vec<[u8; 24]>,
    attention: Vec<[u8; 16]>,
    agents: Vec<Vec<u8>>,
}

impl Lists {
    fn change(&mut self, run: RunId, old: &RunHead, new: &RunHead) {
        self.left.add_missing(run, old, new);
        self.entered.add_missing(run, new, old);
    }

    fn write(&self, tx: &WriteTransaction) -> Outcome<()> {
        macro_rules! list {
            ($table:ident, $field:ident, $as_key:expr) => {
                if !self.left.$field.is_empty() || !self.entered.$field.is_empty() {
                    let mut table = tx.open_table($table)?;
                    for key in &self.left.$field {
                        table.remove($as_key(key))?;
                    }
                    for key in &self.entered.$field {
                        table.insert($as_key(key), ())?;
                    }
                }
            };
        }
        list!(RUN_TERMS, terms, std::convert::identity);
        list!(RUN_DUE, due, std::convert::identity);
        list!(RUN_ATTENTION, attention, std::convert::identity);
        list!(RUN_AGENTS, agents, Vec::as_slice);
        Ok(())
    }
}

impl Keys {
    /// Adds the keys that `has` has and `lacks` has not.
    fn add_missing(&mut self, run: RunId, has: &RunHead, lacks: &RunHead) {
        let terms = has.terms.iter().filter(|term| !lacks.terms.contains(term));
        self.terms.extend(terms.map(|term| term_key(*term, run)));
        if has.needs.due != lacks.needs.due {
            self.due.extend(has.needs.due.map(|due| due_key(due, run)));
        }
        if has.needs.attention && !lacks.needs.attention {
            self.attention.push(*run.as_bytes());
        }
        let agents = has
            .needs
            .agents
            .iter()
            .filter(|agent| !lacks.needs.agents.contains(agent));
        self.agents
            .extend(agents.map(|agent| agent_key(agent, run)));
    }
}

fn write_shared(tx: &WriteTransaction, batch: &Batch, packer: &mut Packer) -> Outcome<()> {
    if !batch.accounts.is_empty() {
        let mut accounts = tx.open_table(ACCOUNTS)?;
        for row in &batch.accounts {
            let state = packer.pack(&row.state, REWRITTEN);
            let value = sealed(row.account.as_bytes(), state);
            accounts.insert(&*row.account, value.as_slice())?;
        }
    }
    if !batch.workflows.is_empty() {
        let mut workflows = tx.open_table(WORKFLOWS)?;
        for row in &batch.workflows {
            let key = workflow_key(&row.workflow, row.version);
            let value = sealed(&key, rows::encode_workflow(row));
            workflows.insert(key.as_slice(), value.as_slice())?;
        }
    }
    if !batch.keys.is_empty() {
        let mut keys = tx.open_table(KEYS)?;
        for row in &batch.keys {
            let key = idempotency_key(&row.workflow, &row.key);
            keys.insert(key.as_slice(), &rows::encode_key(row))?;
        }
    }
    Ok(())
}

fn write_meta(tx: &WriteTransaction, head: MetaHead, batch: &Batch) -> Outcome<()> {
    let mut meta = tx.open_table(META)?;
    let head = MetaHead::of(contract::end_after(head.end(), batch));
    meta.insert(HEAD, head.encode().as_slice())?;
    let workspace = rows::encode_workspace(&batch.workspace);
    let workspace = sealed(WORKSPACE.as_bytes(), workspace);
    meta.insert(WORKSPACE, workspace.as_slice())?;
    Ok(())
}

/// Raises the epoch; the new one is on disk when this returns.
pub(super) fn raise(db: &Database) -> Outcome<u64> {
    let tx = begin(db)?;
    let epoch = {
        let mut meta = tx.open_table(META)?;
        let mut head = MetaHead::read(&meta)?;
        head.head.epoch = head.head.epoch.saturating_add(1);
        meta.insert(HEAD, head.encode().as_slice())?;
        head.head.epoch
    };
    tx.commit()?;
    Ok(epoch)
}
