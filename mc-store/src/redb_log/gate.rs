//! The gate: the one way from redb to the file, for as long as the handle lives.
//!
//! Why redb does not get the file itself:
//! - A soft restart drops and reopens the database. The gate keeps the file's lock meanwhile, so that
//!   no other process can slip in between.
//! - In a process forked off with the file open, a dropped database would write to the parent's
//!   file and give up its lock. The gate lets nothing through there.
//! - A sync that failed must be told to everybody who wrote, and the system tells it once.
//! - Tests put a backend of their own below it.

use std::fmt;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{BackendError, StorageBackend};

/// A range of the file that is locked.
type LockRange = (Bound<u64>, Bound<u64>);

/// Locks a mutex; a thread that panicked with it left nothing half done in here.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The shared way to the file.
#[derive(Clone)]
pub(super) struct Gate(Arc<Inner>);

struct Inner {
    file: Box<dyn StorageBackend>,
    /// The process that opened the file.
    pid: AtomicU32,
    held: Mutex<Vec<LockRange>>,
    syncs: Mutex<Syncs>,
}

/// Whether what a sync says can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syncs {
    Trusted,
    /// One failed. The system tells of a page that could not be written once, and to whoever syncs
    /// first: a later sync that succeeds says nothing about the pages of an earlier write.
    Failed,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gate").field(&self.0.file).finish()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if *self.pid.get_mut() == std::process::id() {
            // Nobody is left to tell; closing the file gives up the lock in any case.
            drop(self.file.close());
        }
    }
}

impl Gate {
    pub(super) fn new(file: Box<dyn StorageBackend>) -> Self {
        Self(Arc::new(Inner {
            file,
            pid: AtomicU32::new(std::process::id()),
            held: Mutex::new(Vec::new()),
            syncs: Mutex::new(Syncs::Trusted),
        }))
    }

    /// Makes the gate look as it does in a child: opened by another process.
    #[cfg(test)]
    pub(super) fn fork(&self) {
        self.0.pid.store(0, Ordering::Relaxed);
    }

    /// Whether this process inherited the gate over a fork.
    pub(super) fn is_forked(&self) -> bool {
        self.0.pid.load(Ordering::Relaxed) != std::process::id()
    }

    /// Believes syncs again: everything that counts is about to be written anew.
    pub(super) fn trust_syncs(&self) {
        *lock(&self.0.syncs) = Syncs::Trusted;
    }

    fn file(&self) -> io::Result<&dyn StorageBackend> {
        if self.is_forked() {
            return Err(io::Error::other("the handle was inherited over a fork"));
        }
        Ok(&*self.0.file)
    }

    fn take(
        &self,
        range: LockRange,
        take: impl FnOnce(&dyn StorageBackend) -> Result<bool, BackendError>,
    ) -> Result<bool, BackendError> {
        let file = self.file()?;
        let mut held = lock(&self.0.held);
        if held.contains(&range) {
            return Ok(true);
        }
        let taken = take(file)?;
        if taken {
            held.push(range);
        }
        Ok(taken)
    }
}

impl StorageBackend for Gate {
    fn len(&self) -> io::Result<u64> {
        self.file()?.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file()?.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file()?.set_len(len)
    }

    /// Syncs, one at a time; after one that failed, none succeeds until the store was reopened.
    fn sync_data(&self) -> io::Result<()> {
        let file = self.file()?;
        let mut syncs = lock(&self.0.syncs);
        if *syncs == Syncs::Failed {
            return Err(io::Error::other("an earlier sync failed"));
        }
        let synced = file.sync_data();
        if synced.is_err() {
            *syncs = Syncs::Failed;
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file()?.write(offset, data)
    }

    /// Does nothing: the file stays open and locked until the last gate is dropped.
    fn close(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.take((start, end), |file| file.try_lock_range(start, end))
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.take((start, end), |file| file.try_lock_shared_range(start, end))
    }

    /// Does nothing: locks are held until the last gate is dropped.
    fn unlock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file()?.query_lock_range(start, end)
    }
}
