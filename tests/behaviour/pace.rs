//! Pace: many runs that a process takes up go on in waves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::common::*;

const RUNS: usize = 300;
const WAVE: usize = 16;
const ONE: &str =
    "{ workflow: one, steps: { a: { agent: writer }, b: { agent: writer, needs: [a] } } }";

/// How many attempts are out, and were at most.
#[derive(Clone, Default)]
struct Out(Arc<[AtomicUsize; 2]>);

impl Out {
    fn most(&self) -> usize {
        self.0[1].load(SeqCst)
    }

    /// An agent that works for some seconds.
    fn writer(&self, seconds: u64) -> Agent {
        let out = self.clone();
        agent(move |ctx, _| {
            let out = out.clone();
            async move {
                let now = out.0[0].fetch_add(1, SeqCst) + 1;
                out.0[1].fetch_max(now, SeqCst);
                ctx.sleep(secs(seconds)).await;
                out.0[0].fetch_sub(1, SeqCst);
                Ok(json!({}).into())
            }
        })
    }
}

fn paced() -> Settings {
    Settings {
        recovery_wave: WAVE,
        ..settings()
    }
}

/// A process that starts many runs and dies.
async fn first_life(world: &World, yaml: &str, agent: Agent) -> Vec<mission_control::RunId> {
    first_life_of(RUNS, world, yaml, agent).await
}

async fn first_life_of(
    many: usize,
    world: &World,
    yaml: &str,
    agent: Agent,
) -> Vec<mission_control::RunId> {
    let control = world.open_with(paced()).await;
    control.register_agent("writer", agent).await.unwrap();
    let mut runs = vec![begin(&control, yaml, json!({})).await.id()];
    for _ in 1..many {
        let run = control.start("one", json!({}), StartOptions::by("ann"));
        runs.push(run.await.unwrap().id());
    }
    world.pass(secs(1)).await;
    world.crash();
    runs
}

async fn all_end(control: &MissionControl, runs: &[mission_control::RunId]) {
    for run in runs {
        let outcome = control.run(*run).outcome().await.unwrap();
        assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
    }
}

#[test]
fn recovered_runs_go_on_in_waves_and_all_of_them_end() {
    let world = World::seeded(1);
    world.run(async {
        let runs = first_life(&world, ONE, Out::default().writer(3_600)).await;
        let control = world.open_with(paced()).await;
        let out = Out::default();
        control
            .register_agent("writer", out.writer(2))
            .await
            .unwrap();
        control.start_dispatch().await.unwrap();
        world.pass(secs(1)).await;
        assert_eq!(out.most(), WAVE);
        all_end(&control, &runs).await;
        // Those that have moved go on as they like; one more wave a wave's time at most.
        assert!(out.most() < RUNS, "{}", out.most());
    });
}

#[test]
fn runs_that_waited_for_their_agent_go_on_in_waves() {
    let world = World::seeded(2);
    world.run(async {
        let runs = first_life(&world, ONE, Out::default().writer(3_600)).await;
        let control = world.open_with(paced()).await;
        control.start_dispatch().await.unwrap();
        world.pass(secs(1)).await;
        let out = Out::default();
        control
            .register_agent("writer", out.writer(2))
            .await
            .unwrap();
        world.pass(secs(1)).await;
        assert_eq!(out.most(), WAVE);
        all_end(&control, &runs).await;
    });
}

#[test]
fn runs_that_came_due_while_no_process_was_there_go_on_in_waves() {
    let world = World::seeded(3);
    world.run(async {
        let until = mission_control::Timestamp::from_unix_us(1_767_225_600_000_000 + 60_000_000);
        let sleeps = agent(move |_, _| async move {
            Ok(StepOutcome::Suspend {
                checkpoint: json!(null),
                waiting_for: WaitingFor::Time { until },
            })
        });
        let runs = first_life(&world, ONE, sleeps).await;
        world.pass(secs(120)).await;
        let control = world.open_with(paced()).await;
        let out = Out::default();
        control
            .register_agent("writer", out.writer(2))
            .await
            .unwrap();
        control.start_dispatch().await.unwrap();
        world.pass(secs(1)).await;
        assert_eq!(out.most(), WAVE);
        all_end(&control, &runs).await;
    });
}

#[test]
fn runs_that_came_due_stay_on_disk_while_more_than_a_page_wait_for_their_turn() {
    const MANY: usize = 3_000;
    let world = World::seeded(5);
    world.run(async {
        let until = mission_control::Timestamp::from_unix_us(1_767_225_600_000_000 + 60_000_000);
        let sleeps = agent(move |_, _| async move {
            Ok(StepOutcome::Suspend {
                checkpoint: json!(null),
                waiting_for: WaitingFor::Time { until },
            })
        });
        let runs = first_life_of(MANY, &world, ONE, sleeps).await;
        world.pass(secs(120)).await;
        let control = world.open_with(paced()).await;
        let out = Out::default();
        control
            .register_agent("writer", out.writer(2))
            .await
            .unwrap();
        control.start_dispatch().await.unwrap();
        world.pass(secs(1)).await;
        let resident = control.metrics().resident_runs;
        assert!(resident < 1_024, "{resident}");
        all_end(&control, &runs).await;
    });
}

#[test]
fn attempts_that_wait_for_those_behind_them_hold_nobody_up_for_long() {
    let world = World::seeded(4);
    world.run(async {
        let runs = first_life(&world, ONE, Out::default().writer(3_600)).await;
        let control = world.open_with(paced()).await;
        let (begun, clock) = (Arc::new(AtomicUsize::new(0)), world.elapsed());
        let count = Arc::clone(&begun);
        let stuck = agent(move |ctx, _| {
            let count = Arc::clone(&count);
            async move {
                count.fetch_add(1, SeqCst);
                while count.load(SeqCst) < RUNS {
                    ctx.sleep(secs(1)).await;
                }
                Ok(json!({}).into())
            }
        });
        control.register_agent("writer", stuck).await.unwrap();
        control.start_dispatch().await.unwrap();
        all_end(&control, &runs).await;
        assert!(world.elapsed() < clock + secs(120));
    });
}
