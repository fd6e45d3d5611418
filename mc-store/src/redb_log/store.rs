//! The store: one open database, its failures and how it comes back.
//!
//! After a failed commit redb refuses writes until it is reopened, and whether that commit is in the
//! file shows only then. So a failed write closes the store for writing (`Writer::failed`) until
//! [`Store::acquire`] reopens the database and raises the epoch. Reads go on all the time: if the
//! disk does not even take what an open writes, through a view that changes nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use mc_core::error::{Detail, Error, ErrorKind, Result};
use mc_core::ports::{Batch, Lease, Recovered};
use redb::{Database, ReadTransaction, ReadableDatabase as _};
use tracing::warn;

use super::append::{self, Writer};
use super::contain::contained;
use super::fault::{self, Fault, Outcome};
use super::gate::{Gate, lock};
use super::health::{FileState, ReserveState, StoreHealth, WriteState};
use super::open::{self, Opened};
use super::overlay::Sharing;
use super::place::Place;
use super::reads;

/// What may be done with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everything.
    Full,
    /// Reads.
    Inspect,
}

/// An open store. Every call runs on the caller's thread; `worker` is what keeps callers from it.
#[derive(Debug)]
pub(super) struct Store {
    access: Access,
    cache_bytes: usize,
    slot: RwLock<Slot>,
    writer: Mutex<Writer>,
    /// What `writer` says, for those who may not wait for it.
    failed: AtomicBool,
    place: Option<Place>,
    /// Last, so that the file's lock goes after everything else.
    gate: Gate,
}

/// The database, while there is one.
#[derive(Debug)]
struct Slot {
    db: Option<Database>,
    writable: bool,
}

impl Drop for Store {
    fn drop(&mut self) {
        if let (Some(place), Access::Full, false) =
            (&self.place, self.access, self.gate.is_forked())
        {
            place.unclaim();
        }
        let slot = self.slot.get_mut().unwrap_or_else(PoisonError::into_inner);
        slot.close();
    }
}

impl Slot {
    /// Closes the database; a panic over a damaged file ends here.
    fn close(&mut self) {
        self.writable = false;
        let db = self.db.take();
        let closed = contained(|| {
            drop(db);
            Ok(())
        });
        if closed.is_err() {
            warn!("the database panicked while it was closed");
        }
    }
}

impl Store {
    /// Takes a file that was opened and looked at.
    pub(super) fn new(opened: Opened, access: Access, cache_bytes: usize) -> Result<Self> {
        let Opened { gate, place } = opened;
        let db = contained(|| match access {
            Access::Full => open::database(&gate, cache_bytes),
            Access::Inspect => open::view(&gate, Sharing::WithReaders),
        })?;
        if let (Some(place), Access::Full) = (&place, access) {
            place.claim();
            place.keep_reserve();
        }
        Ok(Self {
            access,
            cache_bytes,
            slot: RwLock::new(Slot {
                db: Some(db),
                writable: access == Access::Full,
            }),
            writer: Mutex::new(Writer::default()),
            failed: AtomicBool::new(false),
            place,
            gate,
        })
    }

    /// Makes the store look as it does in a child.
    #[cfg(test)]
    pub(super) fn fork(&self) {
        self.gate.fork();
    }

    /// Whether this process inherited the handle over a fork.
    pub(super) fn is_forked(&self) -> bool {
        self.gate.is_forked()
    }

    /// Refuses calls in a forked child: its copy of the handle must not touch the parent's file.
    pub(super) fn check_process(&self) -> Result<()> {
        if self.is_forked() {
            Err(
                fault::unavailable("the handle was inherited over a fork; open the store again")
                    .with_detail(Detail::ForkedHandle),
            )
        } else {
            Ok(())
        }
    }

    /// Reads within one short transaction.
    pub(super) fn read<T>(&self, read: impl FnOnce(&ReadTransaction) -> Outcome<T>) -> Result<T> {
        self.check_process()?;
        self.with(|db| read(&db.begin_read()?)).map_err(Error::from)
    }

    fn with<T>(&self, work: impl FnOnce(&Database) -> Outcome<T>) -> Outcome<T> {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        match &slot.db {
            Some(db) => contained(|| work(db)),
            None => Err(fault::unavailable("the store could not be reopened").into()),
        }
    }

    /// Appends a batch; it is on disk when this returns.
    pub(super) fn append(&self, lease: Lease, batch: &Batch) -> Result<()> {
        self.check_writable()?;
        let mut writer = lock(&self.writer);
        if writer.failed {
            return Err(fault::unavailable(
                "a write failed; the store has to be acquired again",
            ));
        }
        let written = self.with(|db| append::commit(db, &mut writer, (lease, batch)));
        self.settle(&mut writer, written)
    }

    /// Notes a failed write. What was refused left no trace and changes nothing.
    fn settle<T>(&self, writer: &mut Writer, written: Outcome<T>) -> Result<T> {
        match written {
            Ok(written) => Ok(written),
            Err(Fault::Refused(error)) => Err(error),
            Err(fault @ (Fault::Database(_) | Fault::Panicked(_))) => {
                let error = Error::from(fault);
                self.set_failed(writer, true);
                writer.met_full_disk = fault::is_full(&error);
                writer.tail = None;
                Err(error)
            }
        }
    }

    fn set_failed(&self, writer: &mut Writer, failed: bool) {
        writer.failed = failed;
        self.failed.store(failed, Ordering::Relaxed);
    }

    fn check_writable(&self) -> Result<()> {
        self.check_process()?;
        if self.access == Access::Inspect {
            return Err(fault::read_only());
        }
        self.place.as_ref().map_or(Ok(()), Place::check)
    }

    /// Becomes the owner: reopens the database if a write failed, raises the epoch and reads what
    /// the log holds.
    ///
    /// After a full disk the reserve is given back, so that the last events fit. Where it was given
    /// back before, its room is taken again, if the disk has it.
    pub(super) fn acquire(&self) -> Result<Recovered> {
        self.check_writable()?;
        let mut writer = lock(&self.writer);
        let mut released = writer.met_full_disk && self.release_reserve();
        let mut acquired = self.acquire_once(&mut writer);
        let is_full = acquired.as_ref().is_err_and(fault::is_full);
        if is_full && !released && self.release_reserve() {
            released = true;
            acquired = self.acquire_once(&mut writer);
        }
        if acquired.is_ok() {
            writer.met_full_disk = false;
        }
        if let (Ok(_), Some(place), false) = (&acquired, &self.place, released) {
            place.keep_reserve();
        }
        acquired.map_err(for_good)
    }

    fn acquire_once(&self, writer: &mut Writer) -> Result<Recovered> {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        let must_reopen = writer.failed || !slot.writable;
        drop(slot);
        if must_reopen {
            self.set_failed(writer, true);
            self.reopen()?;
            self.set_failed(writer, false);
        }
        // Rows that cannot be read are noticed before anything is written.
        let mut found = self.read(reads::recovered)?;
        let raised = self.with(append::raise);
        let epoch = self.settle(writer, raised)?;
        found.lease.epoch = epoch;
        found.head.epoch = epoch;
        Ok(found)
    }

    /// Throws the database away and opens it again; waits for the reads that are in it.
    fn reopen(&self) -> Result<()> {
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        slot.close();
        match contained(|| open::database(&self.gate, self.cache_bytes)) {
            Ok(db) => {
                slot.db = Some(db);
                slot.writable = true;
                Ok(())
            }
            Err(fault) => {
                slot.db = contained(|| open::view(&self.gate, Sharing::Alone)).ok();
                Err(fault.into())
            }
        }
    }

    fn release_reserve(&self) -> bool {
        self.place.as_ref().is_some_and(Place::release_reserve)
    }

    /// How the store stands.
    pub(super) fn health(&self) -> StoreHealth {
        let writes = if self.access == Access::Inspect {
            WriteState::ReadOnly
        } else if self.failed.load(Ordering::Relaxed) {
            WriteState::Failed
        } else {
            WriteState::Accepting
        };
        let file = match &self.place {
            None => FileState::NoFile,
            Some(place) if place.is_kept() => FileState::InPlace,
            Some(_) => FileState::Gone,
        };
        let reserve = match &self.place {
            Some(place) if place.has_reserve() => ReserveState::Kept,
            _ => ReserveState::Missing,
        };
        StoreHealth {
            writes,
            file,
            reserve,
        }
    }

    /// The length of the file.
    pub(super) fn file_bytes(&self) -> Result<u64> {
        self.check_process()?;
        redb::StorageBackend::len(&self.gate).map_err(fault::of_io)
    }
}

/// A disk that fails while the store is acquired takes no writes at all.
fn for_good(error: Error) -> Error {
    if error.kind() == ErrorKind::Unavailable && error.detail().is_none() {
        fault::read_only().with_source(error)
    } else {
        error
    }
}
