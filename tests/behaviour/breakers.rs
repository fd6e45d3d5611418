//! Breakers: a model that fails is not asked for a while, then by one call at first.

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
