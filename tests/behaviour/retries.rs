//! Retries: when a failed attempt is followed by another, and when it is not.

use crate::common::*;

/// An agent that fails until its attempt `ok_at`, and notes when it was tried.
fn flaky(notes: Notes, ok_at: u32) -> Agent {
    agent(move |ctx, _| {
        notes.add(ctx.attempt().to_string());
        async move {
            if ctx.attempt() < ok_at {
                return Err(AgentError::new("not yet"));
            }
            Ok(json!(ctx.attempt()).into())
        }
    })
}

#[test]
fn a_failed_attempt_is_followed_by_another_at_the_time_in_its_event() {
    let world = World::seeded(1);
    world.run(async {
        let control = open_for(&world, "it", flaky(Notes::default(), 3)).await;
        let run = begin(
            &control,
            &one(", retry: { maximum_attempts: 5, initial_interval: 10s }"),
            json!({}),
        )
        .await;
        assert_eq!(output_of(&run).await, json!(3));
        let events = events(&control, &run).await;
        let failed = events
            .iter()
            .position(|e| &*e.kind == "attempt.failed")
            .unwrap();
        let next = events[failed..]
            .iter()
            .find(|e| &*e.kind == "step.dispatched")
            .unwrap();
        let facts: Value = serde_json::from_str(&events[failed].facts).unwrap();
        assert_eq!(facts["retry_at"], json!(next.ts));
    });
}

fn retry_times(seed: u64) -> Vec<i64> {
    let world = World::seeded(seed);
    world.run(async {
        let control = open_for(&world, "it", flaky(Notes::default(), 4)).await;
        let run = begin(
            &control,
            &one(", retry: { maximum_attempts: 5, initial_interval: 10s }"),
            json!({}),
        )
        .await;
        run.outcome().await.unwrap();
        let events = events(&control, &run).await;
        events.iter().map(|event| event.ts.as_unix_us()).collect()
    })
}

#[test]
fn jitter_follows_the_seed() {
    assert_eq!(retry_times(5), retry_times(5));
    assert_ne!(retry_times(5), retry_times(6));
}

#[test]
fn a_retry_keeps_its_time_over_a_restart() {
    let world = World::seeded(2);
    let notes = Notes::default();
    let id = world.run(async {
        let control = open_for(&world, "it", flaky(notes.clone(), 2)).await;
        let run = begin(
            &control,
            &one(", retry: { maximum_attempts: 5, initial_interval: 1h }"),
            json!({}),
        )
        .await;
        while count(&control, &run, "attempt.failed").await == 0 {
            world.pass(secs(1)).await;
        }
        run.id()
    });
    world.crash();
    world.run(async {
        let control = open_for(&world, "it", flaky(notes.clone(), 2)).await;
        control.start_dispatch().await.unwrap();
        let run = control.run(id);
        assert_eq!(output_of(&run).await, json!(2));
        let at = facts(&control, &run, "attempt.failed").await["retry_at"].clone();
        let events = events(&control, &run).await;
        let last = events
            .iter()
            .rfind(|e| &*e.kind == "step.dispatched")
            .unwrap();
        assert_eq!(at, json!(last.ts));
    });
}

#[test]
fn a_code_that_is_not_retryable_ends_the_step_at_once() {
    let world = World::seeded(3);
    let notes = Notes::default();
    let outcome = world.run(async {
        let control = open_for(&world, "it", flaky(notes.clone(), 3)).await;
        let run = begin(
            &control,
            &one(", retry: { maximum_attempts: 5, non_retryable: [agent_failed] }"),
            json!({}),
        )
        .await;
        run.outcome().await.unwrap()
    });
    assert!(matches!(outcome, Outcome::Failed { .. }));
    assert_eq!(notes.len(), 1);
}

#[test]
fn no_attempt_begins_after_max_elapsed() {
    let world = World::seeded(4);
    let yaml = one(
        ", retry: { maximum_attempts: 900, initial_interval: 10s, maximum_interval: 10s, max_elapsed: 1m }",
    );
    let outcome = world.run(async {
        let control = open_for(&world, "it", flaky(Notes::default(), 1_000)).await;
        begin(&control, &yaml, json!({}))
            .await
            .outcome()
            .await
            .unwrap()
    });
    assert!(matches!(outcome, Outcome::Failed { .. }));
    assert!(world.elapsed() <= secs(60));
}
