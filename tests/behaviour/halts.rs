//! Halts: what goes out no more, what is stopped, and what goes on when they are lifted.

use crate::common::*;
use mission_control::core::sequencer::HaltScope;

fn of(agent: &str) -> HaltScope {
    format!("agent:{agent}").parse().unwrap()
}

/// An agent that stops when it is told to, and answers after so many seconds otherwise.
fn obedient(seconds: u64, notes: Notes) -> Agent {
    agent(move |ctx, _| {
        let notes = notes.clone();
        async move {
            notes.add(format!("begins {}", ctx.attempt()));
            tokio::select! {
                biased;
                () = ctx.cancelled() => {
                    notes.add("stops");
                    Err(AgentError::new("stopped"))
                }
                () = ctx.sleep(secs(seconds)) => Ok(json!(1).into()),
            }
        }
    })
}

/// An agent that does not listen.
fn deaf(seconds: u64) -> Agent {
    agent(move |ctx, _| async move {
        ctx.sleep(secs(seconds)).await;
        Ok(json!(1).into())
    })
}

#[test]
fn an_agent_that_is_halted_stops_and_is_asked_again_once_it_is_resumed() {
    let world = World::seeded(1);
    world.run(async {
        let notes = Notes::default();
        let control = open_for(&world, "it", obedient(60, notes.clone())).await;
        let run = begin(
            &control,
            &one(", retry: { maximum_attempts: 1 }"),
            json!({}),
        )
        .await;
        world.pass(secs(10)).await;
        control
            .halt(("ann", "it spends"), of("it"), secs(5))
            .await
            .unwrap();
        world.pass(secs(100)).await;
        assert_eq!(notes.all(), ["begins 1", "stops"]);
        let Position::Blocked { steps, .. } = run.settled_or_blocked().await.unwrap() else {
            panic!("it is halted");
        };
        assert_eq!(steps[0].code, "halted");
        control
            .resume(("bob", "as tested"), of("it"))
            .await
            .unwrap();
        completes(&run).await;
        // What was stopped did not count against the one attempt.
        assert_eq!(notes.all(), ["begins 1", "stops", "begins 2"]);
        let placed = control.log().read_workspace(0, 100).await.unwrap();
        let placed = placed
            .iter()
            .find(|record| &*record.kind == "halt.placed")
            .unwrap();
        assert_eq!(placed.actor.to_string(), "operator:ann");
        assert_eq!(placed.parts.len(), 1);
    });
}

#[test]
fn who_does_not_listen_loses_its_token_at_the_deadline() {
    let world = World::seeded(2);
    world.run(async {
        let control = open_for(&world, "it", deaf(60)).await;
        let yaml = one(", retry: { maximum_attempts: 1 }, risk: read");
        let run = begin(&control, &yaml, json!({})).await;
        world.pass(secs(10)).await;
        control
            .halt(("ann", "as tested"), HaltScope::Workspace, secs(5))
            .await
            .unwrap();
        world.pass(secs(4)).await;
        assert_eq!(status(&run, "a").await, StepStatus::Running);
        world.pass(secs(2)).await;
        assert_eq!(status(&run, "a").await, StepStatus::Blocked);
        let abandoned = facts(&control, &run, "attempt.abandoned").await;
        assert_eq!(abandoned["reason"], "halt");
        world.pass(secs(100)).await;
        assert_eq!(count(&control, &run, "result.late").await, 1);
        control
            .resume(("ann", "as tested"), HaltScope::Workspace)
            .await
            .unwrap();
        completes(&run).await;
    });
}

#[test]
fn what_cannot_be_undone_and_was_cut_is_in_doubt() {
    let world = World::seeded(3);
    world.run(async {
        let control = open_for(&world, "it", deaf(60)).await;
        let yaml = one(", risk: irreversible");
        let policy = "approvals: { from: financial }";
        let policy = mission_control::Policy::from_yaml(policy).unwrap();
        control.publish_policy("ann", policy).await.unwrap();
        let run = begin(&control, &yaml, json!({})).await;
        world.pass(secs(10)).await;
        run.halt(("ann", "as tested"), Duration::ZERO)
            .await
            .unwrap();
        run.resume(("ann", "as tested")).await.unwrap();
        let position = run.settled_or_blocked().await.unwrap();
        let blocked = blocks(&position);
        assert_eq!(
            blocked,
            [("a".to_owned(), BlockReason::InDoubt, "halted".to_owned())]
        );
        assert_eq!(count(&control, &run, "step.dispatched").await, 1);
    });
}

#[test]
fn a_run_that_is_halted_stops_and_no_other_does() {
    let world = World::seeded(4);
    world.run(async {
        let notes = Notes::default();
        let control = open_for(&world, "it", obedient(60, notes.clone())).await;
        let halted = begin(&control, &one(""), json!({})).await;
        let other = begin(&control, &one(""), json!({})).await;
        world.pass(secs(10)).await;
        halted.halt(("ann", "as tested"), secs(5)).await.unwrap();
        completes(&other).await;
        world.pass(secs(100)).await;
        assert_eq!(status(&halted, "a").await, StepStatus::Waiting);
        halted.resume(("ann", "as tested")).await.unwrap();
        completes(&halted).await;
        assert_eq!(notes.len(), 4);
    });
}

#[test]
fn calls_and_streams_of_a_session_are_refused_while_its_agent_is_halted() {
    let world = World::seeded(5);
    world.run(async {
        let control = world.open().await;
        let session = guard(&control).await;
        let Admission::Allowed(open) = session.reserve(&request("p", 10)).await.unwrap() else {
            panic!("it has room");
        };
        let agent = "host";
        control
            .halt(("ann", "as tested"), of(agent), secs(1))
            .await
            .unwrap();
        let refused = session.reserve(&request("q", 10)).await;
        let Admission::Denied(error) = refused.unwrap() else {
            panic!("its agent is halted");
        };
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("halted"), "{error}");
        // What is under way is told to stop, and what it cost is taken.
        assert!(open.progress(1, None).await.is_err());
        open.settle(&answer("cut", 5)).await.unwrap();
        assert_eq!(workspace(&control).spent().money, mills(5));
        control
            .resume(("ann", "as tested"), of(agent))
            .await
            .unwrap();
        assert!(matches!(
            session.reserve(&request("q", 10)).await,
            Ok(Admission::Allowed(_))
        ));
        session.close().await.unwrap();
    });
}

#[test]
fn a_halt_outlives_a_crash_and_runs_on_disk_go_on_when_it_is_lifted() {
    let world = World::seeded(6);
    let ids = world.run(async {
        let control = open_with(&world, few(), "it", deaf(1)).await;
        control
            .halt(("ann", "as tested"), HaltScope::Workspace, secs(1))
            .await
            .unwrap();
        let mut ids = Vec::new();
        for _ in 0..40 {
            ids.push(begin(&control, &one(""), json!({})).await.id());
        }
        world.pass(secs(100)).await;
        ids
    });
    world.crash();
    world.run(async {
        let control = open_with(&world, few(), "it", deaf(1)).await;
        control.start_dispatch().await.unwrap();
        world.pass(secs(100)).await;
        assert_eq!(control.halts().len(), 1);
        for id in &ids {
            assert_eq!(status(&control.run(*id), "a").await, StepStatus::Blocked);
        }
        control
            .resume(("ann", "as tested"), HaltScope::Workspace)
            .await
            .unwrap();
        for id in ids {
            completes(&control.run(id)).await;
        }
    });
}

#[test]
fn what_is_not_halted_is_not_resumed_and_a_halt_is_only_cut_shorter() {
    let world = World::seeded(7);
    world.run(async {
        let control = world.open().await;
        let error = control
            .resume(("ann", "as tested"), HaltScope::Workspace)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidTransition);
        control
            .halt(("ann", "as tested"), HaltScope::Workspace, secs(10))
            .await
            .unwrap();
        let first = control.halts();
        control
            .halt(("ann", "as tested"), HaltScope::Workspace, secs(100))
            .await
            .unwrap();
        assert_eq!(control.halts(), first);
        control
            .halt(("ann", "as tested"), HaltScope::Workspace, secs(1))
            .await
            .unwrap();
        assert!(control.halts()[0].1 < first[0].1);
    });
}

#[test]
fn a_joined_process_asks_for_every_call_of_its_sessions_once_they_are_halted() {
    let world = World::seeded(8);
    world.run(async {
        let owner = world.open().await;
        let joined = join(&world, &owner);
        let session = joined
            .control
            .guard("it", SessionOptions::default())
            .await
            .unwrap();
        let first = request("first", 50);
        let called = session.model_call(&first, |_| async { Ok(answer("ok", 20)) });
        called.await.unwrap();
        owner
            .halt(("ann", "as tested"), of("it"), secs(1))
            .await
            .unwrap();
        let refused = session.reserve(&request("second", 50)).await.unwrap();
        assert!(matches!(refused, Admission::Denied(_)), "{refused:?}");
        // From there it is lifted as well.
        joined
            .control
            .resume(("bob", "as tested"), of("it"))
            .await
            .unwrap();
        let again = session.reserve(&request("third", 50)).await.unwrap();
        assert!(matches!(again, Admission::Allowed(_)), "{again:?}");
    });
}
