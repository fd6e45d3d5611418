//! Retries: the delays of a policy, their ends, and what its constructor refuses.

use proptest::prelude::*;

use super::*;

fn backoff(initial_ms: u64, thousandths: u32, maximum_ms: u64) -> Backoff {
    Backoff::new(
        Duration::from_millis(initial_ms),
        Coefficient::from_thousandths(thousandths).unwrap(),
        Duration::from_millis(maximum_ms),
    )
    .unwrap()
}

#[test]
fn the_ceiling_doubles_up_to_the_maximum() {
    let ceilings: Vec<u64> = (1..=8)
        .map(|attempt| Backoff::DEFAULT.ceiling(attempt).as_secs())
        .collect();
    assert_eq!(ceilings, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(Backoff::DEFAULT.ceiling(u32::MAX), Duration::from_secs(60));
    assert_eq!(
        backoff(100, 1_500, 1_000).ceiling(3),
        Duration::from_millis(225)
    );
    assert_eq!(
        backoff(100, 1_000, 1_000).ceiling(u32::MAX),
        Duration::from_millis(100)
    );
}

#[test]
fn jitter_reaches_both_ends() {
    assert_eq!(Backoff::DEFAULT.delay(1, 0), Duration::ZERO);
    assert_eq!(Backoff::DEFAULT.delay(1, u64::MAX), Duration::from_secs(1));
    assert_eq!(
        Backoff::DEFAULT.delay(1, 1 << 63),
        Duration::from_millis(500)
    );
}

#[test]
fn a_policy_ends_by_attempts_and_by_time() {
    let policy = RetryPolicy::thrice()
        .with_max_elapsed(Duration::from_secs(10))
        .unwrap();
    let second = Duration::from_secs(1);
    assert_eq!(policy.next_delay(1, second, 0), Some(Duration::ZERO));
    assert_eq!(policy.next_delay(3, second, 0), None);
    assert_eq!(policy.next_delay(2, Duration::from_secs(9), u64::MAX), None);
    assert_eq!(RetryPolicy::once().next_delay(1, Duration::ZERO, 0), None);
}

#[test]
fn a_throttled_call_waits_at_least_as_long_as_the_provider_asks() {
    let retry = ModelRetry::default();
    let asked = Some(Duration::from_secs(90));
    assert_eq!(retry.next_delay(1, Duration::ZERO, asked, 7), asked);
    assert_eq!(
        retry.next_delay(1, Duration::from_secs(511), asked, 7),
        None
    );
    assert_eq!(retry.next_delay(1, Duration::MAX, None, 0), None);
}

#[test]
fn what_breaks_a_rule_is_refused_by_its_field() {
    let second = Duration::from_secs(1);
    let two = Coefficient::TWO;
    assert_eq!(
        Backoff::new(Duration::ZERO, two, second),
        Err(RetryFault::InitialInterval)
    );
    assert_eq!(
        Backoff::new(second, two, Duration::from_millis(999)),
        Err(RetryFault::MaximumInterval)
    );
    assert_eq!(
        Backoff::new(second, two, Duration::MAX),
        Err(RetryFault::MaximumInterval)
    );
    assert_eq!(RetryPolicy::attempts(0), Err(RetryFault::MaximumAttempts));
    assert_eq!(
        RetryPolicy::attempts(1_001),
        Err(RetryFault::MaximumAttempts)
    );
    assert_eq!(
        RetryPolicy::once().with_max_elapsed(Duration::ZERO),
        Err(RetryFault::MaxElapsed)
    );
    let codes = (0..65)
        .map(|n| Opaque::new(&format!("code_{n}")).unwrap())
        .collect();
    assert_eq!(
        RetryPolicy::once().with_non_retryable(codes),
        Err(RetryFault::NonRetryable)
    );
}

#[test]
fn a_coefficient_is_exact_to_the_thousandth() {
    for (text, thousandths) in [
        ("1", 1_000),
        ("2.0", 2_000),
        ("1.5", 1_500),
        ("2.0000", 2_000),
        ("1.001", 1_001),
    ] {
        assert_eq!(
            Coefficient::parse(text).unwrap().as_thousandths(),
            thousandths,
            "{text}"
        );
    }
    for bad in [
        "0.999",
        "1001",
        "1.0001",
        "NaN",
        "inf",
        "-2",
        "2e1",
        "",
        "99999999999999999999",
    ] {
        assert_eq!(
            Coefficient::parse(bad),
            Err(RetryFault::Coefficient),
            "{bad}"
        );
    }
}

#[test]
fn a_listed_code_is_not_retried() {
    let codes = BTreeSet::from([Opaque::new("bad_prompt").unwrap()]);
    let policy = RetryPolicy::thrice().with_non_retryable(codes).unwrap();
    assert!(!policy.is_retryable("bad_prompt") && policy.is_retryable("timeout"));
}

proptest! {
    #[test]
    fn a_delay_lies_under_its_ceiling_and_ceilings_never_shrink(
        initial in 1_u64..100_000,
        thousandths in 1_000_u32..1_000_000,
        extra in 0_u64..100_000_000,
        attempt in 1_u32..10_000,
        random: u64,
    ) {
        let backoff = backoff(initial, thousandths, initial + extra);
        prop_assert!(backoff.delay(attempt, random) <= backoff.ceiling(attempt));
        prop_assert!(backoff.ceiling(attempt) <= backoff.ceiling(attempt + 1));
        prop_assert!(backoff.ceiling(attempt) <= backoff.maximum_interval());
    }
}
