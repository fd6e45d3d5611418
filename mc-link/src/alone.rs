//! Where there are no Unix sockets: a store is one process' alone, and a second one is refused by name.

use std::path::Path;
use std::sync::Arc;

use mc_core::engine::{Engine, MissionControl, Parts};
use mc_core::error::{Error, ErrorKind, Result};
use mc_core::ports::EventLog;
use mc_store::RedbLog;

use crate::opening::{Looked, Moved, Opening};

/// Opens a store. `parts` makes the rest of the engine for a log.
///
/// # Errors
/// As [`mc_store::RedbOptions::open`]; as [`Engine::open`].
pub async fn open(
    opening: Opening,
    parts: impl FnOnce(Arc<dyn EventLog>) -> Result<Parts> + Send,
) -> Result<MissionControl> {
    let log = opening.redb.open(&opening.path)?;
    Engine::open(parts(Arc::new(log))?).await
}

/// Opens a store to read; nothing in the file changes.
///
/// # Errors
/// As [`RedbLog::open_read_only`].
pub async fn look(path: &Path) -> Result<Looked> {
    let log = Arc::new(RedbLog::open_read_only(path)?);
    Ok(Looked { log, owner: None })
}

/// A store that is followed: none is, here.
#[derive(Debug)]
pub enum Following {}

/// Is refused: what moves is told over Unix sockets.
///
/// # Errors
/// `Unavailable`.
pub async fn follow(_: &Path) -> Result<Following> {
    let message = "a store cannot be followed on this system: there are no Unix sockets";
    Err(Error::new(ErrorKind::Unavailable, message))
}

impl Following {
    /// What moved; never asked.
    ///
    /// # Errors
    /// None.
    pub async fn moved(&self) -> Result<Moved> {
        match *self {}
    }

    /// The log; never asked.
    ///
    /// # Errors
    /// None.
    pub async fn log(&self) -> Result<Looked> {
        match *self {}
    }
}
