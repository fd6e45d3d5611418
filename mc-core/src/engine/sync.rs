//! The lock that the engine's handles share state behind, and what stands in for it in a model.
//!
//! In the tests of this crate it is a scheduler's: wherever it is taken or given back, another
//! thread may go next (`interleavings`). Everywhere else it is the standard library's. What is *not*
//! here: waiting; the engine waits for wake-ups only, never for this lock.

#[cfg(test)]
pub(super) use super::interleavings::{Guard as MutexGuard, Mutex};
#[cfg(not(test))]
pub(super) use std::sync::{Mutex, MutexGuard};

#[cfg(not(test))]
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    use std::sync::PoisonError;
    // A panic while the lock was held left plain data behind; the sequencer checks itself.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    MutexGuard::of(mutex)
}
