//! Recovery: the sequencer's state from what the log holds; the same at open and after a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::core::{Instant, Sequencer};
use super::decision::NewEvent;
use super::prices::{Prices, loaded};
use super::scribe::Scribe;
use super::workspace::{RecentKeys, Settings, Shared, Versions, Workspace};
use crate::budget::{Account, AccountId, Queue};
use crate::error::{Error, Result};
use crate::event::workspace::{EpochStarted, WorkspaceCreated};
use crate::id::{AuthMethod, CommandId, RunId, WorkspaceId};
use crate::policy::Policy;
use crate::ports::{Entropy, Recovered, uuid_v7};
use crate::workflow::Workflow;

/// The format of the log that this code writes.
pub(super) const LOG_FORMAT: u32 = 1;

/// A sequencer and a scribe that go on where the log ends. Runs are not in memory yet.
///
/// The first events are already decided: the workspace's creation, the epoch, the prices in force.
///
/// # Errors
/// `Corrupt` where a row cannot be read.
pub fn recover(
    found: &Recovered,
    (settings, prices): (Settings, Prices),
    entropy: &Arc<dyn Entropy>,
    instant: Instant,
    auth_method: AuthMethod,
) -> Result<(Sequencer, Scribe)> {
    let workspace_id = match &found.workspace {
        Some(row) => row.workspace_id,
        None => WorkspaceId::from_bytes(uuid_v7(instant.now, entropy.as_ref())),
    };
    let scribe = match &found.workspace {
        Some(row) => Scribe::resume(row, Arc::clone(entropy))?,
        None => Scribe::new(workspace_id, Arc::clone(entropy)),
    };
    let workspace = workspace(found, workspace_id, (settings, prices))?;
    let next_run_zero = found.workspace.as_ref().map_or(0, |row| row.next_run_seq);
    let last_ts = found.last_ts.unwrap_or(instant.now);
    let mut sequencer = Sequencer::new(workspace, found.head.next_seq, next_run_zero, last_ts);
    let events = first_events(found, &sequencer)?;
    let command = CommandId::from_bytes(uuid_v7(instant.now, entropy.as_ref()));
    sequencer.open(command, instant, auth_method, events)?;
    Ok((sequencer, scribe))
}

fn first_events(found: &Recovered, sequencer: &Sequencer) -> Result<Vec<NewEvent>> {
    let workspace = sequencer.workspace();
    let mut events = Vec::new();
    if found.workspace.is_none() {
        let facts = WorkspaceCreated {
            workspace_id: workspace.workspace_id,
            format: LOG_FORMAT,
        };
        events.push(NewEvent::new(RunId::ZERO, facts));
    }
    let engine = env!("CARGO_PKG_VERSION").to_owned();
    let facts = EpochStarted {
        epoch: found.lease.epoch,
        engine,
    };
    events.push(NewEvent::new(RunId::ZERO, facts));
    let prices = &workspace.settings.prices;
    if workspace.shared.price_version != Some(prices.version()) {
        events.push(loaded(&workspace.prices.layers, prices)?);
    }
    Ok(events)
}

/// The state of what belongs to no run, as it was found.
///
/// # Errors
/// `Corrupt` where the row cannot be read.
pub fn shared(found: &Recovered) -> Result<Shared> {
    let row = found.workspace.as_ref();
    row.map_or_else(
        || Ok(Shared::default()),
        |row| {
            serde_json::from_slice(&row.state)
                .map_err(|e| Error::corrupt("workspace_state", None).with_source(e))
        },
    )
}

fn workspace(
    found: &Recovered,
    workspace_id: WorkspaceId,
    (settings, prices): (Settings, Prices),
) -> Result<Workspace> {
    let shared = shared(found)?;
    let mut accounts = BTreeMap::new();
    for row in &found.accounts {
        let id: AccountId = row
            .account
            .parse()
            .map_err(|e| Error::corrupt("account", None).with_source(e))?;
        let account: Account = serde_json::from_slice(&row.state)
            .map_err(|e| Error::corrupt("account", None).with_source(e))?;
        accounts.insert(id, account);
    }
    let mut workflows: BTreeMap<_, Versions> = BTreeMap::new();
    let mut compiled = BTreeMap::new();
    for row in &found.workflows {
        let versions = workflows.entry(row.workflow.clone()).or_default();
        versions.rows.insert(row.version, row.clone());
        if row.active {
            versions.active = Some(row.version);
        }
        compiled.insert(
            row.hash,
            Arc::new(Workflow::from_canonical(&row.definition)?),
        );
    }
    let keys = RecentKeys::from(found.head.next_seq);
    let draining = shared.halts.all().collect();
    Ok(Workspace {
        workspace_id,
        epoch: found.lease.epoch,
        shared,
        accounts,
        frozen: BTreeSet::new(),
        workflows,
        compiled,
        policy: Policy::default(),
        runs: BTreeMap::new(),
        family: super::family::Family::default(),
        calls_out: BTreeMap::new(),
        turns: BTreeMap::new(),
        queue: Queue::default(),
        waiting: BTreeMap::new(),
        next_ticket: 0,
        abandoned: BTreeMap::new(),
        wakes: BTreeMap::new(),
        budget_blocked: BTreeSet::new(),
        budget_paused: BTreeSet::new(),
        draining,
        agents: BTreeMap::new(),
        lent: BTreeSet::new(),
        acting: super::acting::Acting::default(),
        keys,
        dispatch: super::workspace::Dispatch::Held,
        prices,
        settings,
    })
}
