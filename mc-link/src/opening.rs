//! How a store is opened, and what looking at one gives: the same on every system.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use mc_core::id::RunId;
use mc_core::ports::EventLog;
use mc_store::RedbOptions;

/// Whether a process that has joined takes the owner's place when that is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Succession {
    /// It does.
    #[default]
    Heir,
    /// It only joins whoever does.
    Never,
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The file.
    pub path: PathBuf,
    /// How the file is opened by whoever owns it.
    pub redb: RedbOptions,
    /// Whether this process may come to own it later.
    pub succession: Succession,
}

/// What moved in a store that is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// These runs; the zero run stands for what belongs to none: accounts, policies, prices, versions.
    Runs(BTreeSet<RunId>),
    /// Any run may have moved: the owner came, went, or is told of more than is kept.
    Anything,
}

/// A log that is open to be read.
#[derive(Debug)]
pub struct Looked {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) owner: Option<u32>,
}

impl Looked {
    /// The log.
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.log
    }

    /// The process that owns the store and answers; none where the file itself is read.
    pub const fn owner(&self) -> Option<u32> {
        self.owner
    }
}
