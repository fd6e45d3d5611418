//! Subscribers: each gets every event of its run, and none of them can hurt a run or another one.

use crate::common::*;
use mission_control::RunNews;

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
        control.register_agent("it", parked()).await.unwrap();
        let run = begin(&control, WAITS, json!({})).await;
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
            let set = control.set_limit("ann", AccountId::Workspace, of, OnExceed::Pause);
            set.await.unwrap();
        }
        assert!(matches!(
            stream.next().await.unwrap(),
            Some(RunNews::Lagged(_))
        ));
        run.abort("ann").await.unwrap();
        while let Some(news) = stream.next().await.unwrap() {
            seen += usize::from(matches!(news, RunNews::Event(_)));
        }
        assert_eq!(seen, events(&control, &run).await.len());
    });
}
