//! The life of an engine: ends, paging, clocks, limits, and what it tells of itself.

use std::collections::BTreeMap;

use crate::common::*;
use mission_control::core::error::Detail;
use mission_control::core::ports::Clock;
use mission_control::{Health, RunId};

#[test]
fn the_outcome_is_there_after_the_end_from_any_handle_and_after_a_restart() {
    let world = World::seeded(3);
    let (id, outcome) = world.run(async {
        let control = open_echo(&world).await;
        let run = begin(&control, ECHO, json!({"x": 1})).await;
        let outcome = run.outcome().await.unwrap();
        assert_eq!(run.outcome().await.unwrap(), outcome);
        assert_eq!(control.run(run.id()).outcome().await.unwrap(), outcome);
        (run.id(), outcome)
    });
    world.crash();
    world.run(async {
        let control = world.open().await;
        assert_eq!(control.run(id).outcome().await.unwrap(), outcome);
    });
}

#[test]
fn unknown_ids_are_not_found() {
    let world = World::seeded(4);
    world.run(async {
        let control = open_echo(&world).await;
        let run = control.run(RunId::from_bytes([7; 16]));
        let not_found = |error: mission_control::Error| error.kind() == ErrorKind::NotFound;
        assert!(not_found(run.outcome().await.unwrap_err()));
        assert!(not_found(run.state().await.unwrap_err()));
        assert!(not_found(
            run.abort(("ann", "as tested")).await.unwrap_err()
        ));
        assert!(not_found(
            run.pause(("ann", "as tested")).await.unwrap_err()
        ));
        assert!(not_found(
            run.resume(("ann", "as tested")).await.unwrap_err()
        ));
        assert!(not_found(
            run.signal("ann", "s", json!(1)).await.unwrap_err()
        ));
        assert!(not_found(run.events().next().await.unwrap_err()));
        assert!(not_found(run.doubts().await.unwrap_err()));
        let account = AccountId::Run(run.id());
        let set = control
            .set_limit(("ann", "as tested"), account, limit(1), OnExceed::Abort)
            .await;
        assert!(not_found(set.unwrap_err()));
        let start = control
            .start("nowhere", json!({}), StartOptions::by("ann"))
            .await;
        assert!(not_found(start.unwrap_err()));
    });
}

#[test]
fn runs_that_sleep_leave_memory_and_wake_once_each_in_order() {
    let world = World::seeded(7);
    world.run(async {
        let control = world.open_with(few()).await;
        register(&control, "it", parked()).await;
        let first = begin(&control, ONE, json!({"until": 10_000})).await;
        let mut runs = vec![(10_000, first)];
        for n in 0..200_u64 {
            let until = 10_000 + (n * 37) % 200 + 1;
            let run = start(&control, json!({"until": until})).await;
            runs.push((until, run));
        }
        world.pass(secs(10)).await;
        assert!(
            control.metrics().resident_runs <= 4,
            "{:?}",
            control.metrics()
        );
        for (until, run) in runs {
            run.outcome().await.unwrap();
            assert_eq!(count(&control, &run, "step.dispatched").await, 2);
            let events = events(&control, &run).await;
            let again = events
                .iter()
                .rfind(|event| &*event.kind == "step.dispatched")
                .unwrap();
            assert_eq!(
                again.ts.as_unix_us(),
                1_767_225_600_000_000 + i64::try_from(until).unwrap() * 1_000_000
            );
        }
    });
}

#[test]
fn a_signal_reaches_a_run_that_is_not_in_memory() {
    let world = World::seeded(8);
    world.run(async {
        let control = world.open_with(few()).await;
        register(&control, "it", parked()).await;
        let mut runs = vec![begin(&control, ONE, json!({})).await];
        for _ in 0..200 {
            runs.push(start(&control, json!({})).await);
        }
        world.pass(secs(1)).await;
        assert!(control.metrics().resident_runs <= 4);
        for (n, run) in runs.iter().enumerate() {
            run.signal("ann", "go", json!(n)).await.unwrap();
            assert_eq!(output_of(run).await, json!(n));
        }
        world.pass(secs(1)).await;
        assert!(control.metrics().resident_runs <= 4);
    });
}

#[test]
fn a_jump_of_the_wall_clock_is_an_event_and_time_never_goes_back() {
    let world = World::seeded(9);
    world.run(async {
        let control = open_echo(&world).await;
        begin(&control, ECHO, json!({}))
            .await
            .outcome()
            .await
            .unwrap();
        let clock = world.0.simulation().clock();
        let back =
            mission_control::Timestamp::from_unix_us(clock.now().as_unix_us() - 3_600_000_000);
        clock.set_wall(back);
        let run = start(&control, json!({})).await;
        run.outcome().await.unwrap();
        world.pass(secs(1)).await;
        let log = control.log().read_workspace(0, 1_000).await.unwrap();
        assert!(log.windows(2).all(|pair| pair[0].ts <= pair[1].ts));
        assert_eq!(
            log.iter()
                .filter(|event| &*event.kind == "clock.jumped")
                .count(),
            1
        );
    });
}

#[test]
fn an_open_engine_that_does_not_dispatch_yet_stands_still() {
    let world = World::seeded(14);
    let id = world.run(async {
        let control = open_for(&world, "it", parked()).await;
        let run = begin(&control, ONE, json!({"until": 100})).await;
        world.pass(secs(10)).await;
        run.id()
    });
    world.crash();
    world.run(async {
        let control = open_for(&world, "it", parked()).await;
        world.pass(secs(1_000)).await;
        assert_eq!(status(&control.run(id), "a").await, StepStatus::Waiting);
        control.start_dispatch().await.unwrap();
        control.run(id).outcome().await.unwrap();
    });
}

#[test]
fn limits_of_a_start_are_named() {
    let world = World::seeded(15);
    world.run(async {
        let control = open_echo(&world).await;
        control
            .publish(Workflow::from_yaml(ECHO).unwrap())
            .await
            .unwrap();
        let labels = |count: usize, len: usize| -> BTreeMap<String, String> {
            (0..count)
                .map(|n| (format!("k{n}"), "v".repeat(len)))
                .collect()
        };
        for (labels, name) in [
            (labels(33, 1), "labels"),
            (labels(1, 257), "bytes in a label's value"),
        ] {
            let options = StartOptions {
                labels,
                ..StartOptions::by("ann")
            };
            let error = control.start("w", json!({}), options).await.unwrap_err();
            assert!(
                matches!(error.detail(), Some(Detail::Limit { name: named, .. }) if *named == name),
                "{error:?}"
            );
        }
        let options = StartOptions {
            labels: labels(32, 256),
            ..StartOptions::by("ann")
        };
        control.start("w", json!({}), options).await.unwrap();
        let long = StartOptions {
            correlation_id: Some("x".repeat(129)),
            ..StartOptions::by("ann")
        };
        assert_eq!(
            control
                .start("w", json!({}), long)
                .await
                .unwrap_err()
                .kind(),
            ErrorKind::InvalidInput
        );
    });
}

#[test]
fn a_run_keeps_a_thousand_signals_and_names_the_limit() {
    let world = World::seeded(16);
    world.run(async {
        let control = open_for(&world, "it", parked()).await;
        let run = begin(&control, ONE, json!({})).await;
        for n in 0..1_000 {
            run.signal("ann", "other", json!(n)).await.unwrap();
        }
        let error = run.signal("ann", "other", json!(0)).await.unwrap_err();
        assert!(matches!(
            error.detail(),
            Some(Detail::Limit { max: 1_000, .. })
        ));
    });
}

#[test]
fn metrics_count_what_happened() {
    let world = World::seeded(17);
    world.run(async {
        let control = open_echo(&world).await;
        begin(&control, ECHOES, json!({}))
            .await
            .outcome()
            .await
            .unwrap();
        world.pass(secs(1)).await;
        let metrics = control.metrics();
        assert_eq!(
            (metrics.attempts, metrics.live_attempts, metrics.waiting),
            (2, 0, 0)
        );
        assert_eq!(metrics.durable_seq, metrics.events);
        assert!(matches!(control.health(), Health::Up));
    });
}

#[test]
fn whoever_watches_a_run_sees_how_far_its_attempts_have_come() {
    let world = World::seeded(16);
    world.run(async {
        let control = world.open().await;
        let it = agent(|ctx, _| async move {
            for tokens in [10, 20] {
                ctx.progress(100, tokens);
                ctx.sleep(secs(10)).await;
            }
            Ok(json!(1).into())
        });
        register(&control, "echo", it).await;
        let run = begin(&control, ECHO, json!({})).await;
        for (pass, tokens) in [(5, 10), (10, 20)] {
            world.pass(secs(pass)).await;
            let progress = run.progress().remove(0);
            assert_eq!(
                (progress.input_tokens, progress.output_tokens),
                (100, tokens)
            );
            assert_eq!(progress.step.as_str(), "a");
        }
        run.outcome().await.unwrap();
        world.pass(secs(1)).await;
        assert!(run.progress().is_empty());
    });
}
