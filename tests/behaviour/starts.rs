//! Starting: keys, versions, and agents that are not there yet.

use crate::common::*;
use mission_control::core::error::Detail;

#[test]
fn a_key_finds_the_run_that_it_started_and_is_refused_to_another_request() {
    let world = World::seeded(10);
    world.run(async {
        let control = open_echo(&world).await;
        let options = StartOptions { idempotency_key: Some("k".into()), ..StartOptions::by("ann") };
        let first = begin_with(&control, ECHO, json!({"x": 1}), options.clone()).await;
        let again = control.start("w", json!({"x": 1}), options.clone()).await.unwrap();
        assert_eq!(again.id(), first.id());
        let error = control.start("w", json!({"x": 2}), options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(matches!(error.detail(), Some(Detail::KeyReused { run_id, .. }) if *run_id == first.id().to_string()));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_starts_with_one_key_are_one_run() {
    let log = Arc::new(mission_control::store::MemoryLog::new());
    let control = mission_control::Builder::new().open_log(log).await.unwrap();
    register(&control, "echo", echo()).await;
    control
        .publish(Workflow::from_yaml(ECHO).unwrap())
        .await
        .unwrap();
    let options = StartOptions {
        idempotency_key: Some("k".into()),
        ..StartOptions::by("ann")
    };
    let starts: Vec<_> = (0..100)
        .map(|_| {
            let (control, options) = (control.clone(), options.clone());
            tokio::spawn(async move { control.start("w", json!({}), options).await.unwrap().id() })
        })
        .collect();
    let mut ids = std::collections::BTreeSet::new();
    for start in starts {
        ids.insert(start.await.unwrap());
    }
    assert_eq!(ids.len(), 1);
}

#[test]
fn a_run_keeps_its_version_and_new_runs_take_the_active_one() {
    let world = World::seeded(11);
    world.run(async {
        let control = open_for(&world, "it", parked()).await;
        register(&control, "echo", echo()).await;
        let old = begin(&control, ONE, json!({})).await;
        let two = control
            .publish(Workflow::from_yaml(ECHOES).unwrap())
            .await
            .unwrap();
        assert_eq!(two.version, 2);
        old.settled_or_blocked().await.unwrap();
        old.signal("ann", "go", json!("v1")).await.unwrap();
        assert_eq!(output(&old.outcome().await.unwrap()), json!("v1"));
        let new = start(&control, json!({})).await;
        assert_eq!(new.state().await.unwrap().workflow().unwrap().1, 2);
        control.activate("ann", "w", 1).await.unwrap();
        let back = start(&control, json!({})).await;
        assert_eq!(back.state().await.unwrap().workflow().unwrap().1, 1);
    });
}

#[test]
fn a_start_without_its_agents_is_refused_by_name() {
    let world = World::seeded(12);
    world.run(async {
        let control = world.open().await;
        control
            .publish(Workflow::from_yaml(ECHO).unwrap())
            .await
            .unwrap();
        let error = control
            .start("w", json!({}), StartOptions::by("ann"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidWorkflow);
        assert!(error.message().contains("echo"), "{error}");
    });
}

#[test]
fn a_step_without_its_agent_waits_and_wakes_when_it_comes() {
    let world = World::seeded(13);
    let id = world.run(async {
        let control = open_echo(&world).await;
        control
            .publish(Workflow::from_yaml(ECHO).unwrap())
            .await
            .unwrap();
        start(&control, json!({})).await.id()
    });
    world.crash();
    world.run(async {
        let control = world.open().await;
        control.start_dispatch().await.unwrap();
        let run = control.run(id);
        let position = run.settled_or_blocked().await.unwrap();
        assert_eq!(blocks(&position)[0].1, BlockReason::AgentUnavailable);
        register(&control, "echo", echo()).await;
        completes(&run).await;
    });
}
