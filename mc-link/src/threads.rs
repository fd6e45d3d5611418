//! The link's own thread: sockets are served while every other thread of the process is busy.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use mc_core::error::{Error, ErrorKind, Result};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// A runtime that tasks of the link run on; it ends with the last of them.
pub(crate) struct LinkThread {
    runtime: Option<Runtime>,
}

impl fmt::Debug for LinkThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkThread").finish_non_exhaustive()
    }
}

impl LinkThread {
    /// # Errors
    /// `Unavailable` where the operating system gives no thread.
    pub(crate) fn start() -> Result<Arc<Self>> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("mc-link")
            .enable_all()
            .build();
        let runtime = runtime.map_err(|e| {
            Error::new(ErrorKind::Unavailable, "no thread for the link").with_source(e)
        })?;
        Ok(Arc::new(Self {
            runtime: Some(runtime),
        }))
    }

    /// Makes this thread one of the runtime's, for what has to be made there.
    pub(crate) fn enter(&self) -> Option<tokio::runtime::EnterGuard<'_>> {
        self.runtime.as_ref().map(Runtime::enter)
    }

    /// Runs a task. It keeps the thread alive for as long as it goes on.
    pub(crate) fn spawn<T: Send + 'static>(
        self: &Arc<Self>,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Option<JoinHandle<T>> {
        let this = Arc::clone(self);
        let runtime = self.runtime.as_ref()?;
        Some(runtime.spawn(async move {
            let done = task.await;
            drop(this);
            done
        }))
    }

    /// Runs a future on the link's thread, for a caller that may have any runtime or none.
    ///
    /// # Errors
    /// `Internal` where the thread is gone.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        let gone = || Error::internal("the link's thread is gone");
        let handle = self.spawn(task).ok_or_else(gone)?;
        handle.await.map_err(|e| gone().with_source(e))
    }
}

impl Drop for LinkThread {
    fn drop(&mut self) {
        // The last task may drop it, on its own thread, where waiting is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
