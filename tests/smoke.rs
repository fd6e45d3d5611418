//! One workflow through the whole engine, in virtual time and on a real file.

use mission_control::testing::Scenario;
use mission_control::{
    AgentError, AgentExecutor, MissionControl, Outcome, StartOptions, StepContext, StepOutcome,
    Workflow,
};
use serde_json::{Value, json};

struct Echo;

#[mission_control::async_trait]
impl AgentExecutor for Echo {
    async fn execute(&self, ctx: StepContext, input: Value) -> Result<StepOutcome, AgentError> {
        Ok(json!({ ctx.step().name(): input }).into())
    }
}

const CHAIN: &str = "
workflow: chain
steps:
  one:   { agent: echo }
  two:   { agent: echo, needs: [one] }
  three: { agent: echo, needs: [two] }
";

async fn run_chain(control: &MissionControl) -> mission_control::Result<Outcome> {
    control.register_agent("echo", Echo).await?;
    control.publish(Workflow::from_yaml(CHAIN)?).await?;
    control.start_dispatch().await?;
    let run = control
        .start("chain", json!({"a": 1}), StartOptions::by("ann"))
        .await?;
    run.outcome().await
}

#[test]
fn a_chain_completes_in_virtual_time() {
    let world = Scenario::seeded(1);
    let outcome = world
        .run(async { run_chain(&world.open().await?).await })
        .unwrap()
        .unwrap();
    let output = outcome.output().unwrap();
    assert_eq!(output["three"]["two"]["one"]["a"], 1, "{output}");
}

#[tokio::test]
async fn a_chain_completes_on_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let control = mission_control::open(dir.path().join("a.redb"))
        .await
        .unwrap();
    let outcome = run_chain(&control).await.unwrap();
    assert!(matches!(outcome, Outcome::Completed(_)));
    control
        .shutdown(std::time::Duration::from_secs(1))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_store_is_free_once_its_engine_was_shut_down_and_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.redb");
    for _ in 0..20 {
        let control = mission_control::open(&path).await.unwrap();
        run_chain(&control).await.unwrap();
        let grace = std::time::Duration::from_secs(10);
        control.shutdown(grace).await.unwrap();
        drop(control);
    }
}
