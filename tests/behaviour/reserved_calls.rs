//! What a call holds: every answer that it asks for, every sending that nobody sees, and each try anew.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::*;

/// Ends a session: what each call of it was reserved with.
async fn reserved(control: &MissionControl, session: Session) -> Vec<NanoUsd> {
    let run = control.run(session.id());
    session.close().await.unwrap();
    let events = events(control, &run).await;
    let calls = events
        .iter()
        .filter(|one| &*one.kind == "model_call.reserved");
    let amount = |one: &Record| {
        let facts: Value = serde_json::from_str(&one.facts).unwrap();
        NanoUsd::from_nano(facts["amount"]["nano_usd"].as_i64().unwrap())
    };
    calls.map(amount).collect()
}

/// What is held for one call.
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
        permit.settle(&answer("ok", 4)).await.unwrap();
        assert_eq!(workspace(&control).spent().money, mills(4));
        reserved(&control, session).await[0]
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
fn a_call_that_is_sent_again_is_reserved_again() {
    let world = World::seeded(3);
    world.run(async {
        let control = world.open().await;
        let session = guard(&control).await;
        let tries = AtomicU32::new(0);
        let asked = request("p", 10);
        let sent = |_| {
            std::future::ready(match tries.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => Err(ProviderError::new(status_code(429), "slow down")),
                _ => Ok(answer("ok", 4)),
            })
        };
        session.model_call(&asked, sent).await.unwrap();
        let run = control.run(session.id());
        assert_eq!(reserved(&control, session).await, [mills(10); 3]);
        assert_eq!(count(&control, &run, "model_call.throttled").await, 2);
        assert_eq!(workspace(&control).spent().money, mills(4));
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
        let mut fallback = request("p", 10);
        fallback.model = "test/dear".parse().unwrap();
        let admission = session.reserve(&fallback).await.unwrap();
        let Admission::Allowed(permit) = admission else {
            panic!("{admission:?}");
        };
        permit.settle(&answer("ok", 4)).await.unwrap();
        assert_eq!(workspace(&control).spent().money, mills(8));
        let reserved = reserved(&control, session).await;
        assert_eq!(reserved, [mills(10), mills(20)]);
    });
}
