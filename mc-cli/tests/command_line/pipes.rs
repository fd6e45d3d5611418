//! Whoever closes the pipe wants no more: every command ends with 0, and a run goes on to its end.

use std::process::Command;

use crate::support::Desk;

fn exit_into_a_closed_pipe(desk: &Desk, args: &[&str]) -> Option<i32> {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_mission-control"));
    command.args(args).args(["--db", &desk.text("a.redb")]);
    let output = command.stdout(writer).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    output.status.code()
}

#[test]
fn commands_that_look_end_well() {
    let desk = Desk::with_run();
    let run = desk.newest();
    for args in [
        &["runs"][..],
        &["show", &run],
        &["replay", &run],
        &["costs"],
        &["costs", "--csv"],
        &["prices", "list"],
        &["verify"],
        &["export"],
        &["export", "--format", "csv"],
        &["runs", "--json"],
        &["--help"],
    ] {
        assert_eq!(exit_into_a_closed_pipe(&desk, args), Some(0), "{args:?}");
    }
}

#[test]
fn a_run_goes_on_to_its_end() {
    let desk = Desk::new();
    let (workflow, agents) = (desk.text("workflow.yaml"), desk.text("agents.yaml"));
    let args = ["run", &workflow, "--agents", &agents];
    assert_eq!(exit_into_a_closed_pipe(&desk, &args), Some(0));
    let runs = desk.ask(&["runs", "--json"]).json();
    assert_eq!(runs["runs"][0]["status"], "completed");
}

#[test]
fn a_rehearsal_and_the_demo_go_on_to_their_end() {
    let desk = Desk::new();
    let calls = desk.text("calls.jsonl");
    assert_eq!(
        exit_into_a_closed_pipe(&desk, &["rehearse", &calls]),
        Some(0)
    );
    assert_eq!(exit_into_a_closed_pipe(&desk, &["demo"]), Some(0));
    let runs = desk.ask(&["runs", "--json"]).json();
    let all = runs["runs"].as_array().unwrap().iter();
    assert_eq!(all.filter(|run| run["status"] == "completed").count(), 2);
}
