//! Rates: what is beyond waits its turn, first in first out, and no run ends by it.

use mission_control::Policy;

use crate::common::*;

async fn publish(control: &MissionControl, text: &str) {
    let policy = Policy::from_yaml(text).unwrap();
    control.publish_policy("ann", policy).await.unwrap();
}

/// Makes calls at the same time in one step; when each went out, in seconds since the first.
fn sent(rates: &str, times: usize, took: u64) -> Vec<i64> {
    let world = World::seeded(21);
    world.run(async {
        let control = world.open().await;
        publish(&control, rates).await;
        let it = agent(move |ctx, _| async move {
            let calls = (0..times).map(|n| {
                let ctx = &ctx;
                let request = request(&format!("p{n}"), 4);
                async move {
                    let send = |_| async move {
                        ctx.sleep(secs(took)).await;
                        Ok(answer("ok", 1))
                    };
                    ctx.model_call(&request, send).await.map(|_| ())
                }
            });
            for done in futures::future::join_all(calls).await {
                done?;
            }
            Ok(json!("done").into())
        });
        register(&control, "it", it).await;
        let run = begin(&control, ONE, json!({})).await;
        assert_eq!(output_of(&run).await, json!("done"));
        let events = events(&control, &run).await;
        let out = events
            .iter()
            .filter(|event| &*event.kind == "model_call.reserved");
        let out: Vec<&Record> = out.collect();
        let ordinals = out.iter().map(|event| {
            serde_json::from_str::<Value>(&event.facts).unwrap()["ordinal"]
                .as_u64()
                .unwrap()
        });
        assert!(ordinals.is_sorted(), "first in, first out");
        let first = out[0].ts.as_unix_us();
        out.iter()
            .map(|event| (event.ts.as_unix_us() - first) / 1_000_000)
            .collect()
    })
}

#[test]
fn requests_beyond_a_minutes_share_wait_until_the_minute_is_over() {
    for of in ["provider: test", "model: test/m", "agent: it"] {
        let rates = format!("rates: [{{ for: {{ {of} }}, requests_per_minute: 2 }}]");
        assert_eq!(sent(&rates, 5, 1), [0, 0, 61, 61, 122], "{of}");
    }
}

#[test]
fn calls_beyond_those_that_may_be_out_wait_for_one_to_end() {
    let rates = "rates: [{ for: { provider: test }, in_flight: 2 }]";
    assert_eq!(sent(rates, 5, 10), [0, 0, 10, 10, 20]);
}

#[test]
fn tokens_count_in_the_worst_case_until_the_answer_tells() {
    let rates = "rates: [{ for: { model: test/m }, tokens_per_minute: 8 }]";
    // Two of four fit; once both were answered with one token each there is room for one more.
    let sent = sent(rates, 3, 5);
    assert_eq!(sent[..2], [0, 0]);
    assert!((5..=61).contains(&sent[2]), "{sent:?}");
}

#[test]
fn a_call_that_is_larger_than_the_rate_goes_alone() {
    let rates = "rates: [{ for: { model: test/m }, tokens_per_minute: 3 }]";
    let sent = sent(rates, 2, 1);
    assert!(sent[1] >= 60, "{sent:?}");
}

#[test]
fn a_rate_of_another_provider_holds_nobody_back() {
    let rates = "rates: [{ for: { provider: other }, requests_per_minute: 1 }]";
    assert_eq!(sent(rates, 3, 1), [0, 0, 0]);
}

#[test]
fn a_run_that_is_aborted_while_it_waits_leaves_its_place() {
    let world = World::seeded(22);
    world.run(async {
        let control = world.open().await;
        publish(
            &control,
            "rates: [{ for: { provider: test }, in_flight: 1 }]",
        )
        .await;
        let session = guard(&control).await;
        let Admission::Allowed(permit) = session.reserve(&request("p", 4)).await.unwrap() else {
            panic!("denied");
        };
        let it = agent(|ctx, _| async move {
            call(&ctx, "mine", 4, 1).await?;
            Ok(json!("done").into())
        });
        register(&control, "it", it).await;
        let run = begin(&control, ONE, json!({})).await;
        world.pass(secs(1)).await;
        run.abort(("ann", "as tested")).await.unwrap();
        permit.settle(&answer("ok", 1)).await.unwrap();
        let next = session.reserve(&request("q", 4)).await.unwrap();
        assert!(matches!(next, Admission::Allowed(_)), "{next:?}");
        assert_eq!(count(&control, &run, "model_call.reserved").await, 0);
    });
}

#[test]
fn after_a_refusal_nothing_goes_to_the_provider_before_the_time_it_names() {
    let world = World::seeded(23);
    world.run(async {
        let control = world.open().await;
        let rates = "rates: [{ for: { provider: test }, on_throttling: slow_down }]";
        publish(&control, rates).await;
        let session = guard(&control).await;
        let Admission::Allowed(permit) = session.reserve(&request("p", 4)).await.unwrap() else {
            panic!("denied");
        };
        let refusal = ProviderError {
            retry_after: Some(secs(30)),
            ..ProviderError::new(status_code(429), "slow down")
        };
        permit.fail(&refusal).await.unwrap();
        let before = world.elapsed();
        let next = session.reserve(&request("q", 4)).await.unwrap();
        assert!(matches!(next, Admission::Allowed(_)), "{next:?}");
        let waited = world.elapsed().saturating_sub(before);
        assert!(waited >= secs(30), "{waited:?}");
        let run = control.run(session.id());
        let facts = facts(&control, &run, "model_call.throttled").await;
        assert_eq!(facts["retry_after_ms"], 30_000);
    });
}

#[test]
fn rates_outlive_a_crash() {
    let world = World::seeded(24);
    let rates = "rates: [{ for: { provider: test }, requests_per_minute: 1 }]";
    world.run(async {
        let control = world.open().await;
        publish(&control, rates).await;
        let session = guard(&control).await;
        let Admission::Allowed(permit) = session.reserve(&request("p", 4)).await.unwrap() else {
            panic!("denied");
        };
        permit.settle(&answer("ok", 1)).await.unwrap();
        session.close().await.unwrap();
    });
    world.crash();
    world.run(async {
        let control = world.open().await;
        let session = guard(&control).await;
        let before = world.elapsed();
        let next = session.reserve(&request("q", 4)).await.unwrap();
        assert!(matches!(next, Admission::Allowed(_)), "{next:?}");
        assert!(world.elapsed().saturating_sub(before) >= secs(50));
    });
}

#[test]
fn a_call_that_a_crash_cut_off_leaves_its_place_to_the_next() {
    let world = World::seeded(25);
    let rates = "rates: [{ for: { provider: test }, in_flight: 1 }]";
    let left = world.run(async {
        let control = world.open().await;
        publish(&control, rates).await;
        let session = guard(&control).await;
        let reserved = session.reserve(&request("p", 4)).await.unwrap();
        assert!(matches!(&reserved, Admission::Allowed(_)), "{reserved:?}");
        (session, reserved)
    });
    world.crash();
    drop(left);
    world.run(async {
        let control = world.open().await;
        let session = guard(&control).await;
        let next = session.reserve(&request("q", 4)).await.unwrap();
        assert!(matches!(next, Admission::Allowed(_)), "{next:?}");
    });
}

/// A refusal with the time that the provider asks to wait.
fn refused(seconds: u64) -> ProviderError {
    let failure = CallFailure::Status {
        code: 429,
        output_begun: OutputBegun::No,
    };
    ProviderError {
        retry_after: Some(secs(seconds)),
        ..ProviderError::new(failure, "no")
    }
}

#[test]
fn a_refusal_for_longer_than_a_call_may_wait_is_a_lesson_all_the_same() {
    let world = World::seeded(26);
    world.run(async {
        let control = world.open().await;
        let rates = "rates: [{ for: { provider: test }, on_throttling: slow_down }]";
        publish(&control, rates).await;
        let session = guard(&control).await;
        let first = request("p", 4);
        let called = session.model_call(&first, |_| async { Err(refused(3_600)) });
        assert!(called.await.is_err());
        let before = world.elapsed();
        let next = session.reserve(&request("q", 4)).await.unwrap();
        assert!(matches!(next, Admission::Allowed(_)), "{next:?}");
        assert!(world.elapsed().saturating_sub(before) >= secs(3_600));
    });
}

#[test]
fn answers_to_calls_from_before_a_refusal_end_no_pause() {
    let world = World::seeded(27);
    world.run(async {
        let control = world.open().await;
        let rates = "rates: [{ for: { provider: test }, on_throttling: slow_down }]";
        publish(&control, rates).await;
        let session = guard(&control).await;
        let allowed = async |prompt: &str| match session.reserve(&request(prompt, 4)).await.unwrap()
        {
            Admission::Allowed(permit) => permit,
            other @ (Admission::Clamped(_)
            | Admission::Answered(_)
            | Admission::NeedsApproval(_)
            | Admission::Denied(_)) => panic!("{other:?}"),
        };
        let (a, b) = (allowed("a").await, allowed("b").await);
        a.fail(&refused(30)).await.unwrap();
        b.settle(&answer("ok", 1)).await.unwrap();
        let before = world.elapsed();
        allowed("c").await.settle(&answer("ok", 1)).await.unwrap();
        assert!(world.elapsed().saturating_sub(before) >= secs(29));
    });
}
