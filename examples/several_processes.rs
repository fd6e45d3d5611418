//! Two processes, one store: this one starts a run, the other has the agent that does it.
//!
//! `cargo run --example several_processes`

#![expect(clippy::print_stdout, reason = "the greeting is the output")]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use mission_control::{
    AgentError, AgentExecutor, Outcome, StartOptions, StepContext, StepOutcome, Workflow,
};
use serde_json::{Value, json};

const WORKER: &str = "MISSION_CONTROL_EXAMPLE_WORKER";
const GRACE: Duration = Duration::from_secs(5);

/// Says which process it is in.
struct Greeter;

#[mission_control::async_trait]
impl AgentExecutor for Greeter {
    async fn execute(&self, _: StepContext, input: Value) -> Result<StepOutcome, AgentError> {
        let name = input["name"].as_str().unwrap_or("you");
        let text = format!("hello, {name}, from process {}", std::process::id());
        Ok(json!({ "text": text }).into())
    }
}

/// The other process: it joins, and has the agent until it is told to end.
async fn work(path: &str) -> mission_control::Result<()> {
    let control = mission_control::open(path).await?;
    control.register_agent("greeter", Greeter).await?;
    control.start_dispatch().await?;
    println!("ready");
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    let _ = end.await;
    control.shutdown(GRACE).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Ok(path) = std::env::var(WORKER) {
        return Ok(work(&path).await?);
    }
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("agents.redb");
    let control = mission_control::open(&path).await?;
    let workflow = "{ workflow: hello, steps: { greet: { agent: greeter } } }";
    control.publish(Workflow::from_yaml(workflow)?).await?;
    let mut worker = Command::new(std::env::current_exe()?)
        .env(WORKER, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let said = worker.stdout.take().map(BufReader::new);
    // Until it says that it has the agent.
    drop(said.and_then(|said| said.lines().next()));
    let run = control
        .start("hello", json!({ "name": "redb" }), StartOptions::by("ann"))
        .await?;
    if let Outcome::Completed(outputs) = run.outcome().await? {
        let me = std::process::id();
        println!("process {me} started a run; its output: {outputs:?}");
    }
    drop(worker.stdin.take());
    worker.wait()?;
    Ok(control.shutdown(GRACE).await?)
}
