//! The halt file: a file beside the store stops everything, whether anybody watches it or not.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::path::PathBuf;
use std::time::Duration;

use mission_control::{
    AgentError, AgentExecutor, ErrorKind, HaltScope, MissionControl, Position, RunHandle,
    StartOptions, StepContext, StepOutcome, Workflow,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// An agent that says when it begins, and ends when it is told to stop, or at once.
struct Worker {
    begins: mpsc::UnboundedSender<()>,
    waits: bool,
}

#[mission_control::async_trait]
impl AgentExecutor for Worker {
    async fn execute(&self, ctx: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        let _ = self.begins.send(());
        if self.waits && ctx.attempt() == 1 {
            ctx.cancelled().await;
            return Err(AgentError::new("stopped"));
        }
        Ok(json!("done").into())
    }
}

struct Bench {
    control: MissionControl,
    begun: mpsc::UnboundedReceiver<()>,
    file: PathBuf,
    _directory: tempfile::TempDir,
}

async fn bench(waits: bool) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("agents.redb");
    let control = mission_control::open(&store).await.unwrap();
    let (begins, begun) = mpsc::unbounded_channel();
    let worker = Worker { begins, waits };
    control.register_agent("it", worker).await.unwrap();
    let yaml = "{ workflow: w, steps: { a: { agent: it, risk: read } } }";
    control
        .publish(Workflow::from_yaml(yaml).unwrap())
        .await
        .unwrap();
    Bench {
        control,
        begun,
        file: directory.path().join("agents.redb.halt"),
        _directory: directory,
    }
}

impl Bench {
    async fn start(&self) -> RunHandle {
        self.control.start_dispatch().await.unwrap();
        let options = StartOptions::by("ann");
        self.control.start("w", json!({}), options).await.unwrap()
    }

    /// The file goes, and what it held up goes on to its end.
    async fn goes_on(&self, run: &RunHandle) {
        std::fs::remove_file(&self.file).unwrap();
        let resumed = self
            .control
            .resume(("ann", "as tested"), HaltScope::Workspace)
            .await;
        resumed.unwrap();
        assert_eq!(run.outcome().await.unwrap().output(), Some(&json!("done")));
        self.control.shutdown(Duration::from_secs(5)).await.unwrap();
    }
}

fn code(position: &Position) -> String {
    match position {
        Position::Blocked { steps, .. } => steps[0].code.clone(),
        Position::Ended(_) => panic!("{position:?}"),
    }
}

#[tokio::test]
async fn nothing_goes_out_while_the_file_is_there_and_it_has_to_go_before_all_goes_on() {
    let mut bench = bench(false).await;
    std::fs::write(&bench.file, "stop the press\nplease").unwrap();
    let run = bench.start().await;
    assert_eq!(code(&run.settled_or_blocked().await.unwrap()), "halted");
    assert!(bench.begun.try_recv().is_err());
    let error = bench
        .control
        .resume(("ann", "as tested"), HaltScope::Workspace)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidTransition);
    assert!(error.to_string().contains("agents.redb.halt"), "{error}");
    bench.goes_on(&run).await;
}

#[tokio::test]
async fn what_is_out_is_told_to_stop_as_soon_as_the_file_is_there() {
    let mut bench = bench(true).await;
    let run = bench.start().await;
    bench.begun.recv().await.unwrap();
    std::fs::write(&bench.file, "").unwrap();
    // Nothing is committed meanwhile: only the watch can tell.
    assert_eq!(code(&run.settled_or_blocked().await.unwrap()), "halted");
    bench.goes_on(&run).await;
}
