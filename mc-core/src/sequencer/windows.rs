//! Windows of shared accounts: when their next periods begin, and that they do.
//!
//! There is no job that resets anything. The first command behind a boundary opens what is due,
//! before it is decided itself; only where somebody waits for room is the boundary a time to wake
//! at. What is *not* here: what a period counts (`budget::periods`), and what the wall clock may do
//! (`engine::steady_clock`): time in here never goes back and never leaps.

use std::collections::BTreeSet;
use std::time::Duration;

use super::core::{Group, Sequencer};
use super::decision::NewEvent;
use super::workspace::Workspace;
use crate::budget::{AccountId, Movement, Path, Periods};
use crate::error::Result;
use crate::event::budget::{BudgetWindowClosed, BudgetWindowOpened};
use crate::id::{Actor, RunId};
use crate::time::Timestamp;

/// Which accounts have windows.
#[derive(Debug, Default)]
pub(super) struct Windows {
    accounts: BTreeSet<AccountId>,
    /// When the first of their next periods is due.
    due: Option<Timestamp>,
    /// Accounts of which a period may have become final.
    settled: BTreeSet<AccountId>,
}

impl Windows {
    pub(super) fn of(workspace: &Workspace) -> Self {
        let accounts = workspace.accounts.iter();
        let mut windows = Self {
            accounts: accounts
                .filter(|(_, account)| account.periods().is_some())
                .map(|(id, _)| id.clone())
                .collect(),
            ..Self::default()
        };
        windows.look(workspace);
        windows
    }

    fn look(&mut self, workspace: &Workspace) {
        let periods = |id| workspace.accounts.get(id)?.periods();
        let all = self.accounts.iter().filter_map(periods);
        self.due = all.filter_map(Periods::due).min();
    }
}

impl Sequencer {
    /// Opens every period that is due, and lets those go on who waited for one.
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
            let Some(periods) = self
                .workspace
                .accounts
                .get(&account)
                .and_then(|a| a.periods())
            else {
                continue;
            };
            if periods.current().is_none() && periods.due().is_some() {
                // What was reserved in this very moment belongs to the time before the first period.
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
        Ok(())
    }

    /// Notes what a movement means for the windows of the accounts that it changed.
    pub(super) fn note_windows(&mut self, path: &Path, movement: &Movement) {
        match movement {
            Movement::SetWindow(_) => {
                self.windows.accounts.extend(path.iter().cloned());
                self.windows.look(&self.workspace);
            }
            Movement::OpenWindow { .. } => {
                self.windows.settled.extend(path.iter().cloned());
                self.windows.look(&self.workspace);
            }
            Movement::Release(_)
            | Movement::Settle { .. }
            | Movement::SettleDoubt { .. }
            | Movement::CloseWindow(_) => {
                let with_window = path.iter().filter(|id| self.windows.accounts.contains(*id));
                self.windows.settled.extend(with_window.cloned());
            }
            Movement::Reserve(_)
            | Movement::Doubt(_)
            | Movement::SetLimit { .. }
            | Movement::Freeze
            | Movement::Unfreeze => {}
        }
    }

    /// A period that became final, as the event that says so.
    pub(super) fn final_period(&mut self) -> Option<NewEvent> {
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
        let nobody = self.workspace.queue.is_empty() && self.workspace.budget_blocked.is_empty();
        self.windows.due.filter(|_| !nobody)
    }
}
