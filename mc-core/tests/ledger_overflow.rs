//! Absurd amounts: no column wraps, whatever is asked for, held or billed.

use mc_core::budget::{Account, Amount, Movement};
use mc_core::money::NanoUsd;
use proptest::prelude::*;

/// Reserved money and calls, in a type in which nothing overflows.
fn reserved(account: &Account) -> [i128; 2] {
    [
        i128::from(account.reserved().money.as_nano()),
        i128::from(account.reserved().calls),
    ]
}

fn amounts() -> impl Strategy<Value = Amount> {
    let money = prop_oneof![Just(i64::MAX), Just(i64::MIN), any::<i64>(), 0..i64::MAX];
    let calls = prop_oneof![Just(u64::MAX), any::<u64>(), 0..9_u64];
    (money, calls).prop_map(|(money, calls)| Amount {
        money: NanoUsd::from_nano(money),
        calls,
        ..Amount::ZERO
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_amount_wraps_a_column(
        asked in prop::collection::vec((amounts(), any::<bool>()), 1..6),
    ) {
        let mut account = Account::default();
        for (asked, settle) in asked {
            let (before, money) = (account.clone(), asked.money.as_nano());
            let [had_money, had_calls] = reserved(&account);
            let sum = [had_money + i128::from(money), had_calls + i128::from(asked.calls)];
            let fits = money >= 0
                && sum[0] <= i128::from(i64::MAX)
                && sum[1] <= i128::from(u64::MAX);
            match account.apply(&Movement::Reserve(asked)) {
                Ok(()) => prop_assert!(fits && reserved(&account) == sum),
                Err(_) => prop_assert!(!fits && account == before),
            }
            if settle && fits {
                let before = account.clone();
                let moved = account.apply(&Movement::Settle { held: asked, actual: asked });
                prop_assert!(moved.is_ok() || account == before);
            }
        }
    }
}
