//! Shutting down: what is out may end, what was decided is on disk, and a restart goes on with the
//! rest.

use std::collections::BTreeSet;

use crate::common::*;
use mission_control::{Health, RunId};

#[test]
fn a_shutdown_drains_and_a_restart_goes_on_with_exactly_the_rest() {
    for yaml in [
        "{ workflow: w, steps: { a: { agent: it }, b: { agent: it, needs: [a] } } }",
        "{ workflow: w, steps: { a: { agent: it, for_each: \"[1, 2]\", max_parallel: 1 } } }",
    ] {
        drains_and_goes_on(yaml);
    }
}

/// Runs of two attempts, one after the other: the first ends with the process.
fn drains_and_goes_on(yaml: &str) {
    let world = World::seeded(5);
    let tried = Notes::default();
    let slow = || {
        let tried = tried.clone();
        agent(move |ctx, _| {
            tried.add(format!("{}/{}", ctx.run_id(), ctx.step()));
            async move {
                ctx.sleep(secs(5)).await;
                Ok(json!(1).into())
            }
        })
    };
    let ids = world.run(async {
        let control = open_for(&world, "it", slow()).await;
        let mut ids = vec![begin(&control, yaml, json!({})).await.id()];
        for _ in 0..9 {
            ids.push(start(&control, json!({})).await.id());
        }
        control.shutdown(secs(60)).await.unwrap();
        assert_eq!(
            world.elapsed(),
            secs(5),
            "it waits no longer than for the last attempt"
        );
        assert!(matches!(control.health(), Health::Stopped));
        ids
    });
    assert_eq!(tried.len(), 10);
    world.run(async {
        let control = open_for(&world, "it", slow()).await;
        control.start_dispatch().await.unwrap();
        for id in ids {
            assert!(matches!(
                control.run(id).outcome().await.unwrap(),
                Outcome::Completed(_)
            ));
        }
    });
    let mut all = tried.all();
    all.sort_unstable();
    all.dedup();
    assert_eq!((tried.len(), all.len()), (20, 20));
}

#[test]
fn whoever_waits_is_told_that_the_engine_was_shut_down() {
    let world = World::seeded(6);
    world.run(async {
        let control = open_for(&world, "it", parked()).await;
        let run = begin(&control, ONE, json!({})).await;
        run.settled_or_blocked().await.unwrap();
        control.shutdown(secs(1)).await.unwrap();
        assert_eq!(
            run.outcome().await.unwrap_err().kind(),
            ErrorKind::Unavailable
        );
        let mut stream = run.events();
        let refused = loop {
            if let Err(error) = stream.next().await {
                break error;
            }
        };
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
    });
}

/// Shuts a world down whose one attempt is out, with five seconds of grace: what the run's events are
/// at the next opening, and when it was shut down.
fn outlasted(seed: u64, agent: Agent) -> (Vec<String>, Duration) {
    let world = World::seeded(seed);
    let id = world.run(async {
        let control = open_for(&world, "it", agent).await;
        let yaml = "{ workflow: w, steps: { a: { agent: it, retry: { maximum_attempts: 1 } } } }";
        let run = begin(&control, yaml, json!({})).await;
        world.pass(secs(1)).await;
        control.shutdown(secs(5)).await.unwrap();
        run.id()
    });
    let ended = world.elapsed();
    world.run(async {
        let control = world.open().await;
        (kinds(&control, &control.run(id)).await, ended)
    })
}

fn count(kinds: &[String], kind: &str) -> usize {
    kinds.iter().filter(|one| *one == kind).count()
}

#[test]
fn what_outlasts_the_grace_is_told_to_stop_and_has_not_failed() {
    for code in ["cancelled", "gave_up"] {
        let (kinds, ended) = outlasted(
            21,
            agent(move |ctx, _| async move {
                ctx.cancelled().await;
                Err(AgentError::with_code(code, "told to stop"))
            }),
        );
        assert_eq!(ended, secs(6), "it ends as soon as it is told");
        assert_eq!(count(&kinds, "attempt.failed"), 0, "{kinds:?}");
        assert_eq!(count(&kinds, "attempt.interrupted"), 1, "{kinds:?}");
    }
}

#[test]
fn what_an_attempt_answers_when_it_is_told_to_stop_counts() {
    let (kinds, ended) = outlasted(
        22,
        agent(|ctx, _| async move {
            ctx.cancelled().await;
            Ok(json!(1).into())
        }),
    );
    assert_eq!(ended, secs(6));
    assert_eq!(count(&kinds, "step.completed"), 1, "{kinds:?}");
    assert_eq!(count(&kinds, "attempt.interrupted"), 0, "{kinds:?}");
}

/// Says that it was dropped.
struct Dropped(Notes);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.add("dropped");
    }
}

#[test]
fn an_attempt_that_does_not_stop_is_dropped_where_it_stands() {
    let notes = Notes::default();
    let noted = notes.clone();
    let deaf = agent(move |_, _| {
        let dropped = Dropped(noted.clone());
        async move {
            std::future::pending::<()>().await;
            drop(dropped);
            Ok(json!(1).into())
        }
    });
    let (kinds, ended) = outlasted(23, deaf);
    assert_eq!(ended, secs(6) + Duration::from_millis(500));
    assert_eq!(notes.all(), ["dropped"]);
    assert_eq!(count(&kinds, "attempt.interrupted"), 1, "{kinds:?}");
}

#[test]
fn an_engine_that_is_shut_down_dispatches_nothing_whoever_asks() {
    let (world, notes) = (World::seeded(24), Notes::default());
    world.run(async {
        let noted = notes.clone();
        let slow = agent(move |ctx, _| {
            noted.add(ctx.step().name());
            async move {
                ctx.sleep(secs(10)).await;
                Ok(json!(1).into())
            }
        });
        let control = open_for(&world, "it", slow).await;
        let yaml = "{ workflow: w, steps: { a: { agent: it }, b: { agent: it, needs: [a] } } }";
        begin(&control, yaml, json!({})).await;
        world.pass(secs(1)).await;
        let joined = join(&world, &control);
        let (ended, ()) = futures::join!(control.shutdown(secs(60)), async {
            world.pass(secs(2)).await;
            joined.control.start_dispatch().await.unwrap();
        });
        ended.unwrap();
        assert_eq!(notes.all(), ["a"]);
        assert_eq!(world.elapsed(), secs(10), "it waited for nothing else");
    });
}

#[test]
fn a_shutdown_that_is_given_up_half_way_leaves_no_engine_that_goes_on() {
    let world = World::seeded(25);
    world.run(async {
        let deaf = agent(|ctx, _| async move {
            ctx.cancelled().await;
            ctx.sleep(secs(3_600)).await;
            Ok(json!(1).into())
        });
        let control = open_for(&world, "it", deaf).await;
        begin(&control, ONE, json!({})).await;
        world.pass(secs(1)).await;
        let given_up = world.pass(secs(5) + Duration::from_millis(100));
        let shutdown = control.shutdown(secs(5));
        drop(futures::future::select(Box::pin(shutdown), Box::pin(given_up)).await);
        let refused = control.start_dispatch().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
    });
}

/// What a run of the crowd does, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Its first step ends within the grace, its second is to come.
    EndsInTime,
    /// Its attempt is out for longer than the grace.
    OutlastsTheGrace,
    /// It waits for a signal.
    IsParked,
    /// It has ended before the shutdown.
    HasEnded,
}
use Kind::{EndsInTime, HasEnded, IsParked, OutlastsTheGrace};

/// A thousand of them are active.
const CROWD: usize = 1_333;

const fn kind(number: usize) -> Kind {
    match number % 4 {
        0 => EndsInTime,
        1 => OutlastsTheGrace,
        2 => IsParked,
        _ => HasEnded,
    }
}

/// The agent of the crowd: notes each attempt as number, step and effect key.
fn member(begun: Notes) -> Agent {
    agent(move |ctx, input| {
        let number = usize::try_from(input["n"].as_u64().unwrap()).unwrap();
        begun.add(format!("{number}/{}/{}", ctx.step(), ctx.effect_key()));
        async move {
            match kind(number) {
                EndsInTime => ctx.sleep(secs(5)).await,
                OutlastsTheGrace => ctx.sleep(secs(100)).await,
                IsParked if ctx.resumed().is_none() && ctx.step().as_str() == "a" => {
                    return Ok(suspended(json!(1), go()));
                }
                IsParked | HasEnded => {}
            }
            Ok(json!({"n": number}).into())
        }
    })
}

/// Starts the crowd; it is shut down a second later, with thirty seconds of grace.
async fn crowd(world: &World, begun: Notes) -> Vec<RunId> {
    let control = world.open_with(few()).await;
    register(&control, "it", member(begun)).await;
    let yaml = "{ workflow: w, steps: { a: { agent: it }, b: { agent: it, needs: [a] } } }";
    let mut ids = vec![begin(&control, yaml, json!({"n": 0})).await.id()];
    for n in 1..CROWD {
        let started = control.start("w", json!({"n": n}), StartOptions::by("ann"));
        ids.push(started.await.unwrap().id());
    }
    world.pass(secs(1)).await;
    control.shutdown(secs(30)).await.unwrap();
    let most = secs(31) + Duration::from_millis(500);
    assert_eq!(world.elapsed(), most, "it keeps to its deadline");
    assert_eq!(control.metrics().durable_seq, control.metrics().events);
    ids
}

/// How far a run of a kind has to have come on disk: its events, and its steps that are out.
async fn stands(control: &MissionControl, id: RunId, kind: Kind) {
    let run = control.run(id);
    let kinds = kinds(control, &run).await;
    let of = |kind: &str| kinds.iter().filter(|one| *one == kind).count();
    let found = (of("step.dispatched"), of("step.completed"));
    let expected = match kind {
        EndsInTime => (1, 1),
        OutlastsTheGrace | IsParked => (1, 0),
        HasEnded => (2, 2),
    };
    assert_eq!(found, expected, "{kind:?}: {kinds:?}");
}

#[test]
fn a_thousand_active_runs_are_on_disk_by_the_deadline_and_exactly_those_go_on() {
    let world = World::seeded(8);
    let (first, second) = (Notes::default(), Notes::default());
    let ids = world.run(crowd(&world, first.clone()));
    world.crash();
    world.run(async {
        let control = world.open_with(few()).await;
        for (number, id) in ids.iter().enumerate() {
            stands(&control, *id, kind(number)).await;
        }
        let it = member(second.clone());
        register(&control, "it", it).await;
        control.start_dispatch().await.unwrap();
        for (number, id) in ids.iter().enumerate() {
            let run = control.run(*id);
            if kind(number) == IsParked {
                run.signal("ann", "go", json!(1)).await.unwrap();
            }
            assert_eq!(output_of(&run).await, json!({"n": number}));
        }
    });
    go_on(&first.all(), &second.all());
}

/// Exactly what was not done goes out, once, and what goes out again is the same effect.
fn go_on(first: &[String], second: &[String]) {
    let place = |note: &String| note.rsplit_once('/').unwrap().0.to_owned();
    let mut begun: Vec<String> = second.iter().map(place).collect();
    let mut expected: Vec<String> = (0..CROWD)
        .flat_map(|number| {
            let steps: &[&str] = match kind(number) {
                EndsInTime => &["b"],
                OutlastsTheGrace | IsParked => &["a", "b"],
                HasEnded => &[],
            };
            steps.iter().map(move |step| format!("{number}/{step}"))
        })
        .collect();
    begun.sort_unstable();
    expected.sort_unstable();
    assert_eq!(begun, expected);
    let first: BTreeSet<&String> = first.iter().collect();
    let again = second.iter().filter(|note| place(note).ends_with("/a"));
    assert!(again.into_iter().all(|note| first.contains(note)));
}
