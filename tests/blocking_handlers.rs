//! Handlers on the engine's own threads: one that blocks its thread harms only its own attempt.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first broken promise"
)]

use std::sync::{Arc, Condvar, Mutex};

use mission_control::store::MemoryLog;
use mission_control::{
    AgentError, AgentExecutor, Builder, Outcome, StartOptions, StepContext, StepOutcome, Workflow,
};
use serde_json::{Value, json};

/// Blocks whoever asks until the test opens it.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    moved: Condvar,
}

struct Blocks(Arc<Gate>);

#[mission_control::async_trait]
impl AgentExecutor for Blocks {
    async fn execute(&self, _: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        let mut open = self.0.open.lock().unwrap();
        while !*open {
            open = self.0.moved.wait(open).unwrap();
        }
        drop(open);
        Ok(json!("at last").into())
    }
}

struct Quick;

#[mission_control::async_trait]
impl AgentExecutor for Quick {
    async fn execute(&self, ctx: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        ctx.decision(json!(1), json!("quick"), json!(2)).await?;
        Ok(json!("at once").into())
    }
}

#[tokio::test]
async fn handlers_that_block_their_threads_hold_up_nobody_else() {
    let control = Builder::new()
        .open_log(Arc::new(MemoryLog::new()))
        .await
        .unwrap();
    let gate = Arc::new(Gate::default());
    let blocks = Blocks(Arc::clone(&gate));
    control.register_agent("blocks", blocks).await.unwrap();
    control.register_agent("quick", Quick).await.unwrap();
    for agent in ["blocks", "quick"] {
        let yaml = format!("{{ workflow: {agent}, steps: {{ a: {{ agent: {agent} }} }} }}");
        control
            .publish(Workflow::from_yaml(yaml).unwrap())
            .await
            .unwrap();
    }
    control.start_dispatch().await.unwrap();
    let mut blocked = Vec::new();
    for _ in 0..64 {
        let run = control.start("blocks", json!({}), StartOptions::by("ann"));
        blocked.push(run.await.unwrap());
    }
    for _ in 0..10 {
        let run = control.start("quick", json!({}), StartOptions::by("ann"));
        let outcome = run.await.unwrap().outcome().await.unwrap();
        assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
    }
    *gate.open.lock().unwrap() = true;
    gate.moved.notify_all();
    for run in blocked {
        let outcome = run.outcome().await.unwrap();
        assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
    }
}
