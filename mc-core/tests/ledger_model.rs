//! Random histories of accounts and holds against a naive ledger that keeps every hold for ever and
//! sums all of them anew after each operation.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first broken promise"
)]

use std::collections::BTreeMap;

use mc_core::budget::{
    Account, AccountId, Amount, Change, Hold, HoldState, LedgerFault, Limit, Movement, OnExceed,
    Path, Settlement, Staying, Verdict, check, post,
};
use mc_core::money::NanoUsd;
use proptest::prelude::*;

/// An amount without types: money, input tokens, output tokens, calls.
type Row = [i128; 4];

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn plus(a: Row, b: Row) -> Row {
    std::array::from_fn(|d| a[d] + b[d])
}

fn minus(a: Row, b: Row) -> Row {
    std::array::from_fn(|d| a[d] - b[d])
}

fn least(a: Row, b: Row) -> Row {
    std::array::from_fn(|d| a[d].min(b[d]))
}

fn row(amount: &Amount) -> Row {
    let tokens = [amount.input_tokens, amount.output_tokens, amount.calls].map(i128::from);
    [
        i128::from(amount.money.as_nano()),
        tokens[0],
        tokens[1],
        tokens[2],
    ]
}

fn amount(row: Row) -> Amount {
    let tokens = |d: usize| u64::try_from(row[d]).unwrap();
    Amount {
        money: NanoUsd::from_nano(i64::try_from(row[0]).unwrap()),
        input_tokens: tokens(1),
        output_tokens: tokens(2),
        calls: tokens(3),
    }
}

fn account_id(index: usize) -> AccountId {
    AccountId::Agent(NAMES[index].parse().unwrap())
}

fn path(mask: u8) -> Path {
    // Each account is named twice: a path must count it once.
    let named = (0..8).filter(|index| mask & (1 << (index % 4)) != 0);
    named.map(|index| account_id(index % 4)).collect()
}

/// What the naive ledger knows of one hold.
#[derive(Clone, Debug, Default)]
struct Book {
    mask: u8,
    reserved: Row,
    in_doubt: Row,
    spent: Row,
    /// All that was ever reserved, released, and settled out of what was held.
    taken: Row,
    given_back: Row,
    used: Row,
    draws: BTreeMap<u32, Row>,
    ends: u32,
}

#[derive(Clone, Debug)]
enum Op {
    Open {
        mask: u8,
        amount: Row,
    },
    Extend {
        hold: usize,
        amount: Row,
    },
    Draw {
        hold: usize,
        ordinal: u32,
        amount: Row,
    },
    Settle {
        hold: usize,
        ordinal: u32,
        actual: Row,
    },
    ReleaseDraw {
        hold: usize,
        ordinal: u32,
    },
    Close {
        hold: usize,
    },
    DoubtSplit {
        hold: usize,
    },
    DoubtWhole {
        hold: usize,
    },
    Late {
        hold: usize,
        ordinal: u32,
        actual: Row,
    },
    Reconcile {
        hold: usize,
        actual: Row,
    },
    SetLimit {
        account: usize,
        limit: Option<i64>,
    },
    Freeze {
        account: usize,
    },
    Unfreeze {
        account: usize,
    },
}

fn rows(most: i128) -> impl Strategy<Value = Row> {
    (0..most, 0..most, 0..most, 0..3_i128).prop_map(|(a, b, c, d)| [a, b, c, d])
}

fn op() -> impl Strategy<Value = Op> {
    let at = || (0_usize..12, 0_u32..3);
    prop_oneof![
        4 => (0_u8..16, rows(40)).prop_map(|(mask, amount)| Op::Open { mask, amount }),
        2 => (0_usize..12, rows(20)).prop_map(|(hold, amount)| Op::Extend { hold, amount }),
        5 => (at(), rows(20))
            .prop_map(|((hold, ordinal), amount)| Op::Draw { hold, ordinal, amount }),
        4 => (at(), rows(30))
            .prop_map(|((hold, ordinal), actual)| Op::Settle { hold, ordinal, actual }),
        1 => at().prop_map(|(hold, ordinal)| Op::ReleaseDraw { hold, ordinal }),
        2 => (0_usize..12).prop_map(|hold| Op::Close { hold }),
        1 => (0_usize..12).prop_map(|hold| Op::DoubtSplit { hold }),
        1 => (0_usize..12).prop_map(|hold| Op::DoubtWhole { hold }),
        2 => (at(), rows(30))
            .prop_map(|((hold, ordinal), actual)| Op::Late { hold, ordinal, actual }),
        1 => (0_usize..12, rows(40)).prop_map(|(hold, actual)| Op::Reconcile { hold, actual }),
        1 => (0_usize..4, prop::option::of(0_i64..200))
            .prop_map(|(account, limit)| Op::SetLimit { account, limit }),
        1 => (0_usize..4).prop_map(|account| Op::Freeze { account }),
        2 => (0_usize..4).prop_map(|account| Op::Unfreeze { account }),
    ]
}

/// The real ledger beside the naive one.
struct Twin {
    accounts: BTreeMap<AccountId, Account>,
    holds: Vec<Hold>,
    books: Vec<Book>,
    limits: [[Option<i128>; 4]; 4],
    frozen: [bool; 4],
    /// The limit at the last admission, plus every overrun since: the bound of the overshoot.
    bounds: [Row; 4],
}

impl Twin {
    fn new() -> Self {
        let limits = [60, 100, 150].map(|usd| [Some(usd), Some(200), None, Some(9)]);
        let limits = [limits[0], limits[1], limits[2], [None; 4]];
        let account = |limit| Account::new(limit, OnExceed::Abort);
        Self {
            accounts: (0..3)
                .map(|n| (account_id(n), account(typed(limits[n]))))
                .collect(),
            holds: Vec::new(),
            books: Vec::new(),
            limits,
            frozen: [false; 4],
            bounds: limits.map(|limit| limit.map(|one| one.unwrap_or(i128::MAX / 2))),
        }
    }

    /// Spent, reserved and in doubt of an account: the sum over all holds there ever were.
    fn columns(&self, account: usize) -> [Row; 3] {
        let mine = self
            .books
            .iter()
            .filter(|book| book.mask & (1 << account) != 0);
        mine.fold([[0; 4]; 3], |sum, book| {
            [
                plus(sum[0], book.spent),
                plus(sum[1], book.reserved),
                plus(sum[2], book.in_doubt),
            ]
        })
    }

    /// The verdict by the words of the rule: fits, waits for holds, for doubts, frozen, exceeded.
    fn expected(&self, mask: u8, amount: Row) -> &'static str {
        let over = |take: fn([Row; 3]) -> Row| {
            (0..4)
                .filter(|account| mask & (1 << account) != 0)
                .any(|account| {
                    let used = plus(take(self.columns(account)), amount);
                    (0..4).any(|d| self.limits[account][d].is_some_and(|limit| used[d] > limit))
                })
        };
        if over(|[spent, _, _]| spent) {
            "exceeded"
        } else if (0..4).any(|account| mask & (1 << account) != 0 && self.frozen[account]) {
            "frozen"
        } else if over(|[spent, _, doubt]| plus(spent, doubt)) {
            "doubt"
        } else if over(|[spent, reserved, doubt]| plus(plus(spent, doubt), reserved)) {
            "contended"
        } else {
            "fits"
        }
    }

    /// Reserves if the rule says so; both ledgers must agree.
    fn reserve(&mut self, mask: u8, asked: Row) -> bool {
        let verdict = check(
            &self.accounts,
            &path(mask),
            &amount(asked),
            &Staying::none(),
        );
        let word = match verdict {
            Verdict::Fits => "fits",
            Verdict::Contended {
                only_doubt: false, ..
            } => "contended",
            Verdict::Contended {
                only_doubt: true, ..
            } => "doubt",
            Verdict::Frozen { .. } => "frozen",
            Verdict::Exceeded { .. } => "exceeded",
        };
        assert_eq!(word, self.expected(mask, asked));
        if word == "fits" {
            self.post(mask, &Movement::Reserve(amount(asked)));
            for account in (0..4).filter(|account| mask & (1 << account) != 0) {
                let of = |d: usize| self.limits[account][d].unwrap_or(i128::MAX / 2);
                self.bounds[account] = std::array::from_fn(of);
            }
        }
        word == "fits"
    }

    fn post(&mut self, mask: u8, movement: &Movement) {
        post(&mut self.accounts, &path(mask), movement).unwrap();
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Open {
                mask,
                amount: asked,
            } => self.open(*mask, *asked),
            Op::SetLimit { account, limit } => self.set_limit(*account, *limit),
            Op::Freeze { account } => self.freeze(*account, Movement::Change(Change::Freeze)),
            Op::Unfreeze { account } => self.freeze(*account, Movement::Change(Change::Unfreeze)),
            Op::Extend { hold, .. }
            | Op::Draw { hold, .. }
            | Op::Settle { hold, .. }
            | Op::ReleaseDraw { hold, .. }
            | Op::Close { hold }
            | Op::DoubtSplit { hold }
            | Op::DoubtWhole { hold }
            | Op::Late { hold, .. }
            | Op::Reconcile { hold, .. } => {
                if !self.holds.is_empty() {
                    self.change(*hold % self.holds.len(), op);
                }
            }
        }
    }

    fn open(&mut self, mask: u8, asked: Row) {
        if self.reserve(mask, asked) {
            self.holds
                .push(Hold::open(path(mask), amount(asked)).unwrap());
            self.books.push(Book {
                mask,
                reserved: asked,
                taken: asked,
                ..Book::default()
            });
        }
    }

    fn set_limit(&mut self, account: usize, limit: Option<i64>) {
        self.limits[account][0] = limit.map(i128::from);
        let limit = typed(self.limits[account]);
        self.post(
            1 << account,
            &Movement::Change(Change::SetLimit {
                limit,
                on_exceed: OnExceed::Abort,
            }),
        );
    }

    fn freeze(&mut self, account: usize, movement: Movement) {
        self.frozen[account] = movement == Movement::Change(Change::Freeze);
        self.post(1 << account, &movement);
    }

    fn change(&mut self, index: usize, op: &Op) {
        let before = self.holds[index].clone();
        let changed = self.try_change(index, op);
        if changed.is_err() {
            assert_eq!(self.holds[index], before, "a fault changes nothing: {op:?}");
        }
        let ended = self.books[index].ends > 0;
        assert_eq!(self.holds[index].state().is_terminal(), ended, "{op:?}");
    }

    fn try_change(&mut self, index: usize, op: &Op) -> Result<(), LedgerFault> {
        let open = self.holds[index].state() == HoldState::Open;
        match op {
            Op::Extend { amount, .. } if open => self.extend(index, *amount),
            Op::Draw {
                ordinal,
                amount: asked,
                ..
            } => {
                self.holds[index].draw(*ordinal, amount(*asked))?;
                self.books[index].draws.insert(*ordinal, *asked);
                let drawn = self.books[index]
                    .draws
                    .values()
                    .fold([0; 4], |sum, one| plus(sum, *one));
                assert_eq!(
                    least(drawn, self.books[index].reserved),
                    drawn,
                    "draws lie inside"
                );
            }
            Op::Settle {
                ordinal, actual, ..
            } => {
                let settlement = self.holds[index].settle(*ordinal, amount(*actual))?;
                self.settle(index, *ordinal, *actual, &settlement);
            }
            Op::ReleaseDraw { ordinal, .. } => {
                let free = self.holds[index].release(*ordinal)?;
                assert_eq!(self.books[index].draws.remove(ordinal), Some(row(&free)));
            }
            Op::Close { .. } => {
                let free = self.holds[index].close()?;
                self.give_back(index, row(&free));
                self.books[index].ends += 1;
            }
            Op::DoubtSplit { .. } => {
                let parts = self.holds[index].doubt_split()?;
                self.give_back(index, row(&parts.to_release));
                self.doubt(index, row(&parts.to_doubt));
            }
            Op::DoubtWhole { .. } => {
                let parts = self.holds[index].doubt_whole()?;
                self.doubt(index, row(&parts.to_doubt));
            }
            Op::Late {
                ordinal, actual, ..
            } => {
                let settlement = self.holds[index].late(*ordinal, amount(*actual))?;
                assert_eq!(
                    self.books[index].draws.remove(ordinal),
                    Some(row(&settlement.held))
                );
                self.settle_doubt(index, &settlement);
            }
            Op::Reconcile { actual, .. } => {
                let settlement = self.holds[index].reconcile(amount(*actual))?;
                assert_eq!(self.books[index].in_doubt, row(&settlement.held));
                self.settle_doubt(index, &settlement);
            }
            Op::Extend { .. }
            | Op::Open { .. }
            | Op::SetLimit { .. }
            | Op::Freeze { .. }
            | Op::Unfreeze { .. } => {}
        }
        Ok(())
    }

    fn extend(&mut self, index: usize, more: Row) {
        if self.reserve(self.books[index].mask, more) {
            self.holds[index].extend(amount(more)).unwrap();
            let book = &mut self.books[index];
            book.reserved = plus(book.reserved, more);
            book.taken = plus(book.taken, more);
        }
    }

    fn settle(&mut self, index: usize, ordinal: u32, actual: Row, settlement: &Settlement) {
        let book = &mut self.books[index];
        let draw = book.draws.remove(&ordinal).unwrap();
        let others = book.draws.values().fold([0; 4], |sum, one| plus(sum, *one));
        let held = least(actual, minus(book.reserved, others));
        assert_eq!(row(&settlement.held), held);
        assert_eq!(row(&settlement.overrun), minus(actual, least(actual, draw)));
        book.reserved = minus(book.reserved, held);
        book.used = plus(book.used, held);
        book.spent = plus(book.spent, actual);
        self.overrun(index, settlement);
        self.post(self.books[index].mask, &settlement.movement());
    }

    fn settle_doubt(&mut self, index: usize, settlement: &Settlement) {
        let book = &mut self.books[index];
        book.in_doubt = minus(book.in_doubt, row(&settlement.held));
        book.used = plus(book.used, row(&settlement.held));
        book.spent = plus(book.spent, row(&settlement.actual));
        book.ends += u32::from(self.holds[index].state() != HoldState::InDoubt);
        self.overrun(index, settlement);
        self.post(self.books[index].mask, &settlement.doubt_movement());
    }

    fn overrun(&mut self, index: usize, settlement: &Settlement) {
        for account in (0..4).filter(|account| self.books[index].mask & (1 << account) != 0) {
            self.bounds[account] = plus(self.bounds[account], row(&settlement.beyond_hold));
        }
    }

    fn give_back(&mut self, index: usize, free: Row) {
        let book = &mut self.books[index];
        book.reserved = minus(book.reserved, free);
        book.given_back = plus(book.given_back, free);
        self.post(self.books[index].mask, &Movement::Release(amount(free)));
    }

    fn doubt(&mut self, index: usize, part: Row) {
        let book = &mut self.books[index];
        book.reserved = minus(book.reserved, part);
        book.in_doubt = plus(book.in_doubt, part);
        // Without an open call a lost attempt's hold just ends.
        book.ends += u32::from(self.holds[index].state() != HoldState::InDoubt);
        self.post(self.books[index].mask, &Movement::Doubt(amount(part)));
    }

    /// What must hold after every operation.
    fn inspect(&self) {
        for account in 0..4 {
            let columns = self.columns(account);
            let real = self
                .accounts
                .get(&account_id(account))
                .cloned()
                .unwrap_or_default();
            let real = [real.spent(), real.reserved(), real.in_doubt()].map(row);
            assert_eq!(real, columns, "account {account}");
            let exposure = plus(plus(columns[0], columns[1]), columns[2]);
            let bound = self.bounds[account];
            assert_eq!(
                least(exposure, bound),
                exposure,
                "over the bound in {account}"
            );
        }
        for book in &self.books {
            assert!(book.ends <= 1, "a hold ends once");
            let still = plus(book.reserved, book.in_doubt);
            assert_eq!(book.taken, plus(plus(book.given_back, book.used), still));
        }
    }
}

fn typed(limit: [Option<i128>; 4]) -> Limit {
    let tokens = |d: usize| limit[d].map(|one| u64::try_from(one).unwrap());
    Limit {
        money: limit[0].map(|one| NanoUsd::from_nano(i64::try_from(one).unwrap())),
        input_tokens: tokens(1),
        output_tokens: tokens(2),
        calls: tokens(3),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_agrees_with_the_sum_of_all_holds(ops in prop::collection::vec(op(), 1..120)) {
        let mut twin = Twin::new();
        for op in &ops {
            twin.run(op);
            twin.inspect();
        }
    }
}
