//! Breakers: a model that fails is not asked for a while, then by one call at first.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::asking::enforce;
use crate::common::*;
use mission_control::core::resilience::BreakerSettings;

#[test]
fn a_breaker_opens_blocks_probes_and_closes() {
    let yaml = "{ workflow: w, steps: { a: { agent: it, retry: { maximum_attempts: 9, initial_interval: 1s, maximum_interval: 1s } } } }";
    let breaker = BreakerSettings::new(2, secs(100), 1).unwrap();
    let settings = Settings {
        breaker,
        ..settings()
    };
    let (world, outcome, events) = one_call(settings, yaml, |n| match n {
        0 | 1 => Err(ProviderError::new(CallFailure::Unreachable, "down")),
        _ => Ok(ModelAnswer {
            model: Some("test/m-2026-01-01".parse().unwrap()),
            ..answer("ok", 5)
        }),
    });
    assert_eq!(output(&outcome), json!(3));
    assert!(world.elapsed() >= secs(100));
    assert_eq!(find(&events, "step.blocked").unwrap()["reason"], "circuit");
    assert!(find(&events, "step.unblocked").is_some());
    let settled = find(&events, "model_call.settled").unwrap();
    assert_eq!(
        (&settled["model"], &settled["served"]),
        (&json!("test/m"), &json!("test/m-2026-01-01"))
    );
    let log = world.run(async {
        world
            .open()
            .await
            .log()
            .read_workspace(0, 1_000)
            .await
            .unwrap()
    });
    let circuit: Vec<_> = log
        .iter()
        .filter(|e| e.kind.starts_with("circuit"))
        .map(|e| e.kind.to_string())
        .collect();
    assert_eq!(
        circuit,
        ["circuit.opened", "circuit.half_opened", "circuit.closed"]
    );
}

#[test]
fn a_breaker_that_opened_again_asks_again_later() {
    let yaml = "{ workflow: w, steps: { a: { agent: it, retry: { maximum_attempts: 9, initial_interval: 1s, maximum_interval: 1s } } } }";
    let breaker = BreakerSettings::new(1, secs(50), 1).unwrap();
    let settings = Settings {
        breaker,
        ..settings()
    };
    let (world, outcome, _) = one_call(settings, yaml, |n| match n {
        0..3 => Err(ProviderError::new(CallFailure::Unreachable, "down")),
        _ => Ok(answer("ok", 5)),
    });
    assert_eq!(output(&outcome), json!(4));
    assert!(world.elapsed() >= secs(150));
}

#[test]
fn calls_of_one_step_that_wait_for_a_probe_go_on_when_it_is_given_back() {
    let breaker = BreakerSettings::new(1, secs(10), 1).unwrap();
    let world = World::seeded(8);
    world.run(async {
        let control = world
            .open_with(Settings {
                breaker,
                ..settings()
            })
            .await;
        let host = guard(&control).await;
        let down = |_| async { Err(ProviderError::new(CallFailure::Unreachable, "down")) };
        assert!(host.model_call(&request("p", 10), down).await.is_err());
        let probe = host.reserve(&request("q", 10)).await.unwrap();
        let other = control
            .guard("other", SessionOptions::default())
            .await
            .unwrap();
        let behind = request("r", 10);
        let mut behind = Box::pin(other.reserve(&behind));
        let waker = std::task::Waker::noop();
        assert!(
            behind
                .as_mut()
                .poll(&mut std::task::Context::from_waker(waker))
                .is_pending()
        );
        let Admission::Allowed(probe) = probe else {
            panic!("{probe:?}")
        };
        probe
            .fail(&ProviderError::new(CallFailure::NotSent, "given up"))
            .await
            .unwrap();
        assert!(matches!(behind.await.unwrap(), Admission::Allowed(_)));
    });
}

/// Three attempts, whatever the tier.
fn thrice(risk: &str) -> String {
    one(&format!(
        ", risk: {risk}, retry: {{ maximum_attempts: 3, initial_interval: 1s }}"
    ))
}

/// One step whose provider cannot be reached for so many calls, and which nobody has to approve.
fn down_for(calls: u32, yaml: &str) -> (Outcome, Vec<Record>) {
    let settings = Settings {
        breaker: BreakerSettings::new(2, secs(50), 1).unwrap(),
        ..settings()
    };
    let world = World::seeded(3);
    world.run(async {
        let count = Arc::new(AtomicU32::new(0));
        let it = agent(move |ctx, _| {
            let count = Arc::clone(&count);
            async move {
                let request = request("p", 10);
                let sent = |_| {
                    let result = match count.fetch_add(1, Ordering::SeqCst) {
                        n if n < calls => Err(ProviderError::new(CallFailure::Unreachable, "down")),
                        _ => Ok(answer("ok", 5)),
                    };
                    async move { result }
                };
                ctx.model_call(&request, sent).await?;
                Ok(json!(count.load(Ordering::SeqCst)).into())
            }
        });
        let control = open_with(&world, settings, "it", it).await;
        enforce(&control, "approvals: { from: financial }").await;
        let run = begin(&control, yaml, json!({})).await;
        let outcome = run.outcome().await.unwrap();
        (outcome, events(&control, &run).await)
    })
}

#[test]
fn an_attempt_that_failed_because_its_provider_is_down_does_not_count() {
    let (outcome, events) = down_for(20, &thrice("write"));
    assert_eq!(output(&outcome), json!(21));
    let failed = events
        .iter()
        .filter(|event| &*event.kind == "attempt.failed");
    let facts = failed.map(|event| serde_json::from_str::<Value>(&event.facts).unwrap());
    let counted: Vec<bool> = facts.map(|facts| facts["outage"].is_null()).collect();
    // The second failure in a row opens the breaker.
    assert_eq!(counted.iter().position(|counts| !counts), Some(1));
    assert_eq!(counted.iter().filter(|counts| **counts).count(), 1);
}

#[test]
fn what_is_to_be_tried_once_is_not_tried_again_for_an_outage() {
    let once = one(", retry: { maximum_attempts: 1 }");
    let (outcome, events) = down_for(20, &once);
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    assert_eq!(
        find(&events, "attempt.failed").unwrap()["outage"],
        json!(null)
    );
}

#[test]
fn what_cannot_be_undone_is_repeated_for_an_outage_no_oftener_than_it_says() {
    let (outcome, events) = down_for(20, &thrice("irreversible"));
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    let failed = events
        .iter()
        .filter(|event| &*event.kind == "attempt.failed");
    assert_eq!(failed.count(), 3);
}

fn soon_open() -> Settings {
    Settings {
        breaker: BreakerSettings::new(2, secs(50), 1).unwrap(),
        ..settings()
    }
}

#[test]
fn what_the_provider_refuses_for_the_requests_sake_counts_also_while_its_breaker_is_half_open() {
    let (_, outcome, events) = one_call(soon_open(), &thrice("write"), |n| match n {
        0 | 1 => Err(ProviderError::new(CallFailure::Unreachable, "down")),
        _ => Err(ProviderError::new(status_code(401), "the key was revoked")),
    });
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    let failed = events
        .iter()
        .filter(|event| &*event.kind == "attempt.failed");
    assert_eq!(failed.count(), 4, "one of them opened the breaker");
}

#[test]
fn an_attempt_that_fails_before_it_asks_counts_whatever_an_earlier_one_met() {
    let world = World::seeded(4);
    world.run(async {
        let it = agent(|ctx, _| async move {
            if ctx.attempt() > 2 {
                return Err(AgentError::new("a fault of its own"));
            }
            let request = request("p", 10);
            let down = || ProviderError::new(CallFailure::Unreachable, "down");
            ctx.model_call(&request, |_| async { Err(down()) }).await?;
            Ok(json!(1).into())
        });
        let control = open_with(&world, soon_open(), "it", it).await;
        let run = begin(&control, &thrice("write"), json!({})).await;
        assert!(matches!(
            run.outcome().await.unwrap(),
            Outcome::Failed { .. }
        ));
        assert_eq!(count(&control, &run, "attempt.failed").await, 4);
    });
}

#[test]
fn time_that_is_up_while_an_attempt_waits_at_a_breaker_does_not_count() {
    let yaml = one(
        ", timeout: 20s, retry: { maximum_attempts: 3, initial_interval: 1s, maximum_interval: 1s }",
    );
    let (_, outcome, events) = one_call(soon_open(), &yaml, |n| match n {
        0..8 => Err(ProviderError::new(CallFailure::Unreachable, "down")),
        _ => Ok(answer("ok", 5)),
    });
    assert_eq!(output(&outcome), json!(9));
    let abandoned = find(&events, "attempt.abandoned").unwrap();
    assert_eq!(abandoned["reason"], "outage");
}
