//! While another process has the store, every command asks that process.

use std::time::Duration;

use crate::support::{Answer, Desk};
use mc_cli::Exit;
use mission_control::{MissionControl, Workflow};

/// Commands that only look, of a run.
const LOOKING: &[&[&str]] = &[
    &["runs"],
    &["show", "ID"],
    &["replay", "ID"],
    &["costs"],
    &["verify"],
    &["export"],
    &["prices", "list"],
    &["workflows", "list"],
];

fn ask(desk: &Desk, args: &[&str], id: &str) -> Answer {
    let named = |arg: &&str| {
        if *arg == "ID" {
            id.to_owned()
        } else {
            (*arg).to_owned()
        }
    };
    let args: Vec<String> = args.iter().map(named).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    desk.ask(&args)
}

/// A program that has the store of a desk open.
pub(crate) struct Host {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) control: MissionControl,
}

impl Host {
    pub(crate) fn of(desk: &Desk) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let control = runtime.block_on(mission_control::open(desk.path("a.redb")));
        let control = control.unwrap();
        Self { runtime, control }
    }

    pub(crate) fn close(self) {
        let stopped = self.control.shutdown(Duration::from_secs(5));
        self.runtime.block_on(stopped).unwrap();
    }
}

#[test]
fn commands_that_look_are_answered_by_the_process_that_has_the_store() {
    let desk = Desk::with_run();
    let id = desk.newest();
    let alone: Vec<Answer> = LOOKING.iter().map(|args| ask(&desk, args, &id)).collect();
    let host = Host::of(&desk);
    for (args, before) in LOOKING.iter().zip(alone) {
        let answer = ask(&desk, args, &id);
        assert_eq!(answer.exit, Exit::Done, "{args:?}: {answer:?}");
        // Opening the store wrote an epoch; what is told of the run is the same.
        if !["export", "verify"].contains(&args[0]) {
            assert_eq!(answer.out, before.out, "{args:?}");
        }
    }
    host.close();
}

#[test]
fn an_export_of_a_store_that_another_has_verifies() {
    let desk = Desk::with_run();
    let host = Host::of(&desk);
    let file = desk.text("log.jsonl");
    assert_eq!(desk.ask(&["export", "--out", &file]).exit, Exit::Done);
    let verified = desk.ask(&["verify", "--export", &file]);
    assert_eq!(verified.exit, Exit::Done, "{verified:?}");
    host.close();
}

#[test]
fn a_run_is_driven_through_the_process_that_has_the_store() {
    let desk = Desk::new();
    let host = Host::of(&desk);
    let answer = desk.run(&[]);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    let id = desk.newest().parse().unwrap();
    let state = host.runtime.block_on(host.control.run(id).state()).unwrap();
    assert!(state.status.is_terminal());
    host.close();
}

#[test]
fn a_run_of_another_process_is_aborted_through_it() {
    let desk = Desk::with_paused_run();
    let id = desk.newest();
    let host = Host::of(&desk);
    let answer = desk.ask(&["abort", &id, "--reason", "as tested"]);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    let outcome = host.control.run(id.parse().unwrap());
    let outcome = host.runtime.block_on(outcome.outcome()).unwrap();
    assert!(matches!(outcome, mission_control::Outcome::Aborted(_)));
    host.close();
}

#[test]
fn a_workflow_is_published_and_activated_through_the_process_that_has_the_store() {
    let desk = Desk::new();
    let host = Host::of(&desk);
    let file = desk.text("workflow.yaml");
    let published = desk.ask(&["workflows", "publish", &file]);
    assert_eq!(published.exit, Exit::Done, "{published:?}");
    let workflow = Workflow::from_yaml(std::fs::read(desk.path("workflow.yaml")).unwrap());
    let again = host.control.publish(workflow.unwrap());
    assert_eq!(host.runtime.block_on(again).unwrap().version, 1);
    let activated = desk.ask(&["workflows", "activate", "brief@1"]);
    assert_eq!(activated.exit, Exit::Done, "{activated:?}");
    host.close();
}

#[test]
fn an_open_run_is_said_to_be_driven_by_the_process_that_has_the_store() {
    let desk = Desk::new();
    let host = Host::of(&desk);
    let started = host.runtime.block_on(async {
        let workflow = Workflow::from_yaml(std::fs::read(desk.path("workflow.yaml")).unwrap());
        host.control.publish(workflow.unwrap()).await?;
        for agent in ["planner", "writer"] {
            host.control.register_agent(agent, Idle).await?;
        }
        let options = mission_control::StartOptions::by("ann");
        let input = serde_json::json!({});
        host.control.start("brief", input, options).await
    });
    let id = started.unwrap().id().to_string();
    let shown = desk.ask(&["show", &id]);
    let me = format!("process {} has the store open", std::process::id());
    assert!(shown.out.contains(&me), "{shown:?}");
    host.close();
}

/// Gives its input back.
pub(crate) struct Idle;

#[mission_control::async_trait]
impl mission_control::AgentExecutor for Idle {
    async fn execute(
        &self,
        _: mission_control::StepContext,
        input: serde_json::Value,
    ) -> Result<mission_control::StepOutcome, mission_control::AgentError> {
        Ok(input.into())
    }
}
