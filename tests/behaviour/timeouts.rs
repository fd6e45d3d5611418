//! Time-outs: an attempt past its time is abandoned, and what its handler may still do.

use crate::common::*;

/// An agent that ignores that it is told to stop, for so many seconds of its first attempt.
fn stubborn(notes: Notes, seconds: u64) -> Agent {
    agent(move |ctx, _| {
        let notes = notes.clone();
        async move {
            if ctx.attempt() == 1 {
                ctx.sleep(secs(seconds)).await;
                let refused = call(&ctx, "p", 10, 1).await;
                notes.add(format!("{}", refused.is_err()));
            }
            Ok(json!(ctx.attempt()).into())
        }
    })
}

#[test]
fn an_attempt_past_its_time_is_abandoned_and_may_call_nothing_more() {
    let world = World::seeded(5);
    let notes = Notes::default();
    world.run(async {
        let control = open_for(&world, "it", stubborn(notes.clone(), 20)).await;
        let run = begin(
            &control,
            &one(
                ", timeout: 10s, risk: read, retry: { maximum_attempts: 2, initial_interval: 1ms }",
            ),
            json!({}),
        )
        .await;
        assert_eq!(output_of(&run).await, json!(2));
        assert!(
            world.elapsed() >= secs(10) && world.elapsed() < secs(11),
            "{:?}",
            world.elapsed()
        );
        world.pass(secs(60)).await;
        assert_eq!(notes.all(), ["true"]);
        assert_eq!(count(&control, &run, "result.late").await, 1);
        assert_eq!(kinds(&control, &run).await.last().unwrap(), "run.sealed");
        assert!(run.state().await.unwrap().sealed);
    });
}

fn second_attempt_after(seconds: u64) -> Duration {
    let world = World::seeded(6);
    world.run(async {
        let control = open_for(&world, "it", stubborn(Notes::default(), seconds)).await;
        let run = begin(
            &control,
            &one(", timeout: 10s, retry: { maximum_attempts: 2, initial_interval: 1ms }"),
            json!({}),
        )
        .await;
        assert_eq!(output_of(&run).await, json!(2));
        world.elapsed()
    })
}

#[test]
fn a_retry_that_writes_waits_for_the_grace_of_a_handler_that_stays() {
    let at = second_attempt_after(1_000);
    assert!(at >= secs(40) && at < secs(41), "{at:?}");
}

#[test]
fn a_retry_that_writes_goes_as_soon_as_the_handler_before_it_has_ended() {
    let at = second_attempt_after(15);
    assert!(at >= secs(15) && at < secs(16), "{at:?}");
}

#[test]
fn abandoned_handlers_of_an_agent_are_capped_and_its_steps_wait_for_them() {
    let world = World::seeded(8);
    world.run(async {
        let control = world.open().await;
        let it = agent(|ctx, input| async move {
            if input["item"].as_u64() < Some(8) {
                ctx.sleep(secs(500)).await;
            }
            Ok(json!(1).into())
        });
        register(&control, "it", it).await;
        let yaml = one(", for_each: \"${{ inputs.list }}\", max_parallel: 8, timeout: 10s, on_failure: continue, retry: { maximum_attempts: 1 }");
        let run = begin(&control, &yaml, json!({"list": [0, 1, 2, 3, 4, 5, 6, 7, 8]})).await;
        let position = run.settled_or_blocked().await.unwrap();
        assert_eq!(blocks(&position), [("a[8]".to_owned(), BlockReason::AgentUnavailable, "abandoned_handlers".to_owned())]);
        let outcome = run.outcome().await.unwrap();
        assert_eq!(output(&outcome)[8], 1);
        assert!(world.elapsed() >= secs(500));
    });
}

#[test]
fn a_call_that_waits_for_money_is_refused_once_its_attempt_is_abandoned() {
    let world = World::seeded(14);
    let notes = Notes::default();
    world.run(async {
        let control = world.open().await;
        let seen = notes.clone();
        let it = agent(move |ctx, input| {
            let seen = seen.clone();
            async move {
                let admission = ctx.reserve(&request("p", 80)).await;
                seen.add(format!("{}: {}", input["item"], admission.is_ok()));
                ctx.sleep(secs(50)).await;
                Ok(json!(1).into())
            }
        });
        register(&control, "it", it).await;
        set(&control, AccountId::Workspace, 100, OnExceed::Abort).await;
        let yaml = one(", for_each: \"${{ inputs.list }}\", timeout: 10s, on_failure: continue, retry: { maximum_attempts: 1 }");
        let run = begin(&control, &yaml, json!({"list": [1, 2]})).await;
        run.outcome().await.unwrap();
        world.pass(secs(1)).await;
        let refused = notes.all().iter().filter(|note| note.ends_with("false")).count();
        assert_eq!((notes.len(), refused), (2, 1));
        assert_eq!(control.metrics().waiting, 0);
    });
}
