//! What waits to go over a socket: messages in order, and notices of which only the last state counts.
//!
//! Putting something in never waits, so a process that reads slowly holds nobody up. Notices about
//! runs are put together; beyond a bound they are only counted, and the other side is told how many it
//! missed. What is large waits for [`Outbox::room`] before it is made, and has its turn until it is
//! written; a process that reads nothing at all is given up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mc_core::engine::AttemptKey;
use mc_core::error::Result;
use mc_core::id::RunId;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::frame::encode;
use crate::message::{FromGuest, FromOwner};

/// Runs of which notices are kept apart.
const MOST_RUNS: usize = 4_096;

/// Bytes that wait before nothing large is added.
const ENOUGH: usize = 32 * 1024 * 1024;

/// Bytes that wait before the other side is given up.
const TOO_MANY: usize = 256 * 1024 * 1024;

/// Locks a mutex; what is behind it is plain data.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Messages on their way out.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
    written: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Bytes that are being written.
    under_way: usize,
    /// The turns of what waits.
    turns: Vec<OwnedSemaphorePermit>,
    moved: BTreeSet<RunId>,
    missed: u64,
    overflow: bool,
    progress: BTreeMap<AttemptKey, (u64, u64)>,
    closed: bool,
}

/// Bytes to write, whether nothing comes behind them, and the turns of what they are.
type Taken = (Vec<u8>, bool, Vec<OwnedSemaphorePermit>);

impl Queue {
    const fn waiting(&self) -> usize {
        self.bytes.len().saturating_add(self.under_way)
    }
}

impl Outbox {
    /// Puts a message in; false where the other side is gone.
    ///
    /// # Errors
    /// `InvalidInput` for a message that is too long.
    pub(crate) fn put(&self, message: &impl serde::Serialize) -> Result<bool> {
        self.put_in_turn(message, None)
    }

    /// As [`Self::put`]; the turn lasts until the message is written.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub(crate) fn put_in_turn(
        &self,
        message: &impl serde::Serialize,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Result<bool> {
        let frame = encode(message)?;
        let mut queue = lock(&self.queue);
        if queue.waiting() > TOO_MANY {
            tracing::warn!("a process that reads nothing is given up");
            queue.closed = true;
        }
        let open = !queue.closed;
        if open {
            queue.bytes.extend(frame);
            queue.turns.extend(turn);
        }
        drop(queue);
        self.filled.notify_one();
        Ok(open)
    }

    /// Returns once there is room for something large, or nothing more goes out.
    pub(crate) async fn room(&self) {
        loop {
            let written = self.written.notified();
            {
                let queue = lock(&self.queue);
                if queue.closed || queue.waiting() < ENOUGH {
                    return;
                }
            }
            written.await;
        }
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
        self.written.notify_waiters();
    }

    /// Whether the other side is there, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        !lock(&self.queue).closed
    }

    fn take(&self) -> Result<Taken> {
        let mut queue = lock(&self.queue);
        let turns = std::mem::take(&mut queue.turns);
        queue.under_way = queue.bytes.len();
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
        Ok((bytes, closed, turns))
    }

    /// What was taken is written.
    fn put_down(&self, turns: Vec<OwnedSemaphorePermit>) {
        lock(&self.queue).under_way = 0;
        drop(turns);
        self.written.notify_waiters();
    }

    /// Writes until it is closed and empty, or the other side is gone.
    pub(crate) async fn write_to(&self, mut to: impl AsyncWrite + Unpin) {
        loop {
            let filled = self.filled.notified();
            let Ok((bytes, closed, turns)) = self.take() else {
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
            self.put_down(turns);
        }
        self.close();
        // The other side sees the end of the stream.
        let _ = to.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt as _;
    use tokio::io::AsyncReadExt as _;
    use tokio::sync::Semaphore;

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
        let (bytes, ..) = outbox.take().unwrap();
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
        let (bytes, ..) = outbox.take().unwrap();
        assert_eq!(bytes, encode(&FromOwner::Missed(6)).unwrap());
        assert!(outbox.take().unwrap().0.is_empty());
    }

    #[tokio::test]
    async fn a_turn_lasts_until_what_it_is_for_is_written() {
        let outbox = Arc::new(Outbox::default());
        let turns = Arc::new(Semaphore::new(1));
        let turn = Arc::clone(&turns).acquire_owned().await.unwrap();
        outbox.put_in_turn(&"large", Some(turn)).unwrap();
        lock(&outbox.queue).bytes.resize(ENOUGH, 0);
        assert!(outbox.room().now_or_never().is_none());
        let (to, mut from) = tokio::io::duplex(64);
        let writing = Arc::clone(&outbox);
        let writing = tokio::spawn(async move { writing.write_to(to).await });
        let mut first = [0; 32];
        from.read_exact(&mut first).await.unwrap();
        assert_eq!(turns.available_permits(), 0);
        assert!(outbox.room().now_or_never().is_none());
        outbox.close();
        tokio::io::copy(&mut from, &mut tokio::io::sink())
            .await
            .unwrap();
        writing.await.unwrap();
        assert_eq!(turns.available_permits(), 1);
    }

    #[test]
    fn who_reads_nothing_is_given_up() {
        let outbox = Outbox::default();
        lock(&outbox.queue).bytes.resize(TOO_MANY, 0);
        assert!(outbox.put(&"one").unwrap());
        assert!(!outbox.put(&"more").unwrap());
        assert!(!outbox.is_open());
    }

    #[test]
    fn nothing_is_taken_in_once_it_is_closed() {
        let outbox = Outbox::default();
        outbox.close();
        assert!(!outbox.put(&FromOwner::Missed(1)).unwrap());
    }
}
