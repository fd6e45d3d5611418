//! How many bytes lie where: for benchmarks, and for whoever wonders why a file is large.

use redb::{ReadTransaction, ReadableTableMetadata as _, TableHandle as _};

use super::fault::Outcome;
use super::tables::{
    ACCOUNTS, BLOB_CHUNKS, BLOBS, FRAMES, KEYS, META, POSTINGS, RUN_AGENTS, RUN_ATTENTION, RUN_DUE,
    RUN_INDEX, RUN_TERMS, RUNS, TILE_MARKS, TILES, WORKFLOWS, every_table,
};

/// The bytes of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreBytes {
    /// The length of the file; free pages are part of it.
    pub file: u64,
    /// Every table.
    pub tables: Vec<TableBytes>,
}

/// The bytes of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableBytes {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// Keys and values.
    pub stored: u64,
    /// What the tree needs beside them.
    pub metadata: u64,
    /// Room in its pages that holds nothing.
    pub unused: u64,
}

pub(super) fn tables(tx: &ReadTransaction) -> Outcome<Vec<TableBytes>> {
    let mut out = Vec::new();
    macro_rules! count {
        ($($table:ident),*) => {{ $({
            let table = tx.open_table($table)?;
            let stats = table.stats()?;
            out.push(TableBytes {
                name: $table.name().to_owned(),
                rows: table.len()?,
                stored: stats.stored_bytes(),
                metadata: stats.metadata_bytes(),
                unused: stats.fragmented_bytes(),
            });
        })* }};
    }
    every_table!(count);
    Ok(out)
}
