//! Threads of the store, so that no shared async thread ever waits for a disk.
//!
//! One thread writes and two read; a call sends its work there and awaits the answer. A caller with
//! a thread of its own may append on that one. Inline, all work runs on the caller's thread: the
//! simulator needs one thread and one order.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};

use mc_core::error::{Error, Result};
use tokio::sync::oneshot;

use super::fault;
use super::gate::lock;
use super::store::{Next, Store};

/// Where the work of a store runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threads {
    /// On threads of its own: one that writes and two that read.
    #[default]
    Own,
    /// As `Own`, but an append runs on the caller's thread. For callers that have a thread for
    /// nothing else, as an engine's driver: it saves two changes of thread a commit.
    OwnButAppends,
    /// On the caller's thread, inside the call.
    Inline,
}

/// Which thread does a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Write,
    Read,
}

type Job = Box<dyn FnOnce(&Store) + Send>;

const READERS: usize = 2;

/// A store and the threads that work in it.
#[derive(Debug)]
pub(super) struct Workers {
    store: Arc<Store>,
    lanes: Option<Lanes>,
    threads: Threads,
}

#[derive(Debug)]
struct Lanes {
    write: Sender<Job>,
    read: Sender<Job>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    pub(super) fn start(store: Store, threads: Threads) -> Result<Self> {
        let store = Arc::new(store);
        let lanes = match threads {
            Threads::Inline => None,
            Threads::Own | Threads::OwnButAppends => {
                Some(Lanes::start(&store).map_err(fault::of_io)?)
            }
        };
        Ok(Self {
            store,
            lanes,
            threads,
        })
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Appends, on the thread that appends run on; what waits in the journal goes to the database on the
    /// thread that writes.
    ///
    /// # Cancel safety
    /// As [`Self::run`].
    pub(super) async fn append(
        &self,
        work: impl FnOnce(&Store) -> Result<Next> + Send + 'static,
    ) -> Result<()> {
        let next = match self.threads {
            Threads::Own => self.run(Lane::Write, work).await?,
            Threads::OwnButAppends | Threads::Inline => {
                self.store.check_process()?;
                work(&self.store)?
            }
        };
        match (next, &self.lanes) {
            (Next::Rest, _) => {}
            // Whether it fails is told to who appends next.
            (Next::Apply, None) => drop(self.store.apply()),
            (Next::Apply, Some(lanes)) => {
                drop(lanes.write.send(Box::new(|store| drop(store.apply()))));
            }
        }
        Ok(())
    }

    /// Does a piece of work and gives its result.
    ///
    /// # Cancel safety
    /// Work that was sent is done even if nobody waits for it any more.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // In a forked child there are no threads that could answer.
        self.store.check_process()?;
        let Some(lanes) = &self.lanes else {
            return work(&self.store);
        };
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |store| {
            // Whoever asked may have gone.
            let _ = answer.send(work(store));
        });
        let sender = match lane {
            Lane::Write => &lanes.write,
            Lane::Read => &lanes.read,
        };
        let ended = || Error::internal("a thread of the store has ended");
        sender.send(job).map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

impl Drop for Workers {
    /// Waits for the threads, so that the file is free when the log is dropped.
    fn drop(&mut self) {
        let Some(lanes) = self.lanes.take() else {
            return;
        };
        let Lanes {
            write,
            read,
            threads,
        } = lanes;
        drop((write, read));
        if !self.store.is_forked() {
            for thread in threads {
                // A panic in there was told to whoever waited for its answer.
                drop(thread.join());
            }
        }
    }
}

impl Lanes {
    fn start(store: &Arc<Store>) -> std::io::Result<Self> {
        let (write, write_jobs) = channel();
        let (read, read_jobs) = channel();
        let write_jobs = Arc::new(Mutex::new(write_jobs));
        let read_jobs = Arc::new(Mutex::new(read_jobs));
        let mut threads = vec![spawn("mc-store-write", store, &write_jobs)?];
        for _ in 0..READERS {
            threads.push(spawn("mc-store-read", store, &read_jobs)?);
        }
        Ok(Self {
            write,
            read,
            threads,
        })
    }
}

fn spawn(
    name: &str,
    store: &Arc<Store>,
    jobs: &Arc<Mutex<Receiver<Job>>>,
) -> std::io::Result<JoinHandle<()>> {
    let (store, jobs) = (Arc::clone(store), Arc::clone(jobs));
    Builder::new().name(name.to_owned()).spawn(move || {
        loop {
            // The lock is given up before the work begins.
            let job = lock(&jobs).recv();
            match job {
                Ok(job) => job(&store),
                Err(_) => return,
            }
        }
    })
}
