//! What is refused: with which exit, and what the person is told to do next.

use std::process::Command;

use crate::support::Desk;
use mc_cli::Exit;
use mc_store::RedbLog;

/// Every command that opens the store.
const OPENING: &[&[&str]] = &[
    &["runs"],
    &["show", "0"],
    &["replay", "0"],
    &["costs"],
    &["abort", "0", "--reason", "as tested"],
    &["verify"],
    &["export"],
    &["demo"],
];

#[test]
fn while_another_has_the_file_every_command_says_who_and_exits_3() {
    let desk = Desk::with_run();
    let held = RedbLog::open(desk.path("a.redb")).unwrap();
    let me = format!("is open in process {}", std::process::id());
    for args in OPENING {
        let answer = desk.ask(args);
        assert_eq!(answer.exit, Exit::CannotOpen, "{args:?}: {answer:?}");
        assert!(answer.err.contains(&me), "{args:?}: {}", answer.err);
        assert!(
            answer.err.contains("next: stop process"),
            "{args:?}: {}",
            answer.err
        );
    }
    let calls = desk.text("calls.jsonl");
    assert_eq!(desk.ask(&["rehearse", &calls]).exit, Exit::CannotOpen);
    assert_eq!(desk.run(&[]).exit, Exit::CannotOpen);
    drop(held);
    assert_eq!(desk.ask(&["verify"]).exit, Exit::Done);
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    let desk = Desk::new();
    for args in OPENING.iter().filter(|args| args[0] != "demo") {
        let answer = desk.ask(args);
        assert_eq!(answer.exit, Exit::CannotOpen, "{args:?}: {answer:?}");
        assert!(answer.err.contains("--db FILE"), "{}", answer.err);
    }
    let money = ["--billed", "nothing", "--evidence", "asked"];
    let account = ["reconcile", "--account", "agent:writer"];
    for args in [
        [&account[..], &money[..]].concat(),
        [&["reconcile", "--run", "0"][..], &money[..]].concat(),
        vec!["resolve", "0", "write", "--did-not-happen"],
        vec!["redrive", "0"],
        vec!["approve", "0/1", "--reason", "seen"],
        vec!["workflows", "activate", "brief@1"],
        vec!["budgets", "freeze", "workspace", "--reason", "as tested"],
        vec!["halt", "--reason", "as tested"],
        vec!["resume", "--reason", "as tested"],
        vec!["pause", "0", "--reason", "as tested"],
    ] {
        assert_eq!(desk.ask(&args).exit, Exit::CannotOpen, "{args:?}");
    }
    assert!(!desk.path("a.redb").exists());
}

#[test]
fn a_foreign_file_is_refused_and_keeps_every_byte() {
    let desk = Desk::new();
    desk.write("a.redb", "not a store, but somebody's letter");
    for args in OPENING {
        assert_eq!(desk.ask(args).exit, Exit::CannotOpen, "{args:?}");
    }
    let after = std::fs::read_to_string(desk.path("a.redb")).unwrap();
    assert_eq!(after, "not a store, but somebody's letter");
}

#[test]
fn wrong_usage_exits_64() {
    let desk = Desk::with_run();
    for args in [
        &["no-such-command"][..],
        &["costs", "--by", "moon"],
        &["costs", "--csv", "--json"],
        &["runs", "--status", "done"],
        &["runs", "--since", "soon"],
        &["runs", "--label", "x"],
        &["runs", "--workflow", "A B"],
        &["replay", "0", "--at", "-1"],
        &["export", "--format", "xml"],
        &["run"],
    ] {
        assert_eq!(desk.ask(args).exit, Exit::Usage, "{args:?}");
    }
    for args in [
        ["--input", "{"],
        ["--budget", "1e3"],
        ["--speed", "0"],
        ["--label", "="],
    ] {
        assert_eq!(desk.run(&args).exit, Exit::Usage, "{args:?}");
    }
}

#[test]
fn every_problem_of_a_workflow_is_told() {
    let desk = Desk::new();
    desk.write(
        "workflow.yaml",
        "workflow: W\nsteps: { a: { agent: x, needs: [b] }, b: { agent: x, needs: [a] } }",
    );
    let answer = desk.run(&[]);
    assert_eq!(answer.exit, Exit::Negative);
    assert!(answer.err.contains("/workflow"), "{}", answer.err);
    assert!(answer.err.contains("next: mend "), "{}", answer.err);
}

#[test]
fn errors_are_json_where_json_was_asked_for() {
    let answer = Desk::new().ask(&["runs", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&answer.err).unwrap();
    assert_eq!(error["error"]["code"], "not_found");
}

#[test]
fn the_binary_takes_its_store_from_the_environment() {
    let desk = Desk::with_run();
    let output = Command::new(env!("CARGO_BIN_EXE_mission-control"))
        .args(["runs", "--json"])
        .env("MISSION_CONTROL_DB", desk.path("a.redb"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("\"workflow\":\"brief\"")
    );
}

#[test]
fn the_binary_exits_with_the_number_of_its_exit() {
    let binary = || Command::new(env!("CARGO_BIN_EXE_mission-control"));
    let code = |args: &[&str]| binary().args(args).output().unwrap().status.code();
    assert_eq!(code(&["--help"]), Some(0));
    assert_eq!(code(&["--version"]), Some(0));
    assert_eq!(code(&["nonsense"]), Some(64));
    assert_eq!(code(&["runs", "--db", "no/such/file"]), Some(3));
}
