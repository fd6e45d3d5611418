//! While a program has the store, each command that changes something is a process of its own which joins
//! it: the program's log has what was said, and by whom, and the program's runs move by it.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use mission_control::core::sequencer::HaltScope;
use mission_control::{
    Account, AccountId, AgentError, AgentExecutor, ApprovalFilter, BlockReason, NanoUsd, Outcome,
    Position, Record, RunHandle, StartOptions, StepContext, StepOutcome, WaitingFor, Workflow,
};
use serde_json::{Value, json};

use crate::joining::Host;
use crate::support::Desk;

const SIGNAL: &str = "{ workflow: signal, steps: { a: { agent: it, input: { way: signal } } } }";
const ASKED: &str = "{ workflow: asked, steps: { a: { agent: it, risk: irreversible } } }";
const FAILS: &str = "{ workflow: fails, steps: { a: { agent: it, input: { way: fails }, \
                     retry: { maximum_attempts: 1 } } } }";
const LOST: &str = "{ workflow: lost, steps: { a: { agent: it, input: { way: hangs }, \
                    risk: irreversible, timeout: 1ms } } }";

/// Does what its input says; what fails does so once.
#[derive(Default)]
struct It(AtomicUsize);

#[mission_control::async_trait]
impl AgentExecutor for It {
    async fn execute(&self, ctx: StepContext, input: Value) -> Result<StepOutcome, AgentError> {
        let times = self.0.fetch_add(1, Ordering::SeqCst);
        match input["way"].as_str() {
            Some("signal") if ctx.resumed().is_none() => Ok(StepOutcome::Suspend {
                checkpoint: Value::Null,
                waiting_for: WaitingFor::Signal {
                    name: "go".parse().unwrap(),
                },
            }),
            Some("fails") if times == 0 => Err(AgentError::new("not today")),
            Some("hangs") => std::future::pending().await,
            _ => Ok(json!("done").into()),
        }
    }
}

/// A program that has a store, and commands that come to it from other processes.
struct Program {
    desk: Desk,
    host: Host,
}

impl Program {
    fn new() -> Self {
        let desk = Desk::new();
        let host = Host::of(&desk);
        host.runtime.block_on(async {
            let control = &host.control;
            control.register_agent("it", It::default()).await.unwrap();
            control.start_dispatch().await.unwrap();
        });
        Self { desk, host }
    }

    /// A command in a process of its own.
    fn says(&self, args: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mission-control"));
        let command = command.args(args).args(["--operator", "ann", "--db"]);
        let output = command.arg(self.desk.path("a.redb")).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "{args:?}: {}",
            text(&output.stderr)
        );
        assert!(!self.host.control.is_joined());
        text(&output.stdout)
    }

    /// Starts a run, and waits until it does not move by itself.
    fn start(&self, yaml: &str) -> (RunHandle, Position) {
        let workflow = Workflow::from_yaml(yaml).unwrap();
        self.host.runtime.block_on(async {
            let control = &self.host.control;
            let published = control.publish(workflow).await.unwrap();
            let options = StartOptions::by("bob");
            let name = published.workflow.as_str();
            let run = control.start(name, json!({}), options).await.unwrap();
            let position = run.settled_or_blocked().await.unwrap();
            (run, position)
        })
    }

    fn outcome(&self, run: &RunHandle) -> Outcome {
        self.host.runtime.block_on(run.outcome()).unwrap()
    }

    fn log(&self) -> Vec<Record> {
        let read = self.host.control.log().read_workspace(0, 10_000);
        self.host.runtime.block_on(read).unwrap()
    }

    /// The last event of a kind in the program's log: an operator said so, through the socket.
    fn wrote(&self, kind: &str) -> Value {
        let log = self.log();
        let found = log.iter().rev().find(|event| &*event.kind == kind);
        let found = found.unwrap();
        let known = (found.actor.to_string(), found.auth_method.as_str());
        assert_eq!(known, ("operator:ann".to_owned(), "socket"), "{kind}");
        serde_json::from_str(&found.facts).unwrap()
    }

    fn account(&self, name: &str) -> Account {
        let id: AccountId = name.parse().unwrap();
        self.host.control.account(&id).unwrap()
    }

    fn close(self) {
        self.host.close();
    }
}

fn done() -> Value {
    json!("done")
}

fn dollars(dollars: i64) -> NanoUsd {
    NanoUsd::from_nano(dollars * 1_000_000_000)
}

fn blocked(position: &Position) -> BlockReason {
    match position {
        Position::Blocked { steps, .. } => steps[0].reason,
        Position::Ended(outcome) => unreachable!("{outcome:?}"),
    }
}

#[test]
fn a_run_is_paused_signalled_and_resumed_from_another_process() {
    let program = Program::new();
    let (run, position) = program.start(SIGNAL);
    assert_eq!(blocked(&position), BlockReason::Signal);
    let id = run.id().to_string();
    program.says(&["pause", &id, "--reason", "lunch"]);
    program.wrote("run.paused");
    program.says(&["signal", &id, "go", "{\"n\":1}"]);
    program.wrote("signal.received");
    let state = program.host.runtime.block_on(run.state()).unwrap();
    assert!(state.paused.is_some() && !state.status.is_terminal());
    program.says(&["resume", &format!("run:{id}"), "--reason", "done"]);
    program.wrote("run.resumed");
    assert_eq!(program.outcome(&run).output(), Some(&done()));
    drop(run);
    program.close();
}

#[test]
fn everything_is_halted_and_resumed_from_another_process() {
    let program = Program::new();
    for scope in ["workspace", "agent:it"] {
        program.says(&["halt", scope, "--reason", "fire"]);
        program.wrote("halt.placed");
        let halts = program.host.control.halts();
        let parsed: HaltScope = scope.parse().unwrap();
        assert_eq!(halts.len(), 1);
        assert_eq!(halts[0].0, parsed);
        let (run, position) = program.start(ASKED);
        assert_eq!(blocked(&position), BlockReason::AgentUnavailable);
        program.says(&["resume", scope, "--reason", "out"]);
        program.wrote("halt.lifted");
        assert!(program.host.control.halts().is_empty());
        let one = format!("run:{}", run.id());
        program.says(&["halt", &one, "--reason", "smoke"]);
        program.wrote("run.paused");
        program.says(&["resume", &one, "--reason", "gone"]);
        program.wrote("run.resumed");
    }
    program.close();
}

#[test]
fn what_is_asked_is_approved_and_rejected_from_another_process() {
    let program = Program::new();
    for (word, completes) in [("approve", true), ("reject", false)] {
        let (run, position) = program.start(ASKED);
        assert_eq!(blocked(&position), BlockReason::Approval);
        let pending = program.host.control.approvals(ApprovalFilter::Pending);
        let asked = program.host.runtime.block_on(pending).unwrap();
        let id = asked[0].id.to_string();
        program.says(&[word, &id, "--reason", "looked at it"]);
        program.wrote("approval.decided");
        let outcome = program.outcome(&run);
        assert_eq!(outcome.output() == Some(&done()), completes, "{outcome:?}");
    }
    program.close();
}

#[test]
fn a_step_in_doubt_is_resolved_from_another_process() {
    let program = Program::new();
    program
        .desk
        .write("p.yaml", "approvals: { from: financial }");
    let file = program.desk.text("p.yaml");
    program.says(&["policy", "publish", &file]);
    let facts = program.wrote("policy.published");
    assert_eq!(facts["version"], 1);
    let (run, position) = program.start(LOST);
    assert_eq!(blocked(&position), BlockReason::InDoubt);
    let id = run.id().to_string();
    program.says(&["resolve", &id, "a", "--happened", "\"done\""]);
    program.wrote("step.resolved");
    assert_eq!(program.outcome(&run).output(), Some(&done()));
    drop(run);
    program.close();
}

#[test]
fn a_failed_run_is_redriven_from_another_process_and_goes_on_in_the_program() {
    let program = Program::new();
    let (run, position) = program.start(FAILS);
    assert!(matches!(position, Position::Ended(Outcome::Failed { .. })));
    program.says(&["redrive", &run.id().to_string()]);
    program.wrote("run.redriven");
    assert_eq!(program.outcome(&run).output(), Some(&done()));
    drop(run);
    program.close();
}

#[test]
fn a_limit_is_set_topped_up_and_frozen_from_another_process() {
    let program = Program::new();
    let account = "agent:it";
    program.says(&[
        "budgets",
        "set",
        account,
        "--usd",
        "2",
        "--reason",
        "as tested",
    ]);
    program.wrote("budget.limit_set");
    assert_eq!(program.account(account).limit().money, Some(dollars(2)));
    program.says(&[
        "budgets",
        "top-up",
        account,
        "--usd",
        "3",
        "--reason",
        "as tested",
    ]);
    assert_eq!(program.account(account).limit().money, Some(dollars(5)));
    program.says(&["budgets", "freeze", account, "--reason", "as tested"]);
    assert!(program.account(account).is_frozen());
    program.says(&["budgets", "unfreeze", account, "--reason", "as tested"]);
    assert!(!program.account(account).is_frozen());
    let said = program.log();
    let said = said.iter().filter(|one| one.kind.starts_with("budget."));
    let by: Vec<_> = said
        .map(|one| one.auth_method.as_str().to_owned())
        .collect();
    assert_eq!(by, vec!["socket"; by.len()]);
    assert!(by.len() >= 4, "{by:?}");
    program.close();
}
