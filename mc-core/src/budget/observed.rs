//! Limits that are only looked at: what they would refuse is told, and goes out all the same.
//!
//! A budget is rolled out in this mode: its account counts like any other, tells of its thresholds, and
//! refuses nothing. Once the limit is enforced, what was counted counts. A freeze is an operator's own
//! word, and refuses in either mode. What is *not* here: who is admitted (`admission`).

use serde::{Deserialize, Serialize};

use super::admission::describe;
use super::{Amount, Books, Dimension, Path};
use crate::error::FailingAccount;

/// Whether a limit holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitMode {
    /// What it has no room for is refused, or waits.
    #[default]
    Enforce,
    /// What it has no room for goes out, and an event says so.
    Observe,
}

impl LimitMode {
    /// Whether it holds.
    pub const fn is_enforced(&self) -> bool {
        matches!(self, Self::Enforce)
    }
}

/// What becomes of what is out where an account is over its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InFlight {
    /// It goes on; nothing more is admitted.
    #[default]
    GoesOn,
    /// It is cut.
    Halts,
}

impl InFlight {
    /// Whether it goes on.
    pub const fn goes_on(&self) -> bool {
        matches!(self, Self::GoesOn)
    }
}

/// What limits that are only looked at would have answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WouldRefuse {
    /// How.
    pub refusal: Refusal,
    /// Every account and dimension of theirs without room.
    pub failing: Vec<FailingAccount>,
}

/// How a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Until holds or doubts are let go.
    Contended,
    /// For good.
    Exceeded,
}

/// What the limits of a path that are only looked at would refuse; none where they have room.
pub fn would_refuse(books: &dyn Books, path: &Path, amount: &Amount) -> Option<WouldRefuse> {
    let mut found: Option<WouldRefuse> = None;
    for id in path {
        let account = books.account(id);
        let Some(account) = account.filter(|one| !one.mode().is_enforced()) else {
            continue;
        };
        for dimension in Dimension::ALL {
            let (limit, wanted) = (account.cap(dimension), amount.of(dimension));
            if wanted.saturating_add(account.used(dimension)) <= limit {
                continue;
            }
            let least = wanted.saturating_add(account.spent().of(dimension));
            let refusal = if least > limit {
                Refusal::Exceeded
            } else {
                Refusal::Contended
            };
            let found = found.get_or_insert(WouldRefuse {
                refusal,
                failing: Vec::new(),
            });
            found.refusal = found.refusal.max(refusal);
            found.failing.push(describe(id, account, dimension, amount));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::budget::{
        Account, AccountId, Change, Limit, Movement, OnExceed, Staying, Verdict, affordable, check,
    };

    fn calls(calls: u64) -> Amount {
        Amount {
            calls,
            ..Amount::ZERO
        }
    }

    /// A workspace with a limit of so many calls, of which some are spent and some held.
    fn books(mode: LimitMode, spent: u64, held: u64) -> BTreeMap<AccountId, Account> {
        let limit = Limit {
            calls: Some(10),
            ..Limit::default()
        };
        let mut account = Account::new(limit, OnExceed::Abort);
        for movement in [
            Movement::Reserve(calls(spent.saturating_add(held))),
            Movement::Settle {
                held: calls(spent),
                actual: calls(spent),
            },
            Movement::Change(Change::SetMode(mode)),
        ] {
            account.apply(&movement).unwrap();
        }
        BTreeMap::from([(AccountId::Workspace, account)])
    }

    fn path() -> Path {
        [AccountId::Workspace].into_iter().collect()
    }

    #[test]
    fn a_limit_that_is_looked_at_refuses_nothing_and_says_what_it_would() {
        let told = |spent, held, wanted| {
            let books = books(LimitMode::Observe, spent, held);
            let verdict = check(&books, &path(), &calls(wanted), &Staying::none());
            assert_eq!(verdict, Verdict::Fits);
            would_refuse(&books, &path(), &calls(wanted)).map(|one| one.refusal)
        };
        assert_eq!(told(5, 0, 5), None);
        assert_eq!(told(5, 3, 5), Some(Refusal::Contended));
        assert_eq!(told(5, 3, 6), Some(Refusal::Exceeded));
        assert_eq!(told(11, 0, 0), Some(Refusal::Exceeded));
    }

    #[test]
    fn a_limit_that_holds_tells_nothing_beside_its_answer() {
        let books = books(LimitMode::Enforce, 5, 0);
        assert_eq!(would_refuse(&books, &path(), &calls(6)), None);
        assert!(check(&books, &path(), &calls(6), &Staying::none()).is_exceeded());
    }

    #[test]
    fn what_was_counted_counts_once_the_limit_holds() {
        let mut all = books(LimitMode::Observe, 12, 0);
        let account = all.get_mut(&AccountId::Workspace).unwrap();
        assert!(!account.is_breached() && account.is_over());
        let enforce = Movement::Change(Change::SetMode(LimitMode::Enforce));
        account.apply(&enforce).unwrap();
        assert!(account.is_breached());
        assert_eq!(account.spent().calls, 12);
    }

    #[test]
    fn a_call_is_not_made_smaller_for_a_limit_that_is_looked_at() {
        let of = |mode| affordable(&books(mode, 5, 0), &path()).calls;
        assert_eq!(
            (of(LimitMode::Enforce), of(LimitMode::Observe)),
            (Some(5), None)
        );
    }
}
