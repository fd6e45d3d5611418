//! Facts of events that move money by themselves: evidence and operators' changes.

use serde::{Deserialize, Serialize};

use crate::budget::{AccountId, Amount, Limit, OnExceed, Period, Window};
use crate::id::StepKey;

/// Facts of `budget.reconciled`. Part 0: the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetReconciled {
    /// The step of the money in doubt.
    pub step: StepKey,
    /// Its attempt.
    pub attempt: u32,
    /// Its call, where the doubt is one call's; none for a whole hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u32>,
    /// What leaves the column in doubt.
    pub held: Amount,
    /// What is spent instead; the rest is free again.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub actual: Amount,
    /// Nobody said what it cost for so long that all of it counts as spent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub assumed: bool,
}

/// Facts of `budget.limit_set`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetLimitSet {
    /// The account.
    pub account: AccountId,
    /// The new limit.
    pub limit: Limit,
    /// What happens when it refuses for good.
    pub on_exceed: OnExceed,
    /// The window that it is to count in: at once where it counted for ever so far, else from the
    /// end of its current period. None leaves it as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

/// Facts of `budget.window_opened`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetWindowOpened {
    /// The account.
    pub account: AccountId,
    /// The window in force from now on.
    pub window: Window,
    /// The period that begins; in a sliding window its next bucket.
    pub period: Period,
    /// The version of the time zone database that the period comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tzdb: Option<String>,
}

/// Facts of `budget.window_closed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetWindowClosed {
    /// The account.
    pub account: AccountId,
    /// The period.
    pub period: Period,
    /// What was billed for what was reserved in it. It is final.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub spent: Amount,
}

/// Facts of `budget.breached`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetBreached {
    /// The account.
    pub account: AccountId,
    /// By how much spent, reserved and in doubt exceed the limit.
    pub over: Amount,
}
