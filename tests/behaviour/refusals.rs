//! Calls that a provider refuses or cuts: they wait, are given up, or are made again.

use crate::common::*;
use mission_control::core::resilience::BreakerSettings;

#[test]
fn a_throttled_call_waits_as_long_as_the_provider_asks_and_is_no_attempt() {
    let (world, outcome, events) = one_call(settings(), ONE, |n| match n {
        0 => Err(ProviderError {
            retry_after: Some(secs(60)),
            ..ProviderError::new(status_code(429), "slow down")
        }),
        _ => Ok(answer("ok", 5)),
    });
    assert_eq!(output(&outcome), json!(2));
    assert!(world.elapsed() >= secs(60), "{:?}", world.elapsed());
    assert!(find(&events, "attempt.failed").is_none());
    assert_eq!(
        find(&events, "model_call.throttled").unwrap()["status"],
        429
    );
}

#[test]
fn a_call_that_is_refused_for_too_long_is_an_error_to_the_agent() {
    let yaml = "{ workflow: w, steps: { a: { agent: it, retry: { maximum_attempts: 1 } } } }";
    let breaker = BreakerSettings::new(1_000, secs(1), 1).unwrap();
    let settings = Settings {
        breaker,
        ..settings()
    };
    let (world, outcome, events) = one_call(settings, yaml, |_| {
        Err(ProviderError::new(status_code(529), "full"))
    });
    assert!(matches!(outcome, Outcome::Failed { code, .. } if code == "rate_limited"));
    assert!(
        world.elapsed() <= secs(601) && world.elapsed() > secs(60),
        "{:?}",
        world.elapsed()
    );
    assert_eq!(
        find(&events, "model_call.released").unwrap()["code"],
        "throttled_too_long"
    );
}

#[test]
fn retries_beyond_their_share_wait_for_a_later_window() {
    use mission_control::core::resilience::RetryBudgetSettings;
    let retry_budget = RetryBudgetSettings::new(secs(60), 10, 1).unwrap();
    let breaker = BreakerSettings::new(1_000, secs(1), 1).unwrap();
    let settings = Settings {
        retry_budget,
        breaker,
        ..settings()
    };
    let (world, outcome, events) = one_call(settings, ONE, |n| match n {
        0..4 => Err(ProviderError::new(status_code(429), "slow down")),
        _ => Ok(answer("ok", 5)),
    });
    assert_eq!(output(&outcome), json!(5));
    assert!(world.elapsed() >= secs(150), "{:?}", world.elapsed());
    assert_eq!(
        events
            .iter()
            .filter(|e| &*e.kind == "model_call.throttled")
            .count(),
        4
    );
}

#[test]
fn a_cut_call_is_made_again_by_the_next_attempt() {
    let (_, outcome, events) = one_call(settings(), ONE, |n| match n {
        0 => Err(ProviderError::new(CallFailure::Cut, "cut")),
        _ => Ok(answer("ok", 5)),
    });
    assert_eq!(output(&outcome), json!(2));
    assert!(find(&events, "attempt.failed").is_some());
}

#[test]
fn missing_usage_settles_all_that_was_held() {
    let (world, _, events) = one_call(settings(), ONE, |_| {
        Ok(ModelAnswer {
            output: json!("ok"),
            ..ModelAnswer::default()
        })
    });
    assert_eq!(
        find(&events, "model_call.settled").unwrap()["flags"],
        json!(["usage_missing"])
    );
    let account = world.run(async { world.open().await.account(&AccountId::Workspace).unwrap() });
    assert_eq!(account.spent().money, mills(10));
}
