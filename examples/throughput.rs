//! Durable steps per second: chains of no-op steps with a 200-byte output, every step on disk
//! before the next. Prints one JSON line.
//!
//! `cargo run --release --example throughput -- --runs 50 --steps 10 --concurrency 16 --db FILE`

#![expect(clippy::print_stdout, reason = "the figures are the output")]
#![expect(
    clippy::cast_precision_loss,
    reason = "rates are shown to a few digits"
)]

use std::sync::Arc;
use std::time::Instant;

use mission_control::{
    AgentError, AgentExecutor, MissionControl, StartOptions, StepContext, StepOutcome, Workflow,
};
use serde_json::{Value, json};

struct Noop;

#[mission_control::async_trait]
impl AgentExecutor for Noop {
    async fn execute(&self, ctx: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        Ok(json!({ "step": ctx.step().as_str(), "summary": "x".repeat(200) }).into())
    }
}

fn option(name: &str, default: &str) -> String {
    let mut args = std::env::args().skip_while(|arg| arg != name);
    args.nth(1).unwrap_or_else(|| default.to_owned())
}

fn chain(steps: usize) -> mission_control::Result<Workflow> {
    let step = |i: usize| match i {
        0 => "n0: { agent: noop }".to_owned(),
        i => format!("n{i}: {{ agent: noop, needs: [n{}] }}", i - 1),
    };
    let steps: Vec<String> = (0..steps).map(step).collect();
    Workflow::from_yaml(format!(
        "{{ workflow: chain, steps: {{ {} }} }}",
        steps.join(", ")
    ))
}

async fn one(control: &MissionControl) -> mission_control::Result<()> {
    let run = control
        .start("chain", json!({}), StartOptions::by("bench"))
        .await?;
    run.outcome().await.map(drop)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let number = |name: &str, default: &str| option(name, default).parse::<usize>();
    let (runs, steps) = (number("--runs", "50")?, number("--steps", "10")?);
    let (concurrency, db) = (
        number("--concurrency", "16")?,
        option("--db", "throughput.redb"),
    );
    let control = mission_control::open(&db).await?;
    control.register_agent("noop", Noop).await?;
    control.publish(chain(steps)?).await?;
    control.start_dispatch().await?;
    one(&control).await?;
    let mut alone = Vec::new();
    for _ in 0..10 {
        let start = Instant::now();
        one(&control).await?;
        alone.push(start.elapsed().as_secs_f64() * 1e3);
    }
    alone.sort_by(f64::total_cmp);
    let before = control.metrics();
    let gate = Arc::new(tokio::sync::Semaphore::new(concurrency));
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..runs {
        let (control, gate) = (control.clone(), Arc::clone(&gate));
        tasks.spawn(async move {
            let _turn = gate.acquire_owned().await;
            one(&control).await
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let took = start.elapsed().as_secs_f64();
    let after = control.metrics();
    let events = after.events - before.events;
    control.shutdown(std::time::Duration::from_secs(5)).await?;
    drop(control);
    let bytes = std::fs::metadata(&db)?.len();
    println!(
        "{}",
        json!({
            "steps_per_s": (runs * steps) as f64 / took, "single_run_ms_p50": alone[5],
            "events_per_s": events as f64 / took, "bytes_per_event": bytes as f64 / after.durable_seq as f64,
            "events_per_commit": events as f64 / (after.commits - before.commits) as f64,
            "runs": runs, "steps": steps, "concurrency": concurrency, "file_bytes": bytes,
        })
    );
    Ok(())
}
