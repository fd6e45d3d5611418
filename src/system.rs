//! The ports of a real process: its clock, its entropy, its threads.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mc_core::engine::{Spawner, Task};
use mc_core::error::{Error, ErrorKind, Result};
use mc_core::ports::{Clock, Entropy};
use mc_core::time::Timestamp;
use tokio::runtime::{Builder, Runtime};

/// The clock of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time begins now.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait::async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_unix_us(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    async fn sleep_until(&self, deadline: Duration) {
        // A wake-up a hundred years ahead is none.
        let most = Duration::from_secs(100 * 365 * 86_400);
        let at = self
            .started
            .checked_add(deadline.min(most))
            .unwrap_or(self.started);
        tokio::time::sleep_until(at.into()).await;
    }
}

/// Random bytes of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        use rand::Rng;
        // A generator that the operating system seeds, one a thread.
        rand::rng().fill_bytes(bytes);
    }
}

/// The most handlers that can block a thread each at a time before others have to wait.
const MOST_BLOCKED: usize = 4_096;

/// The threads that handlers may run on as they are: never all of them, so that one always is there
/// for the others.
#[derive(Debug)]
struct Places(AtomicUsize);

/// A thread that a handler runs on.
struct Place<'a>(&'a Places);

impl Places {
    fn take(&self) -> Option<Place<'_>> {
        let less = |free: usize| free.checked_sub(1);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken.is_ok().then_some(Place(self))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The engine's own threads: one for the driver, and some for handlers.
pub struct Threads {
    /// The process that they are in.
    pid: u32,
    places: Places,
    driver: Option<Runtime>,
    handlers: Option<Runtime>,
}

impl Threads {
    /// Starts the threads.
    ///
    /// # Errors
    /// `Unavailable` where the operating system gives no thread.
    pub fn start() -> Result<Arc<Self>> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let threads = cores.max(4);
        Ok(Arc::new(Self {
            pid: std::process::id(),
            places: Places(AtomicUsize::new(threads / 2)),
            driver: Some(runtime("mc-driver", 1)?),
            handlers: Some(runtime("mc-handler", threads)?),
        }))
    }
}

fn runtime(name: &str, threads: usize) -> Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(name)
        .max_blocking_threads(MOST_BLOCKED)
        .enable_time()
        .enable_io()
        .build()
        .map_err(|e| Error::new(ErrorKind::Unavailable, "no thread for the engine").with_source(e))
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").finish_non_exhaustive()
    }
}

impl Spawner for Threads {
    fn spawn_driver(&self, task: Task) {
        if let Some(runtime) = &self.driver {
            runtime.spawn(task);
        }
    }

    fn spawn_handler(&self, task: Task) {
        if let Some(runtime) = &self.handlers {
            runtime.spawn(task);
        }
    }

    fn is_inherited(&self) -> bool {
        self.pid != std::process::id()
    }

    fn run_handler(&self, run: &mut dyn FnMut()) {
        // It may block its thread, for good even. Where too many might, the thread's other tasks are
        // handed to another one first, which costs more than most handlers do.
        match self.places.take() {
            Some(_place) => run(),
            None => tokio::task::block_in_place(run),
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // The last handle may be dropped on one of these threads, where waiting is not allowed; a
        // handler that blocks must not hold the process up either.
        for runtime in [self.driver.take(), self.handlers.take()]
            .into_iter()
            .flatten()
        {
            runtime.shutdown_background();
        }
    }
}
