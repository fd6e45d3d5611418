//! Prices that nobody has checked for too long.

use mission_control::{Detail, PriceAge, SessionOptions};

use crate::common::*;

const DAY: Duration = secs(86_400);

/// The tests' prices are of the day on which every world begins.
fn at_most(age: PriceAge) -> Settings {
    Settings {
        price_age: Some(age),
        ..settings()
    }
}

#[test]
fn a_price_that_is_too_old_denies_the_call_and_names_table_and_date() {
    let world = World::seeded(1);
    world.run(async {
        let control = world.open_with(at_most(PriceAge::deny(DAY))).await;
        let guard = control.guard("host", SessionOptions::default());
        let session = guard.await.unwrap();
        let young = session.reserve(&request("p", 1)).await.unwrap();
        assert!(matches!(young, Admission::Allowed(_)), "{young:?}");
        world.pass(DAY + secs(1)).await;
        let old = session.reserve(&request("p", 1)).await.unwrap();
        let Admission::Denied(error) = old else {
            panic!("{old:?}");
        };
        assert_eq!(error.kind(), ErrorKind::PolicyDenied);
        let Some(Detail::StalePrice {
            price_version,
            checked_at,
            max_age_ms,
            ..
        }) = error.detail()
        else {
            panic!("{error:?}");
        };
        assert_eq!(*price_version, prices().version().to_string());
        assert_eq!(checked_at, "2026-01-01T00:00:00.000000Z");
        assert_eq!(*max_age_ms, 86_400_000);
        let denied = facts(&control, &control.run(session.id()), "model_call.denied").await;
        assert_eq!(denied["code"], "stale_price");
    });
}

#[test]
fn a_warning_lets_the_call_go_and_leaves_a_verdict() {
    let world = World::seeded(2);
    world.run(async {
        let control = world.open_with(at_most(PriceAge::warn(DAY))).await;
        let guard = control.guard("host", SessionOptions::default());
        let session = guard.await.unwrap();
        world.pass(DAY + secs(1)).await;
        let allowed = session.reserve(&request("p", 1)).await.unwrap();
        assert!(matches!(allowed, Admission::Allowed(_)), "{allowed:?}");
        let judged = facts(&control, &control.run(session.id()), "guardrail.judged").await;
        assert_eq!(
            (&judged["rule"], &judged["mode"]),
            (&json!("stale_price"), &json!("observe"))
        );
        // What was judged is the request, by the hash that it is reserved under.
        let reserved = facts(&control, &control.run(session.id()), "model_call.reserved").await;
        assert_eq!(judged["inputs_hash"], reserved["request"]);
    });
}

#[test]
fn a_step_with_an_estimate_at_an_old_price_is_blocked_before_it_goes_out() {
    let world = World::seeded(3);
    world.run(async {
        let control = world.open_with(at_most(PriceAge::deny(DAY))).await;
        control.register_agent("writer", echo()).await.unwrap();
        world.pass(DAY + secs(1)).await;
        let estimate = "{ model: test/m, input_tokens: 1, max_output_tokens: 1, calls: 1 }";
        let yaml =
            format!("{{ workflow: w, steps: {{ a: {{ agent: writer, estimate: {estimate} }} }} }}");
        let run = begin(&control, &yaml, json!({})).await;
        let position = run.settled_or_blocked().await.unwrap();
        let told = [(
            "a".to_owned(),
            BlockReason::Guardrail,
            "stale_price".to_owned(),
        )];
        assert_eq!(blocks(&position), told);
    });
}

#[test]
fn prices_may_have_any_age_unless_a_host_says_otherwise() {
    let world = World::seeded(4);
    world.run(async {
        let control = world.open().await;
        let guard = control.guard("host", SessionOptions::default());
        let session = guard.await.unwrap();
        world.pass(DAY * 3_650).await;
        let allowed = session.reserve(&request("p", 1)).await.unwrap();
        assert!(matches!(allowed, Admission::Allowed(_)), "{allowed:?}");
    });
}
