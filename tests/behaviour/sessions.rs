//! Sessions: calls that are guarded without a workflow, and the blocks that hold their money.

use crate::common::*;
use mission_control::{AbortReason, RunBudget};

#[test]
fn a_session_takes_blocks_and_gives_the_rest_back() {
    let world = World::seeded(11);
    world.run(async {
        let control = world.open().await;
        set(&control, AccountId::Workspace, 10_000, OnExceed::Abort).await;
        let session = guard(&control).await;
        let send = |_| async { Ok(answer("ok", 1)) };
        session.model_call(&request("p", 5), send).await.unwrap();
        let held = workspace(&control).reserved().money;
        assert_eq!(
            held,
            mills(99),
            "one hundredth of the limit, less what was spent"
        );
        session.close().await.unwrap();
        let account = workspace(&control);
        assert_eq!(
            (account.spent().money, account.reserved().money),
            (mills(1), mills(0))
        );
    });
}

#[test]
fn calls_inside_a_durable_block_wait_for_no_commit() {
    let world = World::seeded(12);
    world.run(async {
        let control = world.open().await;
        let session = guard(&control).await;
        let send = |_| async { Ok(answer("ok", 1)) };
        session.model_call(&request("p", 5), send).await.unwrap();
        // A future that is ready at its first poll waited for nothing.
        let next = request("p", 5);
        let call = session.model_call(&next, send);
        let mut call = Box::pin(call);
        let waker = std::task::Waker::noop();
        let polled = call
            .as_mut()
            .poll(&mut std::task::Context::from_waker(waker));
        assert!(
            matches!(polled, std::task::Poll::Ready(Ok(_))),
            "{polled:?}"
        );
    });
}

#[test]
fn a_session_whose_host_dies_leaves_its_block_in_doubt() {
    let world = World::seeded(13);
    let session = world.run(async {
        let control = world.open().await;
        let session = guard(&control).await;
        let send = |_| async { Ok(answer("ok", 1)) };
        session.model_call(&request("p", 5), send).await.unwrap();
        world.pass(secs(1)).await;
        session
    });
    world.crash();
    world.run(async {
        let control = world.open().await;
        let run = control.run(session.id());
        assert_eq!(
            run.outcome().await.unwrap(),
            Outcome::Aborted(AbortReason::HostLost)
        );
        let in_doubt = workspace(&control).in_doubt().money;
        assert_eq!(in_doubt, mills(249));
        assert!(!run.state().await.unwrap().sealed);
    });
}

#[test]
fn an_unknown_model_is_denied_by_name() {
    let world = World::seeded(14);
    world.run(async {
        let control = world.open().await;
        let session = guard(&control).await;
        let mut request = request("p", 5);
        request.model = "test/unknown".parse().unwrap();
        let admission = session.reserve(&request).await.unwrap();
        let Admission::Denied(error) = admission else {
            panic!("{admission:?}")
        };
        assert_eq!(error.kind(), ErrorKind::PolicyDenied);
        assert!(error.message().contains("test/unknown"));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_concurrent_calls_exactly_as_many_pass_as_the_limit_allows() {
    let log = Arc::new(mission_control::store::MemoryLog::new());
    let builder = mission_control::Builder::new().with_settings(settings());
    let control = builder.open_log(log).await.unwrap();
    let budget = RunBudget {
        limit: limit(7 * 50),
        on_exceed: OnExceed::Abort,
    };
    let options = SessionOptions {
        budget: Some(budget),
        ..SessionOptions::default()
    };
    let session = Arc::new(control.guard("host", options).await.unwrap());
    let tasks: Vec<_> = (0..64)
        .map(|n| {
            let session = Arc::clone(&session);
            tokio::spawn(async move {
                let send = |_| async { Ok(answer("ok", 50)) };
                session
                    .model_call(&request(&format!("p{n}"), 50), send)
                    .await
                    .is_ok()
            })
        })
        .collect();
    let mut passed = 0;
    for task in tasks {
        passed += usize::from(task.await.unwrap());
    }
    assert_eq!(passed, 7);
}

#[test]
fn a_permit_that_is_dropped_leaves_its_money_in_doubt() {
    let world = World::seeded(6);
    world.run(async {
        let control = world.open().await;
        let session = guard(&control).await;
        let admission = session.reserve(&request("p", 10)).await.unwrap();
        let Admission::Allowed(permit) = admission else {
            panic!("{admission:?}")
        };
        drop(permit);
        world.pass(secs(1)).await;
        let doubt = workspace(&control).in_doubt().money;
        assert_eq!(doubt, mills(10));
    });
}
