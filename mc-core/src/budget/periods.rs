//! The periods of an account with a window: each has columns of its own.
//!
//! What was reserved in a period stays in it, however late it is settled; so no turn of a clock can
//! empty a column, and each period is within the limit by itself. A period that counts no more is
//! kept until nothing in it is open. What is *not* here: time; periods are opened and closed by
//! movements. Read `hold` for how a hold remembers when it was reserved.

use serde::{Deserialize, Serialize};

use super::columns::Columns;
use super::{LedgerFault, Movement, Period, Window};
use crate::time::Timestamp;

/// What an account counted in one period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// When.
    pub period: Period,
    /// What.
    #[serde(default)]
    pub columns: Columns,
}

/// The window of an account, and its periods that are not forgotten, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Periods {
    window: Window,
    /// The window that follows at the end of the current period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<Window>,
    /// Periods that ended until then count no more, whatever window follows: some of them may be
    /// forgotten, so none may come back.
    counts_after: Timestamp,
    all: Vec<Counted>,
}

impl Periods {
    /// The window in force.
    pub const fn window(&self) -> &Window {
        &self.window
    }

    /// The window that follows at the end of the current period, if it is another.
    pub const fn next(&self) -> Option<&Window> {
        self.next.as_ref()
    }

    /// Every period that is not forgotten, oldest first.
    pub fn all(&self) -> &[Counted] {
        &self.all
    }

    /// The current period.
    pub fn current(&self) -> Option<Period> {
        self.all.last().map(|one| one.period)
    }

    /// Whether what was reserved at a time counts against the limit.
    pub fn counts(&self, at: Timestamp) -> bool {
        self.place(at).is_none_or(|one| self.is_counted(one.period))
    }

    /// Whether it counts for ever now: it never had a window, or has none any more.
    fn counts_for_ever(&self) -> bool {
        self.current()
            .is_none_or(|period| period.end >= Period::ALWAYS.end)
    }

    /// Whether another window follows at once, because the account counts for ever until then.
    pub fn begins_at_once(&self) -> bool {
        self.next.is_some() && self.counts_for_ever()
    }

    /// From when on the next period is due; none where the current one never ends.
    pub fn due(&self) -> Option<Timestamp> {
        if self.counts_for_ever() {
            return self.next.map(|_| Timestamp::EPOCH);
        }
        self.current().map(|period| period.end)
    }

    /// The window and the period that are due at a time, if they are. It begins where the current
    /// one ends, or later; one behind a time that counts for ever begins now.
    pub fn opening(&self, now: Timestamp) -> Option<(Window, Period)> {
        let window = self.next.unwrap_or(self.window);
        let period = window.period_at(now);
        let earliest = match self.current() {
            _ if self.begins_at_once() => now,
            Some(current) if current.end > now => return None,
            Some(current) => current.end,
            None => return None,
        };
        let start = period.start.max(earliest);
        Some((window, Period { start, ..period }))
    }

    /// The oldest period that counts no more and in which nothing is open.
    pub fn final_one(&self) -> Option<&Counted> {
        self.all
            .iter()
            .find(|one| one.columns.is_settled() && !self.is_counted(one.period))
    }

    pub(super) fn set(&mut self, window: Window) {
        let in_force = window == self.window && !self.all.is_empty();
        self.next = (!in_force).then_some(window);
    }

    /// Moves the columns of the period that a time lies in; tells whether it counts.
    pub(super) fn apply(
        &mut self,
        at: Timestamp,
        movement: &Movement,
    ) -> Result<bool, LedgerFault> {
        let found = self.all.iter().position(|one| one.period.contains(at));
        let place = match found {
            Some(place) => place,
            None if self.all.is_empty() => return Ok(true),
            // Its period is final. What was not held there counts now.
            None if takes_nothing(movement) => self.all.len().saturating_sub(1),
            None => return Err(LedgerFault::NoSuchPeriod),
        };
        let one = self.all.get_mut(place).ok_or(LedgerFault::NoSuchPeriod)?;
        one.columns = one.columns.after(movement)?;
        let period = one.period;
        Ok(self.is_counted(period))
    }

    /// Opens a period; `before` is what was counted when there was no window.
    pub(super) fn open(
        &mut self,
        window: Window,
        period: Period,
        before: Columns,
    ) -> Result<(), LedgerFault> {
        let begins = match self.current() {
            Some(current) if self.counts_for_ever() => current.start < period.start,
            Some(current) => current.end <= period.start,
            None => Timestamp::EPOCH < period.start,
        };
        if !begins || period.end <= period.start {
            return Err(LedgerFault::NoSuchPeriod);
        }
        if self.counts_for_ever() {
            // What counted for ever ends here, and counts no more.
            self.counts_after = period.start;
            if let Some(last) = self.all.last_mut() {
                last.period.end = period.start;
            }
        }
        if self.all.is_empty() {
            let until = Period {
                start: Timestamp::EPOCH,
                end: period.start,
            };
            self.all.push(Counted {
                period: until,
                columns: before,
            });
        }
        self.counts_after = self.counts_after.max(window.counts_after(period.start));
        self.window = window;
        self.next = None;
        self.all.push(Counted {
            period,
            columns: Columns::default(),
        });
        Ok(())
    }

    /// Forgets a period that is final.
    pub(super) fn close(&mut self, period: Period) -> Result<(), LedgerFault> {
        let found = self.all.iter().position(|one| one.period == period);
        let place = found.ok_or(LedgerFault::NoSuchPeriod)?;
        let settled = self
            .all
            .get(place)
            .is_some_and(|one| one.columns.is_settled());
        if !settled || self.is_counted(period) {
            return Err(LedgerFault::NoSuchPeriod);
        }
        self.all.remove(place);
        Ok(())
    }

    /// The sum of what counts against the limit.
    pub(super) fn counted(&self) -> Result<Columns, LedgerFault> {
        let counted = self.all.iter().filter(|one| self.is_counted(one.period));
        let mut sum = Columns::default();
        for one in counted {
            sum = sum.plus(&one.columns)?;
        }
        Ok(sum)
    }

    fn place(&self, at: Timestamp) -> Option<&Counted> {
        self.all.iter().find(|one| one.period.contains(at))
    }

    /// Whether a period counts: the current one, and in a sliding window so many before it.
    fn is_counted(&self, period: Period) -> bool {
        period.end > self.counts_after
    }
}

/// Whether a movement takes nothing out of what was held.
fn takes_nothing(movement: &Movement) -> bool {
    match movement {
        Movement::Settle { held, .. } | Movement::SettleDoubt { held, .. } => held.is_zero(),
        Movement::Release(amount) | Movement::Doubt(amount) => amount.is_zero(),
        Movement::Reserve(_) | Movement::Change(_) => true,
    }
}

#[cfg(test)]
#[path = "periods_tests.rs"]
mod tests;
