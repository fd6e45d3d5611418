//! Every interleaving counts: three threads, two accounts, under a scheduler that explores orders.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first broken promise"
)]

use std::collections::BTreeMap;

use mc_core::budget::{
    Account, AccountId, Amount, Hold, Limit, Movement, OnExceed, Path, Staying, Verdict, check,
    post,
};
use mc_core::money::NanoUsd;
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

type Accounts = BTreeMap<AccountId, Account>;

const LIMIT: i64 = 10;

fn nano(money: i64) -> Amount {
    Amount {
        money: NanoUsd::from_nano(money),
        ..Amount::ZERO
    }
}

fn agent() -> AccountId {
    AccountId::Agent("a".parse().unwrap())
}

/// The first thread works outside of the agent's account.
fn path(thread: i64) -> Path {
    let ids = [AccountId::Workspace, agent()];
    ids.into_iter()
        .take(if thread == 0 { 1 } else { 2 })
        .collect()
}

struct Ledger(Mutex<Accounts>);

impl Ledger {
    fn new() -> Arc<Self> {
        let account = |limit| Account::new(Limit::usd(NanoUsd::from_nano(limit)), OnExceed::Abort);
        let accounts = [
            (AccountId::Workspace, account(LIMIT)),
            (agent(), account(LIMIT - 3)),
        ];
        Arc::new(Self(Mutex::new(accounts.into_iter().collect())))
    }

    fn post(&self, path: &Path, movement: &Movement) {
        let mut accounts = self.0.lock().unwrap();
        post(&mut *accounts, path, movement).unwrap();
        assert!(accounts.values().all(|account| !account.is_breached()));
    }

    /// Check and movement are one decision; without the lock around both, the asserts fail.
    fn reserve(&self, path: &Path, amount: Amount) -> bool {
        let mut accounts = self.0.lock().unwrap();
        let fits = check(&*accounts, path, &amount, &Staying::none()) == Verdict::Fits;
        if fits {
            post(&mut *accounts, path, &Movement::Reserve(amount)).unwrap();
        }
        assert!(accounts.values().all(|account| !account.is_breached()));
        fits
    }

    /// Reserve, draw, extend, settle or release, close: the life of one hold. What it spent.
    fn live(&self, thread: i64) -> i64 {
        let path = path(thread);
        if !self.reserve(&path, nano(4)) {
            return 0;
        }
        let mut hold = Hold::open(path.clone(), nano(4)).unwrap();
        hold.draw(0, nano(3)).unwrap();
        thread::yield_now();
        let mut spent = 0;
        if self.reserve(&path, nano(2)) {
            hold.extend(nano(2)).unwrap();
            hold.draw(1, nano(3)).unwrap();
            let settlement = hold.settle(1, nano(2 + thread % 2)).unwrap();
            self.post(&path, &settlement.movement());
            spent += 2 + thread % 2;
        }
        if thread == 1 {
            hold.release(0).unwrap();
        } else {
            self.post(&path, &hold.settle(0, nano(1)).unwrap().movement());
            spent += 1;
        }
        self.post(&path, &Movement::Release(hold.close().unwrap()));
        spent
    }
}

fn three_threads() {
    let ledger = Ledger::new();
    let spawn = |thread| {
        let ledger = Arc::clone(&ledger);
        thread::spawn(move || ledger.live(thread))
    };
    let threads: Vec<_> = (0..3).map(spawn).collect();
    let spent: Vec<i64> = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    let accounts = ledger.0.lock().unwrap();
    let (workspace, agent) = (&accounts[&AccountId::Workspace], &accounts[&agent()]);
    assert_eq!(*workspace.spent(), nano(spent.iter().sum()));
    assert_eq!(*agent.spent(), nano(spent[1] + spent[2]));
    assert!(
        accounts
            .values()
            .all(|account| account.reserved().is_zero())
    );
}

#[test]
fn no_random_schedule_passes_a_limit_or_loses_an_amount() {
    shuttle::check_random(three_threads, 2_000);
}

#[test]
fn no_schedule_of_few_preemptions_passes_a_limit_or_loses_an_amount() {
    shuttle::check_pct(three_threads, 1_000, 3);
}
