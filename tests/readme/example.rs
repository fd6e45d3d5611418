//! The example of README.md, word for word below this header.

use mission_control::{AgentError, AgentExecutor, StartOptions, StepContext, StepOutcome};
use serde_json::{Value, json};

struct Greeter;

#[mission_control::async_trait]
impl AgentExecutor for Greeter {
    async fn execute(&self, _: StepContext, input: Value) -> Result<StepOutcome, AgentError> {
        Ok(json!({ "text": format!("hello, {}", input["name"]) }).into())
    }
}

#[tokio::main]
pub(crate) async fn main() -> mission_control::Result<()> {
    let control = mission_control::open("agents.redb").await?;
    control.register_agent("greeter", Greeter).await?;
    let hello = "{ workflow: hello, budget: { usd: '1' }, steps: { greet: { agent: greeter } } }";
    let hello = mission_control::Workflow::from_yaml(hello)?;
    control.publish(hello).await?;
    control.start_dispatch().await?;
    let by = StartOptions::by("ann");
    let run = control.start("hello", json!({ "name": 7 }), by).await?;
    let outcome = run.outcome().await?;
    assert_eq!(outcome.output(), Some(&json!({ "text": "hello, 7" })));
    control.shutdown(std::time::Duration::from_secs(5)).await
}
