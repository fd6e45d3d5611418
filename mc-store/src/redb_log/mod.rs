//! The log in a file, by redb: [`RedbLog`] and how it is opened.
//!
//! `layout` and `tables` say what lies in the file. `open` decides what is ours, `journal` makes a batch
//! durable, `append` brings it into the database, `reads` and `search` answer, `store` meets failure,
//! `worker` keeps disks away from async threads.

mod append;
mod contain;
mod fault;
mod frames;
mod gate;
mod health;
mod journal;
mod layout;
mod log;
mod open;
mod overlay;
mod pack;
mod pages;
mod place;
mod postings;
mod reads;
mod search;
mod stats;
mod store;
mod tables;
mod worker;
#[cfg(test)]
mod tests;

use std::path::Path;

use mc_core::error::Result;
use redb::StorageBackend;

pub use health::{FileState, ReserveState, StoreHealth, WriteState};
pub use stats::{StoreBytes, TableBytes};
pub use worker::Threads;

use store::{Access, Store};
use worker::{Lane, Workers};

/// A workspace's log in one file.
///
/// The file is locked for as long as the log lives; a second opener is refused with the owner's
/// process id. Dropping the log waits for what is being written and frees the file.
///
/// A handle that a process inherited over a fork refuses every call.
#[derive(Debug)]
pub struct RedbLog {
    workers: Workers,
}

/// How a log is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedbOptions {
    /// The bytes of the page cache; 64 MiB unless told.
    pub cache_bytes: usize,
    /// Where its work runs.
    pub threads: Threads,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 64 * 1024 * 1024,
            threads: Threads::Own,
        }
    }
}

impl RedbOptions {
    /// Opens the store in a file, or makes a new one (mode 0600) in a directory that exists.
    ///
    /// # Errors
    /// `Unavailable` with `AlreadyOpen`, `ReadOnly` or `StorageFull`; `Corrupt` with `ForeignFile`,
    /// `NewerFormat` or `Damaged`. A file that is refused keeps every byte.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<RedbLog> {
        self.start(open::file(path.as_ref())?, Access::Full)
    }

    /// Opens the store in a file for reading, without changing a byte of it, not even to mend what
    /// a crash left. Others may read at the same time; nobody may have it open for writing.
    ///
    /// # Errors
    /// As [`RedbOptions::open`], and `NotFound` where there is no file.
    pub fn open_read_only(&self, path: impl AsRef<Path>) -> Result<RedbLog> {
        self.start(open::file_to_inspect(path.as_ref())?, Access::Inspect)
    }

    /// Opens the store over a backend, or makes a new one if that is empty.
    ///
    /// # Errors
    /// As [`RedbOptions::open`].
    pub fn open_over(&self, backend: impl StorageBackend) -> Result<RedbLog> {
        self.start(open::backend(Box::new(backend))?, Access::Full)
    }

    fn start(&self, opened: open::Opened, access: Access) -> Result<RedbLog> {
        let store = Store::new(opened, access, self.cache_bytes)?;
        let workers = Workers::start(store, self.threads)?;
        Ok(RedbLog { workers })
    }
}

impl RedbLog {
    /// Opens the store in a file, with defaults. See [`RedbOptions::open`].
    ///
    /// # Errors
    /// As [`RedbOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        RedbOptions::default().open(path)
    }

    /// Opens the store in a file for reading. See [`RedbOptions::open_read_only`].
    ///
    /// # Errors
    /// As [`RedbOptions::open_read_only`].
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        RedbOptions::default().open_read_only(path)
    }

    /// Opens a store over a backend that does its work inside each call, with no thread.
    ///
    /// # Errors
    /// As [`RedbOptions::open_over`].
    pub fn inline(backend: impl StorageBackend) -> Result<Self> {
        let options = RedbOptions {
            threads: Threads::Inline,
            ..RedbOptions::default()
        };
        options.open_over(backend)
    }

    /// How the store stands: whether it takes writes, and whether its file is still there.
    pub fn health(&self) -> StoreHealth {
        self.workers.store().health()
    }

    /// How many bytes lie where.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn bytes(&self) -> Result<StoreBytes> {
        self.workers
            .run(Lane::Read, |store| {
                Ok(StoreBytes {
                    file: store.file_bytes()?,
                    tables: store.read(stats::tables)?,
                })
            })
            .await
    }
}
