//! Memory: what runs leave behind once they have ended.

use crate::common::*;

const ONE: &str = "{ workflow: one, steps: { a: { agent: writer } } }";

/// An agent whose output is large and names its input.
fn writer() -> Agent {
    agent(|_, input| async move {
        let text = "x".repeat(100_000);
        Ok(json!({ "n": input["n"], "text": text }).into())
    })
}

async fn ended(control: &MissionControl, runs: u32) -> Vec<RunHandle> {
    let mut all = vec![begin(control, ONE, json!({ "n": 0 })).await];
    for n in 1..runs {
        let input = json!({ "n": n });
        let run = control.start("one", input, StartOptions::by("ann")).await;
        all.push(run.unwrap());
    }
    for run in &all {
        run.outcome().await.unwrap();
    }
    all
}

#[test]
fn ended_runs_leave_memory_by_bytes_and_their_outcome_comes_from_the_log() {
    let world = World::seeded(1);
    world.run(async {
        let most = 1_000_000;
        let settings = Settings {
            ended_bytes: most,
            ..settings()
        };
        let control = world.open_with(settings).await;
        control.register_agent("writer", writer()).await.unwrap();
        let runs = ended(&control, 100).await;
        world.pass(secs(1)).await;
        let metrics = control.metrics();
        assert!(
            metrics.ended_bytes > 0 && metrics.ended_bytes <= most,
            "{metrics:?}"
        );
        assert!((1..10).contains(&metrics.resident_runs), "{metrics:?}");
        for (n, run) in runs.iter().enumerate() {
            let outcome = run.outcome().await.unwrap();
            assert_eq!(output(&outcome)["n"], n);
            assert_eq!(output(&outcome)["text"].as_str().unwrap().len(), 100_000);
        }
    });
}

#[test]
fn no_more_runs_stay_in_memory_than_may() {
    let world = World::seeded(2);
    world.run(async {
        let settings = Settings {
            resident_runs: 3,
            ..settings()
        };
        let control = world.open_with(settings).await;
        control.register_agent("writer", writer()).await.unwrap();
        ended(&control, 20).await;
        world.pass(secs(1)).await;
        let metrics = control.metrics();
        assert_eq!(metrics.resident_runs, 3, "{metrics:?}");
    });
}
