//! Facts of events that move money by themselves: evidence and operators' changes.

use serde::{Deserialize, Serialize};

use crate::budget::{
    AccountId, Amount, InFlight, Lapsing, Limit, LimitMode, OnExceed, Period, Refusal, Window,
};
use crate::error::FailingAccount;
use crate::id::{ModelId, StepKey};
use crate::time::Timestamp;

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

/// Facts of `budget.limit_set`. Part 0: the operator's reason; none where a policy or a definition says so.
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
    /// What the limit is again after a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lapses: Option<Lapsing>,
    /// Whether it holds, or is only looked at.
    #[serde(default, skip_serializing_if = "LimitMode::is_enforced")]
    pub mode: LimitMode,
    /// What becomes of what is out where the account is over it.
    #[serde(default, skip_serializing_if = "InFlight::goes_on")]
    pub in_flight: InFlight,
}

/// Facts of `budget.judged`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetJudged {
    /// The step that went out, or whose call did.
    pub step: StepKey,
    /// Its attempt.
    pub attempt: u32,
    /// The call; none for the step's own hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<u32>,
    /// What the limits would have answered.
    pub verdict: Refusal,
    /// What was asked for.
    #[serde(default, skip_serializing_if = "Amount::is_zero")]
    pub requested: Amount,
    /// Every account that would have refused.
    pub failing: Vec<FailingAccount>,
}

/// Facts of `budget.topped_up`. Part 0: the operator's reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetToppedUp {
    /// The account.
    pub account: AccountId,
    /// What comes on top of its limit.
    pub by: Limit,
    /// Until when; none for as long as the limit stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Facts of `budget.frozen`. Part 0: the operator's reason; none where a threshold does it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetFrozen {
    /// The account.
    pub account: AccountId,
    /// Until when; none until somebody lets it admit again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Facts of `budget.unfrozen`. Part 0: the operator's reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetUnfrozen {
    /// The account.
    pub account: AccountId,
}

/// Facts of `budget.lapsed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetLapsed {
    /// The account.
    pub account: AccountId,
    /// The change that is undone.
    pub lapsing: Lapsing,
}

/// Facts of `budget.threshold_reached`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetThresholdReached {
    /// The account.
    pub account: AccountId,
    /// The threshold, in hundredths of the limit; it stands for those below it.
    pub percent: u8,
    /// The limit.
    pub limit: Limit,
    /// Spent, reserved and in doubt.
    pub used: Amount,
    /// The period that it counts in; none where it counts for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// Every further call of the period needs a person's word.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asks: bool,
    /// The model that is suggested for further calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggests: Option<ModelId>,
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
