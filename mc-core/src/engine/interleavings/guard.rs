//! The lock of a model: another thread may go next when it is taken, and once it was given back.

use std::ops::{Deref, DerefMut};

use shuttle::sync::{Mutex, MutexGuard};

/// Holds the lock of a model.
pub(in crate::engine) struct Guard<'a, T>(Option<MutexGuard<'a, T>>);

impl<'a, T> Guard<'a, T> {
    pub(in crate::engine) fn of(mutex: &'a Mutex<T>) -> Self {
        Self(Some(mutex.lock().unwrap()))
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap()
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_deref_mut().unwrap()
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        drop(self.0.take());
        if !std::thread::panicking() {
            shuttle::thread::yield_now();
        }
    }
}
