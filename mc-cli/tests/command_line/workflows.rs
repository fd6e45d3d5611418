//! Versions of workflows: stored, looked at, compared, drawn, and which one new runs take.

use crate::support::Desk;
use mc_cli::Exit;
use serde_json::json;

/// A desk with two versions; new runs take the first.
fn two_versions() -> Desk {
    let desk = Desk::new();
    let file = desk.text("workflow.yaml");
    assert_eq!(desk.ask(&["workflows", "publish", &file]).exit, Exit::Done);
    desk.edit("workflow.yaml", "risk: read", "risk: write, timeout: 5m");
    desk.edit("workflow.yaml", "needs: [plan],", "needs: [plan, look],");
    desk.edit(
        "workflow.yaml",
        "steps:\n",
        "steps:\n  look: { agent: planner }\n",
    );
    let answer = desk.ask(&["workflows", "publish", &file, "--later"]);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    assert!(
        answer.out.contains("workflows activate brief@2"),
        "{}",
        answer.out
    );
    desk
}

/// The versions that new runs take.
fn active(desk: &Desk) -> Vec<u64> {
    let answer = desk.ask(&["workflows", "list", "--json"]).json();
    let rows = answer["workflows"].as_array().unwrap().iter();
    rows.filter(|row| row["active"] == true)
        .map(|row| row["version"].as_u64().unwrap())
        .collect()
}

#[test]
fn new_runs_take_the_version_that_was_activated_and_can_go_back() {
    let desk = two_versions();
    assert_eq!(active(&desk), [1]);
    for version in [2, 1] {
        let named = format!("brief@{version}");
        let answer = desk.ask(&["workflows", "activate", &named]);
        assert_eq!(answer.exit, Exit::Done, "{answer:?}");
        assert_eq!(active(&desk), [version]);
    }
    assert_eq!(desk.count("workflow.activated"), 3);
}

#[test]
fn versions_are_compared_step_by_step_also_with_a_file() {
    let desk = two_versions();
    let answer = desk.ask(&["workflows", "diff", "brief@1", "brief@2"]);
    let expected = "+ step look\n~ step plan: risk, timeout_ms\n~ step write: needs\n";
    assert_eq!(answer.out, expected);
    let file = desk.text("workflow.yaml");
    let same = desk.ask(&["workflows", "diff", "brief@2", &file, "--json"]);
    assert_eq!(same.json()["same"], true);
    let found = desk.ask(&["workflows", "diff", "brief", "brief@2", "--json"]);
    assert_eq!(
        found.json()["steps"][0],
        json!({"step": "look", "change": "added"})
    );
}

#[test]
fn a_version_is_shown_and_drawn_without_changing_the_store() {
    let desk = two_versions();
    let before = desk.bytes();
    let shown = desk.ask(&["workflows", "show", "brief"]);
    assert!(
        shown.out.starts_with("brief@1, active\nhash "),
        "{}",
        shown.out
    );
    let definition = desk.ask(&["workflows", "show", "brief@2", "--json"]).json();
    assert_eq!(definition["definition"]["workflow"], "brief");
    let drawn = desk.ask(&["workflows", "graph", "brief@2"]);
    let expected = "look   planner\nplan   planner\nwrite  writer   <- look, plan\n";
    assert_eq!(drawn.out, expected);
    let picture = desk.text("brief.svg");
    let answer = desk.ask(&["workflows", "graph", "brief@2", "--svg", &picture]);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    let svg = std::fs::read_to_string(&picture).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains(">look</text>"));
    let again = desk.ask(&["workflows", "graph", "brief@2", "--svg", &picture]);
    assert_eq!(
        again.exit,
        Exit::CannotOpen,
        "another's file is not written over"
    );
    assert!(desk.bytes() == before);
}

#[test]
fn what_is_not_there_or_no_version_is_named_and_changes_nothing() {
    let desk = two_versions();
    let before = desk.bytes();
    for (args, exit) in [
        (["show", "brief@3"], Exit::Negative),
        (["show", "nobody"], Exit::Negative),
        (["show", "brief@two"], Exit::Usage),
        (["graph", "none.yaml"], Exit::CannotOpen),
        (["activate", "brief"], Exit::Usage),
        (["activate", "brief@9"], Exit::Negative),
        (["publish", "none.yaml"], Exit::CannotOpen),
    ] {
        let answer = desk.ask(&["workflows", args[0], args[1]]);
        assert_eq!(answer.exit, exit, "{args:?} {answer:?}");
        assert!(answer.err.contains("next: "), "{}", answer.err);
    }
    assert!(desk.bytes() == before);
    let none = Desk::new();
    let bad = none.text("agents.yaml");
    assert_eq!(
        none.ask(&["workflows", "publish", &bad]).exit,
        Exit::Negative
    );
    assert!(
        !none.path("a.redb").exists(),
        "a file that is no workflow makes no store"
    );
}

#[test]
fn publish_warns_of_steps_that_may_call_any_tool() {
    let desk = Desk::new();
    let steps = "a: { agent: x }, b: { agent: x, tools: [] }, c: { agent: x, tools: [pay] }";
    desk.write(
        "open.yaml",
        &format!("{{ workflow: open, steps: {{ {steps} }} }}"),
    );
    let publish = ["workflows", "publish", &desk.text("open.yaml")];
    let answer = desk.ask(&publish);
    assert_eq!(answer.exit, Exit::Done);
    assert!(
        answer.err.contains("warning: no `tools:` in a: any tool"),
        "{answer:?}"
    );
    let json = desk.ask(&[&publish[..], &["--json"]].concat()).json();
    assert_eq!(json["without_tools"], serde_json::json!(["a"]));
}
