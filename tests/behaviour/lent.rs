//! A block in the hand of a joined process: what it draws is in the books, whatever comes between.

use crate::common::*;
use mission_control::Policy;

/// A joined session whose block has room for four more calls.
async fn session(joined: &Joined) -> Session {
    let opened = joined.control.guard("it", SessionOptions::default());
    let session = opened.await.unwrap();
    let first = request("first", 50);
    let called = session.model_call(&first, |_| async { Ok(answer("ok", 20)) });
    called.await.unwrap();
    session
}

/// The permit of a call that may go out.
fn permit(admission: Admission) -> mission_control::Permit {
    match admission {
        Admission::Allowed(permit) | Admission::Clamped(permit) => permit,
        other @ (Admission::Answered(_) | Admission::NeedsApproval(_) | Admission::Denied(_)) => {
            panic!("{other:?}")
        }
    }
}

#[test]
fn a_drawn_call_that_is_throttled_and_sent_again_is_paid_for() {
    let world = World::seeded(1);
    world.run(async {
        let owner = world.open().await;
        let joined = join(&world, &owner);
        let session = session(&joined).await;
        let refusals = std::sync::atomic::AtomicU32::new(2);
        let request = request("more", 50);
        let called = session.model_call(&request, |_| {
            let left = refusals.load(std::sync::atomic::Ordering::SeqCst);
            refusals.store(left.saturating_sub(1), std::sync::atomic::Ordering::SeqCst);
            async move {
                match left {
                    0 => Ok(answer("ok", 20)),
                    _ => Err(ProviderError::new(status_code(429), "slow down")),
                }
            }
        });
        called.await.unwrap();
        assert_eq!(workspace(&owner).spent().money, mills(40));
        session.close().await.unwrap();
        assert_eq!(workspace(&owner).exposure().money, mills(40));
    });
}

#[test]
fn a_call_of_too_many_messages_does_not_go_out_of_a_joined_session() {
    let world = World::seeded(2);
    world.run(async {
        let owner = world.open().await;
        let joined = join(&world, &owner);
        let session = session(&joined).await;
        let mut long = request("m", 50);
        long.messages = vec![json!("m"); 65_535];
        let error = session.reserve(&long).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(workspace(&owner).reserved().money, mills(230));
    });
}

#[test]
fn what_is_drawn_beside_a_call_that_is_asked_for_is_held_in_full() {
    let world = World::seeded(3);
    world.run(async {
        let owner = world.open().await;
        let joined = join(&world, &owner);
        let session = session(&joined).await;
        let (large, small) = (request("large", 1_000), request("small", 50));
        // The large one takes what the block has left; the small one may not count on it as well.
        let (large, small) =
            futures::future::join(session.reserve(&large), session.reserve(&small)).await;
        let both = [permit(large.unwrap()), permit(small.unwrap())];
        assert!(workspace(&owner).reserved().money >= mills(1_050));
        for permit in both {
            permit.settle(&answer("ok", 50)).await.unwrap();
        }
        session.close().await.unwrap();
        assert_eq!(workspace(&owner).exposure().money, mills(120));
    });
}

#[test]
fn what_an_answer_cost_over_its_bound_is_not_taken_from_calls_that_are_out() {
    let world = World::seeded(4);
    world.run(async {
        let owner = world.open().await;
        let joined = join(&world, &owner);
        let session = session(&joined).await;
        let first = permit(session.reserve(&request("a", 50)).await.unwrap());
        // It was billed more than it could cost: all that the block has left, and more.
        let greedy = answer("ok", 500);
        let second = request("b", 50);
        let (settled, second) =
            futures::future::join(first.settle(&greedy), session.reserve(&second)).await;
        settled.unwrap();
        let second = permit(second.unwrap());
        assert!(workspace(&owner).reserved().money >= mills(50));
        second.settle(&answer("ok", 50)).await.unwrap();
        session.close().await.unwrap();
        assert_eq!(workspace(&owner).exposure().money, mills(570));
    });
}

#[test]
fn a_policy_on_unknown_models_binds_joined_sessions() {
    let world = World::seeded(5);
    world.run(async {
        let owner = world.open().await;
        let joined = join(&world, &owner);
        let session = session(&joined).await;
        let policy = Policy::from_yaml("unknown_models: { free: [test/m] }").unwrap();
        owner.publish_policy("ann", policy).await.unwrap();
        let before = joined.asked();
        drop(permit(session.reserve(&request("x", 50)).await.unwrap()));
        // The owner has a word to say on every call from now on.
        assert_eq!(joined.asked(), before + 1);
    });
}

#[test]
fn a_session_that_policy_refuses_leaves_nothing_at_the_owner() {
    let world = World::seeded(6);
    world.run(async {
        let owner = world.open().await;
        let joined = join(&world, &owner);
        let rule = "guardrails: [{ id: r, mode: enforce, at: admission, agents: { deny: [it] } }]";
        let policy = Policy::from_yaml(rule).unwrap();
        owner.publish_policy("ann", policy).await.unwrap();
        let before = owner.metrics().live_attempts;
        let refused = joined.control.guard("it", SessionOptions::default()).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::PolicyDenied);
        assert_eq!(owner.metrics().live_attempts, before);
        // Nothing keeps the owner from going.
        owner.shutdown(secs(600)).await.unwrap();
        assert!(world.elapsed() < secs(600));
    });
}

#[test]
fn a_place_that_is_asked_for_twice_is_refused_and_harms_nobody() {
    let world = World::seeded(7);
    world.run(async {
        let owner = world.open().await;
        let joined = join(&world, &owner);
        joined.ask_twice();
        let opened = joined.control.guard("it", SessionOptions::default());
        let session = opened.await.unwrap();
        let twice = session.reserve(&request("p", 50)).await.unwrap_err();
        assert_eq!(twice.kind(), ErrorKind::InvalidTransition);
        assert_eq!(owner.metrics().soft_restarts, 0);
    });
}
