//! Anomalies: calls that cost or take far more than those before them did.

use crate::common::*;
use crate::guardrails::{publish, rail};

/// Makes a call that takes so long and uses so many output tokens; whether its answer was given.
async fn calls(world: &World, session: &Session, (millis, tokens): (u64, u64)) -> bool {
    let admission = session.reserve(&request("p", 100)).await.unwrap();
    let Admission::Allowed(permit) = admission else {
        panic!("{admission:?}");
    };
    world.pass(Duration::from_millis(millis)).await;
    permit.settle(&answer("ok", tokens)).await.is_ok()
}

/// Five calls as they usually are.
async fn usual(world: &World, session: &Session) {
    for n in 0..5 {
        assert!(calls(world, session, (1_000 + n * 100, 10 + n)).await);
    }
}

const fn rule(of: &str) -> (&str, (u64, u64), (u64, u64)) {
    // What lies within three deviations, and what beyond.
    match of.as_bytes() {
        b"latency" => ("latency", (1_600, 10), (1_700, 10)),
        b"cost" => ("cost", (1_000, 16), (1_000, 17)),
        _ => ("output_tokens", (1_000, 16), (1_000, 17)),
    }
}

#[test]
fn a_call_far_above_the_mean_is_told_of_and_one_within_the_deviations_is_not() {
    for of in ["latency", "cost", "output_tokens"] {
        for (mode, given, judged) in [
            ("enforce", false, 1),
            ("observe", true, 1),
            ("'off'", true, 0),
        ] {
            let world = World::seeded(51);
            world.run(async {
                let (of, within, beyond) = rule(of);
                let control = world.open().await;
                let text = format!("at: after, anomaly: {{ of: {of}, sigma: 3, least: 5 }}");
                publish(&control, &rail(&text, mode)).await;
                let session = guard(&control).await;
                usual(&world, &session).await;
                assert!(calls(&world, &session, within).await, "{of} {mode}");
                // What was within counts from now on too: it is far beyond all of them.
                let far = (beyond.0 * 3, beyond.1 * 3);
                assert_eq!(calls(&world, &session, far).await, given, "{of} {mode}");
                let run = control.run(session.id());
                session.close().await.unwrap();
                let told = count(&control, &run, "guardrail.judged").await;
                assert_eq!(told, judged, "{of} {mode}");
                if judged == 1 {
                    let facts = facts(&control, &run, "guardrail.judged").await;
                    let told = [
                        &facts["at"],
                        &facts["rule"],
                        &facts["code"],
                        &facts["verdict"],
                    ];
                    assert_eq!(told, ["after", "r", "anomaly", "deny"]);
                }
            });
        }
    }
}

#[test]
fn the_first_value_beyond_three_deviations_is_the_first_that_is_told_of() {
    for of in ["latency", "cost"] {
        let (of, within, beyond) = rule(of);
        for (value, given) in [(within, true), (beyond, false)] {
            let world = World::seeded(52);
            world.run(async {
                let control = world.open().await;
                let text = format!("at: after, anomaly: {{ of: {of}, sigma: 3, least: 5 }}");
                publish(&control, &rail(&text, "enforce")).await;
                let session = guard(&control).await;
                usual(&world, &session).await;
                assert_eq!(calls(&world, &session, value).await, given, "{of}");
            });
        }
    }
}

#[test]
fn too_few_calls_and_those_of_another_agent_say_nothing() {
    let world = World::seeded(53);
    world.run(async {
        let control = world.open().await;
        let text = "at: after, anomaly: { of: cost, sigma: 2, least: 6 }";
        publish(&control, &rail(text, "enforce")).await;
        let session = guard(&control).await;
        usual(&world, &session).await;
        assert!(
            calls(&world, &session, (1_000, 90)).await,
            "five are too few"
        );
        let other = control.guard("other", SessionOptions::default());
        let other = other.await.unwrap();
        usual(&world, &other).await;
        assert!(
            calls(&world, &other, (1_000, 90)).await,
            "they are not its own"
        );
    });
}

#[test]
fn what_calls_cost_is_known_after_a_crash() {
    let world = World::seeded(54);
    let text = rail(
        "at: after, anomaly: { of: cost, sigma: 3, least: 5 }",
        "enforce",
    );
    world.run(async {
        let control = world.open().await;
        publish(&control, &text).await;
        let session = guard(&control).await;
        usual(&world, &session).await;
        session.close().await.unwrap();
    });
    world.crash();
    world.run(async {
        let control = world.open().await;
        let session = guard(&control).await;
        assert!(!calls(&world, &session, (1_000, 90)).await);
    });
}
