//! What a large store costs: how soon an engine is ready after a kill, and what runs that wait take.
//!
//! `scale grow --ended 40000 --open 10000 --parked 0 --db FILE` fills a store and dies without closing it;
//! `scale open --db FILE` opens it and prints one JSON line; `scale` alone does both, small. `--parked` runs
//! wait for a signal that nobody sends; `--open` runs have an agent at work when the process dies.

#![expect(clippy::print_stdout, reason = "the figures are the output")]
#![expect(clippy::exit, reason = "it is to die with its store open")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use mission_control::{
    AgentError, AgentExecutor, MissionControl, StartOptions, StepContext, StepOutcome, WaitingFor,
    Workflow,
};
use serde_json::{Value, json};

type Fallible<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(10);

const ENDED: &str = "{ workflow: ended, steps: { n0: { agent: noop }, n1: { agent: noop, needs: [n0] },
  n2: { agent: noop, needs: [n1] }, n3: { agent: noop, needs: [n2] }, n4: { agent: noop, needs: [n3] },
  n5: { agent: noop, needs: [n4] }, n6: { agent: noop, needs: [n5] }, n7: { agent: noop, needs: [n6] },
  n8: { agent: noop, needs: [n7] }, n9: { agent: noop, needs: [n8] } } }";
const OPEN: &str = "{ workflow: open, steps: { work: { agent: hangs } } }";
const PARKED: &str = "{ workflow: parked, steps: { wait: { agent: waits } } }";

struct Noop;

#[mission_control::async_trait]
impl AgentExecutor for Noop {
    async fn execute(&self, ctx: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        Ok(json!({ "step": ctx.step().as_str(), "summary": "x".repeat(200) }).into())
    }
}

struct Hangs;

#[mission_control::async_trait]
impl AgentExecutor for Hangs {
    async fn execute(&self, _: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        std::future::pending().await
    }
}

struct Waits;

#[mission_control::async_trait]
impl AgentExecutor for Waits {
    async fn execute(&self, _: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        Ok(StepOutcome::Suspend {
            checkpoint: Value::Null,
            waiting_for: WaitingFor::Signal {
                name: "go".parse().map_err(|_| AgentError::new("no_name"))?,
            },
        })
    }
}

fn option(name: &str, default: &str) -> String {
    let mut args = std::env::args().skip_while(|arg| arg != name);
    args.nth(1).unwrap_or_else(|| default.to_owned())
}

/// The resident memory of this process, in MiB (Linux).
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

/// The time that this process had a processor, in ticks of a hundredth of a second (Linux).
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let fields = behind_name.split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// Starts runs of a workflow, 256 at a time.
async fn start(control: &MissionControl, workflow: &'static str, runs: usize) -> Fallible {
    let gate = Arc::new(tokio::sync::Semaphore::new(256));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..runs {
        let turn = Arc::clone(&gate).acquire_owned().await?;
        let control = control.clone();
        tasks.spawn(async move {
            let run = control
                .start(workflow, json!({}), StartOptions::by("bench"))
                .await?;
            if workflow == "ended" {
                run.outcome().await?;
            }
            drop(turn);
            Ok::<_, mission_control::Error>(())
        });
        while let Some(done) = tasks.try_join_next() {
            done??;
        }
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

async fn grow(db: &str) -> Fallible {
    let control = mission_control::open(db).await?;
    control.register_agent("noop", Noop).await?;
    control.register_agent("hangs", Hangs).await?;
    control.register_agent("waits", Waits).await?;
    for yaml in [ENDED, OPEN, PARKED] {
        control.publish(Workflow::from_yaml(yaml)?).await?;
    }
    control.start_dispatch().await?;
    for workflow in ["ended", "open", "parked"] {
        let runs = option(&format!("--{workflow}"), "0").parse()?;
        start(&control, workflow, runs).await?;
        println!("{workflow}: {runs}, {} MiB resident", resident_mib());
    }
    // What was dispatched last is still on its way.
    let open = option("--open", "0").parse::<u64>()?;
    while control.metrics().live_attempts != open {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!(
        "{}",
        json!({ "events": control.metrics().durable_seq, "resident_mib": resident_mib() })
    );
    if option("--parked", "0") != "0" {
        let before = cpu_ticks();
        tokio::time::sleep(IDLE).await;
        println!(
            "idle for {IDLE:?}: {} ms of a processor",
            (cpu_ticks() - before) * 10
        );
    }
    // No destructor runs: the store is left as by a kill.
    std::process::exit(0)
}

async fn open(db: &str) -> Fallible {
    let start = Instant::now();
    let control = mission_control::open(db).await?;
    let opened = start.elapsed();
    let resident = resident_mib();
    control.start_dispatch().await?;
    let ready = start.elapsed();
    println!(
        "{}",
        json!({
            "events": control.metrics().durable_seq, "open_ms": opened.as_millis(),
            "ready_ms": ready.as_millis(), "resident_mib": resident,
        })
    );
    control.shutdown(Duration::ZERO).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Fallible {
    let db = option("--db", "scale.redb");
    match std::env::args().nth(1).as_deref() {
        Some("grow") => grow(&db).await,
        Some("open") => open(&db).await,
        // Both, small.
        _ => {
            let small = ["--ended", "20", "--open", "5", "--parked", "5", "--db", &db];
            let mut child = std::process::Command::new(std::env::current_exe()?);
            child.arg("grow").args(small).status()?;
            open(&db).await
        }
    }
}
