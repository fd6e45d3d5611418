//! Batches: what the sequencer decided between two commits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::command::Command;
use super::decision::{Effect, NewPart, Reply};
use crate::budget::{Account, AccountId};
use crate::error::{Error, Result};
use crate::event::EventKind;
use crate::id::{Actor, AuthMethod, CommandId, Digest, RunId, WorkspaceId};
use crate::ports::{KeyRow, RunNeeds, WorkflowRow};
use crate::run::Run;
use crate::time::Timestamp;

/// Where a reply goes.
pub type Slot = oneshot::Sender<Result<Reply>>;

/// An event that has its place.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Place in the workspace.
    pub seq: u64,
    /// The run.
    pub run_id: RunId,
    /// Place in the run.
    pub run_seq: u64,
    /// When it was decided.
    pub ts: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// How that was known.
    pub auth_method: AuthMethod,
    /// The command.
    pub cmd_id: CommandId,
    /// What it says.
    pub kind: EventKind,
    /// Its content.
    pub parts: Vec<NewPart>,
}

/// A command whose events are not durable yet.
#[derive(Debug)]
pub struct Pending {
    /// The command, to be decided again if its events are lost.
    pub command: Arc<Command>,
    /// Who waits, and for what answer; nobody where it was given already.
    pub reply: Option<(Slot, Result<Reply>)>,
}

/// What was decided since the last batch was closed.
#[derive(Debug, Default)]
pub(super) struct OpenBatch {
    /// The events.
    pub placed: Vec<Placed>,
    /// The commands behind them.
    pub pending: Vec<Pending>,
    /// What follows once they are durable.
    pub effects: Vec<Effect>,
    /// The runs that they change.
    pub runs: BTreeSet<RunId>,
    /// The shared accounts that they change.
    pub accounts: BTreeSet<AccountId>,
    /// The workflow versions that they publish or activate.
    pub workflows: Vec<WorkflowRow>,
    /// The idempotency keys that they use.
    pub keys: Vec<KeyRow>,
}

/// A run as a batch leaves it.
#[derive(Clone, Debug)]
pub struct ClosedRun {
    /// The state.
    pub run: Arc<Run>,
    /// The agents of its steps.
    pub agents: Vec<crate::id::AgentName>,
    /// The hash of its last event when it came into memory.
    pub chain: Digest,
    /// What it needs from a process that opens the store.
    pub needs: RunNeeds,
}

/// Everything that a commit writes, still as values.
#[derive(Debug)]
pub struct ClosedBatch {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The owner's epoch.
    pub epoch: u64,
    /// The events.
    pub placed: Vec<Placed>,
    /// The runs that they change.
    pub runs: BTreeMap<RunId, ClosedRun>,
    /// The shared accounts that they change.
    pub accounts: Vec<(AccountId, Account)>,
    /// The workflow versions that they publish or activate.
    pub workflows: Vec<WorkflowRow>,
    /// The idempotency keys that they use.
    pub keys: Vec<KeyRow>,
    /// The encoded state of what belongs to no run.
    pub shared: Arc<[u8]>,
    /// Runs that left memory since the last batch.
    pub evicted: Vec<RunId>,
}

/// What is to be done once a batch is durable.
#[derive(Debug, Default)]
pub struct Promised {
    /// The commands behind it.
    pub pending: Vec<Pending>,
    /// What follows.
    pub effects: Vec<Effect>,
    /// The number behind its last event.
    pub next_seq: u64,
}

impl Pending {
    /// Answers whoever waits.
    pub fn answer(self) {
        if let Some((slot, reply)) = self.reply {
            // Nobody listens any more: the caller has gone.
            let _ = slot.send(reply);
        }
    }

    /// Tells whoever waits that the command was not taken.
    pub fn refuse(self, error: impl FnOnce() -> Error) {
        if let Some((slot, _)) = self.reply {
            let _ = slot.send(Err(error()));
        }
    }
}
