//! What lies in the database: every table, its key -> its value.
//!
//! Keys are fixed-width bytes where they can be, big-endian, so that they sort as numbers do. A frame
//! or blob is packed and cut into slices that fill pages (`pack`). Postings exist for complete
//! tiles only; the events behind the last one are scanned. Rows are spelled in `rows`.
//! Read `append` next.

use mc_core::id::{AgentName, Digest, RunId, WorkflowName};
use mc_core::time::Timestamp;
use redb::{ReadTransaction, TableDefinition, TableError, WriteTransaction};

/// Events in a tile.
pub(super) const TILE: u64 = 256;

/// `head`, `workspace` -> `next_seq` u64, `epoch` u64, the last event's timestamp i64 and the number
/// u64 of the journal's last record in here; the workspace's row.
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// `first_seq` u64, chunk u16 -> a slice of the packed frame.
pub(super) const FRAMES: TableDefinition<'_, &[u8; 10], &[u8]> = TableDefinition::new("frames");
/// Run, `run_seq` u64 of its first event in a frame -> `first_seq` of the frame.
pub(super) const RUN_INDEX: TableDefinition<'_, &[u8; 24], u64> = TableDefinition::new("run_index");
/// Run -> head, summary, packed state.
pub(super) const RUNS: TableDefinition<'_, &[u8; 16], &[u8]> = TableDefinition::new("runs");
/// Hashed term u64, inverted run -> nothing.
pub(super) const RUN_TERMS: TableDefinition<'_, &[u8; 24], ()> = TableDefinition::new("run_terms");
/// Due time as biased u64, run -> nothing.
pub(super) const RUN_DUE: TableDefinition<'_, &[u8; 24], ()> = TableDefinition::new("run_due");
/// Run -> nothing.
pub(super) const RUN_ATTENTION: TableDefinition<'_, &[u8; 16], ()> =
    TableDefinition::new("run_attention");
/// Agent, 0, run -> nothing.
pub(super) const RUN_AGENTS: TableDefinition<'_, &[u8], ()> = TableDefinition::new("run_agents");
/// The account's id -> its state, packed.
pub(super) const ACCOUNTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("accounts");
/// Name, 0, version u32 -> hash, time, active, definition.
pub(super) const WORKFLOWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("workflows");
/// Workflow, 0, the caller's key -> run, digest of the request.
pub(super) const KEYS: TableDefinition<'_, &[u8], &[u8; 48]> = TableDefinition::new("keys");
/// SHA-256, family -> references u64, length u64.
pub(super) const BLOBS: TableDefinition<'_, &[u8; 48], &[u8; 16]> = TableDefinition::new("blobs");
/// SHA-256, family, chunk u16 -> a slice of the packed bytes.
pub(super) const BLOB_CHUNKS: TableDefinition<'_, &[u8; 50], &[u8]> =
    TableDefinition::new("blob_chunks");
/// Tile -> the root of its 256 leaves.
pub(super) const TILES: TableDefinition<'_, u64, &[u8; 32]> = TableDefinition::new("tiles");
/// Tile -> the timestamp of its first event.
pub(super) const TILE_MARKS: TableDefinition<'_, u64, i64> = TableDefinition::new("tile_marks");
/// Hashed term u64, tile u64 -> a bit for each event of the tile that has the term.
pub(super) const POSTINGS: TableDefinition<'_, &[u8; 16], &[u8; 32]> =
    TableDefinition::new("postings");

/// Calls a macro with every table.
macro_rules! every_table {
    ($call:ident) => {
        $call!(
            META,
            FRAMES,
            RUN_INDEX,
            RUNS,
            RUN_TERMS,
            RUN_DUE,
            RUN_ATTENTION,
            RUN_AGENTS,
            ACCOUNTS,
            WORKFLOWS,
            KEYS,
            BLOBS,
            BLOB_CHUNKS,
            TILES,
            TILE_MARKS,
            POSTINGS
        )
    };
}
pub(super) use every_table;

/// Makes every table, so that readers never meet an absent one.
pub(super) fn create_all(tx: &WriteTransaction) -> Result<(), TableError> {
    macro_rules! create {
        ($($table:ident),*) => {{ $(tx.open_table($table)?;)* }};
    }
    every_table!(create);
    Ok(())
}

/// Whether every table is there, with the types that we gave it.
pub(super) fn check_all(tx: &ReadTransaction) -> Result<(), TableError> {
    macro_rules! check {
        ($($table:ident),*) => {{ $(tx.open_table($table)?;)* }};
    }
    every_table!(check);
    Ok(())
}

/// Puts pieces side by side; what is missing stays zero.
fn joined<const N: usize>(pieces: &[&[u8]]) -> [u8; N] {
    let mut key = [0; N];
    let bytes = pieces.iter().flat_map(|piece| piece.iter());
    for (to, from) in key.iter_mut().zip(bytes) {
        *to = *from;
    }
    key
}

/// The number at `at` of a key.
pub(super) fn number_at(key: &[u8], at: usize) -> u64 {
    let bytes = key.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_be_bytes)
}

/// The run at `at` of a key.
pub(super) fn run_at(key: &[u8], at: usize) -> RunId {
    let bytes = key.get(at..at + 16).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(RunId::ZERO, RunId::from_bytes)
}

pub(super) fn frame_key(first_seq: u64, chunk: u16) -> [u8; 10] {
    joined(&[&first_seq.to_be_bytes(), &chunk.to_be_bytes()])
}

pub(super) fn index_key(run: RunId, run_seq: u64) -> [u8; 24] {
    joined(&[run.as_bytes(), &run_seq.to_be_bytes()])
}

/// Inverted, so that the newest run of a term comes first.
pub(super) fn term_key(term: u64, run: RunId) -> [u8; 24] {
    joined(&[&term.to_be_bytes(), &run.as_bytes().map(|byte| !byte)])
}

/// The run of a term's key.
pub(super) fn run_of_term(key: &[u8; 24]) -> RunId {
    RunId::from_bytes(run_at(key, 8).as_bytes().map(|byte| !byte))
}

pub(super) fn due_key(due: Timestamp, run: RunId) -> [u8; 24] {
    let biased = due.as_unix_us().cast_unsigned() ^ (1 << 63);
    joined(&[&biased.to_be_bytes(), run.as_bytes()])
}

/// The time of a due key.
pub(super) fn due_of(key: &[u8; 24]) -> Timestamp {
    Timestamp::from_unix_us((number_at(key, 0) ^ (1 << 63)).cast_signed())
}

pub(super) fn agent_key(agent: &AgentName, run: RunId) -> Vec<u8> {
    [agent.as_str().as_bytes(), &[0], run.as_bytes()].concat()
}

pub(super) fn workflow_key(workflow: &WorkflowName, version: u32) -> Vec<u8> {
    [workflow.as_str().as_bytes(), &[0], &version.to_be_bytes()].concat()
}

/// Name and version of a workflow's key.
pub(super) fn workflow_of(key: &[u8]) -> Option<(WorkflowName, u32)> {
    let (name, version) = key.split_at_checked(key.len().checked_sub(5)?)?;
    let version = version.strip_prefix(&[0])?.try_into().ok()?;
    let name = WorkflowName::new(std::str::from_utf8(name).ok()?).ok()?;
    Some((name, u32::from_be_bytes(version)))
}

pub(super) fn idempotency_key(workflow: &WorkflowName, key: &str) -> Vec<u8> {
    [workflow.as_str().as_bytes(), &[0], key.as_bytes()].concat()
}

pub(super) fn blob_key(digest: Digest, family: RunId) -> [u8; 48] {
    joined(&[digest.as_bytes(), family.as_bytes()])
}

pub(super) fn blob_chunk_key(blob: &[u8; 48], chunk: u16) -> [u8; 50] {
    joined(&[blob, &chunk.to_be_bytes()])
}

pub(super) fn posting_key(term: u64, tile: u64) -> [u8; 16] {
    joined(&[&term.to_be_bytes(), &tile.to_be_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_keys_sort_as_their_times_do_also_before_1970() {
        let key = |us| due_key(Timestamp::from_unix_us(us), RunId::ZERO);
        assert!(key(i64::MIN) < key(-1) && key(-1) < key(0) && key(0) < key(i64::MAX));
        assert_eq!(due_of(&key(-5)).as_unix_us(), -5);
    }

    #[test]
    fn the_newest_run_of_a_term_comes_first() {
        let (old, new) = (RunId::from_bytes([1; 16]), RunId::from_bytes([2; 16]));
        assert!(term_key(9, new) < term_key(9, old));
        assert_eq!(run_of_term(&term_key(9, old)), old);
    }

    #[test]
    fn a_workflows_key_gives_its_name_and_version_back() {
        let name = WorkflowName::new("a-b").unwrap();
        assert_eq!(workflow_of(&workflow_key(&name, 258)), Some((name, 258)));
        assert_eq!(workflow_of(b"x"), None);
    }
}
