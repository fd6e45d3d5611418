//! What waits to go over a socket: messages in order, and notices of which only the last state counts.
//!
//! Putting something in never waits, so a process that reads slowly holds nobody up. Notices about
//! runs are put together; beyond a bound they are only counted, and the other side is told how many it
//! missed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mc_core::engine::AttemptKey;
use mc_core::error::Result;
use mc_core::id::RunId;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

use crate::frame::encode;
use crate::message::{FromGuest, FromOwner};

/// Runs of which notices are kept apart.
const MOST_RUNS: usize = 4_096;

/// Locks a mutex; what is behind it is plain data.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Messages on their way out.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    moved: BTreeSet<RunId>,
    missed: u64,
    overflow: bool,
    progress: BTreeMap<AttemptKey, (u64, u64)>,
    closed: bool,
}

impl Outbox {
    /// Puts a message in; false where the other side is gone.
    ///
    /// # Errors
    /// `InvalidInput` for a message that is too long.
    pub(crate) fn put(&self, message: &impl serde::Serialize) -> Result<bool> {
        let frame = encode(message)?;
        let mut queue = lock(&self.queue);
        if queue.closed {
            return Ok(false);
        }
        queue.bytes.extend(frame);
        drop(queue);
        self.filled.notify_one();
        Ok(true)
    }

    /// These runs have moved.
    pub(crate) fn moved(&self, runs: &BTreeSet<RunId>) {
        let mut queue = lock(&self.queue);
        if queue.moved.len() + runs.len() > MOST_RUNS {
            queue.missed += 1;
            queue.overflow = true;
            queue.moved.clear();
        } else if queue.overflow {
            queue.missed += 1;
        } else {
            queue.moved.extend(runs);
        }
        drop(queue);
        self.filled.notify_one();
    }

    /// So many notices are lost, and any run may have moved.
    pub(crate) fn missed(&self, notices: u64) {
        let mut queue = lock(&self.queue);
        queue.missed += notices;
        queue.overflow = true;
        drop(queue);
        self.filled.notify_one();
    }

    /// How far an attempt has come; only the last word counts.
    pub(crate) fn progress(&self, attempt: &AttemptKey, tokens: (u64, u64)) {
        lock(&self.queue).progress.insert(attempt.clone(), tokens);
        self.filled.notify_one();
    }

    /// Nothing more goes out.
    pub(crate) fn close(&self) {
        lock(&self.queue).closed = true;
        self.filled.notify_one();
    }

    /// Whether the other side is there, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        !lock(&self.queue).closed
    }

    fn take(&self) -> Result<(Vec<u8>, bool)> {
        let mut queue = lock(&self.queue);
        let mut bytes = std::mem::take(&mut queue.bytes);
        let moved = std::mem::take(&mut queue.moved);
        let progress = std::mem::take(&mut queue.progress);
        let (missed, overflow) = (queue.missed, queue.overflow);
        (queue.missed, queue.overflow) = (0, false);
        let closed = queue.closed;
        drop(queue);
        if !moved.is_empty() {
            bytes.extend(encode(&FromOwner::Moved(moved.into_iter().collect()))?);
        }
        if overflow {
            bytes.extend(encode(&FromOwner::Missed(missed))?);
        }
        for (attempt, tokens) in progress {
            bytes.extend(encode(&FromGuest::Progress(attempt, tokens))?);
        }
        Ok((bytes, closed))
    }

    /// Writes until it is closed and empty, or the other side is gone.
    pub(crate) async fn write_to(&self, mut to: impl AsyncWrite + Unpin) {
        loop {
            let filled = self.filled.notified();
            let Ok((bytes, closed)) = self.take() else {
                break;
            };
            if bytes.is_empty() {
                if closed {
                    break;
                }
                filled.await;
            } else if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        self.close();
        // The other side sees the end of the stream.
        let _ = to.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(count: u8, from: u8) -> BTreeSet<RunId> {
        let id = |n: u8| RunId::from_bytes([from.wrapping_add(n); 16]);
        (0..count).map(id).collect()
    }

    #[test]
    fn notices_of_one_run_are_one() {
        let outbox = Outbox::default();
        outbox.moved(&runs(1, 7));
        outbox.moved(&runs(1, 7));
        let (bytes, _) = outbox.take().unwrap();
        assert_eq!(
            bytes,
            encode(&FromOwner::Moved(vec![RunId::from_bytes([7; 16])])).unwrap()
        );
    }

    #[test]
    fn a_slow_reader_is_told_how_much_it_missed() {
        let outbox = Outbox::default();
        for _ in 0..3 {
            outbox.missed(2);
        }
        let (bytes, _) = outbox.take().unwrap();
        assert_eq!(bytes, encode(&FromOwner::Missed(6)).unwrap());
        assert!(outbox.take().unwrap().0.is_empty());
    }

    #[test]
    fn nothing_is_taken_in_once_it_is_closed() {
        let outbox = Outbox::default();
        outbox.close();
        assert!(!outbox.put(&FromOwner::Missed(1)).unwrap());
    }
}
