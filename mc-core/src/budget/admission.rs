//! Admission: whether a request fits, waits, or can never fit.
//!
//! For each account x of the path and each dimension, a request R fits iff
//! `spent + reserved + in_doubt + R <= limit`. If it does not, it is *exceeded* where
//! `spent + staying + R > limit` (it could not fit even if every hold and doubt were let go), and
//! *contended* otherwise. A dimension without a limit ends where its type ends.
//! What is *not* here: turns among those that wait (`queue`). Read `hold` next.

use std::collections::BTreeMap;

use super::{Account, AccountId, Amount, Books, Dimension, Limit, OnExceed, Path, Waiter};
use crate::error::FailingAccount;
use crate::time::Timestamp;

/// What stays reserved for as long as the request waits: the holds of its own step and of the
/// steps that its run is nested in. It would be waiting on itself for these.
#[derive(Clone, Debug, Default)]
pub struct Staying(BTreeMap<AccountId, Amount>);

impl Staying {
    /// Nothing stays.
    pub const fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// Counts a hold as staying in every account of its path.
    pub fn add(&mut self, path: &Path, amount: &Amount) {
        for id in path {
            let sum = self.0.entry(id.clone()).or_default();
            *sum = sum.saturating_add(amount);
        }
    }

    /// What stays in one account.
    pub fn on(&self, id: &AccountId) -> Amount {
        self.0.get(id).copied().unwrap_or_default()
    }
}

/// The ledger's answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every account has room now.
    Fits,
    /// It fits once holds or doubts settle. It waits its turn and never ends a run.
    Contended {
        /// Every account and dimension without room; empty where only earlier waiters are in the way.
        failing: Vec<FailingAccount>,
        /// Whether waiting for open holds is not enough: in some account
        /// `spent + in_doubt + staying + R > limit`, so only `reconcile` (or a higher limit) clears
        /// it. The step is then `blocked{budget}`.
        only_doubt: bool,
    },
    /// An operator froze an account. It waits until `unfreeze`, and does not end a run.
    Frozen {
        /// The frozen accounts.
        accounts: Path,
        /// Every account and dimension that has no room besides.
        failing: Vec<FailingAccount>,
    },
    /// It can never fit while limits and spend are as they are.
    Exceeded {
        /// Every account and dimension without room, also those that only contend.
        failing: Vec<FailingAccount>,
        /// `Abort` if any account that can never fit it says so, else `Pause`.
        on_exceed: OnExceed,
    },
}

impl Verdict {
    /// Whether the request is refused for good.
    pub const fn is_exceeded(&self) -> bool {
        matches!(self, Self::Exceeded { .. })
    }
}

/// How one account stands to a request in one dimension, from best to worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Room {
    Fits,
    AfterHolds,
    AfterDoubts,
    Never,
}

/// A request as one account sees it.
#[derive(Clone, Copy)]
struct Ask<'a> {
    amount: &'a Amount,
    staying: &'a Amount,
}

fn room(account: &Account, ask: Ask<'_>, dimension: Dimension) -> Room {
    let (cap, wanted) = (account.held_cap(dimension), ask.amount.of(dimension));
    if wanted.saturating_add(account.used(dimension)) <= cap {
        return Room::Fits;
    }
    // No more can stay than is reserved.
    let staying = ask.staying.min(account.reserved()).of(dimension);
    let least = wanted
        .saturating_add(account.spent().of(dimension))
        .saturating_add(staying);
    if least > cap {
        Room::Never
    } else if least.saturating_add(account.in_doubt().of(dimension)) > cap {
        Room::AfterDoubts
    } else {
        Room::AfterHolds
    }
}

fn worst_room(account: &Account, ask: Ask<'_>) -> Room {
    Dimension::ALL
        .iter()
        .map(|d| room(account, ask, *d))
        .max()
        .unwrap_or(Room::Fits)
}

/// Whether every account has room now and none is frozen. The fast half of [`check`].
pub fn fits(books: &dyn Books, path: &Path, amount: &Amount) -> bool {
    path.iter().all(|id| admits(books, id, amount))
}

/// The accounts that are frozen or have no room now: those that the request waits on.
pub fn refusing(books: &dyn Books, path: &Path, amount: &Amount) -> Path {
    path.iter()
        .filter(|id| !admits(books, id, amount))
        .cloned()
        .collect()
}

fn admits(books: &dyn Books, id: &AccountId, amount: &Amount) -> bool {
    let ask = Ask {
        amount,
        staying: &Amount::ZERO,
    };
    let room = |account: &Account| !account.is_frozen() && worst_room(account, ask) == Room::Fits;
    // An account that nobody opened has no limit and is empty: every countable amount fits.
    !amount.is_negative() && books.account(id).is_none_or(room)
}

/// Whether the request waits for a person and not for its turn: an account is frozen, or doubts
/// (or the spend) alone leave no room.
pub(super) fn is_stalled(books: &dyn Books, path: &Path, amount: &Amount) -> bool {
    let ask = Ask {
        amount,
        staying: &Amount::ZERO,
    };
    path.iter()
        .filter_map(|id| books.account(id))
        .any(|account| account.is_frozen() || worst_room(account, ask) >= Room::AfterDoubts)
}

/// What is assumed to be let go when it is asked whether a request could fit later.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LetGo {
    /// Holds that do not stay.
    Holds,
    /// Such holds, all doubts, and every freeze.
    All,
}

/// Whether the request would fit once all was let go but what stays.
pub(super) fn fits_beside(
    books: &dyn Books,
    waiter: &Waiter,
    staying: &Staying,
    let_go: LetGo,
) -> bool {
    waiter.path.iter().all(|id| {
        let Some(account) = books.account(id) else {
            return true;
        };
        let room = worst_room(
            account,
            Ask {
                amount: &waiter.amount,
                staying: &staying.on(id),
            },
        );
        match let_go {
            LetGo::Holds => !account.is_frozen() && room <= Room::AfterHolds,
            LetGo::All => room < Room::Never,
        }
    })
}

/// Judges a request against every account of its path, and names every one that refuses.
///
/// A request with negative money is refused for good; it names no account.
pub fn check(books: &dyn Books, path: &Path, amount: &Amount, staying: &Staying) -> Verdict {
    if amount.is_negative() {
        return Verdict::Exceeded {
            failing: Vec::new(),
            on_exceed: OnExceed::Abort,
        };
    }
    if fits(books, path, amount) {
        return Verdict::Fits;
    }
    let empty = Account::default();
    let (mut failing, mut frozen) = (Vec::new(), Vec::new());
    let (mut worst, mut on_exceed) = (Room::Fits, OnExceed::Pause);
    for id in path {
        let account = books.account(id).unwrap_or(&empty);
        let ask = Ask {
            amount,
            staying: &staying.on(id),
        };
        for dimension in Dimension::ALL {
            let room = room(account, ask, dimension);
            if room > Room::Fits {
                failing.push(describe(id, account, dimension, amount));
            }
            if room == Room::Never {
                on_exceed = on_exceed.stricter(account.on_exceed());
            }
            worst = worst.max(room);
        }
        if account.is_frozen() {
            frozen.push(id.clone());
        }
    }
    match worst {
        Room::Never => Verdict::Exceeded { failing, on_exceed },
        Room::Fits | Room::AfterHolds | Room::AfterDoubts if !frozen.is_empty() => {
            Verdict::Frozen {
                accounts: Path::from(frozen),
                failing,
            }
        }
        Room::Fits | Room::AfterHolds => Verdict::Contended {
            failing,
            only_doubt: false,
        },
        Room::AfterDoubts => Verdict::Contended {
            failing,
            only_doubt: true,
        },
    }
}

/// What the accounts that have no room now do to a run: `Abort` wins over `Pause`.
pub(super) fn strictest(books: &dyn Books, accounts: &Path) -> OnExceed {
    let empty = Account::default();
    let rules = accounts
        .iter()
        .map(|id| books.account(id).unwrap_or(&empty).on_exceed());
    rules.fold(OnExceed::Pause, OnExceed::stricter)
}

pub(super) fn describe(
    id: &AccountId,
    account: &Account,
    dimension: Dimension,
    amount: &Amount,
) -> FailingAccount {
    let shown = |value: i128| i64::try_from(value).unwrap_or(i64::MAX);
    FailingAccount {
        account: id.to_string(),
        dimension: dimension.name().to_owned(),
        limit: shown(account.cap(dimension)),
        spent: shown(account.spent().of(dimension)),
        reserved: shown(account.reserved().of(dimension)),
        in_doubt: shown(account.in_doubt().of(dimension)),
        requested: shown(amount.of(dimension)),
        resets_at: account
            .resets_at(dimension, amount.of(dimension))
            .map(Timestamp::as_unix_us),
    }
}

/// The most that could be reserved now in each dimension: the least headroom over the path.
///
/// `None` in a dimension that no account limits; zero where a limit is passed. It sizes a clamp and
/// is no admission: the clamped request still goes through [`check`].
pub fn affordable(books: &dyn Books, path: &Path) -> Limit {
    let rooms = path
        .iter()
        .filter_map(|id| books.account(id))
        .map(Account::room);
    rooms.fold(Limit::default(), |least, room| least.min(&room))
}

/// The most by which an account can pass its limit when providers bill more than was reserved.
///
/// `S + H <= L + in_flight * epsilon_max`: when the last request was admitted, `S + H <= L` held;
/// after it only calls then in flight can settle, each adding at most `epsilon_max`; and an account
/// over its limit admits nothing. Each dimension is held at its end.
#[must_use]
pub fn worst_case_overshoot(in_flight: u64, epsilon_max: &Amount) -> Amount {
    let calls = i64::try_from(in_flight).unwrap_or(i64::MAX);
    Amount {
        money: crate::money::NanoUsd::from_nano(epsilon_max.money.as_nano().saturating_mul(calls)),
        input_tokens: epsilon_max.input_tokens.saturating_mul(in_flight),
        output_tokens: epsilon_max.output_tokens.saturating_mul(in_flight),
        calls: epsilon_max.calls.saturating_mul(in_flight),
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
