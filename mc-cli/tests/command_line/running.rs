//! `run`, `abort` and `demo`: what they show, and how they end.

use crate::support::Desk;
use mc_cli::Exit;

#[test]
fn a_run_shows_a_line_for_each_move_and_ends_with_its_output() {
    let answer = Desk::new().run(&["--budget", "1.00"]);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    let lines = [
        "plan           running    attempt 1",
        "provider refused with 429",
        "write          waiting    attempt 1",
        "write          completed  attempt 2",
        "of 1.00 USD]",
        "\"text\": \"done\"",
    ];
    for line in lines {
        assert!(answer.out.contains(line), "{line}: {}", answer.out);
    }
}

#[test]
fn json_progress_is_an_object_a_line_and_ends_with_the_outcome() {
    let answer = Desk::new().run(&["--json"]);
    let all: Result<Vec<serde_json::Value>, _> =
        answer.out.lines().map(serde_json::from_str).collect();
    let all = all.unwrap();
    assert_eq!(all[0]["step"], "plan");
    assert_eq!(
        all.last().unwrap()["outcome"]["completed"]["write"]["text"],
        "done"
    );
}

#[test]
fn a_run_beyond_its_budget_is_aborted_and_exits_1() {
    let answer = Desk::new().run(&["--budget", "0.000001"]);
    assert_eq!(answer.exit, Exit::Negative);
    assert!(
        answer.out.contains("aborted: budget of run:"),
        "{}",
        answer.out
    );
}

#[test]
fn a_run_that_stands_still_says_what_lets_it_go_on() {
    let desk = Desk::with_paused_run();
    let answer = desk.ask(&["show", &desk.newest()]);
    let more = format!(
        "`mission-control budgets top-up run:{} --usd",
        desk.newest()
    );
    assert!(answer.out.contains(&more), "{}", answer.out);
}

#[test]
fn the_same_key_finds_the_same_run() {
    let desk = Desk::new();
    desk.run(&["--key", "k"]);
    let first = desk.newest();
    let again = desk.run(&["--key", "k"]);
    assert_eq!(again.exit, Exit::Done, "{again:?}");
    assert_eq!(desk.newest(), first);
}

#[test]
fn abort_ends_a_run_once() {
    let desk = Desk::with_paused_run();
    let run = desk.newest();
    let answer = desk.ask(&["abort", &run, "--reason", "as tested"]);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    assert_eq!(
        desk.ask(&["show", &run, "--json"]).json()["status"],
        "aborted"
    );
    let before = desk.bytes();
    let again = desk.ask(&["abort", &run, "--reason", "as tested"]);
    assert!(before == desk.bytes());
    assert_eq!(again.exit, Exit::Negative);
    assert!(again.err.contains("invalid_transition"), "{}", again.err);
}

#[test]
fn an_agent_that_is_missing_is_named() {
    let desk = Desk::new();
    desk.write(
        "agents.yaml",
        "agents: { planner: { kind: recorded, file: calls.jsonl } }",
    );
    let answer = desk.run(&[]);
    assert_eq!(answer.exit, Exit::Negative);
    assert!(
        answer.err.contains("agent `writer` is not registered"),
        "{}",
        answer.err
    );
}

#[test]
fn a_kind_that_there_is_not_is_refused_with_its_place() {
    let desk = Desk::new();
    desk.write("agents.yaml", "agents: { planner: { kind: robot } }");
    let answer = desk.run(&[]);
    assert_eq!(answer.exit, Exit::Negative);
    assert!(
        answer.err.contains("/agents/planner/kind"),
        "{}",
        answer.err
    );
}

#[test]
fn the_demo_works_twice_on_one_store_and_in_a_new_directory() {
    let desk = Desk::new();
    let db = desk.text("deep/er/demo.redb");
    for _ in 0..2 {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = ["mission-control", "demo", "--db", &db, "--operator", "ann"];
        let exit = mc_cli::run(args, &mut out, &mut err);
        let out = String::from_utf8(out).unwrap();
        assert_eq!(exit, Exit::Done, "{out}");
        assert!(out.contains("replay equals the stored state"), "{out}");
        assert!(
            out.contains("agent_failed: the draft came back empty, again at"),
            "{out}"
        );
    }
}

#[test]
fn rehearse_re_enacts_a_file_and_exits_by_its_runs() {
    let desk = Desk::new();
    let calls = desk.text("calls.jsonl");
    let answer = desk.ask(&["rehearse", &calls, "--json", "--budget-fraction", "2"]);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    assert_eq!(
        (&answer.json()["runs"], &answer.json()["completed"]),
        (&1.into(), &1.into())
    );
    assert_eq!(
        desk.ask(&["rehearse", &desk.text("absent")]).exit,
        Exit::CannotOpen
    );
    desk.write("calls.jsonl", "{}");
    assert_eq!(desk.ask(&["rehearse", &calls]).exit, Exit::Negative);
}

#[test]
fn the_version_of_an_agent_is_shown_where_its_attempts_are() {
    let desk = Desk::new();
    let writer = "writer:  { kind: recorded,";
    desk.edit(
        "agents.yaml",
        writer,
        "writer: { version: \"3.2\", kind: recorded,",
    );
    assert_eq!(desk.run(&[]).exit, Exit::Done);
    let run = desk.newest();
    let shown = desk.ask(&["show", &run]);
    assert!(shown.out.contains(" writer 3.2 "), "{}", shown.out);
    let steps = &desk.ask(&["show", &run, "--json"]).json()["steps"];
    assert_eq!(steps[0]["agent_version"], serde_json::Value::Null);
    assert_eq!(steps[1]["agent_version"], "3.2");
    let exported = desk.ask(&["export"]);
    assert!(exported.out.contains("agent_version"), "{}", exported.out);
}
