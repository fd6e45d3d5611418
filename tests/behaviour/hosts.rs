//! Agents of a joined process: what the owner's and the process' ups and downs do to what they do.

use crate::asking::pending;
use crate::common::*;
use crate::restart::{Next, faulty_world};

/// Hangs in its first attempt until it is told to stop.
fn hangs_once() -> Agent {
    agent(|ctx, _| async move {
        if ctx.attempt() == 1 {
            ctx.cancelled().await;
            return Err(AgentError::with_code("cancelled", "told to stop"));
        }
        Ok(json!({"ok": true}).into())
    })
}

#[test]
fn a_far_attempt_still_times_out_after_a_failed_commit() {
    let (world, disk) = faulty_world();
    world.run(async {
        let owner = world.open().await;
        let joined = join(&world, &owner);
        register(&joined.control, "it", hangs_once()).await;
        let run = begin(&owner, &one(", timeout: 60s"), json!({})).await;
        world.pass(secs(1)).await;
        disk.set(Next::Fails);
        let other = guard(&owner).await;
        other.close().await.unwrap();
        assert_eq!(owner.metrics().soft_restarts, 1);
        let outcome = run.outcome().await.unwrap();
        assert_eq!(outcome.output(), Some(&json!({"ok": true})));
    });
}

#[test]
fn a_dispatch_whose_only_agent_died_meanwhile_is_not_in_doubt_and_waits_for_another() {
    let world = World::seeded(2);
    world.run(async {
        let owner = world.open().await;
        let joined = join(&world, &owner);
        let echo = || agent(|ctx, _| async move { Ok(json!(ctx.attempt()).into()) });
        register(&joined.control, "it", echo()).await;
        let flow = one(", risk: irreversible, approval: { expires_in: 1h }");
        let run = begin(&owner, &flow, json!({})).await;
        run.settled_or_blocked().await.unwrap();
        let asked = pending(&owner, &run).await;
        // It goes out with the approval, and its process is gone before that is on disk.
        let (approved, ()) =
            futures::future::join(owner.approve(asked, "bob", "yes"), joined.kill()).await;
        approved.unwrap();
        let position = run.settled_or_blocked().await.unwrap();
        let missing = BlockReason::AgentUnavailable;
        assert_eq!(blocks(&position), [("a".into(), missing, String::new())]);
        // The approval still counts for the same intent.
        register(&owner, "it", echo()).await;
        completes(&run).await;
    });
}

#[test]
fn a_dispatch_whose_only_agent_leaves_meanwhile_still_reaches_it() {
    let world = World::seeded(3);
    world.run(async {
        let owner = world.open().await;
        let joined = join(&world, &owner);
        let echo = || agent(|ctx, _| async move { Ok(json!(ctx.attempt()).into()) });
        register(&joined.control, "it", echo()).await;
        let workflow = Workflow::from_yaml(ONE).unwrap();
        owner.publish(workflow).await.unwrap();
        owner.start_dispatch().await.unwrap();
        let (run, ()) = futures::future::join(start(&owner, json!({})), joined.leave()).await;
        completes(&run).await;
    });
}
