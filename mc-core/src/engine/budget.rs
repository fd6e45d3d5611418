//! Budgets as an operator sets them: plain data, and the one call that sets them.
//!
//! What is *not* here: who is admitted (`budget`), and how a change is decided
//! (`sequencer::decide::limits`).

use super::control::MissionControl;
use super::options::operator;
use crate::budget::{AccountId, Limit, OnExceed, Window};
use crate::error::Result;
use crate::id::Actor;
use crate::sequencer::{Adjust, Adjustment, Note, Request, SetLimit};
use crate::time::Timestamp;

/// What an account may spend, and in which stretches of time.
///
/// `Budget::of(account).limit(limit).window("day Europe/Berlin".parse()?)`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    account: AccountId,
    limit: Limit,
    on_exceed: OnExceed,
    window: Option<Window>,
    note: Note,
}

impl Budget {
    /// No limit; an account that refuses ends the run; the window stays as it is.
    pub fn of(account: AccountId) -> Self {
        Self {
            account,
            limit: Limit::default(),
            on_exceed: OnExceed::default(),
            window: None,
            note: Note::default(),
        }
    }

    /// With a limit; for each period of the window, where there is one.
    #[must_use]
    pub const fn limit(mut self, limit: Limit) -> Self {
        self.limit = limit;
        self
    }

    /// What becomes of a run that the account refuses for good.
    #[must_use]
    pub const fn on_exceed(mut self, on_exceed: OnExceed) -> Self {
        self.on_exceed = on_exceed;
        self
    }

    /// In a window: at once where the account counted for ever so far, else from the end of its
    /// current period.
    #[must_use]
    pub const fn window(mut self, window: Window) -> Self {
        self.window = Some(window);
        self
    }

    /// With a reason, and for a time.
    #[must_use]
    pub fn note(mut self, note: Note) -> Self {
        self.note = note;
        self
    }
}

impl Note {
    /// A reason.
    pub fn because(reason: &str) -> Self {
        Self {
            reason: Some(reason.into()),
            until: None,
        }
    }

    /// Until a time; then it is as it was before.
    #[must_use]
    pub const fn until(mut self, until: Timestamp) -> Self {
        self.until = Some(until);
        self
    }
}

impl MissionControl {
    /// Sets what an account may spend. A limit may fall below what is spent already; then nothing
    /// more is admitted.
    ///
    /// # Errors
    /// `InvalidInput` for a negative limit, an operator that is no name, and a window of a run's
    /// account; `NotFound` for the account of a run that does not exist, `InvalidTransition` for
    /// that of a run that has ended.
    pub async fn set_budget(&self, by: &str, budget: Budget) -> Result<()> {
        let request = Request::SetLimit(SetLimit {
            account: budget.account,
            limit: budget.limit,
            on_exceed: budget.on_exceed,
            window: budget.window,
            note: budget.note,
        });
        self.order(by, request).await
    }

    /// Puts so much on top of an account's limit, in the dimensions that are named.
    ///
    /// # Errors
    /// `InvalidInput` for an amount that is negative or nothing, for a dimension without a limit, for
    /// a time that has passed, and for one in the account of a run; `NotFound` and
    /// `InvalidTransition` as [`Self::set_budget`].
    pub async fn top_up(
        &self,
        by: &str,
        account: AccountId,
        amount: Limit,
        note: Note,
    ) -> Result<()> {
        self.adjust(by, account, Adjustment::TopUp(amount), note)
            .await
    }

    /// Lets an account admit nothing: calls and steps that need it wait, what is out goes on.
    ///
    /// # Errors
    /// As [`Self::top_up`].
    pub async fn freeze(&self, by: &str, account: AccountId, note: Note) -> Result<()> {
        self.adjust(by, account, Adjustment::Freeze, note).await
    }

    /// Lets a frozen account admit again.
    ///
    /// # Errors
    /// As [`Self::top_up`]; `InvalidTransition` where it is not frozen.
    pub async fn unfreeze(&self, by: &str, account: AccountId, note: Note) -> Result<()> {
        self.adjust(by, account, Adjustment::Unfreeze, note).await
    }

    async fn adjust(
        &self,
        by: &str,
        account: AccountId,
        how: Adjustment,
        note: Note,
    ) -> Result<()> {
        let adjust = Adjust { account, how, note };
        self.order(by, Request::Adjust(adjust)).await
    }

    async fn order(&self, by: &str, request: Request) -> Result<()> {
        let by = Actor::Operator(operator(by)?);
        self.inner.submit(by, request).await.map(drop)
    }
}
