//! Reading a view's lines from a log: all of it once, and then only what moved.

use std::collections::{BTreeMap, BTreeSet};

use mc_core::budget::{Account, AccountId};
use mc_core::engine::{ApprovalFilter, approvals, approvals_of, shared_accounts};
use mc_core::error::Result;
use mc_core::event::RunStatus;
use mc_core::event::run::PauseReason;
use mc_core::id::RunId;
use mc_core::ports::{EventLog, RunQuery};
use mc_link::Moved;

use super::halts::{self, HaltLine};
use super::rows::{AccountLine, AskedLine, RunLine, state};
use super::view::{Extent, Reading, View};

/// Runs that are read of each kind.
const MOST: usize = 200;

type Accounts = BTreeMap<AccountId, Account>;

/// Reads what a view has to know after something moved.
pub(super) async fn after(log: &dyn EventLog, moved: &Moved, view: &View) -> Result<Reading> {
    match moved {
        Moved::Runs(runs) if runs.len() <= MOST => part(log, runs, view).await,
        Moved::Runs(_) | Moved::Anything => whole(log, view).await,
    }
}

/// Reads everything: open runs, the newest others, accounts, and what is asked.
async fn whole(log: &dyn EventLog, view: &View) -> Result<Reading> {
    let accounts = shared_accounts(log).await?;
    let mut runs = BTreeMap::new();
    for status in [Some(RunStatus::Running), Some(RunStatus::Pending), None] {
        let query = RunQuery {
            status,
            limit: MOST,
            ..RunQuery::default()
        };
        for summary in log.query_runs(query).await?.items {
            runs.insert(summary.run_id, summary.started_at);
        }
    }
    let ids = runs.into_keys().collect();
    let mut reading = read(log, (&ids, &accounts), view).await?;
    // Runs that ask may be older than those that are listed.
    for request in approvals(log, ApprovalFilter::Pending).await? {
        let run = request.id.run_id;
        if !ids.contains(&run) {
            let asked = reading.asked.entry(run).or_default();
            asked.push(AskedLine::of(&request));
        }
    }
    Ok(reading)
}

async fn part(log: &dyn EventLog, runs: &BTreeSet<RunId>, view: &View) -> Result<Reading> {
    let accounts = shared_accounts(log).await?;
    let mut ids = runs.clone();
    // What it does to each budget changes without it.
    ids.extend(view.chosen_request().map(|id| id.run_id));
    let mut reading = read(log, (&ids, &accounts), view).await?;
    reading.extent = Extent::Part;
    Ok(reading)
}

async fn read(
    log: &dyn EventLog,
    (ids, accounts): (&BTreeSet<RunId>, &Accounts),
    view: &View,
) -> Result<Reading> {
    let known: Vec<HaltLine> = view.halts().into_iter().cloned().collect();
    let mut reading = Reading {
        accounts: lines(accounts),
        halts: halts::shared(log, &known).await?,
        ..Reading::default()
    };
    for id in ids.iter().filter(|id| **id != RunId::ZERO) {
        let Some(row) = log.run_row(*id).await? else {
            continue;
        };
        let run = state(&row)?;
        let filter = (ApprovalFilter::Pending, accounts);
        let asked = approvals_of(log, &run, filter).await?;
        let asked = asked.iter().map(AskedLine::of).collect();
        reading.asked.insert(*id, asked);
        let mut line = RunLine::of(&row, &run);
        if let Some(PauseReason::Halt { until }) = run.paused {
            let known = (known.as_slice(), row.next_run_seq);
            line.halt = Some(halts::of_run(log, (*id, until), known).await?);
        }
        reading.runs.push(line);
    }
    Ok(reading)
}

/// Accounts with a limit first, the fullest before the others.
fn lines(accounts: &Accounts) -> Vec<AccountLine> {
    let lines = accounts.iter().map(|(id, one)| AccountLine::of(id, one));
    let mut lines: Vec<AccountLine> = lines.collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.percent));
    lines
}
