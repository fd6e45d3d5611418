//! Batches on their way into the database: one transaction for many, only the rows that change, and
//! of a row that they change more than once, the last.

use std::collections::BTreeMap;
use std::sync::Arc;

use mc_core::event::PartContent;
use mc_core::event::Record;
use mc_core::id::{Digest, RunId};
use mc_core::ports::{Batch, Blob, RunRow};
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
use crate::rows::{self, RunHead};
use crate::seal::{sealed, unsealed};

/// What the writer keeps from one batch to the next.
#[derive(Debug, Default)]
pub(super) struct Writer {
    packer: Packer,
    /// The events of the unfinished tile; none where they have to be read first.
    pub(super) tail: Option<Tail>,
}

/// Brings batches into the database, in their order; they are there when this returns, and `last` is
/// the journal's last record that is.
pub(super) fn commit(
    db: &Database,
    writer: &mut Writer,
    (batches, last): (&[Arc<Batch>], u64),
) -> Outcome<()> {
    let tx = begin(db)?;
    let mut head = MetaHead::read(&tx.open_table(META)?)?;
    let mut tail = match writer.tail.take() {
        Some(tail) if tail.next_seq() == head.head.next_seq => tail,
        _ => Tail::read(tx.open_table(FRAMES)?, head.head.next_seq)?,
    };
    for batch in batches {
        head = head.behind(batch)?;
    }
    head.applied = last;
    let records: Vec<Record> = all(batches, |batch| &batch.records).cloned().collect();
    write_events(&tx, &records, &mut writer.packer)?;
    write_tiles(&tx, batches)?;
    postings::write(&tx, &mut tail, &records)?;
    for batch in batches {
        write_blobs(&tx, batch, &mut writer.packer)?;
    }
    write_runs(&tx, batches, &mut writer.packer)?;
    write_shared(&tx, batches, &mut writer.packer)?;
    write_meta(&tx, head, batches)?;
    tx.commit()?;
    writer.tail = Some(tail);
    Ok(())
}

/// The rows of one kind of every batch.
fn all<'a, T: 'a>(
    batches: &'a [Arc<Batch>],
    rows: impl Fn(&'a Batch) -> &'a Vec<T>,
) -> impl Iterator<Item = &'a T> {
    batches.iter().flat_map(move |batch| rows(batch))
}

fn write_events(tx: &WriteTransaction, records: &[Record], packer: &mut Packer) -> Outcome<()> {
    if records.is_empty() {
        return Ok(());
    }
    let mut frames = tx.open_table(FRAMES)?;
    let mut index = tx.open_table(RUN_INDEX)?;
    frames::write((&mut frames, &mut index), records, packer)
}

fn write_tiles(tx: &WriteTransaction, batches: &[Arc<Batch>]) -> Outcome<()> {
    if all(batches, |batch| &batch.tiles).next().is_none() {
        return Ok(());
    }
    let mut tiles = tx.open_table(TILES)?;
    for (tile, root) in all(batches, |batch| &batch.tiles) {
        tiles.insert(tile, root.as_bytes())?;
    }
    Ok(())
}

fn write_blobs(tx: &WriteTransaction, batch: &Batch, packer: &mut Packer) -> Outcome<()> {
    if batch.blobs.is_empty() {
        return Ok(());
    }
    let mut blobs = tx.open_table(BLOBS)?;
    let mut chunks = tx.open_table(BLOB_CHUNKS)?;
    for blob in &batch.blobs {
        write_blob((&mut blobs, &mut chunks), blob, packer)?;
    }
    Ok(())
}

/// The blobs that a batch names and does not bring.
pub(super) fn named_blobs(batch: &Batch) -> impl Iterator<Item = Digest> {
    let parts = batch.records.iter().flat_map(|record| &record.parts);
    let named = parts.filter_map(|part| match &part.content {
        PartContent::Blob(digest) => Some(*digest),
        PartContent::Inline(_) | PartContent::Erased(_) => None,
    });
    named.filter(|digest| !brings(batch, *digest))
}

/// Whether a batch brings a blob.
pub(super) fn brings(batch: &Batch, digest: Digest) -> bool {
    batch.blobs.iter().any(|blob| blob.digest == digest)
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

fn write_runs(tx: &WriteTransaction, batches: &[Arc<Batch>], packer: &mut Packer) -> Outcome<()> {
    // Where a run comes twice, the later row is the one; in order of id, as trees like it.
    let latest: BTreeMap<RunId, &RunRow> = all(batches, |batch| &batch.runs)
        .map(|row| (row.summary.run_id, row))
        .collect();
    if latest.is_empty() {
        return Ok(());
    }
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

fn write_shared(tx: &WriteTransaction, batches: &[Arc<Batch>], packer: &mut Packer) -> Outcome<()> {
    let latest: BTreeMap<&str, &[u8]> = all(batches, |batch| &batch.accounts)
        .map(|row| (&*row.account, &*row.state))
        .collect();
    if !latest.is_empty() {
        let mut accounts = tx.open_table(ACCOUNTS)?;
        for (account, state) in latest {
            let value = sealed(account.as_bytes(), packer.pack(state, REWRITTEN));
            accounts.insert(account, value.as_slice())?;
        }
    }
    if all(batches, |batch| &batch.workflows).next().is_some() {
        let mut workflows = tx.open_table(WORKFLOWS)?;
        for row in all(batches, |batch| &batch.workflows) {
            let key = workflow_key(&row.workflow, row.version);
            let value = sealed(&key, rows::encode_workflow(row));
            workflows.insert(key.as_slice(), value.as_slice())?;
        }
    }
    if all(batches, |batch| &batch.keys).next().is_some() {
        let mut keys = tx.open_table(KEYS)?;
        for row in all(batches, |batch| &batch.keys) {
            let key = idempotency_key(&row.workflow, &row.key);
            keys.insert(key.as_slice(), &rows::encode_key(row))?;
        }
    }
    Ok(())
}

fn write_meta(tx: &WriteTransaction, head: MetaHead, batches: &[Arc<Batch>]) -> Outcome<()> {
    let mut meta = tx.open_table(META)?;
    meta.insert(HEAD, head.encode().as_slice())?;
    if let Some(batch) = batches.last() {
        let workspace = rows::encode_workspace(&batch.workspace);
        let workspace = sealed(WORKSPACE.as_bytes(), workspace);
        meta.insert(WORKSPACE, workspace.as_slice())?;
    }
    Ok(())
}

/// Raises the epoch, in which no record of the journal was written yet; the new head is on disk when
/// this returns.
pub(super) fn raise(db: &Database) -> Outcome<MetaHead> {
    let tx = begin(db)?;
    let head = {
        let mut meta = tx.open_table(META)?;
        let mut head = MetaHead::read(&meta)?;
        head.head.epoch = head.head.epoch.saturating_add(1);
        head.applied = 0;
        meta.insert(HEAD, head.encode().as_slice())?;
        head
    };
    tx.commit()?;
    Ok(head)
}
