//! Budgets as an operator sets them: plain data, and the one call that sets them.
//!
//! What is *not* here: who is admitted (`budget`), and how a change is decided
//! (`sequencer::decide::limits`).

use super::control::MissionControl;
use super::halt::{By, reason};
use super::options::operator;
use crate::budget::{AccountId, InFlight, Limit, LimitMode, OnExceed, Window};
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
    mode: LimitMode,
    in_flight: InFlight,
    until: Option<Timestamp>,
}

impl Budget {
    /// No limit; an account that refuses ends the run; the window stays as it is.
    pub fn of(account: AccountId) -> Self {
        Self {
            account,
            limit: Limit::default(),
            on_exceed: OnExceed::default(),
            window: None,
            mode: LimitMode::Enforce,
            in_flight: InFlight::GoesOn,
            until: None,
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

    /// To be looked at only: what the limit has no room for goes out all the same, and
    /// `budget.judged` says so. To see what a limit would do before it does it.
    #[must_use]
    pub const fn observe(mut self) -> Self {
        self.mode = LimitMode::Observe;
        self
    }

    /// Whatever is out when the account is over this limit is cut, not only kept from asking again.
    #[must_use]
    pub const fn halt_in_flight(mut self) -> Self {
        self.in_flight = InFlight::Halts;
        self
    }

    /// Until a time; then it is as it was before.
    #[must_use]
    pub const fn until(mut self, until: Timestamp) -> Self {
        self.until = Some(until);
        self
    }
}

impl Note {
    /// A reason.
    pub fn because(reason: &str) -> Self {
        Self {
            reason: reason.into(),
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
    /// `InvalidInput` for a negative limit, an operator that is no name, an order without a reason, and
    /// a window of a run's account; `NotFound` for the account of a run that does not exist, `InvalidTransition` for
    /// that of a run that has ended.
    pub async fn set_budget(&self, by: impl Into<By<'_>>, budget: Budget) -> Result<()> {
        let by = by.into();
        let request = Request::SetLimit(SetLimit {
            account: budget.account,
            limit: budget.limit,
            on_exceed: budget.on_exceed,
            window: budget.window,
            mode: budget.mode,
            in_flight: budget.in_flight,
            note: Note {
                reason: by.reason()?,
                until: budget.until,
            },
        });
        self.inner.submit(by.actor()?, request).await.map(drop)
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
        reason(&note.reason)?;
        let by = Actor::Operator(operator(by)?);
        let request = Request::Adjust(Adjust { account, how, note });
        self.inner.submit(by, request).await.map(drop)
    }
}
