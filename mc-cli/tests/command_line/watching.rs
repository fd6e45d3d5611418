//! `watch` and `top` beside a process that has the store.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::joining::{Host, Idle};
use crate::support::Desk;
use mc_cli::Exit;
use mission_control::{MissionControl, RunHandle, StartOptions, Workflow};
use serde_json::{Value, json};

/// The command line in a process of its own, and what it writes.
struct Watcher {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watcher {
    fn of(desk: &Desk, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mission-control"));
        command.args(args).args(["--db", &desk.text("a.redb")]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// The lines up to the first that has a text.
    fn until(&mut self, text: &str) -> Vec<String> {
        let mut seen = Vec::new();
        while !seen.last().is_some_and(|line: &String| line.contains(text)) {
            seen.push(self.line());
        }
        seen
    }

    fn end(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A run of ann's that asks before it goes on.
async fn asking(control: &MissionControl) -> RunHandle {
    let text = "{ workflow: w, steps: { pay: { agent: it, risk: irreversible } } }";
    control.register_agent("it", Idle).await.unwrap();
    control
        .publish(Workflow::from_yaml(text).unwrap())
        .await
        .unwrap();
    let options = StartOptions::by("ann");
    let run = control.start("w", json!({"amount": 7}), options).await;
    run.unwrap()
}

#[test]
fn a_run_is_watched_from_its_first_event_to_its_seal() {
    let desk = Desk::new();
    let host = Host::of(&desk);
    let run = host.runtime.block_on(asking(&host.control));
    let id = run.id().to_string();
    let mut watcher = Watcher::of(&desk, &["watch", "--run", &id]);
    assert!(watcher.line().contains("run.created"));
    host.runtime.block_on(async {
        // Nothing was dispatched by whoever watches.
        assert_eq!(run.state().await.unwrap().steps.len(), 0);
        host.control.start_dispatch().await.unwrap();
    });
    let asked = watcher.until("approval.requested").pop().unwrap();
    assert!(asked.contains(&format!("approval={id}/1")), "{asked}");
    let approved = desk.ask(&["approve", &format!("{id}/1"), "--reason", "fine by me"]);
    assert_eq!(approved.exit, Exit::Done, "{approved:?}");
    let decided = watcher.until("approval.decided").pop().unwrap();
    assert!(decided.contains("verdict=approved"), "{decided}");
    assert!(decided.contains("said=\"fine by me\""), "{decided}");
    watcher.until("run.sealed");
    assert_eq!(watcher.end(), Some(0));
    host.close();
}

#[test]
fn a_store_is_watched_in_json_whoever_comes_and_goes() {
    let desk = Desk::with_run();
    let mut watcher = Watcher::of(&desk, &["watch", "--json", "--since", "1h"]);
    let sealed = watcher.until("\"run.sealed\"");
    for line in &sealed {
        let event: Value = serde_json::from_str(line).unwrap();
        assert!(event["seq"].is_u64() && event["type"].is_string(), "{line}");
    }
    // Whoever watches does not keep the store from others, and sees what they do.
    let again = desk.run(&[]);
    assert_eq!(again.exit, Exit::Done, "{again:?}");
    watcher.until("\"run.created\"");
    watcher.until("\"run.completed\"");
    let host = Host::of(&desk);
    let run = host.runtime.block_on(asking(&host.control));
    let created = watcher.until("\"run.created\"").pop().unwrap();
    let created: Value = serde_json::from_str(&created).unwrap();
    assert_eq!(created["run_id"], run.id().to_string());
    host.close();
}

#[test]
fn top_is_refused_where_there_is_no_terminal() {
    let desk = Desk::with_run();
    let refused = desk.ask(&["top"]);
    assert_eq!(refused.exit, Exit::Usage);
    assert!(
        refused.err.contains("mission-control watch"),
        "{}",
        refused.err
    );
}

#[test]
fn what_is_watched_has_to_be_there() {
    let desk = Desk::new();
    assert_eq!(desk.ask(&["watch"]).exit, Exit::CannotOpen);
    let desk = Desk::with_run();
    let unknown = desk.ask(&["watch", "--run", "ffffffff"]);
    assert_eq!(unknown.exit, Exit::Negative, "{unknown:?}");
}

#[test]
fn why_somebody_halted_or_paused_is_told() {
    let desk = Desk::with_paused_run();
    let run = format!("run:{}", desk.newest());
    for args in [
        &["halt", "--reason", "it posts nonsense"][..],
        &["resume", "--reason", "it was a joke"],
        &["halt", &run, "--reason", "not this one"],
    ] {
        assert_eq!(desk.ask(args).exit, Exit::Done, "{args:?}");
    }
    let mut watcher = Watcher::of(&desk, &["watch", "--since", "1h"]);
    for (kind, said) in [
        ("halt.placed", "said=\"it posts nonsense\""),
        ("halt.lifted", "said=\"it was a joke\""),
        ("reason.halt", "said=\"not this one\""),
    ] {
        let line = watcher.until(kind).pop().unwrap();
        assert!(line.contains(said), "{line}");
    }
}

#[test]
fn a_call_that_a_provider_refused_is_said_to_wait() {
    let desk = Desk::new();
    let waits = "initial_interval: 5m, maximum_interval: 5m";
    let before = "initial_interval: 1ms, maximum_interval: 1ms";
    desk.edit("workflow.yaml", before, waits);
    let (workflow, agents) = (desk.text("workflow.yaml"), desk.text("agents.yaml"));
    let mut run = Watcher::of(&desk, &["run", &workflow, "--agents", &agents]);
    run.until("provider refused");
    let shown = desk.ask(&["show", &desk.newest()]).out;
    let line = shown.lines().find(|line| line.starts_with("write "));
    let told = "recorded/GPT_3_5_TURBO was refused by its provider, again at 20";
    assert!(line.unwrap().contains(told), "{shown}");
    let json = desk.ask(&["show", &desk.newest(), "--json"]).json();
    assert_eq!(json["steps"][1]["refused"]["times"], 1, "{json}");
    assert!(
        json["steps"][1]["refused"]["retry_at"].is_string(),
        "{json}"
    );
}
