//! `run`: what is refused is refused before anything is opened or published; keys find their run.

use crate::support::Desk;
use mc_cli::Exit;

const SCHEMA: &str = "workflow: brief
input_schema: { type: object, required: [topic], properties: { topic: { type: string } } }";

/// How a run is refused: its arguments, what is changed before, the exit, and what is said.
type Case = (
    &'static [&'static str],
    fn(&Desk),
    Exit,
    &'static [&'static str],
);

const CASES: &[Case] = &[
    (
        &[],
        |desk| desk.edit("workflow.yaml", "workflow: brief", SCHEMA),
        Exit::Negative,
        &["topic"],
    ),
    (
        &["--input", "{\"topic\":1}"],
        |desk| desk.edit("workflow.yaml", "workflow: brief", SCHEMA),
        Exit::Negative,
        &["/topic"],
    ),
    (
        &[],
        |desk| desk.edit("agents.yaml", "writer:", "other:"),
        Exit::Negative,
        &["agent `writer`", "agents.yaml"],
    ),
    (
        &[],
        |desk| desk.edit("agents.yaml", "calls.jsonl", "absent.jsonl"),
        Exit::CannotOpen,
        &["absent.jsonl"],
    ),
    (
        &[],
        |desk| desk.write("calls.jsonl", "{}"),
        Exit::Negative,
        &["line 1", "calls.jsonl"],
    ),
    (&["--budget", "-1"], |_| (), Exit::Usage, &["--budget"]),
    (&["--label", "A=x"], |_| (), Exit::Usage, &["--label"]),
    (&["--key", ""], |_| (), Exit::Usage, &["--key"]),
    (&["--operator", ""], |_| (), Exit::Usage, &["--operator"]),
];

#[test]
fn what_is_refused_leaves_no_store() {
    for (args, change, exit, said) in CASES {
        let desk = Desk::new();
        change(&desk);
        let answer = desk.run(args);
        assert_eq!(answer.exit, *exit, "{args:?}: {answer:?}");
        for text in *said {
            assert!(answer.err.contains(text), "{text}: {}", answer.err);
        }
        assert!(!desk.path("a.redb").exists(), "{args:?}");
    }
}

#[test]
fn what_is_refused_leaves_a_store_as_it_is() {
    for (args, change, exit, _) in CASES {
        let desk = Desk::with_run();
        let before = desk.bytes();
        change(&desk);
        assert_eq!(desk.run(args).exit, *exit, "{args:?}");
        assert!(before == desk.bytes(), "{args:?}");
    }
}

#[test]
fn every_file_that_is_missing_is_named_at_once() {
    let desk = Desk::new();
    desk.edit(
        "agents.yaml",
        "writer:  { kind: recorded, file: calls",
        "writer:  { kind: recorded, file: no2",
    );
    desk.edit(
        "agents.yaml",
        "planner: { kind: recorded, file: calls",
        "planner: { kind: recorded, file: no1",
    );
    let workflow = desk.text("no-workflow.yaml");
    let (input, agents) = (
        format!("@{}", desk.text("no-input.json")),
        desk.text("agents.yaml"),
    );
    let answer = desk.ask(&["run", &workflow, "--agents", &agents, "--input", &input]);
    assert_eq!(answer.exit, Exit::CannotOpen, "{answer:?}");
    for name in [
        "no-workflow.yaml",
        "no-input.json",
        "no1.jsonl",
        "no2.jsonl",
    ] {
        assert!(answer.err.contains(name), "{name}: {}", answer.err);
    }
    assert!(
        !answer.err.contains("mission-control runs"),
        "{}",
        answer.err
    );
}

#[test]
fn a_key_of_a_run_of_another_definition_is_refused_and_publishes_nothing() {
    let desk = Desk::new();
    desk.run(&["--key", "k"]);
    let before = desk.bytes();
    desk.edit(
        "workflow.yaml",
        "maximum_attempts: 2",
        "maximum_attempts: 3",
    );
    let answer = desk.run(&["--key", "k"]);
    assert_eq!(answer.exit, Exit::Negative, "{answer:?}");
    assert!(answer.err.contains("version 1"), "{}", answer.err);
    assert!(answer.err.contains(&desk.newest()), "{}", answer.err);
    assert!(before == desk.bytes());
}

#[test]
fn a_key_finds_its_run_with_its_own_version_and_activates_nothing() {
    let desk = Desk::new();
    desk.run(&["--key", "k"]);
    let first = desk.newest();
    desk.edit(
        "workflow.yaml",
        "maximum_attempts: 2",
        "maximum_attempts: 3",
    );
    desk.run(&["--key", "l"]);
    desk.edit(
        "workflow.yaml",
        "maximum_attempts: 3",
        "maximum_attempts: 2",
    );
    let answer = desk.run(&["--key", "k"]);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    let line = format!("run {first} of brief version 1");
    assert!(answer.out.contains(&line), "{}", answer.out);
    assert_eq!(desk.count("workflow.activated"), 2);
}

#[test]
fn a_key_of_another_input_budget_or_label_is_refused() {
    let desk = Desk::new();
    desk.run(&["--key", "k"]);
    let before = desk.bytes();
    for other in [
        ["--input", "{\"a\":1}"],
        ["--budget", "3"],
        ["--label", "a=b"],
    ] {
        let answer = desk.run(&[&["--key", "k"], &other[..]].concat());
        assert_eq!(answer.exit, Exit::Negative, "{other:?}: {answer:?}");
        assert!(
            answer.err.contains(&other[0][2..]),
            "{other:?}: {}",
            answer.err
        );
    }
    assert!(before == desk.bytes());
}
