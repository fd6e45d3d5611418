//! The banker's answer against a search of every order, on small cases.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::budget::{Account, Amount, Books, Limit, Movement, OnExceed, post};
use crate::id::RunId;
use crate::money::NanoUsd;

const ACCOUNTS: [&str; 3] = ["x", "y", "z"];

/// One waiter of a small case: what it asks where, and what it holds where.
#[derive(Clone, Debug)]
struct Party {
    asks: (u8, i64),
    holds: (u8, i64),
}

#[derive(Debug)]
struct Case {
    accounts: BTreeMap<AccountId, Account>,
    parties: Vec<Party>,
}

fn path(mask: u8) -> Path {
    let chosen = ACCOUNTS
        .iter()
        .zip(0..)
        .filter(|(_, bit)| mask & (1 << bit) != 0);
    chosen
        .map(|(name, _)| AccountId::Agent(name.parse().unwrap()))
        .collect()
}

fn nano(money: i64) -> Amount {
    Amount {
        money: NanoUsd::from_nano(money),
        ..Amount::ZERO
    }
}

impl Case {
    fn new(limits: [i64; 3], parties: Vec<Party>) -> Self {
        let account = |limit| Account::new(Limit::usd(NanoUsd::from_nano(limit)), OnExceed::Abort);
        let mut accounts: BTreeMap<_, _> = path(0b111)
            .iter()
            .cloned()
            .zip(limits.map(account))
            .collect();
        for party in &parties {
            let reserve = Movement::Reserve(nano(party.holds.1));
            post(&mut accounts, &path(party.holds.0), &reserve).unwrap();
        }
        Self { accounts, parties }
    }

    fn waiters(&self) -> Vec<Waiter> {
        let waiter = |(party, ticket): (&Party, Ticket)| Waiter {
            ticket,
            path: path(party.asks.0),
            amount: nano(party.asks.1),
            owner: Some(owner(ticket)),
        };
        self.parties.iter().zip(0..).map(waiter).collect()
    }

    /// Whether some order of finishing reaches `goal`: depth first over all orders.
    fn reachable(&self, done: &BTreeSet<usize>, goal: usize) -> bool {
        let room = |account: usize| {
            let limit = self
                .accounts
                .values()
                .nth(account)
                .unwrap()
                .limit()
                .money
                .unwrap();
            let open = self
                .parties
                .iter()
                .enumerate()
                .filter(|(index, _)| !done.contains(index));
            let held = open.filter(|(_, party)| party.holds.0 & (1 << account) != 0);
            held.fold(limit.as_nano(), |room, (_, party)| {
                room.saturating_sub(party.holds.1)
            })
        };
        let fits =
            |party: &Party| (0..3).all(|a| party.asks.0 & (1 << a) == 0 || party.asks.1 <= room(a));
        (0..self.parties.len())
            .filter(|index| !done.contains(index))
            .any(|index| {
                let next = || done.iter().copied().chain([index]).collect();
                fits(&self.parties[index]) && (index == goal || self.reachable(&next(), goal))
            })
    }
}

fn owner(ticket: Ticket) -> Owner {
    Owner {
        run: RunId::NIL,
        step: format!("s{ticket}").parse().unwrap(),
    }
}

impl Books for Case {
    fn account(&self, id: &AccountId) -> Option<&Account> {
        self.accounts.get(id)
    }
}

impl Holders for Case {
    fn kept(&self, owner: &Owner) -> Vec<Kept> {
        let index: usize = owner.step.as_str()[1..].parse().unwrap();
        let (mask, amount) = self.parties[index].holds;
        vec![Kept {
            owner: owner.clone(),
            path: path(mask),
            amount: nano(amount),
        }]
    }

    fn is_blocked(&self, _: &Owner) -> bool {
        true
    }
}

fn party() -> impl Strategy<Value = Party> {
    ((1_u8..8, 0_i64..7), (0_u8..8, 0_i64..4)).prop_map(|(asks, holds)| Party { asks, holds })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_banker_agrees_with_a_search_of_every_order(
        limits in prop::array::uniform3(3_i64..10),
        parties in prop::collection::vec(party(), 1..5),
    ) {
        let case = Case::new(limits, parties);
        let (waiters, none) = (case.waiters(), Path::default());
        let applicants: Vec<_> =
            waiters.iter().map(|one| Applicant::new(&case, one, &none)).collect();
        let done = finishable(&case, &applicants, Order::Any);
        for (goal, waiter) in waiters.iter().enumerate() {
            let found = case.reachable(&BTreeSet::new(), goal);
            prop_assert_eq!(done.contains(&waiter.ticket), found, "goal {} of {:?}", goal, &case);
        }
    }

    #[test]
    fn refusing_the_last_in_a_circle_always_ends_with_nobody_stuck(
        limits in prop::array::uniform3(3_i64..10),
        parties in prop::collection::vec(party(), 1..5),
    ) {
        let case = Case::new(limits, parties);
        let (mut waiters, none) = (case.waiters(), Path::default());
        for _ in 0..=waiters.len() {
            let all = || waiters.iter().map(|one| Applicant::new(&case, one, &none)).collect();
            match last_in_circle(&case, all()) {
                Some(ticket) => waiters.retain(|one| one.ticket != ticket),
                None => break,
            }
        }
        let all: Vec<_> = waiters.iter().map(|one| Applicant::new(&case, one, &none)).collect();
        let done = finishable(&case, &all, Order::Any);
        prop_assert!(all.iter().all(|one| done.contains(&one.ticket()) || !one.holds_something()));
    }
}

#[test]
fn a_hold_that_two_waiters_keep_open_is_counted_once() {
    let kept = Kept {
        owner: owner(0),
        path: path(1),
        amount: nano(3),
    };
    let lists = [vec![kept.clone()], vec![kept.clone(), kept]];
    let id = path(1).iter().next().cloned().unwrap();
    assert_eq!(staying(lists.iter()).on(&id), nano(3));
    assert_eq!(
        staying([&lists[1]].into_iter()).on(&id),
        nano(6),
        "two holds of one step"
    );
}
