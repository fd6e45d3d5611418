//! Suspended steps: they wait for a signal or a time, and are entered again with it.

use crate::common::*;

/// An agent that waits for the signal `go`, then for a time, and tells what it was given.
fn waiter() -> Agent {
    agent(|ctx, _| async move {
        match ctx.resumed() {
            None => Ok(suspended(json!("first"), go())),
            Some((checkpoint, given)) => Ok(json!([checkpoint, given, ctx.attempt()]).into()),
        }
    })
}

#[test]
fn a_step_waits_for_a_signal_and_is_entered_again_with_it() {
    let world = World::seeded(11);
    world.run(async {
        let control = open_for(&world, "it", waiter()).await;
        let run = begin(&control, &one(""), json!({})).await;
        let position = run.settled_or_blocked().await.unwrap();
        assert_eq!(blocks(&position)[0].1, BlockReason::Signal);
        run.signal("ann", "other", json!(1)).await.unwrap();
        assert_eq!(status(&run, "a").await, StepStatus::Blocked);
        run.signal("ann", "go", json!({"yes": true})).await.unwrap();
        assert_eq!(output_of(&run).await, json!(["first", {"yes": true}, 2]));
    });
}

#[test]
fn a_signal_that_came_before_it_was_waited_for_is_kept() {
    let world = World::seeded(12);
    world.run(async {
        let control = world.open().await;
        let it = agent(|ctx, _| async move {
            if ctx.resumed().is_none() {
                ctx.sleep(secs(10)).await;
            }
            match ctx.resumed() {
                None => Ok(suspended(json!(0), go())),
                Some((_, given)) => Ok(given.cloned().unwrap_or_default().into()),
            }
        });
        register(&control, "it", it).await;
        let run = begin(&control, &one(""), json!({})).await;
        run.signal("ann", "go", json!("early")).await.unwrap();
        assert_eq!(output_of(&run).await, json!("early"));
    });
}

#[test]
fn a_step_sleeps_until_its_time() {
    let world = World::seeded(13);
    world.run(async {
        let control = world.open().await;
        let it = agent(move |ctx, _| async move {
            match ctx.resumed() {
                None => Ok(suspended(json!(7), until(3_600))),
                Some((checkpoint, _)) => Ok(checkpoint.clone().into()),
            }
        });
        register(&control, "it", it).await;
        let run = begin(&control, &one(""), json!({})).await;
        assert_eq!(output_of(&run).await, json!(7));
        assert_eq!(world.elapsed(), secs(3_600));
    });
}
