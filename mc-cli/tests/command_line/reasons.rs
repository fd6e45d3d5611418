//! Why a step failed: what its agent said, in a line for people and whole for programs.

use crate::support::Desk;

#[test]
fn the_message_of_a_failure_is_shown_by_every_command_that_shows_the_step() {
    let desk = Desk::with_failure("the printer is on fire");
    let run = desk.newest();
    let again = desk.run(&[]);
    assert!(
        again.out.contains("the printer is on fire"),
        "{}",
        again.out
    );
    for args in [["show", &run], ["replay", &run]] {
        let out = desk.ask(&args).out;
        assert!(
            out.contains("agent_failed: the printer is on fire"),
            "{out}"
        );
    }
    let step = &desk.ask(&["show", &run, "--json"]).json()["steps"][1];
    assert_eq!(step["code"], "agent_failed");
    assert_eq!(step["message"], "the printer is on fire");
    let last = desk.run(&["--json"]).json();
    assert_eq!(
        last["outcome"]["failed"]["message"],
        "the printer is on fire"
    );
}

#[test]
fn a_long_message_is_a_line_in_tables_and_whole_in_json() {
    let message = format!("first line\nsecond {}", "x".repeat(3_000));
    let desk = Desk::with_failure(&message);
    let run = desk.newest();
    let shown = desk.ask(&["show", &run]);
    let line = shown
        .out
        .lines()
        .find(|line| line.contains("agent_failed: "))
        .unwrap();
    assert!(line.contains("first line\\nsecond x"), "{line}");
    assert!(
        line.chars().count() < 250 && line.ends_with("..."),
        "{line}"
    );
    let step = &desk.ask(&["show", &run, "--json"]).json()["steps"][1];
    assert_eq!(step["message"], *message);
}

#[test]
fn what_steers_a_terminal_is_escaped_everywhere() {
    let desk = Desk::with_failure("\u{1b}[2J\u{202e}evil\u{9b}1m\r");
    let run = desk.newest();
    let answers = [
        desk.ask(&["show", &run]),
        desk.ask(&["show", &run, "--json"]),
        desk.ask(&["replay", &run, "--json"]),
        desk.run(&[]),
        desk.run(&["--json"]),
        desk.ask(&["show", "\u{202e}\u{1b}"]),
    ];
    for answer in &answers {
        let text = format!("{}{}", answer.out, answer.err);
        let steers = |c: char| c != '\n' && c.is_control() || c == '\u{202e}';
        assert!(!text.contains(steers), "{text:?}");
    }
    assert!(
        answers[0].out.contains("\\u{1b}[2J\\u{202e}evil"),
        "{}",
        answers[0].out
    );
    let step = &answers[1].json()["steps"][1];
    assert_eq!(step["message"], "\u{1b}[2J\u{202e}evil\u{9b}1m\r");
}

#[test]
fn the_last_item_that_failed_speaks_for_its_step() {
    let desk = Desk::new();
    let steps = "agent: writer, needs: [plan], for_each: \"${{ steps.plan.output.parts }}\", ";
    desk.edit("workflow.yaml", "agent: writer, needs: [plan], ", steps);
    desk.edit(
        "workflow.yaml",
        "maximum_attempts: 2",
        "maximum_attempts: 1",
    );
    let parts = "{\\\"parts\\\":[1,2]}";
    desk.edit("calls.jsonl", "{\\\"plan\\\":\\\"two\\\"}", parts);
    let ran = desk.run(&[]);
    assert!(
        ran.out.contains("(agent_failed: came back empty)"),
        "{}",
        ran.out
    );
    let last = desk.run(&["--json"]).json();
    assert_eq!(last["outcome"]["failed"]["message"], "came back empty");
    let shown = desk.ask(&["show", &desk.newest()]);
    let line = shown.out.lines().find(|line| line.starts_with("write "));
    assert!(
        line.unwrap().contains("agent_failed: came back empty"),
        "{}",
        shown.out
    );
}

#[test]
fn a_step_that_paused_its_run_says_why() {
    let desk = Desk::new();
    desk.edit(
        "workflow.yaml",
        "maximum_attempts: 2 }",
        "maximum_attempts: 1 }, on_failure: pause",
    );
    let ran = desk.run(&[]);
    let shown = desk.ask(&["show", &desk.newest()]);
    for out in [&ran.out, &shown.out] {
        assert!(out.contains("write failed (came back empty)"), "{out}");
    }
    assert!(
        shown.out.contains("agent_failed: came back empty"),
        "{}",
        shown.out
    );
}
