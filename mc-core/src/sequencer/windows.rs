//! What time changes about shared accounts: periods begin, and changes that were for a time lapse.
//!
//! There is no job that resets anything. The first command behind such a time does what is due,
//! before it is decided itself; only where somebody waits for room is it a time to wake at. What is *not* here: what a period counts (`budget::periods`), and what the wall clock may do
//! (`engine::steady_clock`): time in here never goes back and never leaps.

use std::collections::BTreeSet;
use std::time::Duration;

use super::core::{Group, Sequencer};
use super::decision::NewEvent;
use super::workspace::Workspace;
use crate::budget::{Account, AccountId, Change, Movement, Path, Standing};
use crate::error::Result;
use crate::event::budget::{
    BudgetFrozen, BudgetLapsed, BudgetThresholdReached, BudgetWindowClosed, BudgetWindowOpened,
};
use crate::id::{Actor, RunId};
use crate::time::Timestamp;

/// Which accounts time changes.
#[derive(Debug, Default)]
pub(super) struct Windows {
    accounts: BTreeSet<AccountId>,
    /// When the first of them is due.
    due: Option<Timestamp>,
    /// Accounts of which a period may have become final.
    settled: BTreeSet<AccountId>,
    /// Accounts that may have reached a threshold.
    used: BTreeSet<AccountId>,
    /// Accounts that reached one that freezes them.
    to_freeze: Vec<AccountId>,
}

impl Windows {
    pub(super) fn of(workspace: &Workspace) -> Self {
        let accounts = workspace.accounts.iter();
        let mut windows = Self {
            accounts: accounts
                .filter(|(_, account)| is_timed(account))
                .map(|(id, _)| id.clone())
                .collect(),
            ..Self::default()
        };
        windows.look(workspace);
        windows
    }

    fn look(&mut self, workspace: &Workspace) {
        let due = |id| workspace.accounts.get(id)?.due();
        self.due = self.accounts.iter().filter_map(due).min();
    }
}

/// Whether time changes something about an account.
fn is_timed(account: &Account) -> bool {
    account.periods().is_some() || !account.lapsing().is_empty()
}

impl Sequencer {
    /// Does everything that is due, and lets those go on who waited for it.
    ///
    /// # Errors
    /// Only defects.
    pub(super) fn open_windows(&mut self) -> Result<()> {
        if self
            .windows
            .due
            .is_none_or(|due| due > self.group.instant.now)
        {
            return Ok(());
        }
        let own = Group {
            actor: Actor::System,
            ..self.group.clone()
        };
        let causer = std::mem::replace(&mut self.group, own);
        let opened = self.open_due();
        let now = self.group.instant.now;
        self.group = causer;
        self.group.instant.now = now;
        opened?;
        self.settle_down(BTreeSet::new())
    }

    fn open_due(&mut self) -> Result<()> {
        for account in self.windows.accounts.clone() {
            self.lapse_due(&account)?;
            let Some(periods) = self
                .workspace
                .accounts
                .get(&account)
                .and_then(|a| a.periods())
            else {
                continue;
            };
            if periods.begins_at_once() {
                // What was reserved in this very moment belongs to the time before this period.
                self.last_ts = self.last_ts.after(Duration::from_micros(1));
                self.group.instant.now = self.last_ts;
            }
            if let Some((window, period)) = periods.opening(self.group.instant.now) {
                let tzdb = window.tzdb().map(str::to_owned);
                let facts = BudgetWindowOpened {
                    account,
                    window,
                    period,
                    tzdb,
                };
                self.place(NewEvent::new(RunId::ZERO, facts))?;
            }
        }
        self.windows.look(&self.workspace);
        Ok(())
    }

    fn lapse_due(&mut self, id: &AccountId) -> Result<()> {
        let now = self.group.instant.now;
        loop {
            let account = self.workspace.accounts.get(id);
            let first = account.and_then(|account| account.lapsing().first());
            let Some(lapsing) = first.filter(|one| one.at <= now).copied() else {
                return Ok(());
            };
            let account = id.clone();
            let facts = BudgetLapsed { account, lapsing };
            self.place(NewEvent::new(RunId::ZERO, facts))?;
        }
    }

    /// Notes what a movement means for the accounts that it changed.
    pub(super) fn note_movement(&mut self, path: &Path, movement: &Movement) {
        let timed = |id: &&AccountId| self.windows.accounts.contains(*id);
        match movement {
            Movement::Release(_) => self
                .windows
                .settled
                .extend(path.iter().filter(timed).cloned()),
            Movement::Settle { .. } | Movement::SettleDoubt { .. } => {
                let settled: Vec<AccountId> = path.iter().filter(timed).cloned().collect();
                self.windows.settled.extend(settled);
                self.note_use(path);
            }
            Movement::Reserve(_) => self.note_use(path),
            Movement::Doubt(_) => {}
            Movement::Change(change) => self.note_change(path, change),
        }
    }

    fn note_change(&mut self, path: &Path, change: &Change) {
        match change {
            Change::SetWindow(_) | Change::Lapses(_) => {
                self.windows.accounts.extend(path.iter().cloned());
                self.windows.look(&self.workspace);
            }
            Change::OpenWindow { .. } => {
                self.windows.settled.extend(path.iter().cloned());
                self.windows.look(&self.workspace);
                self.note_use(path);
            }
            Change::CloseWindow(_) => self.windows.settled.extend(path.iter().cloned()),
            Change::SetLimit { .. } => {
                self.windows.look(&self.workspace);
                self.note_use(path);
            }
            Change::Lapse(_) | Change::Freeze | Change::Unfreeze => {
                self.windows.look(&self.workspace);
                self.workspace.note_frozen(path);
                self.note_use(path);
            }
            Change::RaiseLasting(_) => self.windows.look(&self.workspace),
            Change::TopUp(_) | Change::Reach(_) | Change::SetMode(_) | Change::SetInFlight(_) => {}
        }
    }

    fn note_use(&mut self, path: &Path) {
        let limited = |id: &&AccountId| {
            let account = self.workspace.accounts.get(*id);
            account.is_some_and(|account| !account.limit().is_none())
        };
        let limited: Vec<AccountId> = path.iter().filter(limited).cloned().collect();
        self.windows.used.extend(limited);
    }

    /// What follows from the last event at once: the event that says so.
    pub(super) fn follows(&mut self) -> Option<NewEvent> {
        self.reached().or_else(|| self.final_period())
    }

    /// A threshold that an account reached.
    fn reached(&mut self) -> Option<NewEvent> {
        while let Some(id) = self.windows.used.pop_first() {
            let Some(account) = self.workspace.accounts.get(&id) else {
                continue;
            };
            let thresholds = self.workspace.thresholds_of(&id);
            let Some((percent, freezes)) = account.newly_reached(thresholds) else {
                continue;
            };
            let standing = Standing::of(thresholds, percent);
            // A limit that is only looked at stops nothing.
            let holds = account.mode().is_enforced();
            let facts = BudgetThresholdReached {
                account: id.clone(),
                percent,
                limit: *account.limit(),
                used: account.exposure(),
                period: account.period(),
                asks: holds && standing.asks.is_some(),
                suggests: standing.suggests.cloned(),
            };
            if freezes && holds && !account.is_frozen() {
                self.windows.to_freeze.push(id);
            }
            if !standing.is_nothing() {
                self.recall();
            }
            return Some(NewEvent::new(RunId::ZERO, facts));
        }
        let account = self.windows.to_freeze.pop()?;
        let until = None;
        Some(NewEvent::new(RunId::ZERO, BudgetFrozen { account, until }))
    }

    /// A period that became final, as the event that says so.
    fn final_period(&mut self) -> Option<NewEvent> {
        while let Some(account) = self.windows.settled.pop_first() {
            let found = self.workspace.accounts.get(&account);
            let closed = found.and_then(|account| account.periods()?.final_one());
            if let Some(counted) = closed {
                let facts = BudgetWindowClosed {
                    account,
                    period: counted.period,
                    spent: counted.columns.spent,
                };
                return Some(NewEvent::new(RunId::ZERO, facts));
            }
        }
        None
    }

    /// When a period begins that somebody waits for.
    pub(super) fn next_window(&self) -> Option<Timestamp> {
        let nobody = self.workspace.nobody_waits_for_room();
        self.windows.due.filter(|_| !nobody)
    }
}
