//! Many threads on one ledger: never over a limit, and not one request fewer than fits.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first broken promise"
)]
#![expect(clippy::disallowed_methods, reason = "the test is about threads")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread::ScopedJoinHandle;

use mc_core::budget::{
    Account, AccountId, Amount, Limit, Movement, OnExceed, Path, Staying, Verdict, check, post,
};
use mc_core::money::NanoUsd;

const THREADS: u64 = 64;
const CENT: i64 = 10_000_000;

type Accounts = BTreeMap<AccountId, Account>;

fn cents(cents: i64) -> Amount {
    Amount {
        money: NanoUsd::from_nano(cents * CENT),
        ..Amount::ZERO
    }
}

fn agent(thread: u64) -> AccountId {
    AccountId::Agent(format!("agent-{}", thread % 4).parse().unwrap())
}

fn path(thread: u64) -> Path {
    [AccountId::Workspace, agent(thread)].into_iter().collect()
}

/// Four agents may each have half of what the workspace has: together twice as much.
fn accounts(limit_cents: i64) -> Accounts {
    let account = |limit| Account::new(Limit::usd(cents(limit).money), OnExceed::Abort);
    let mut accounts: Accounts = (0..4)
        .map(|n| (agent(n), account(limit_cents / 2)))
        .collect();
    accounts.insert(AccountId::Workspace, account(limit_cents));
    accounts
}

fn reserve(ledger: &Mutex<Accounts>, path: &Path, amount: &Amount) -> Verdict {
    let mut accounts = ledger.lock().unwrap();
    let verdict = check(&*accounts, path, amount, &Staying::none());
    if verdict == Verdict::Fits {
        post(&mut *accounts, path, &Movement::Reserve(*amount)).unwrap();
    }
    verdict
}

/// Looks at every account until told to stop; the number of looks.
fn watch(ledger: &Mutex<Accounts>, stop: &AtomicBool) -> u64 {
    let mut looks = 0;
    while !stop.load(Ordering::Acquire) || looks == 0 {
        let accounts = ledger.lock().unwrap();
        assert!(accounts.values().all(|account| !account.is_breached()));
        drop(accounts);
        looks += 1;
        std::thread::yield_now();
    }
    looks
}

/// Runs `work` in all threads at once, under the eyes of a monitor.
fn under_watch(ledger: &Mutex<Accounts>, work: impl Fn(u64) + Sync) {
    let (stop, start) = (AtomicBool::new(false), Barrier::new(64));
    std::thread::scope(|scope| {
        let monitor = scope.spawn(|| watch(ledger, &stop));
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (work, start) = (&work, &start);
                scope.spawn(move || {
                    start.wait();
                    work(thread);
                })
            })
            .collect();
        let results: Vec<_> = workers.into_iter().map(ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Release);
        assert!(monitor.join().unwrap() > 0 && results.iter().all(Result::is_ok));
    });
}

#[test]
fn of_64_concurrent_calls_exactly_as_many_pass_as_the_limit_divides_into() {
    for _ in 0..20 {
        let ledger = Mutex::new(accounts(100));
        let passed = AtomicU64::new(0);
        under_watch(&ledger, |thread| {
            if reserve(&ledger, &path(thread), &cents(5)) == Verdict::Fits {
                passed.fetch_add(1, Ordering::Relaxed);
            }
        });
        let accounts = ledger.into_inner().unwrap();
        assert_eq!(passed.into_inner(), 20, "1.00 USD is 20 calls of 0.05 USD");
        assert_eq!(*accounts[&AccountId::Workspace].reserved(), cents(100));
    }
}

#[test]
fn spending_ends_at_the_limit_to_the_cent_and_parents_have_the_sum_of_children() {
    let ledger = Mutex::new(accounts(4_001));
    under_watch(&ledger, |thread| {
        for round in 0_i64.. {
            let (held, actual) = (cents(1 + round % 3), cents(1));
            let path = path(thread);
            match reserve(&ledger, &path, &held) {
                Verdict::Fits => {
                    let settle = Movement::Settle { held, actual };
                    post(&mut *ledger.lock().unwrap(), &path, &settle).unwrap();
                }
                Verdict::Contended { .. } => std::thread::yield_now(),
                Verdict::Exceeded { .. } if held == actual => break,
                Verdict::Exceeded { .. } | Verdict::Frozen { .. } => {}
            }
        }
    });
    let accounts = ledger.into_inner().unwrap();
    let workspace = &accounts[&AccountId::Workspace];
    let children = (0..4).map(|n| *accounts[&agent(n)].spent());
    let sum = children.fold(Amount::ZERO, |sum, spent| sum.checked_add(&spent).unwrap());
    assert_eq!(
        (*workspace.spent(), *workspace.reserved()),
        (cents(4_001), Amount::ZERO)
    );
    assert_eq!(sum, cents(4_001));
}
