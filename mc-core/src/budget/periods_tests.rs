//! Accounts with windows: what counts, what stays where it was reserved, and what is final.

use proptest::prelude::*;

use super::super::{Account, Amount, Change, Limit, Movement, OnExceed, Period, Window};
use crate::budget::LedgerFault;
use crate::time::Timestamp;

fn calls(calls: u64) -> Amount {
    Amount {
        calls,
        ..Amount::ZERO
    }
}

const fn at(us: i64) -> Timestamp {
    Timestamp::from_unix_us(us)
}

/// Opens what is due.
fn roll(account: &mut Account, now: Timestamp) {
    let due = account.periods().and_then(|periods| periods.opening(now));
    if let Some((window, period)) = due {
        account
            .apply(&Movement::Change(Change::OpenWindow { window, period }))
            .unwrap();
    }
}

fn account(window: &str, now: i64) -> Account {
    let limit = Limit {
        calls: Some(10),
        ..Limit::default()
    };
    let mut account = Account::new(limit, OnExceed::Pause);
    account
        .apply(&Movement::Change(Change::SetWindow(
            window.parse().unwrap(),
        )))
        .unwrap();
    roll(&mut account, at(now));
    account
}

fn moved(account: &mut Account, time: i64, movement: Movement) -> Result<(), LedgerFault> {
    *account = account.after_at(at(time), &movement)?;
    Ok(())
}

#[test]
fn a_late_settlement_moves_the_period_of_its_reserve() {
    let mut account = account("fixed 1ms", 500);
    moved(&mut account, 600, Movement::Reserve(calls(4))).unwrap();
    roll(&mut account, at(1_000));
    assert_eq!(account.exposure(), Amount::ZERO);
    let settle = Movement::Settle {
        held: calls(4),
        actual: calls(3),
    };
    moved(&mut account, 600, settle).unwrap();
    assert_eq!(account.spent().calls, 0);
    let spent: Vec<u64> = account
        .periods()
        .unwrap()
        .all()
        .iter()
        .map(|p| p.columns.spent.calls)
        .collect();
    assert_eq!(spent, [0, 3, 0], "before the window, its first period, now");
}

#[test]
fn a_period_with_something_open_is_not_final() {
    let mut account = account("fixed 1ms", 500);
    moved(&mut account, 600, Movement::Reserve(calls(4))).unwrap();
    roll(&mut account, at(1_000));
    let first = Period {
        start: at(500),
        end: at(1_000),
    };
    let close = Movement::Change(Change::CloseWindow(first));
    assert_eq!(account.after(&close), Err(LedgerFault::NoSuchPeriod));
    moved(&mut account, 600, Movement::Release(calls(4))).unwrap();
    account.apply(&close).unwrap();
    assert_eq!(
        account.after(&close),
        Err(LedgerFault::NoSuchPeriod),
        "once"
    );
    let current = Movement::Change(Change::CloseWindow(account.period().unwrap()));
    assert_eq!(account.after(&current), Err(LedgerFault::NoSuchPeriod));
}

#[test]
fn a_period_opens_neither_before_the_last_has_ended_nor_twice() {
    let mut account = account("fixed 1ms", 500);
    let window: Window = "fixed 1ms".parse().unwrap();
    for (start, end) in [(500, 1_000), (900, 2_000), (0, 500), (1_500, 1_500)] {
        let period = Period {
            start: at(start),
            end: at(end),
        };
        let open = Movement::Change(Change::OpenWindow { window, period });
        assert_eq!(
            account.after(&open),
            Err(LedgerFault::NoSuchPeriod),
            "{start}"
        );
    }
    assert_eq!(account.periods().unwrap().opening(at(999)), None);
    roll(&mut account, at(7_300));
    assert_eq!(
        account.period(),
        Some(Period {
            start: at(7_000),
            end: at(8_000)
        })
    );
}

#[test]
fn what_an_account_counted_before_its_window_does_not_count_in_it() {
    let mut account = Account::default();
    moved(&mut account, 100, Movement::Reserve(calls(7))).unwrap();
    account
        .apply(&Movement::Change(Change::SetWindow(
            "fixed 1d".parse().unwrap(),
        )))
        .unwrap();
    assert_eq!(
        account.reserved().calls,
        7,
        "nothing moves before the period opens"
    );
    roll(&mut account, at(200));
    assert_eq!(account.reserved().calls, 0);
    assert!(!account.counts(at(100)) && account.counts(at(200)));
}

fn change(account: &mut Account, window: &str, now: i64) {
    let window = window.parse().unwrap();
    account
        .apply(&Movement::Change(Change::SetWindow(window)))
        .unwrap();
    roll(account, at(now));
}

#[test]
fn what_counts_no_more_never_counts_again_under_a_wider_window() {
    let mut account = account("fixed 1ms", 500);
    moved(&mut account, 600, Movement::Reserve(calls(4))).unwrap();
    roll(&mut account, at(1_000));
    moved(&mut account, 1_100, Movement::Reserve(calls(2))).unwrap();
    change(&mut account, "sliding 10ms 4", 2_000);
    assert_eq!(account.reserved().calls, 2, "only what counted until then");
}

#[test]
fn a_bucket_that_ends_within_a_new_sliding_window_counts_in_it_whole() {
    let mut account = account("sliding 2ms 1", 500);
    roll(&mut account, at(2_000));
    moved(&mut account, 3_900, Movement::Reserve(calls(4))).unwrap();
    roll(&mut account, at(4_000));
    change(&mut account, "sliding 3ms 1", 6_000);
    assert_eq!(account.reserved().calls, 4, "3.9 ms is within 3 ms of 6 ms");
}

#[test]
fn an_account_reads_back_with_its_periods() {
    let mut account = account("sliding 1ms 4", 500);
    moved(&mut account, 600, Movement::Reserve(calls(4))).unwrap();
    let json = serde_json::to_string(&account).unwrap();
    assert_eq!(serde_json::from_str::<Account>(&json).unwrap(), account);
}

proptest! {
    /// Whoever asks before each reserve whether it fits: no stretch of a sliding window's length has
    /// more than the limit, whatever is settled or released, and when.
    #[test]
    fn no_stretch_of_a_sliding_window_passes_the_limit(
        steps in prop::collection::vec((0i64..400, 1u64..6, 0u8..3), 1..120),
        buckets in 1u32..8,
    ) {
        let mut account = account(&format!("sliding 1ms {buckets}"), 1_000);
        let (mut now, mut out, mut billed) = (1_000i64, Vec::new(), Vec::new());
        for (passed, amount, what) in steps {
            now = now.saturating_add(passed);
            roll(&mut account, at(now));
            let room = account.headroom(super::super::Dimension::Calls).unwrap();
            if i128::from(amount) <= room {
                moved(&mut account, now, Movement::Reserve(calls(amount))).unwrap();
                out.push((now, amount));
            }
            if what == 0 && let Some((time, amount)) = out.pop() {
                let settle = Movement::Settle { held: calls(amount), actual: calls(amount) };
                moved(&mut account, time, settle).unwrap();
                billed.push((time, amount));
            } else if what == 1 && let Some((time, amount)) = out.pop() {
                moved(&mut account, time, Movement::Release(calls(amount))).unwrap();
            }
            let counted = account.periods().unwrap().counted().unwrap();
            prop_assert_eq!((counted.spent, counted.reserved), (*account.spent(), *account.reserved()));
        }
        let all: Vec<(i64, u64)> = billed.into_iter().chain(out).collect();
        for (end, _) in &all {
            let within = all.iter().filter(|(time, _)| time <= end && end.saturating_sub(*time) < 1_000);
            prop_assert!(within.map(|(_, amount)| amount).sum::<u64>() <= 10);
        }
    }
}
