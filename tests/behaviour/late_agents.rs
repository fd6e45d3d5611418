//! Agents that come while runs wait for them, and what is decided together: waves, and commits.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use mission_control::RunId;

use crate::common::*;

/// More than the engine asks for at a time, and far more than stay in memory.
const RUNS: usize = 600;

/// A process that starts runs of a workflow and dies with their first attempts out.
async fn left_behind(world: &World, yaml: &str, agents: &[&str], runs: usize) -> Vec<RunId> {
    let control = world.open_with(few()).await;
    for name in agents {
        let hangs = agent(|_, _| std::future::pending());
        register(&control, name, hangs).await;
    }
    let first = begin(&control, yaml, json!({})).await;
    let name = first.state().await.unwrap().workflow().unwrap().0.clone();
    let mut ids = vec![first.id()];
    for _ in 1..runs {
        let run = control.start(name.as_str(), json!({}), StartOptions::by("ann"));
        ids.push(run.await.unwrap().id());
    }
    world.pass(secs(1)).await;
    world.crash();
    ids
}

#[test]
fn an_agent_that_comes_late_reaches_every_run_that_waits_though_few_are_in_memory() {
    let world = World::seeded(101);
    world.run(async {
        let runs = left_behind(&world, ONE, &["it"], RUNS).await;
        let control = world.open_with(few()).await;
        control.start_dispatch().await.unwrap();
        world.pass(secs(100)).await;
        let last = control.run(*runs.last().unwrap());
        let position = last.settled_or_blocked().await.unwrap();
        assert_eq!(blocks(&position)[0].1, BlockReason::AgentUnavailable);
        let notes = Notes::default();
        register(&control, "it", crate::asking::noting(notes.clone())).await;
        for run in &runs {
            completes(&control.run(*run)).await;
        }
        assert_eq!(notes.len(), RUNS);
    });
}

#[test]
fn an_agent_that_comes_while_runs_come_to_wait_for_it_reaches_those_too() {
    let world = World::seeded(102);
    world.run(async {
        let yaml = "{ workflow: w, steps: { a: { agent: it }, b: { agent: late, needs: [a] } } }";
        let runs = left_behind(&world, yaml, &["it", "late"], 40).await;
        let control = world.open_with(few()).await;
        // The runs come to wait for the late one at a second of their own.
        let slow = agent(|ctx, _| async move {
            ctx.sleep(secs(u64::from(ctx.run_id().as_bytes()[15]) % 20))
                .await;
            Ok(json!({}).into())
        });
        register(&control, "it", slow).await;
        control.start_dispatch().await.unwrap();
        world.pass(secs(10)).await;
        register(&control, "late", echo()).await;
        for run in &runs {
            completes(&control.run(*run)).await;
        }
    });
}

/// How many attempts are out, and were at most.
#[derive(Clone, Default)]
struct Out(Arc<[AtomicUsize; 2]>);

impl Out {
    fn now(&self) -> usize {
        self.0[0].load(SeqCst)
    }

    fn most(&self) -> usize {
        self.0[1].load(SeqCst)
    }

    fn works(&self, seconds: u64) -> Agent {
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

#[test]
fn what_a_run_has_out_from_before_still_counts_when_it_goes_on_in_another_wave() {
    let world = World::seeded(103);
    world.run(async {
        let both = "{ workflow: both, steps: { a: { agent: first }, b: { agent: second } } }";
        let other = "{ workflow: other, steps: { c: { agent: third } } }";
        let agents = ["first", "second", "third"];
        let mut runs = left_behind(&world, both, &agents[..2], 2).await;
        runs.extend(left_behind(&world, other, &agents, 20).await);
        let four = Settings {
            recovery_wave: 4,
            recovery_patience: secs(1_000),
            ..settings()
        };
        let control = world.open_with(four).await;
        let out = Out::default();
        register(&control, "first", out.works(60)).await;
        register(&control, "third", out.works(3)).await;
        // Two of `both`, which were there first, and two others.
        control.start_dispatch().await.unwrap();
        world.pass(secs(1)).await;
        assert_eq!(out.now(), 4);
        // The two go on once the others have ended, and fill the wave by all that they have out.
        register(&control, "second", out.works(60)).await;
        world.pass(secs(20)).await;
        assert_eq!((out.now(), out.most()), (4, 4));
        for run in &runs {
            completes(&control.run(*run)).await;
        }
    });
}

#[test]
fn what_is_asked_together_is_one_commit() {
    let world = World::seeded(104);
    world.run(async {
        let control = open_echo(&world).await;
        completes(&begin(&control, ECHO, json!({})).await).await;
        let before = control.metrics().commits;
        let starts = (0..100).map(|_| start(&control, json!({})));
        let runs = futures::future::join_all(starts).await;
        for run in &runs {
            completes(run).await;
        }
        let commits = control.metrics().commits - before;
        // The first goes at once, the others wait for it together; then come their ends.
        assert!(commits <= 10, "{commits} commits for a hundred runs");
    });
}
