//! The disk of a simulated world: fails when it is told to, and shows every batch to the checker.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mc_core::error::{Detail, Error, ErrorKind, Result};
use mc_core::ports::Batch;

use super::checker::Checker;
use crate::faulty_log::{Faults, FaultyLog};

/// What the next appends do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Disk {
    /// They write.
    #[default]
    Works,
    /// The next one fails and nothing is written.
    FailsBefore,
    /// The next one is written, and fails all the same.
    FailsAfter,
    /// So many fail because the disk is full.
    Full(u32),
}

#[derive(Debug, Default)]
struct State {
    disk: Disk,
    checker: Checker,
}

/// Watches every batch, and fails the next ones as it is told.
#[derive(Clone, Default)]
pub struct Watch(Arc<Mutex<State>>);

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// A log in memory under watch.
pub type WatchedLog = FaultyLog<Watch>;

impl Watch {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what the next appends do.
    pub fn set(&self, disk: Disk) {
        self.state().disk = disk;
    }

    /// Looks at what was found so far.
    pub fn checker<T>(&self, look: impl FnOnce(&mut Checker) -> T) -> T {
        look(&mut self.state().checker)
    }

    fn next_fault(&self) -> Disk {
        let mut state = self.state();
        let fault = state.disk;
        state.disk = match fault {
            Disk::Full(times) if times > 1 => Disk::Full(times - 1),
            Disk::Full(_) | Disk::Works | Disk::FailsBefore | Disk::FailsAfter => Disk::Works,
        };
        fault
    }
}

fn failed() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the disk did not say whether it wrote",
    )
}

impl Faults for Watch {
    fn before_append(&self, _batch: &Batch) -> Result<()> {
        let disk = self.state().disk;
        match disk {
            Disk::FailsBefore => {
                self.next_fault();
                Err(failed())
            }
            Disk::Full(_) => {
                self.next_fault();
                Err(Error::new(ErrorKind::Unavailable, "the disk is full")
                    .with_detail(Detail::StorageFull))
            }
            Disk::Works | Disk::FailsAfter => Ok(()),
        }
    }

    fn after_append(&self, batch: &Batch) -> Result<()> {
        self.state().checker.batch(batch);
        match self.next_fault() {
            Disk::FailsAfter => Err(failed()),
            Disk::Works | Disk::FailsBefore | Disk::Full(_) => Ok(()),
        }
    }
}
