//! Callers that give up: what they waited for bars nobody, and holds no money.

use std::task::Poll;

use mission_control::{Permit, Policy};

use crate::common::*;

fn permit(admission: Admission) -> Permit {
    let Admission::Allowed(permit) = admission else {
        panic!("{admission:?}");
    };
    permit
}

/// What a future gives within a second, if it does; it is dropped behind that.
async fn within<F: Future>(world: &World, future: F) -> Option<F::Output> {
    let future = std::pin::pin!(future);
    match futures::future::select(future, std::pin::pin!(world.pass(secs(1)))).await {
        futures::future::Either::Left((done, _)) => Some(done),
        futures::future::Either::Right(_) => None,
    }
}

async fn reserve(session: &Session, mills: u64) -> Permit {
    permit(session.reserve(&request("p", mills)).await.unwrap())
}

async fn limited(world: &World) -> MissionControl {
    let control = world.open().await;
    set(&control, AccountId::Workspace, 100, OnExceed::Pause).await;
    control
}

#[test]
fn a_caller_that_gave_up_bars_nobody_in_the_queue() {
    let world = World::seeded(1);
    world.run(async {
        let control = limited(&world).await;
        let (one, two, three) = (
            guard(&control).await,
            guard(&control).await,
            guard(&control).await,
        );
        let out = reserve(&one, 80).await;
        let large = request("p", 50);
        assert!(within(&world, two.reserve(&large)).await.is_none());
        let small = within(&world, reserve(&three, 20)).await;
        small
            .expect("nobody waits before it")
            .settle(&answer("ok", 20))
            .await
            .unwrap();
        out.settle(&answer("ok", 10)).await.unwrap();
    });
}

#[test]
fn nothing_is_held_for_a_caller_that_gave_up_while_it_waited() {
    let world = World::seeded(2);
    world.run(async {
        let control = limited(&world).await;
        let (one, two) = (guard(&control).await, guard(&control).await);
        let out = reserve(&one, 80).await;
        let large = request("p", 50);
        assert!(within(&world, two.reserve(&large)).await.is_none());
        out.settle(&answer("ok", 10)).await.unwrap();
        one.close().await.unwrap();
        world.pass(secs(1)).await;
        assert!(workspace(&control).reserved().is_zero());
        assert!(workspace(&control).in_doubt().is_zero());
        let run = control.run(two.id());
        assert_eq!(count(&control, &run, "model_call.reserved").await, 0);
    });
}

#[test]
fn a_permit_that_nobody_took_is_released_as_not_sent() {
    let world = World::seeded(3);
    world.run(async {
        let control = limited(&world).await;
        let session = guard(&control).await;
        let asked = request("p", 50);
        let mut future = Box::pin(session.reserve(&asked));
        // It is decided, and not on disk yet, when its caller goes.
        assert!(futures::poll!(&mut future).is_pending());
        drop(future);
        world.pass(secs(1)).await;
        let run = control.run(session.id());
        session.close().await.unwrap();
        assert_eq!(count(&control, &run, "model_call.reserved").await, 1);
        let released = facts(&control, &run, "model_call.released").await;
        assert_eq!(released["code"], "not_sent");
        assert!(workspace(&control).reserved().is_zero());
        assert!(workspace(&control).in_doubt().is_zero());
    });
}

#[test]
fn a_permit_that_was_handed_out_and_never_looked_at_is_released_as_not_sent() {
    let world = World::seeded(4);
    world.run(async {
        let control = limited(&world).await;
        let session = guard(&control).await;
        let asked = request("p", 50);
        let mut future = Box::pin(session.reserve(&asked));
        assert!(matches!(futures::poll!(&mut future), Poll::Pending));
        world.pass(secs(1)).await;
        drop(future);
        world.pass(secs(1)).await;
        let run = control.run(session.id());
        session.close().await.unwrap();
        assert_eq!(count(&control, &run, "model_call.released").await, 1);
        assert!(workspace(&control).in_doubt().is_zero());
    });
}

#[test]
fn a_caller_that_gave_up_holds_nobody_back_in_a_rate() {
    let world = World::seeded(5);
    world.run(async {
        let control = world.open().await;
        let rates = "rates: [{ for: { provider: test }, in_flight: 1 }]";
        let policy = Policy::from_yaml(rates).unwrap();
        control.publish_policy("ann", policy).await.unwrap();
        let (one, two) = (guard(&control).await, guard(&control).await);
        let out = reserve(&one, 10).await;
        let asked = request("p", 10);
        assert!(within(&world, two.reserve(&asked)).await.is_none());
        let mut third = Box::pin(reserve(&one, 10));
        assert!(futures::poll!(&mut third).is_pending());
        out.settle(&answer("ok", 1)).await.unwrap();
        let next = within(&world, third).await;
        next.expect("its turn has come")
            .settle(&answer("ok", 1))
            .await
            .unwrap();
        let run = control.run(two.id());
        assert_eq!(count(&control, &run, "model_call.reserved").await, 0);
    });
}
