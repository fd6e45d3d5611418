//! A commit that fails: the state is read back, and what is out goes on as if nothing had happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::*;
use mission_control::core::error::{Error, Result};
use mission_control::core::event::PartRef;
use mission_control::core::ports::{
    Batch, EventLog, EventQuery, Head, KeyRow, Lease, Page, Recovered, RunQuery, RunRow, RunSummary,
};
use mission_control::store::MemoryLog;
use mission_control::{AgentName, Digest, RunId, Timestamp};

/// A log that fails so many of its next appends.
#[derive(Debug, Default)]
struct Faulty {
    log: MemoryLog,
    failures: AtomicU32,
}

#[mission_control::async_trait]
impl EventLog for Faulty {
    async fn acquire(&self) -> Result<Recovered> {
        self.log.acquire().await
    }
    async fn append(&self, lease: Lease, batch: Batch) -> Result<()> {
        let left = |left: u32| left.checked_sub(1);
        if self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left)
            .is_ok()
        {
            return Err(Error::new(ErrorKind::Unavailable, "the disk is away"));
        }
        self.log.append(lease, batch).await
    }
    async fn head(&self) -> Result<Head> {
        self.log.head().await
    }
    async fn read_workspace(&self, from: u64, limit: usize) -> Result<Vec<Record>> {
        self.log.read_workspace(from, limit).await
    }
    async fn read_run(&self, run: RunId, from: u64, limit: usize) -> Result<Vec<Record>> {
        self.log.read_run(run, from, limit).await
    }
    async fn read_part(&self, part: PartRef) -> Result<Arc<[u8]>> {
        self.log.read_part(part).await
    }
    async fn run_row(&self, run: RunId) -> Result<Option<RunRow>> {
        self.log.run_row(run).await
    }
    async fn runs_in_need(&self, after: Option<RunId>, limit: usize) -> Result<Vec<RunId>> {
        self.log.runs_in_need(after, limit).await
    }
    async fn runs_due(&self, until: Timestamp, limit: usize) -> Result<Vec<(Timestamp, RunId)>> {
        self.log.runs_due(until, limit).await
    }
    async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.log.next_due().await
    }
    async fn runs_waiting_for(
        &self,
        agent: &AgentName,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<RunId>> {
        self.log.runs_waiting_for(agent, after, limit).await
    }
    async fn run_by_key(
        &self,
        workflow: &mission_control::WorkflowName,
        key: &str,
    ) -> Result<(Option<KeyRow>, Head)> {
        self.log.run_by_key(workflow, key).await
    }
    async fn tile_root(&self, tile: u64) -> Result<Option<Digest>> {
        self.log.tile_root(tile).await
    }
    async fn query_runs(&self, query: RunQuery) -> Result<Page<RunSummary>> {
        self.log.query_runs(query).await
    }
    async fn query_events(&self, query: EventQuery) -> Result<Page<Record>> {
        self.log.query_events(query).await
    }
}

fn world() -> (World, Arc<Faulty>) {
    let log = Arc::new(Faulty::default());
    let start = Timestamp::from_unix_us(1_767_225_600_000_000);
    let scenario = Scenario::new(1, start, Arc::clone(&log) as Arc<dyn EventLog>);
    (World(scenario), log)
}

const ONE: &str =
    "{ workflow: w, steps: { a: { agent: it, timeout: 100s, retry: { maximum_attempts: 1 } } } }";

#[test]
fn an_attempt_that_is_out_goes_on_over_a_failed_commit() {
    let (world, log) = world();
    world.run(async {
        let control = world.open().await;
        let faults = Arc::clone(&log);
        let it = agent(move |ctx, _| {
            let faults = Arc::clone(&faults);
            async move {
                faults.failures.store(1, Ordering::SeqCst);
                call(&ctx, "p", 10, 5).await?;
                Ok(json!(ctx.attempt()).into())
            }
        });
        control.register_agent("it", it).await.unwrap();
        let run = begin(&control, ONE, json!({})).await;
        assert_eq!(output(&run.outcome().await.unwrap()), json!(1));
        assert_eq!(control.metrics().soft_restarts, 1);
        assert_eq!(run.state().await.unwrap().spent().money, mills(5));
    });
}

#[test]
fn an_adopted_attempt_keeps_its_time_out() {
    let (world, log) = world();
    world.run(async {
        let control = world.open().await;
        let it = agent(|ctx, _| async move {
            ctx.sleep(secs(100_000)).await;
            Ok(json!(1).into())
        });
        control.register_agent("it", it).await.unwrap();
        let run = begin(&control, ONE, json!({})).await;
        world.pass(secs(60)).await;
        log.failures.store(1, Ordering::SeqCst);
        control.set_limit("ann", AccountId::Workspace, limit(9), OnExceed::Abort).await.unwrap();
        assert_eq!(count(&control, &run, "attempt.adopted").await, 1);
        assert!(matches!(run.outcome().await.unwrap(), Outcome::Failed { code, .. } if code == "timeout"));
        assert_eq!(world.elapsed(), secs(100));
    });
}

#[test]
fn a_command_for_a_run_that_is_not_in_memory_survives_a_failed_commit() {
    let (world, log) = world();
    world.run(async {
        let control = world
            .open_with(Settings {
                resident_runs: 1,
                ..settings()
            })
            .await;
        let it = agent(|ctx, _| async move {
            let signal = WaitingFor::Signal {
                name: "go".parse().unwrap(),
            };
            match ctx.resumed() {
                None => Ok(StepOutcome::Suspend {
                    checkpoint: json!(0),
                    waiting_for: signal,
                }),
                Some((_, given)) => Ok(given.cloned().unwrap_or_default().into()),
            }
        });
        control.register_agent("it", it).await.unwrap();
        let run = begin(&control, ONE, json!({})).await;
        run.settled_or_blocked().await.unwrap();
        log.failures.store(1, Ordering::SeqCst);
        run.signal("ann", "go", json!("kept")).await.unwrap();
        assert_eq!(output(&run.outcome().await.unwrap()), json!("kept"));
    });
}
