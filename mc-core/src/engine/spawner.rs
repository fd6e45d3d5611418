//! The spawner port: where the engine's tasks run.
//!
//! Handlers have threads of their own, so that one that blocks its thread holds up no timer and no
//! commit.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// A task of the engine.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// Runs tasks.
pub trait Spawner: Send + Sync + fmt::Debug + 'static {
    /// Runs the driver: it never blocks its thread.
    fn spawn_driver(&self, task: Task);

    /// Runs an attempt: it may block its thread.
    fn spawn_handler(&self, task: Task);

    /// Whether this process inherited the engine over a fork: its threads are not in here.
    fn is_inherited(&self) -> bool {
        false
    }
}
