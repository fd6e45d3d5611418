//! Which error stands for what a provider or a step did.

use mission_control::{Detail, Error, OutputBegun, SessionOptions};

use crate::common::*;

/// How a call ends that always fails in this way.
fn failed(error: &ProviderError) -> Error {
    let world = World::seeded(1);
    world.run(async {
        let control = world.open().await;
        let guard = control.guard("host", SessionOptions::default());
        let session = guard.await.unwrap();
        let request = request("p", 1);
        let call = session.model_call(&request, |_| async { Err(error.clone()) });
        Error::from(call.await.unwrap_err())
    })
}

fn status(code: u16) -> CallFailure {
    CallFailure::Status {
        code,
        output_begun: OutputBegun::No,
    }
}

#[test]
fn a_provider_that_refuses_for_too_long_is_rate_limited_and_says_when_again() {
    let error = ProviderError {
        retry_after: Some(secs(601)),
        ..ProviderError::new(status(429), "slow down")
    };
    let error = failed(&error);
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert!(error.kind().is_retryable());
    let retry_after_ms = 601_000;
    assert_eq!(error.detail(), Some(&Detail::RetryAfter { retry_after_ms }));
}

#[test]
fn a_provider_that_does_not_answer_in_time_is_a_timeout() {
    let error = failed(&ProviderError::new(CallFailure::Timeout, "no answer"));
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let other = failed(&ProviderError::new(status(400), "bad prompt"));
    assert_eq!(other.kind(), ErrorKind::AgentFailed);
}

#[test]
fn the_attempt_that_a_throttled_call_failed_waits_as_long_as_the_provider_asks() {
    let world = World::seeded(2);
    world.run(async {
        let control = world.open().await;
        let caller = agent(|ctx, _| async move {
            if ctx.attempt() > 1 {
                return Ok(json!(1).into());
            }
            let refused = ProviderError {
                retry_after: Some(secs(700)),
                ..ProviderError::new(status(429), "slow down")
            };
            let request = request("p", 1);
            let call = ctx.model_call(&request, |_| async { Err(refused.clone()) });
            call.await?;
            Ok(json!(2).into())
        });
        control.register_agent("caller", caller).await.unwrap();
        let yaml = "{ workflow: w, steps: { a: { agent: caller } } }";
        let run = begin(&control, yaml, json!({})).await;
        run.outcome().await.unwrap();
        let failed = facts(&control, &run, "attempt.failed").await;
        assert_eq!(failed["code"], "rate_limited");
        assert!(world.elapsed() >= secs(700), "{:?}", world.elapsed());
    });
}
