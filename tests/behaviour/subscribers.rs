//! Subscribers: each gets every event of its run, and none of them can hurt a run or another one.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Poll;

use crate::common::*;
use mission_control::{Builder, RunEvents, RunNews};

#[test]
fn a_subscriber_gets_every_event_once_and_in_order() {
    let world = World::seeded(1);
    world.run(async {
        let control = open_echo(&world).await;
        let run = begin(&control, ECHOES, json!({})).await;
        let mut stream = run.events();
        let mut seen = Vec::new();
        while let Some(news) = stream.next().await.unwrap() {
            if let RunNews::Event(event) = news {
                seen.push((event.run_seq, event.kind.to_string()));
            }
        }
        let all = events(&control, &run).await;
        let all: Vec<_> = all
            .iter()
            .map(|event| (event.run_seq, event.kind.to_string()))
            .collect();
        assert_eq!(seen, all);
        assert_eq!(seen.last().unwrap().1, "run.sealed");
    });
}

#[test]
fn a_slow_subscriber_is_told_that_it_lags_and_loses_nothing() {
    let world = World::seeded(2);
    world.run(async {
        let control = open_echo(&world).await;
        register(&control, "it", parked()).await;
        let run = begin(&control, ONE, json!({})).await;
        run.settled_or_blocked().await.unwrap();
        let mut stream = run.events();
        let mut seen = 0;
        while seen < events(&control, &run).await.len() {
            seen += usize::from(matches!(
                stream.next().await.unwrap(),
                Some(RunNews::Event(_))
            ));
        }
        for n in 0..1_100 {
            let of = limit(n);
            let set = control.set_limit(
                ("ann", "as tested"),
                AccountId::Workspace,
                of,
                OnExceed::Pause,
            );
            set.await.unwrap();
        }
        assert!(matches!(
            stream.next().await.unwrap(),
            Some(RunNews::Lagged(_))
        ));
        run.abort(("ann", "as tested")).await.unwrap();
        while let Some(news) = stream.next().await.unwrap() {
            seen += usize::from(matches!(news, RunNews::Event(_)));
        }
        assert_eq!(seen, events(&control, &run).await.len());
    });
}

/// Every event that a subscriber gets, by kind.
async fn all_of(mut stream: RunEvents) -> Vec<String> {
    let mut seen = Vec::new();
    while let Some(news) = stream.next().await.unwrap() {
        if let RunNews::Event(event) = news {
            seen.push(event.kind.to_string());
        }
    }
    seen
}

/// Panics at the event of this kind, without a word to the panic hook.
async fn panics_at(kind: &'static str, mut stream: RunEvents) {
    while let Some(news) = stream.next().await.unwrap() {
        if matches!(news, RunNews::Event(event) if &*event.kind == kind) {
            resume_unwind(Box::new(kind));
        }
    }
}

/// Whether a task panics, as an executor that lives on sees it.
fn panics(task: impl Future<Output = ()>) -> impl Future<Output = bool> {
    let mut task = Box::pin(task);
    poll_fn(move |context| {
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context)));
        polled.map_or(Poll::Ready(true), |polled| polled.map(|()| false))
    })
}

#[test]
fn a_subscriber_that_panics_hurts_no_run_and_no_other_subscriber() {
    for seed in 0..20 {
        let world = World::seeded(seed);
        let panicked = Notes::default();
        world.run(async {
            let control = open_echo(&world).await;
            let run = begin(&control, ECHOES, json!({})).await;
            for kind in [
                "run.created",
                "step.dispatched",
                "run.completed",
                "run.sealed",
            ] {
                let (stream, panicked) = (run.events(), panicked.clone());
                let task = panics(panics_at(kind, stream));
                let task = async move { panicked.add(format!("{}", task.await)) };
                world.0.simulation().spawner().spawn_handler(Box::pin(task));
            }
            let seen = all_of(run.events()).await;
            assert_eq!(seen, kinds(&control, &run).await);
            world.pass(secs(1)).await;
            assert_eq!(panicked.all(), ["true"; 4]);
            let next = control.start("w", json!({}), StartOptions::by("ann")).await;
            assert!(all_of(next.unwrap().events()).await.len() > 4);
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn subscribers_that_panic_on_threads_of_their_own_hurt_nobody_either() {
    let log = Arc::new(mission_control::store::MemoryLog::new());
    let builder = Builder::new().with_settings(settings());
    let control = builder.open_log(log).await.unwrap();
    register(&control, "echo", echo()).await;
    let first = begin(&control, ECHOES, json!({})).await;
    for _ in 0..50 {
        let started = control.start("w", json!({}), StartOptions::by("ann"));
        let run = started.await.unwrap();
        let bad = tokio::spawn(panics_at("step.dispatched", run.events()));
        let good = tokio::spawn(all_of(run.events()));
        assert!(bad.await.unwrap_err().is_panic());
        completes(&run).await;
        assert_eq!(good.await.unwrap(), kinds(&control, &run).await);
    }
    assert_eq!(all_of(first.events()).await, kinds(&control, &first).await);
}

#[test]
fn a_subscriber_that_stops_to_listen_at_any_point_loses_nothing_for_itself_or_others() {
    let world = World::seeded(3);
    world.run(async {
        let control = open_for(&world, "it", parked()).await;
        let run = begin(&control, ONE, json!({})).await;
        run.settled_or_blocked().await.unwrap();
        let (mut given_up, other) = (run.events(), run.events());
        let mut seen = Vec::new();
        while seen.len() < count_all(&control, &run).await {
            let Some(RunNews::Event(event)) = given_up.next().await.unwrap() else {
                panic!("it ended");
            };
            seen.push(event.kind.to_string());
        }
        // It waits for the next event, is given up, and asks again.
        let waker = std::task::Waker::noop();
        let mut waits = Box::pin(given_up.next());
        let polled = waits
            .as_mut()
            .poll(&mut std::task::Context::from_waker(waker));
        assert!(polled.is_pending());
        drop(waits);
        run.signal("ann", "go", json!(1)).await.unwrap();
        run.outcome().await.unwrap();
        seen.extend(all_of(given_up).await);
        assert_eq!(seen, all_of(other).await);
    });
}

async fn count_all(control: &MissionControl, run: &RunHandle) -> usize {
    events(control, run).await.len()
}
