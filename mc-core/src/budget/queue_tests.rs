//! The queue's rules, one named case each. Whole histories are in `tests/ledger_turns.rs`.

use super::*;
use crate::budget::{Account, Amount, Change, Kept, Limit, Movement, OnExceed, Owner, post};
use crate::id::RunId;
use crate::money::NanoUsd;

/// Accounts, and the holds of steps named by a letter.
#[derive(Default)]
struct World {
    accounts: BTreeMap<AccountId, Account>,
    holds: BTreeMap<String, (Path, Amount)>,
    /// Steps that do not say yet what holds them up.
    untold: Vec<String>,
}

impl Books for World {
    fn account(&self, id: &AccountId) -> Option<&Account> {
        self.accounts.get(id)
    }
}

impl Holders for World {
    fn kept(&self, owner: &Owner) -> Vec<Kept> {
        let hold = self.holds.get(owner.step.as_str());
        let kept = |(path, amount): &(Path, Amount)| Kept {
            owner: owner.clone(),
            path: path.clone(),
            amount: *amount,
        };
        hold.map(kept).into_iter().collect()
    }

    fn is_blocked(&self, owner: &Owner) -> bool {
        let name = owner.step.as_str();
        !self.untold.iter().any(|step| step == name)
    }
}

fn nano(money: i64) -> Amount {
    Amount {
        money: NanoUsd::from_nano(money),
        ..Amount::ZERO
    }
}

fn path(names: &str) -> Path {
    names
        .split(' ')
        .map(|name| AccountId::Agent(name.parse().unwrap()))
        .collect()
}

fn waiter(ticket: Ticket, names: &str, amount: i64) -> Waiter {
    Waiter {
        ticket,
        path: path(names),
        amount: nano(amount),
        owner: None,
    }
}

fn held_by(step: &str, waiter: Waiter) -> Waiter {
    let owner = Owner {
        run: RunId::NIL,
        step: step.parse().unwrap(),
    };
    Waiter {
        owner: Some(owner),
        ..waiter
    }
}

impl World {
    /// Every account named has this limit.
    fn limited(names: &str, limit: i64) -> Self {
        let account = Account::new(Limit::usd(NanoUsd::from_nano(limit)), OnExceed::Abort);
        let accounts = path(names)
            .iter()
            .map(|id| (id.clone(), account.clone()))
            .collect();
        Self {
            accounts,
            ..Self::default()
        }
    }

    fn after(mut self, names: &str, movement: Movement) -> Self {
        post(&mut self.accounts, &path(names), &movement).unwrap();
        self
    }

    fn held(self, step: &str, names: &str, amount: i64) -> Self {
        let mut world = self.after(names, Movement::Reserve(nano(amount)));
        world
            .holds
            .insert(step.to_owned(), (path(names), nano(amount)));
        world
    }

    /// The step's hold is billed in full and ends.
    fn billed(mut self, step: &str) -> Self {
        let (path, amount) = self.holds.remove(step).unwrap();
        let settle = Movement::Settle {
            held: amount,
            actual: amount,
        };
        post(&mut self.accounts, &path, &settle).unwrap();
        self
    }
}

fn queue(world: &World, waiters: impl IntoIterator<Item = Waiter>) -> Queue {
    let mut queue = Queue::default();
    for waiter in waiters {
        queue.push(world, waiter);
    }
    queue
}

fn woken(queue: &mut Queue, world: &World) -> Option<(Ticket, bool)> {
    queue
        .next(world)
        .map(|wake| (wake.ticket, wake.verdict == Verdict::Fits))
}

#[test]
fn a_small_request_waits_behind_a_large_one_on_the_same_account() {
    let world = World::limited("x y", 10).held("a", "x", 6);
    let mut queue = queue(&world, [waiter(1, "x", 5)]);
    assert!(queue.must_wait(&world, &path("x y")) && !queue.must_wait(&world, &path("y")));
    let verdict = queue.judge(&world, &waiter(2, "x", 1));
    assert_eq!(
        verdict,
        Verdict::Contended {
            failing: Vec::new(),
            only_doubt: false
        }
    );
    queue.push(&world, waiter(2, "x", 1));
    assert_eq!(woken(&mut queue, &world), None);
    let world = world.after("x", Movement::Release(nano(6)));
    assert_eq!(woken(&mut queue, &world), Some((1, true)));
}

#[test]
fn a_waiter_bars_only_the_accounts_that_refused_it() {
    let world = World::limited("x y", 10).held("a", "x", 6);
    let mut queue = queue(&world, [waiter(1, "x y", 5)]);
    assert!(!queue.must_wait(&world, &path("y")));
    assert_eq!(queue.judge(&world, &waiter(2, "y", 9)), Verdict::Fits);
    let world = world
        .held("b", "y", 9)
        .after("x", Movement::Release(nano(6)));
    assert_eq!(queue.next_after(&world, &path("x")), None, "now y is full");
    assert!(queue.must_wait(&world, &path("y")) && queue.must_wait(&world, &path("x")));
    let world = world.billed("b");
    assert!(
        queue
            .next_after(&world, &path("y"))
            .unwrap()
            .verdict
            .is_exceeded()
    );
}

#[test]
fn only_the_touched_accounts_are_asked() {
    let world = World::limited("x y", 10)
        .held("a", "x", 9)
        .held("b", "y", 9);
    let mut queue = queue(&world, [waiter(1, "x", 5), waiter(2, "y", 5)]);
    let world = world.after("x y", Movement::Release(nano(9)));
    assert_eq!(queue.next_after(&world, &path("y")).unwrap().ticket, 2);
    assert_eq!(queue.next_after(&world, &path("x")).unwrap().ticket, 1);
}

#[test]
fn removing_a_waiter_lets_those_behind_it_go() {
    let world = World::limited("x", 10).held("a", "x", 6);
    let mut queue = queue(&world, [waiter(1, "x", 5), waiter(2, "x", 4)]);
    assert_eq!(queue.remove(1).map(|one| one.ticket), Some(1));
    assert_eq!(woken(&mut queue, &world), Some((2, true)));
    queue.remove(2);
    assert!(queue.is_empty() && queue.by_account.is_empty() && queue.remove(2).is_none());
}

#[test]
fn a_waiter_that_can_no_longer_fit_is_refused() {
    let world = World::limited("x", 10).held("a", "x", 6);
    let mut queue = queue(&world, [waiter(1, "x", 5), waiter(2, "x", 4)]);
    let world = world.billed("a");
    assert_eq!(woken(&mut queue, &world), Some((1, false)));
    queue.remove(1);
    assert_eq!(woken(&mut queue, &world), Some((2, true)));
}

#[test]
fn a_frozen_or_doubtful_waiter_keeps_its_ticket_and_bars_nobody() {
    let doubt = Movement::Doubt(nano(9));
    let world = World::limited("x y", 10).held("a", "x", 9);
    let first = held_by("b", waiter(1, "x y", 5));
    let mut queue = queue(&world, [first, waiter(2, "x", 1)]);
    assert_eq!(woken(&mut queue, &world), None);
    let world = world.after("y", Movement::Change(Change::Freeze));
    assert_eq!(
        woken(&mut queue, &world),
        Some((2, true)),
        "1 waits for the operator"
    );
    let world = world
        .after("y", Movement::Change(Change::Unfreeze))
        .after("x", doubt);
    assert_eq!(
        woken(&mut queue, &world),
        Some((2, true)),
        "1 waits for reconcile"
    );
    let reconciled = Movement::SettleDoubt {
        held: nano(9),
        actual: Amount::ZERO,
    };
    let world = world.after("x", reconciled);
    assert_eq!(woken(&mut queue, &world), Some((1, true)));
}

#[test]
fn who_waits_for_doubt_alone_is_told_once() {
    let world = World::limited("x", 10).held("a", "x", 9);
    let call = held_by("b", waiter(1, "x", 5));
    let mut queue = queue(&world, [call, waiter(2, "x", 5)]);
    let mut world = world.after("x", Movement::Doubt(nano(9)));
    let doubt = |wake: Option<Wake>| {
        let wake = wake?;
        let only = matches!(
            wake.verdict,
            Verdict::Contended {
                only_doubt: true,
                ..
            }
        );
        Some((wake.ticket, only))
    };
    let step = doubt(queue.next(&world));
    assert_eq!(step, Some((2, true)), "a step leaves the queue");
    queue.remove(2);
    assert_eq!(doubt(queue.next(&world)), None, "its step says so already");
    world.untold.push("b".to_owned());
    assert_eq!(doubt(queue.next(&world)), Some((1, true)));
}

#[test]
fn a_holder_passes_those_that_wait_for_its_hold() {
    let world = World::limited("x", 10).held("a", "x", 6);
    let mut queue = queue(&world, [waiter(1, "x", 5)]);
    let extend = held_by("a", waiter(2, "x", 1));
    assert!(matches!(
        queue.judge(&world, &extend),
        Verdict::Contended { .. }
    ));
    queue.push(&world, extend);
    assert_eq!(woken(&mut queue, &world), Some((2, true)));
}

#[test]
fn a_holder_does_not_pass_those_that_wait_for_others() {
    let world = World::limited("x", 10).held("a", "x", 3).held("b", "x", 4);
    let waiters = [waiter(1, "x", 5), held_by("a", waiter(2, "x", 1))];
    let mut queue = queue(&world, waiters);
    assert_eq!(woken(&mut queue, &world), None, "1 can go once b ends");
}

#[test]
fn two_holders_that_wait_for_each_other_are_a_circle() {
    let world = World::limited("x", 10).held("a", "x", 4).held("b", "x", 4);
    let first = held_by("a", waiter(1, "x", 3));
    let mut queue = Queue::default();
    assert!(matches!(
        queue.judge(&world, &first),
        Verdict::Contended { .. }
    ));
    queue.push(&world, first);
    let second = held_by("b", waiter(2, "x", 3));
    assert!(queue.circle(&world, &second));
    assert!(queue.judge(&world, &second).is_exceeded());
    assert!(!queue.circle(&world, &held_by("b", waiter(2, "x", 2))));
}

#[test]
fn a_circle_that_spending_closes_later_refuses_the_last_that_came() {
    let world = World::limited("x", 10)
        .held("a", "x", 3)
        .held("b", "x", 3)
        .held("c", "x", 4);
    let waiters = [
        held_by("a", waiter(1, "x", 2)),
        held_by("b", waiter(2, "x", 2)),
    ];
    let mut queue = queue(&world, waiters);
    assert_eq!(woken(&mut queue, &world), None, "c may yet end unbilled");
    let world = world.billed("c");
    assert_eq!(woken(&mut queue, &world), Some((2, false)));
    queue.remove(2);
    let world = world.after("x", Movement::Release(nano(3)));
    assert_eq!(woken(&mut queue, &world), Some((1, true)));
}

#[test]
fn an_extension_never_waits_on_its_own_hold() {
    let world = World::limited("x", 10).held("a", "x", 6);
    assert!(
        Queue::default()
            .judge(&world, &held_by("a", waiter(1, "x", 5)))
            .is_exceeded()
    );
}

#[test]
fn a_holder_passes_one_that_its_hold_and_a_doubt_keep_waiting() {
    let doubt = Movement::Doubt(nano(4));
    let world = World::limited("x", 10)
        .held("lost", "x", 4)
        .after("x", doubt)
        .held("a", "x", 3);
    let waiters = [waiter(1, "x", 5), held_by("a", waiter(2, "x", 1))];
    let mut queue = queue(&world, waiters);
    assert_eq!(woken(&mut queue, &world), Some((2, true)));
}

#[test]
fn a_bystander_is_not_refused_for_a_circle_of_others() {
    let world = World::limited("x y", 10)
        .held("a", "x", 3)
        .held("b", "x", 3)
        .held("c", "x", 4);
    let world = world.billed("c").held("d", "y", 1);
    let waiters = [
        held_by("a", waiter(1, "x", 2)),
        held_by("b", waiter(2, "x", 2)),
    ];
    let queue = queue(&world, waiters);
    let verdict = queue.judge(&world, &held_by("d", waiter(3, "x", 1)));
    assert!(matches!(verdict, Verdict::Contended { .. }), "{verdict:?}");
}
