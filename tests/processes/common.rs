//! Handles on one file, agents for them, and prices that are easy to add up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mc_testkit::TEST_PRICES;
use mission_control::{
    AgentError, AgentExecutor, Builder, MissionControl, ModelAnswer, ModelRequest, NanoUsd,
    PriceTable, Settings, StepContext, StepOutcome, Usage, Workflow,
};
use serde_json::{Value, json};

/// Gives its input back.
pub(crate) struct Echo;

#[mission_control::async_trait]
impl AgentExecutor for Echo {
    async fn execute(&self, _: StepContext, input: Value) -> Result<StepOutcome, AgentError> {
        Ok(input.into())
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        prices: Arc::new(PriceTable::parse(TEST_PRICES).unwrap()),
        ..Settings::default()
    }
}

pub(crate) async fn open(path: &Path) -> MissionControl {
    let builder = Builder::new().with_settings(settings());
    builder.open(path).await.unwrap()
}

/// A directory with the path of a store that is not there yet.
pub(crate) fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agents.redb");
    (dir, path)
}

pub(crate) fn workflow(text: &str) -> Workflow {
    Workflow::from_yaml(text).unwrap()
}

/// A call that may cost 50 thousandths of a dollar.
pub(crate) fn request(prompt: &str) -> ModelRequest {
    ModelRequest::text("test/m".parse().unwrap(), prompt)
        .input_tokens(0)
        .max_output_tokens(50)
}

/// An answer that cost so many thousandths of a dollar.
pub(crate) fn answer(mills: u64) -> ModelAnswer {
    let usage = Usage {
        output_text: mills,
        ..Usage::default()
    };
    ModelAnswer::text("ok", usage)
}

pub(crate) fn mills(mills: i64) -> NanoUsd {
    NanoUsd::from_nano(mills * 1_000_000)
}

pub(crate) fn hello() -> Value {
    json!({"hello": "there"})
}
