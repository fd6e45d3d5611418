//! The ports of a real process: its clock, its entropy, its threads.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mc_core::engine::{Spawner, Task};
use mc_core::error::{Error, ErrorKind, Result};
use mc_core::ports::{Clock, Entropy};
use mc_core::time::Timestamp;
use tokio::runtime::{Builder, Runtime};

use crate::handlers::HandlerThreads;

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

/// The engine's own threads: one for the driver, some for handlers, and some for what handlers spawn.
pub struct Threads {
    /// The process that they are in.
    pid: u32,
    driver: Option<Runtime>,
    handlers: Option<HandlerThreads>,
    /// The handlers' timers, sockets and own tasks.
    runtime: Option<Runtime>,
}

impl Threads {
    /// Starts the threads.
    ///
    /// # Errors
    /// `Unavailable` where the operating system gives no thread.
    pub fn start() -> Result<Arc<Self>> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let spawned = runtime("mc-spawned", cores)?;
        Ok(Arc::new(Self {
            pid: std::process::id(),
            driver: Some(runtime("mc-driver", 1)?),
            handlers: Some(HandlerThreads::start(cores, spawned.handle().clone())?),
            runtime: Some(spawned),
        }))
    }
}

fn runtime(name: &str, threads: usize) -> Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(name)
        .enable_time()
        .enable_io()
        .build()
        .map_err(|e| Error::new(ErrorKind::Unavailable, "no thread for the engine").with_source(e))
}

impl Threads {
    #[expect(
        clippy::mem_forget,
        reason = "dropping them would wait for another process"
    )]
    fn forget(&mut self) {
        std::mem::forget((
            self.handlers.take(),
            self.driver.take(),
            self.runtime.take(),
        ));
    }
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
        if let Some(handlers) = &self.handlers {
            handlers.spawn(task);
        }
    }

    fn is_inherited(&self) -> bool {
        self.pid != std::process::id()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if self.is_inherited() {
            // None of these threads is in here, and their locks may be held for good.
            return self.forget();
        }
        drop(self.handlers.take());
        // The last handle may be dropped on one of these threads, where waiting is not allowed; a
        // handler that blocks must not hold the process up either.
        let runtimes = [self.driver.take(), self.runtime.take()];
        for runtime in runtimes.into_iter().flatten() {
            runtime.shutdown_background();
        }
    }
}
