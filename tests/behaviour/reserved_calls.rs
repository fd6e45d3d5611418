//! What a call holds: every answer that it asks for, every sending that nobody sees, and each try anew.

use crate::common::*;

/// What the workspace holds for one call.
fn held(choices: u32, hidden_retries: u32) -> NanoUsd {
    let world = World::seeded(1);
    world.run(async {
        let control = world.open().await;
        let session = guard(&control).await;
        let mut asked = request("p", 10);
        (asked.bound.choices, asked.bound.hidden_retries) = (choices, hidden_retries);
        let admission = session.reserve(&asked).await.unwrap();
        let Admission::Allowed(permit) = admission else {
            panic!("{admission:?}");
        };
        let held = workspace(&control).reserved().money;
        permit.settle(&answer("ok", 4)).await.unwrap();
        assert!(workspace(&control).reserved().is_zero());
        assert_eq!(workspace(&control).spent().money, mills(4));
        held
    })
}

#[test]
fn every_choice_and_every_hidden_retry_is_held() {
    assert_eq!(held(1, 0), mills(10));
    assert_eq!(held(3, 0), mills(30));
    assert_eq!(held(1, 2), mills(30));
    assert_eq!(held(2, 1), mills(40));
}

#[test]
fn a_limit_counts_choices_and_hidden_retries() {
    for (choices, hidden_retries) in [(4, 0), (1, 3), (2, 1)] {
        let world = World::seeded(2);
        world.run(async {
            let control = world.open().await;
            set(&control, AccountId::Workspace, 39, OnExceed::Abort).await;
            let session = guard(&control).await;
            let mut asked = request("p", 10);
            (asked.bound.choices, asked.bound.hidden_retries) = (choices, hidden_retries);
            let admission = session.reserve(&asked).await.unwrap();
            let Admission::Denied(error) = admission else {
                panic!("{admission:?}");
            };
            assert_eq!(error.kind(), ErrorKind::BudgetExceeded);
        });
    }
}

#[test]
fn a_call_that_is_sent_again_is_reserved_again_and_holds_nothing_in_between() {
    let world = World::seeded(3);
    world.run(async {
        let control = world.open().await;
        let session = guard(&control).await;
        let tries = std::sync::atomic::AtomicU32::new(0);
        let (tries, control) = (&tries, &control);
        let asked = request("p", 10);
        let sent = |_| async move {
            assert_eq!(workspace(control).reserved().money, mills(10));
            match tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                0 | 1 => Err(ProviderError::new(status_code(429), "slow down")),
                _ => Ok(answer("ok", 4)),
            }
        };
        let call = session.model_call(&asked, sent);
        let watch = async {
            let mut free = 0;
            while tries.load(std::sync::atomic::Ordering::Relaxed) < 3 {
                world.pass(Duration::from_millis(10)).await;
                free += u32::from(workspace(control).reserved().is_zero());
            }
            free
        };
        let (answered, free) = futures::join!(call, watch);
        answered.unwrap();
        assert!(free > 0, "it held its money while it waited");
        let run = control.run(session.id());
        assert_eq!(count(control, &run, "model_call.reserved").await, 3);
        assert_eq!(workspace(control).spent().money, mills(4));
    });
}

/// The tests' prices, and a model at twice of them.
fn with_a_dearer_model() -> Settings {
    let dear = TEST_PRICES
        .replace("1000\"", "2000\"")
        .replace("\"m\"", "\"dear\"");
    let (_, row) = dear.split_once("[[model]]").unwrap();
    let prices = PriceTable::parse(&format!("{TEST_PRICES}\n[[model]]{row}"));
    Settings {
        prices: Arc::new(prices.unwrap()),
        ..settings()
    }
}

#[test]
fn a_fallback_to_a_dearer_model_is_reserved_by_its_own_price() {
    let world = World::seeded(4);
    world.run(async {
        let control = world.open_with(with_a_dearer_model()).await;
        let session = guard(&control).await;
        let first = request("p", 10);
        let refused = session.model_call(&first, |_| async {
            Err(ProviderError::new(status_code(400), "no such parameter"))
        });
        assert!(refused.await.is_err());
        assert!(workspace(&control).reserved().is_zero());
        let mut fallback = request("p", 10);
        fallback.model = "test/dear".parse().unwrap();
        let admission = session.reserve(&fallback).await.unwrap();
        let Admission::Allowed(permit) = admission else {
            panic!("{admission:?}");
        };
        assert_eq!(workspace(&control).reserved().money, mills(20));
        permit.settle(&answer("ok", 4)).await.unwrap();
        assert_eq!(workspace(&control).spent().money, mills(8));
    });
}
