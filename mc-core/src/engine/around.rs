//! Around: the accounts of runs that are nested in one another, from their rows alone.
//!
//! A row has its own run's columns only; what others nested in it hold is added up here, for whoever
//! shows it. What is *not* here: the sums that decide (`sequencer::family`).

use std::collections::BTreeMap;

use crate::budget::{Account, AccountId};
use crate::error::Result;
use crate::id::RunId;
use crate::ports::EventLog;
use crate::run::{Run, accounts_with_nested};

/// Accounts of runs, each with everything that is nested in it.
type Summed = BTreeMap<AccountId, Account>;

/// The accounts of runs that were asked for, by the outermost run around each.
#[derive(Debug, Default)]
pub(super) struct Around(BTreeMap<RunId, Summed>);

impl Around {
    /// The accounts of a run and of those around it, as they are on disk.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub(super) async fn of(&mut self, log: &dyn EventLog, run: &Run) -> Result<&Summed> {
        let outermost = run.created.nested_in.last();
        let outermost = outermost.map_or(run.run_id, |place| place.run);
        // One that is sealed is no longer found from the outermost.
        let known = self.0.get(&outermost);
        if known.is_none_or(|known| !known.contains_key(&AccountId::Run(run.run_id))) {
            let summed = read(log, (outermost, run)).await?;
            self.0.entry(outermost).or_default().extend(summed);
        }
        Ok(self.0.entry(outermost).or_default())
    }
}

/// Reads the rows of a run and of all that are not sealed with it, and adds them up.
async fn read(log: &dyn EventLog, (outermost, run): (RunId, &Run)) -> Result<Summed> {
    let mut runs = BTreeMap::from([(run.run_id, run.clone())]);
    let mut next: Vec<RunId> = run.unsealed().collect();
    next.push(outermost);
    while let Some(id) = next.pop() {
        if runs.contains_key(&id) {
            continue;
        }
        if let Some(row) = log.run_row(id).await? {
            let found = Run::decode(&row.state)?;
            next.extend(found.unsealed());
            runs.insert(id, found);
        }
    }
    let mut all = BTreeMap::new();
    for run in runs.values() {
        let summed = summed(&runs, run)?;
        // Every run has one, with a limit or without.
        all.insert(AccountId::Run(run.run_id), run.account());
        all.extend(summed);
    }
    Ok(all)
}

fn summed(runs: &BTreeMap<RunId, Run>, run: &Run) -> Result<Summed> {
    let mut inner = BTreeMap::new();
    for nested in run.unsealed().filter_map(|id| runs.get(&id)) {
        let own = summed(runs, nested)?.remove(&AccountId::Run(nested.run_id));
        inner.insert(nested.run_id, own.unwrap_or_else(|| nested.account()));
    }
    accounts_with_nested(run, &|id| inner.get(&id).cloned())
}
