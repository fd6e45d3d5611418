//! The threads that run handlers.
//!
//! Every task waits in one queue and none belongs to a thread, so that a handler that blocks its thread
//! strands nobody. While tasks wait and no thread takes one, a keeper adds threads; they go again when
//! they are not needed.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use async_task::Runnable;
use mc_core::engine::Task;
use mc_core::error::{Error, ErrorKind, Result};
use tokio::runtime::Handle;

/// The most handlers that can block a thread each at a time before others have to wait.
const MOST_THREADS: usize = 4_096;

/// How long tasks wait for a thread before there is another one.
const STALL: Duration = Duration::from_millis(5);

/// How long a thread that was added waits for something to do.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs handlers for as long as it is held.
pub(crate) struct HandlerThreads(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// For an idle thread: a task waits.
    ready: Condvar,
    /// For the keeper: tasks wait and every thread is taken.
    taken: Condvar,
    /// What handlers find their timers and sockets in.
    runtime: Handle,
    /// How many threads are always there.
    least: usize,
}

/// While a task waits, a thread is waking up (`waking`) or the keeper watches (`watched`).
#[derive(Default)]
struct State {
    waiting: VecDeque<Runnable>,
    threads: usize,
    idle: usize,
    waking: bool,
    watched: bool,
    /// How many tasks were taken from the queue, ever.
    turns: u64,
    ended: bool,
}

impl HandlerThreads {
    /// Starts `least` threads whose tasks find their timers and sockets in `runtime`.
    ///
    /// # Errors
    /// `Unavailable` where the operating system gives no thread.
    pub(crate) fn start(least: usize, runtime: Handle) -> Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            ready: Condvar::new(),
            taken: Condvar::new(),
            runtime,
            least,
        });
        // What was started already ends with this.
        let threads = Self(shared);
        let keeper = Arc::clone(&threads.0);
        begin("mc-keeper", move || keeper.keep())?;
        for _ in 0..least {
            threads.0.add(&mut threads.0.lock())?;
        }
        Ok(threads)
    }

    /// Runs a task. It is dropped where it waits when these threads end before it.
    pub(crate) fn spawn(&self, task: Task) {
        let shared = Arc::downgrade(&self.0);
        let schedule = move |task| Shared::queue(&shared, task);
        let (runnable, task) = async_task::spawn(task, schedule);
        task.detach();
        runnable.schedule();
    }
}

impl Drop for HandlerThreads {
    /// Waits for nobody: a handler that blocks must not hold the process up, and this may be one of
    /// its threads.
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.ready.notify_all();
        self.0.taken.notify_all();
    }
}

fn begin(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let begun = thread::Builder::new().name(name.to_owned()).spawn(work);
    begun
        .map(drop)
        .map_err(|e| Error::new(ErrorKind::Unavailable, "no thread for handlers").with_source(e))
}

impl Shared {
    /// Nothing that can panic runs under the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(shared: &Weak<Self>, task: Runnable) {
        if let Some(shared) = shared.upgrade() {
            let mut state = shared.lock();
            state.waiting.push_back(task);
            shared.look_after(&mut state);
        }
    }

    /// Sees to it that somebody comes for the tasks that wait.
    fn look_after(&self, state: &mut State) {
        if state.waiting.is_empty() || state.waking {
            return;
        }
        if state.idle > 0 {
            state.waking = true;
            self.ready.notify_one();
        } else if !state.watched {
            state.watched = true;
            self.taken.notify_one();
        }
    }

    fn add(self: &Arc<Self>, state: &mut State) -> Result<()> {
        let shared = Arc::clone(self);
        begin("mc-handler", move || shared.work())?;
        state.threads += 1;
        Ok(())
    }

    /// A thread's life.
    fn work(&self) {
        let _runtime = self.runtime.enter();
        while let Some(task) = self.next() {
            // A handler's own panic is its attempt's failure and was caught: this keeps the thread when
            // one of the engine's own code is not.
            if catch_unwind(AssertUnwindSafe(|| task.run())).is_err() {
                tracing::error!("a task of the engine panicked");
            }
        }
    }

    /// The next task, when there is one; `None` ends the thread.
    fn next(&self) -> Option<Runnable> {
        let mut state = self.lock();
        let mut patient = true;
        loop {
            if let Some(task) = state.waiting.pop_front() {
                state.turns += 1;
                self.look_after(&mut state);
                return Some(task);
            }
            if state.ended || (!patient && state.threads > self.least) {
                state.threads -= 1;
                return None;
            }
            state.idle += 1;
            (state, patient) = self.wait(state);
            state.idle -= 1;
            state.waking = false;
        }
    }

    /// Sleeps until a task waits, and whether one may.
    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> (MutexGuard<'a, State>, bool) {
        if state.threads <= self.least {
            let woken = self.ready.wait(state);
            return (woken.unwrap_or_else(PoisonError::into_inner), true);
        }
        let woken = self.ready.wait_timeout(state, PATIENCE);
        let (state, waited) = woken.unwrap_or_else(PoisonError::into_inner);
        (state, !waited.timed_out())
    }

    /// The keeper's life: it sleeps but while tasks wait and every thread is taken.
    fn keep(self: &Arc<Self>) {
        let mut state = self.lock();
        while !state.ended {
            if !state.watched {
                state = self
                    .taken
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let turns = state.turns;
            let slept = self.taken.wait_timeout(state, STALL);
            state = slept.unwrap_or_else(PoisonError::into_inner).0;
            if state.turns == turns {
                self.grow(&mut state);
            }
            state.watched = !state.waiting.is_empty();
        }
    }

    /// A thread for each task that waits, up to twice as many as there are.
    fn grow(self: &Arc<Self>, state: &mut State) {
        let most = state.threads.min(MOST_THREADS - state.threads);
        for _ in 0..state.waiting.len().min(most) {
            if let Err(error) = self.add(state) {
                tracing::warn!(%error, "handlers wait for a thread");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::mpsc;

    use tokio::runtime::{Builder, Runtime};
    use tokio::task::yield_now;

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .unwrap()
    }

    fn one_thread(runtime: &Runtime) -> HandlerThreads {
        HandlerThreads::start(1, runtime.handle().clone()).unwrap()
    }

    #[test]
    fn a_task_that_waits_gets_a_thread_whoever_blocks() {
        let runtime = runtime();
        let threads = one_thread(&runtime);
        // Every one of them holds its thread until the last has begun.
        let all = Arc::new(Barrier::new(51));
        for _ in 0..50 {
            let all = Arc::clone(&all);
            threads.spawn(Box::pin(async move {
                all.wait();
            }));
        }
        all.wait();
    }

    #[test]
    fn a_task_that_panics_takes_no_thread_with_it() {
        let runtime = runtime();
        let threads = one_thread(&runtime);
        for _ in 0..10 {
            threads.spawn(Box::pin(async { panic!("as a test does") }));
        }
        let (said, heard) = mpsc::channel();
        threads.spawn(Box::pin(async move { said.send(()).unwrap() }));
        heard.recv().unwrap();
    }

    #[test]
    fn every_task_that_is_woken_goes_on() {
        let runtime = runtime();
        let threads = HandlerThreads::start(2, runtime.handle().clone()).unwrap();
        let (said, heard) = mpsc::channel();
        for _ in 0..1_000 {
            let said = said.clone();
            threads.spawn(Box::pin(async move {
                for _ in 0..10 {
                    yield_now().await;
                    tokio::spawn(yield_now()).await.unwrap();
                }
                said.send(()).unwrap();
            }));
        }
        drop(said);
        assert_eq!(heard.iter().count(), 1_000);
    }

    #[test]
    fn what_waits_for_nothing_any_more_is_dropped() {
        let runtime = runtime();
        let threads = one_thread(&runtime);
        let (waker, woken) = tokio::sync::oneshot::channel::<()>();
        let (said, heard) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        threads.spawn(Box::pin(async move {
            begun.send(()).unwrap();
            drop(woken.await);
            drop(said);
        }));
        begins.recv().unwrap();
        drop(threads);
        drop(waker);
        assert!(heard.recv().is_err());
    }
}
