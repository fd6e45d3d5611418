//! A single-threaded executor in virtual time whose order is drawn from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::clock::SimClock;
use super::entropy::SeededEntropy;
use crate::engine::{Spawner, Task};
use crate::ports::Entropy;
use crate::time::Timestamp;

/// The number of the future that `block_on` waits for.
const MAIN: u64 = 0;

/// Nothing can move any more: no task is ready and nobody sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing is ready and nobody sleeps")]
pub struct Stalled;

#[derive(Default)]
struct Tasks {
    next: u64,
    spawned: BTreeMap<u64, Task>,
    ready: BTreeSet<u64>,
}

/// The tasks that the engine hands over.
#[derive(Clone, Default)]
struct Pool(Arc<Mutex<Tasks>>);

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, task: Task) {
        let mut tasks = self.lock();
        tasks.next += 1;
        let number = tasks.next;
        tasks.spawned.insert(number, task);
        tasks.ready.insert(number);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Spawner for Pool {
    fn spawn_driver(&self, task: Task) {
        self.add(task);
    }

    fn spawn_handler(&self, task: Task) {
        self.add(task);
    }
}

struct Bell {
    number: u64,
    pool: Pool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.pool.lock().ready.insert(self.number);
    }
}

/// A world of one thread: tasks, virtual time and chance by one seed.
#[derive(Debug)]
pub struct Simulation {
    pool: Pool,
    clock: Arc<SimClock>,
    entropy: Arc<SeededEntropy>,
    order: SeededEntropy,
}

impl Simulation {
    /// A world that begins at a time.
    pub fn new(seed: u64, start: Timestamp) -> Self {
        Self {
            pool: Pool::default(),
            clock: Arc::new(SimClock::starting_at(start)),
            entropy: Arc::new(SeededEntropy::new(seed)),
            // Order and ids are drawn apart, so that one more id does not change every order.
            order: SeededEntropy::new(seed ^ 0x9e37_79b9_7f4a_7c15),
        }
    }

    /// Where the engine's tasks run.
    pub fn spawner(&self) -> Arc<dyn Spawner> {
        Arc::new(self.pool.clone())
    }

    /// The clock.
    pub const fn clock(&self) -> &Arc<SimClock> {
        &self.clock
    }

    /// Where chance comes from.
    pub const fn entropy(&self) -> &Arc<SeededEntropy> {
        &self.entropy
    }

    /// Runs tasks until `future` is done; time passes when nothing is ready.
    ///
    /// # Errors
    /// [`Stalled`]: the future waits for something that nothing can bring about.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, Stalled> {
        let mut future = pin!(future);
        self.pool.lock().ready.insert(MAIN);
        loop {
            match self.next_ready() {
                Some(MAIN) => {
                    if let Poll::Ready(output) = self.poll(MAIN, future.as_mut()) {
                        return Ok(output);
                    }
                }
                Some(number) => self.run(number),
                None if self.clock.advance_to_next() => {}
                None => return Err(Stalled),
            }
        }
    }

    /// Runs tasks until nothing is ready, without letting time pass.
    pub fn settle(&self) {
        while let Some(number) = self.next_ready() {
            self.run(number);
        }
    }

    /// Drops every task where it stands, as a process that dies does.
    pub fn crash(&self) {
        let dropped = {
            let mut tasks = self.pool.lock();
            tasks.ready.clear();
            std::mem::take(&mut tasks.spawned)
        };
        drop(dropped);
    }

    fn next_ready(&self) -> Option<u64> {
        let mut tasks = self.pool.lock();
        let count = tasks.ready.len();
        if count == 0 {
            return None;
        }
        let mut bytes = [0; 8];
        self.order.fill(&mut bytes);
        let drawn = usize::try_from(u64::from_be_bytes(bytes) >> 1).unwrap_or(0) % count;
        let number = tasks.ready.iter().nth(drawn).copied()?;
        tasks.ready.remove(&number);
        Some(number)
    }

    fn run(&self, number: u64) {
        // Taken out while it runs: it may spawn others.
        let Some(mut task) = self.pool.lock().spawned.remove(&number) else {
            return;
        };
        if self.poll(number, task.as_mut()).is_pending() {
            self.pool.lock().spawned.insert(number, task);
        }
    }

    fn poll<F: Future + ?Sized>(&self, number: u64, future: Pin<&mut F>) -> Poll<F::Output> {
        let waker = Waker::from(Arc::new(Bell {
            number,
            pool: self.pool.clone(),
        }));
        future.poll(&mut Context::from_waker(&waker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Clock;
    use std::time::Duration;

    fn order_of(seed: u64) -> Vec<u32> {
        let world = Simulation::new(seed, Timestamp::EPOCH);
        let drawn = Arc::new(Mutex::new(Vec::new()));
        for number in 0..8 {
            let drawn = Arc::clone(&drawn);
            world.spawner().spawn_handler(Box::pin(async move {
                drawn.lock().unwrap().push(number);
            }));
        }
        world.settle();
        drawn.lock().unwrap().clone()
    }

    #[test]
    fn the_seed_draws_the_order() {
        assert_eq!(order_of(1), order_of(1));
        assert!((2..10).any(|seed| order_of(seed) != order_of(1)));
    }

    #[test]
    fn time_passes_when_nothing_is_ready() {
        let world = Simulation::new(1, Timestamp::EPOCH);
        let clock = Arc::clone(world.clock());
        let hour = Duration::from_secs(3_600);
        assert_eq!(
            world.block_on(async move { clock.sleep_until(hour).await }),
            Ok(())
        );
        assert_eq!(world.clock().monotonic(), hour);
    }

    #[test]
    fn a_future_that_nothing_can_move_is_stalled() {
        let world = Simulation::new(1, Timestamp::EPOCH);
        assert_eq!(world.block_on(std::future::pending::<()>()), Err(Stalled));
    }
}
