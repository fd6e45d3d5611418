//! Whole histories of steps that compete for accounts: everybody is answered, in turn, and nobody is
//! refused who could have fitted.
//!
//! A step reserves, extends, and ends billed, unbilled or in doubt; some are nested in others, whose
//! holds stay open meanwhile. A schedule drawn at random decides who moves next.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first broken promise"
)]

use std::collections::BTreeMap;

use mc_core::budget::{
    Account, AccountId, Amount, Books, Change, Holders, Kept, Limit, Movement, OnExceed, Owner,
    Path, Queue, Ticket, Verdict, Waiter, post,
};
use mc_core::id::RunId;
use mc_core::money::NanoUsd;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum End {
    Billed,
    Unbilled,
    Doubt,
}

/// What a step is going to do.
#[derive(Clone, Debug)]
struct Plan {
    mask: u8,
    /// The first request, then the extensions.
    asks: Vec<i64>,
    end: End,
    /// Nested in the step before it.
    nested: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    New,
    Waiting(Ticket),
    Running,
    InDoubt,
    Ended,
    Refused,
}

#[derive(Clone, Debug)]
struct Step {
    plan: Plan,
    parent: Option<usize>,
    status: Status,
    next_ask: usize,
    held: i64,
    /// It says that only doubt stands in its way.
    told: bool,
}

struct World {
    accounts: BTreeMap<AccountId, Account>,
    steps: Vec<Step>,
}

fn nano(money: i64) -> Amount {
    Amount {
        money: NanoUsd::from_nano(money),
        ..Amount::ZERO
    }
}

fn path(mask: u8) -> Path {
    let ids = (0..3).filter(|bit| mask & (1 << bit) != 0);
    let agent = |bit| AccountId::Agent(format!("agent-{bit}").parse().unwrap());
    ids.map(agent)
        .chain((mask & 8 != 0).then_some(AccountId::Workspace))
        .collect()
}

fn all() -> Path {
    path(0b1111)
}

fn owner(index: usize) -> Owner {
    Owner {
        run: RunId::NIL,
        step: format!("s{index}").parse().unwrap(),
    }
}

impl Books for World {
    fn account(&self, id: &AccountId) -> Option<&Account> {
        self.accounts.get(id)
    }
}

impl Holders for World {
    fn kept(&self, of: &Owner) -> Vec<Kept> {
        let mut next = Some(of.step.as_str()[1..].parse::<usize>().unwrap());
        let mut kept = Vec::new();
        while let Some(index) = next {
            let step = &self.steps[index];
            let amount = nano(step.held);
            kept.push(Kept {
                owner: owner(index),
                path: path(step.plan.mask),
                amount,
            });
            next = step.parent;
        }
        kept
    }

    fn is_blocked(&self, of: &Owner) -> bool {
        self.steps[of.step.as_str()[1..].parse::<usize>().unwrap()].told
    }
}

struct Sim {
    world: World,
    queue: Queue,
    tickets: Ticket,
    frozen: bool,
}

impl Sim {
    fn new(limits: &[i64], plans: Vec<Plan>) -> Self {
        let account =
            |limit: &i64| Account::new(Limit::usd(NanoUsd::from_nano(*limit)), OnExceed::Abort);
        let accounts = path(0b1111)
            .iter()
            .cloned()
            .zip(limits.iter().map(account))
            .collect();
        let step = |(index, plan): (usize, Plan)| Step {
            parent: index.checked_sub(1).filter(|_| plan.nested),
            plan,
            status: Status::New,
            next_ask: 0,
            held: 0,
            told: false,
        };
        let steps = plans.into_iter().enumerate().map(step).collect();
        Self {
            world: World { accounts, steps },
            queue: Queue::default(),
            tickets: 0,
            frozen: false,
        }
    }

    /// The steps that can move by themselves.
    fn movable(&self) -> Vec<usize> {
        let steps = &self.world.steps;
        let able = |index: &usize| match steps[*index].status {
            Status::New => steps[*index].parent.is_none_or(|p| match steps[p].status {
                Status::New | Status::Waiting(_) => false,
                Status::Running | Status::InDoubt | Status::Ended | Status::Refused => true,
            }),
            // A step ends after those that are nested in it.
            Status::Running => {
                steps[*index].next_ask < steps[*index].plan.asks.len()
                    || !self.has_open_child(*index)
            }
            Status::Waiting(_) | Status::InDoubt | Status::Ended | Status::Refused => false,
        };
        (0..steps.len()).filter(able).collect()
    }

    fn has_open_child(&self, index: usize) -> bool {
        self.world.steps.iter().any(|step| {
            step.parent == Some(index)
                && matches!(
                    step.status,
                    Status::New | Status::Waiting(_) | Status::Running
                )
        })
    }

    fn advance(&mut self, index: usize) {
        let step = &self.world.steps[index];
        let orphan = step
            .parent
            .is_some_and(|p| self.world.steps[p].status == Status::Refused);
        if orphan && step.status == Status::New {
            self.world.steps[index].status = Status::Refused;
        } else if step.next_ask < step.plan.asks.len() {
            self.ask(index);
        } else {
            self.end(index);
        }
    }

    fn ask(&mut self, index: usize) {
        let step = &self.world.steps[index];
        self.tickets += 1;
        let waiter = Waiter {
            ticket: self.tickets,
            path: path(step.plan.mask),
            amount: nano(step.plan.asks[step.next_ask]),
            owner: Some(owner(index)),
        };
        let touched = waiter.path.clone();
        match self.queue.judge(&self.world, &waiter) {
            Verdict::Fits => {
                self.admit(index, &waiter);
                self.wake(touched);
            }
            Verdict::Contended { .. } | Verdict::Frozen { .. } => {
                self.world.steps[index].status = Status::Waiting(waiter.ticket);
                self.queue.push(&self.world, waiter);
                self.wake(touched);
            }
            Verdict::Exceeded { .. } => self.refuse(index, &waiter),
        }
    }

    fn admit(&mut self, index: usize, waiter: &Waiter) {
        self.in_turn(index, waiter);
        self.post(&waiter.path, Movement::Reserve(waiter.amount));
        let step = &mut self.world.steps[index];
        step.held += waiter.amount.money.as_nano();
        step.next_ask += 1;
        step.status = Status::Running;
        step.told = false;
        assert!(
            !self.world.accounts.values().any(Account::is_breached),
            "over a limit"
        );
    }

    /// Nobody who came earlier, wants the same accounts and could still have them is passed, unless
    /// by one that holds something.
    fn in_turn(&self, index: usize, waiter: &Waiter) {
        let kept = self.world.kept(&owner(index));
        if kept.iter().any(|kept| !kept.amount.is_zero()) {
            return;
        }
        for earlier in self
            .queue
            .waiters()
            .filter(|one| one.ticket < waiter.ticket)
        {
            let by_person = earlier.path.iter().any(|id| {
                let account = &self.world.accounts[id];
                let stays = account.spent().saturating_add(account.in_doubt());
                account.is_frozen()
                    || !stays
                        .saturating_add(&earlier.amount)
                        .fits_in(&most(account))
            });
            assert!(
                by_person || earlier.path != waiter.path,
                "{waiter:?} passed {earlier:?}"
            );
        }
    }

    fn refuse(&mut self, index: usize, waiter: &Waiter) {
        let alone = self
            .world
            .kept(&owner(index))
            .iter()
            .all(|kept| kept.amount.is_zero());
        let hopeless = waiter.path.iter().any(|id| {
            let account = &self.world.accounts[id];
            !account
                .spent()
                .saturating_add(&waiter.amount)
                .fits_in(&most(account))
        });
        assert!(
            !alone || hopeless,
            "what only contends never ends a run: {waiter:?}"
        );
        let held = std::mem::take(&mut self.world.steps[index].held);
        self.world.steps[index].status = Status::Refused;
        self.post(&waiter.path, Movement::Release(nano(held)));
        self.wake(waiter.path.clone());
    }

    fn end(&mut self, index: usize) {
        let step = &mut self.world.steps[index];
        let (held, path) = (nano(step.held), path(step.plan.mask));
        let (movement, status) = match step.plan.end {
            End::Billed => (Movement::Settle { held, actual: held }, Status::Ended),
            End::Unbilled => (Movement::Release(held), Status::Ended),
            End::Doubt => (Movement::Doubt(held), Status::InDoubt),
        };
        step.status = status;
        if status == Status::Ended {
            step.held = 0;
        }
        self.post(&path, movement);
        // A doubt can stop a waiter from barring accounts that the doubt does not touch.
        self.wake(if status == Status::InDoubt {
            all()
        } else {
            path
        });
    }

    fn reconcile(&mut self) {
        let doubts = |(_, step): &(usize, &Step)| step.status == Status::InDoubt;
        let Some((index, _)) = self.world.steps.iter().enumerate().find(doubts) else {
            return;
        };
        let held = nano(std::mem::take(&mut self.world.steps[index].held));
        self.world.steps[index].status = Status::Ended;
        let path = path(self.world.steps[index].plan.mask);
        self.post(
            &path,
            Movement::SettleDoubt {
                held,
                actual: Amount::ZERO,
            },
        );
        self.wake(path);
    }

    fn freeze(&mut self, freeze: Movement) {
        self.frozen = freeze == Movement::Change(Change::Freeze);
        self.post(&path(1), freeze);
        self.wake(all());
    }

    fn post(&mut self, path: &Path, movement: Movement) {
        post(&mut self.world.accounts, path, &movement).unwrap();
    }

    fn wake(&mut self, mut touched: Path) {
        while let Some(wake) = self.queue.next_after(&self.world, &touched) {
            let waiter = self.queue.remove(wake.ticket).unwrap();
            let waits = |step: &Step| step.status == Status::Waiting(wake.ticket);
            let index = self.world.steps.iter().position(waits).unwrap();
            touched = touched.union(&waiter.path);
            match wake.verdict {
                Verdict::Fits => self.admit(index, &waiter),
                Verdict::Exceeded { .. } => self.refuse(index, &waiter),
                Verdict::Contended {
                    only_doubt: true, ..
                } => {
                    assert!(!self.world.steps[index].told, "it was told before");
                    self.world.steps[index].told = true;
                    self.queue.push(&self.world, waiter);
                }
                Verdict::Contended { .. } | Verdict::Frozen { .. } => unreachable!("{wake:?}"),
            }
        }
    }

    /// Everybody moves as the schedule says; then a person clears what only a person can.
    fn play(&mut self, schedule: &[u8]) {
        for (turn, choice) in schedule.iter().enumerate() {
            match choice {
                250.. => self.freeze(if self.frozen {
                    Movement::Change(Change::Unfreeze)
                } else {
                    Movement::Change(Change::Freeze)
                }),
                240.. => self.reconcile(),
                _ => {
                    let movable = self.movable();
                    if let Some(len) = movable.len().checked_sub(1) {
                        self.advance(movable[(usize::from(*choice) + turn) % (len + 1)]);
                    }
                }
            }
        }
        self.freeze(Movement::Change(Change::Unfreeze));
        for _ in 0..10 * self.world.steps.len() {
            if let Some(index) = self.movable().first() {
                self.advance(*index);
            } else {
                self.somebody_was_told();
                self.reconcile();
            }
        }
    }

    /// Where nobody moves and somebody waits, a person knows what to clear.
    fn somebody_was_told(&self) {
        let told = self.world.steps.iter().any(|step| step.told);
        assert!(told || self.queue.is_empty(), "{:#?}", self.world.steps);
    }
}

fn most(account: &Account) -> Amount {
    let all = u64::MAX;
    let money = account.limit().money.unwrap();
    Amount {
        money,
        input_tokens: all,
        output_tokens: all,
        calls: all,
    }
}

fn plan() -> impl Strategy<Value = Plan> {
    let end = prop_oneof![3 => Just(End::Billed), 2 => Just(End::Unbilled), 1 => Just(End::Doubt)];
    let mask = prop_oneof![Just(0b1001), Just(0b1010), Just(0b1011), 1_u8..16];
    let asks = prop::collection::vec(0_i64..8, 1..4);
    (mask, asks, end, prop::bool::weighted(0.3)).prop_map(|(mask, asks, end, nested)| Plan {
        mask,
        asks,
        end,
        nested,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_answered_in_turn_and_no_waiter_starves(
        limits in prop::collection::vec(4_i64..20, 4),
        plans in prop::collection::vec(plan(), 1..10),
        schedule in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut sim = Sim::new(&limits, plans);
        sim.play(&schedule);
        let stuck = |step: &&Step| !matches!(step.status, Status::Ended | Status::Refused);
        let stuck: Vec<_> = sim.world.steps.iter().filter(stuck).collect();
        prop_assert!(stuck.is_empty() && sim.queue.is_empty(), "{:#?}", stuck);
        for account in sim.world.accounts.values() {
            prop_assert!(account.reserved().is_zero() && account.in_doubt().is_zero());
        }
    }
}

#[test]
fn a_stream_of_small_requests_does_not_starve_a_large_one() {
    let plan = |amount| Plan {
        mask: 8,
        asks: vec![amount],
        end: End::Unbilled,
        nested: false,
    };
    let plans: Vec<_> = (0..100).map(|n| plan(if n == 3 { 9 } else { 2 })).collect();
    let mut sim = Sim::new(&[10; 4], plans);
    for index in 0..4 {
        sim.advance(index);
    }
    for (ended, index) in (4..100).enumerate() {
        sim.advance(index);
        if sim.world.steps[3].status == Status::Running {
            assert_eq!(ended, 3, "it goes as soon as those before it have ended");
            return;
        }
        sim.advance(ended);
    }
    unreachable!("the large request never went");
}

#[test]
fn a_waiter_that_is_barred_in_another_account_than_refused_it_is_woken_from_there() {
    let plan = |(mask, ask, end)| Plan {
        mask,
        asks: vec![ask],
        end,
        nested: false,
    };
    let plans = [
        (0b1010, 4, End::Doubt),
        (0b1100, 6, End::Billed),
        (0b0010, 5, End::Billed),
        (0b1000, 5, End::Billed),
        (0b1001, 5, End::Billed),
        (0b1010, 1, End::Billed),
    ];
    let mut sim = Sim::new(&[14, 12, 9, 11], plans.map(plan).to_vec());
    sim.play(&[]);
    let ended = |index: usize| sim.world.steps[index].status == Status::Ended;
    assert!(sim.queue.is_empty() && ended(3) && ended(5) && !ended(4));
}
