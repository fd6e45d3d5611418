//! A handle that has joined another: what its owner's ups and downs do to it.

use crate::common::*;
use crate::restart::{Next, faulty_world};
use mission_control::{AbortReason, Admission, Health, Policy, RunQuery};

/// A joined session whose block has room for four more calls.
async fn session(joined: &Joined) -> Session {
    let opened = joined.control.guard("it", SessionOptions::default());
    let session = opened.await.unwrap();
    let first = request("first", 50);
    let called = session.model_call(&first, |_| async { Ok(answer("ok", 20)) });
    called.await.unwrap();
    session
}

fn workspace(control: &MissionControl) -> Account {
    control.account(&AccountId::Workspace).unwrap_or_default()
}

#[test]
fn calls_inside_a_block_are_admitted_without_asking() {
    let world = World::seeded(1);
    world.run(async {
        let owner = world.open().await;
        let joined = join(&world, &owner);
        let session = session(&joined).await;
        let before = joined.asked();
        let mut permits = Vec::new();
        for n in 0..4 {
            let request = request(&n.to_string(), 50);
            let Admission::Allowed(permit) = session.reserve(&request).await.unwrap() else {
                panic!("it lies inside the block");
            };
            permits.push(permit);
        }
        // Each was told, none was asked for: the owner has them all.
        assert_eq!(joined.asked(), before);
        assert_eq!(workspace(&owner).reserved().money, mills(230));
        for permit in permits {
            permit.settle(&answer("ok", 20)).await.unwrap();
        }
        session.close().await.unwrap();
        assert_eq!(workspace(&owner).spent().money, mills(100));
        assert_eq!(workspace(&owner).exposure().money, mills(100));
    });
}

#[test]
fn a_joined_process_and_its_owner_never_spend_more_than_the_limit_together() {
    let world = World::seeded(2);
    world.run(async {
        let owner = world.open().await;
        let set = owner.set_limit(
            ("ann", "as tested"),
            AccountId::Workspace,
            limit(1_000),
            OnExceed::Abort,
        );
        set.await.unwrap();
        let joined = join(&world, &owner);
        let mut spent = 0;
        for control in [&joined.control, &owner, &joined.control, &owner] {
            let session = control
                .guard("it", SessionOptions::default())
                .await
                .unwrap();
            for n in 0..20 {
                let request = request(&n.to_string(), 20);
                let called = session.model_call(&request, |_| async { Ok(answer("ok", 20)) });
                spent += i64::from(called.await.is_ok()) * 20;
            }
            assert!(workspace(&owner).exposure().money <= mills(1_000));
            session.close().await.unwrap();
        }
        assert_eq!(workspace(&owner).spent().money, mills(spent));
        assert_eq!(spent, 1_000);
    });
}

#[test]
fn a_session_that_is_aborted_while_its_block_is_lent_leaves_all_of_it_in_doubt() {
    let world = World::seeded(3);
    world.run(async {
        let owner = world.open().await;
        let joined = join(&world, &owner);
        let session = session(&joined).await;
        owner
            .run(session.id())
            .abort(("ann", "as tested"))
            .await
            .unwrap();
        let outcome = owner.run(session.id()).outcome().await.unwrap();
        assert_eq!(outcome, Outcome::Aborted(AbortReason::Operator));
        // A call may have gone out a moment before the other process heard of it.
        assert_eq!(workspace(&owner).in_doubt().money, mills(230));
        let error = session.reserve(&request("more", 50)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    });
}

#[test]
fn a_process_that_is_lost_with_a_call_out_leaves_its_block_in_doubt() {
    let world = World::seeded(4);
    world.run(async {
        let owner = world.open().await;
        let joined = join(&world, &owner);
        let session = session(&joined).await;
        let drawn = session.reserve(&request("out", 50)).await.unwrap();
        assert!(matches!(drawn, Admission::Allowed(_)));
        joined.kill().await;
        let outcome = owner.run(session.id()).outcome().await.unwrap();
        assert_eq!(outcome, Outcome::Aborted(AbortReason::HostLost));
        let account = workspace(&owner);
        assert_eq!(account.spent().money, mills(20));
        assert_eq!(account.in_doubt().money, mills(230));
        assert_eq!(account.reserved().money, mills(0));
    });
}

#[test]
fn while_a_breaker_is_open_every_call_is_asked_for() {
    let world = World::seeded(5);
    world.run(async {
        let owner = world.open().await;
        let joined = join(&world, &owner);
        let session = session(&joined).await;
        for n in 0..5 {
            let request = request(&n.to_string(), 50);
            let failed = |_| async {
                let failure = CallFailure::Unreachable;
                Err(ProviderError::new(failure, "nobody there"))
            };
            session.model_call(&request, failed).await.unwrap_err();
        }
        let before = joined.asked();
        let request = request("after", 50);
        let ok = session.model_call(&request, |_| async { Ok(answer("ok", 20)) });
        ok.await.unwrap();
        // Told to wait, reserved, and settled.
        assert_eq!(joined.asked(), before + 3);
        session.close().await.unwrap();
        assert_eq!(workspace(&owner).exposure().money, mills(40));
    });
}

#[test]
fn what_a_joined_process_has_out_keeps_its_place_when_a_commit_fails() {
    let (world, disk) = faulty_world();
    world.run(async {
        let owner = world.open().await;
        let joined = join(&world, &owner);
        let slow = agent(|ctx, _| async move {
            let answered = call(&ctx, "p", 50, 20).await?;
            Ok(answered.output.into())
        });
        register(&joined.control, "it", slow).await;
        let session = session(&joined).await;
        let flow = "{ workflow: w, steps: { a: { agent: it } } }";
        let run = begin(&owner, flow, json!({})).await;
        world.pass(Duration::from_millis(500)).await;
        disk.set(Next::Fails);
        let more = request("more", 50);
        let called = session.model_call(&more, |_| async { Ok(answer("ok", 20)) });
        called.await.unwrap();
        let outcome = run.outcome().await.unwrap();
        assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
        session.close().await.unwrap();
        assert!(matches!(owner.health(), Health::Up));
        assert_eq!(owner.metrics().soft_restarts, 1);
        assert_eq!(workspace(&owner).spent().money, mills(60));
        assert_eq!(workspace(&owner).exposure().money, mills(60));
    });
}

#[test]
fn a_far_attempt_that_takes_too_long_is_told_to_stop_and_done_again() {
    let world = World::seeded(6);
    world.run(async {
        let owner = world.open().await;
        let joined = join(&world, &owner);
        let hanging = agent(|ctx, _| async move {
            if ctx.attempt() == 1 {
                ctx.cancelled().await;
                return Err(AgentError::with_code("cancelled", "told to stop"));
            }
            Ok(json!({"ok": true}).into())
        });
        register(&joined.control, "it", hanging).await;
        let flow = "{ workflow: w, steps: { a: { agent: it, timeout: 5s } } }";
        let run = begin(&owner, flow, json!({})).await;
        let outcome = run.outcome().await.unwrap();
        assert_eq!(outcome.output(), Some(&json!({"ok": true})));
    });
}

#[test]
fn a_joined_process_sees_the_policy_in_force_and_its_versions() {
    let world = World::seeded(31);
    world.run(async {
        let owner = world.open().await;
        let joined = join(&world, &owner);
        let seen = joined.control.policy().unwrap();
        assert_eq!(seen, owner.policy().unwrap());
        assert_eq!(seen.version, 0);
        let policy = Policy::from_yaml("approvals: { from: financial }").unwrap();
        let published = joined.control.publish_policy("ann", policy).await.unwrap();
        assert_eq!(published.version, 1);
        for control in [&joined.control, &owner] {
            assert_eq!(control.policy().unwrap(), published);
            assert_eq!(control.policy_version(1).await.unwrap(), published);
            assert_eq!(control.policy_history().await.unwrap().len(), 1);
        }
    });
}

#[test]
fn a_question_of_a_joined_process_is_answered_as_the_owner_answers_it() {
    let world = World::seeded(32);
    world.run(async {
        let owner = world.open().await;
        let joined = join(&world, &owner);
        let session = session(&joined).await;
        let (ours, theirs) = (&joined.control, &owner);
        let run = AccountId::Run(session.id());
        for id in [AccountId::Workspace, run] {
            assert_eq!(ours.account(&id), theirs.account(&id), "{id:?}");
            let overshoot = |control: &MissionControl| control.worst_case_overshoot(&id);
            assert_eq!(overshoot(ours), overshoot(theirs));
        }
        assert_eq!(ours.prices().version(), theirs.prices().version());
        assert_eq!(ours.halts(), theirs.halts());
        assert_eq!(ours.metrics(), theirs.metrics());
        assert!(matches!(ours.health(), Health::Up));
        let a = ours.runs(RunQuery::default()).await.unwrap();
        let b = theirs.runs(RunQuery::default()).await.unwrap();
        assert_eq!(a.items.len(), b.items.len());
        session.close().await.unwrap();
    });
}
