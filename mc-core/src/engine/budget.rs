//! Budgets as an operator sets them: plain data, and the one call that sets them.
//!
//! What is *not* here: who is admitted (`budget`), and how a change is decided
//! (`sequencer::decide::limits`).

use super::control::MissionControl;
use super::options::operator;
use crate::budget::{AccountId, Limit, OnExceed, Window};
use crate::error::Result;
use crate::id::Actor;
use crate::sequencer::{Request, SetLimit};

/// What an account may spend, and in which stretches of time.
///
/// `Budget::of(account).limit(limit).window("day Europe/Berlin".parse()?)`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    account: AccountId,
    limit: Limit,
    on_exceed: OnExceed,
    window: Option<Window>,
}

impl Budget {
    /// No limit; an account that refuses ends the run; the window stays as it is.
    pub fn of(account: AccountId) -> Self {
        Self {
            account,
            limit: Limit::default(),
            on_exceed: OnExceed::default(),
            window: None,
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
        });
        let by = Actor::Operator(operator(by)?);
        self.inner.submit(by, request).await.map(drop)
    }
}
