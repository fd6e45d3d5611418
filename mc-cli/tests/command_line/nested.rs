//! Workflows that use others, at the command line.

use crate::support::Desk;
use mc_cli::{Console, Exit, Screen, Signals};

const OUTER: &str = "{ workflow: outer, steps: { qa: { uses: 'brief@1' } } }";

/// A desk with a run of a workflow that uses the desk's own.
fn composed() -> Desk {
    let desk = Desk::new();
    desk.write("outer.yaml", OUTER);
    let published = desk.ask(&["workflows", "publish", &desk.text("workflow.yaml")]);
    assert_eq!(published.exit, Exit::Done, "{published:?}");
    let (outer, agents) = (desk.text("outer.yaml"), desk.text("agents.yaml"));
    let answer = desk.ask(&["run", &outer, "--agents", &agents]);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    assert!(answer.out.contains("qa/plan"), "{}", answer.out);
    assert!(answer.out.contains("0.00908"), "{}", answer.out);
    desk
}

#[test]
fn a_run_is_shown_with_the_steps_of_the_runs_nested_in_it() {
    let desk = composed();
    let shown = desk.ask(&["show", &desk.newest()]);
    let steps: Vec<(&str, &str)> = shown
        .out
        .lines()
        .filter(|line| line.contains("completed "))
        .filter_map(|line| line.split_once(' '))
        .collect();
    let paths: Vec<&str> = steps
        .iter()
        .map(|(path, _)| *path)
        .filter(|p| p.starts_with("qa"))
        .collect();
    assert_eq!(paths, ["qa", "qa/plan", "qa/write"], "{}", shown.out);
    assert!(shown.out.contains("uses brief@1"), "{}", shown.out);
    let json = desk.ask(&["show", &desk.newest(), "--json"]).json();
    assert_eq!(json["accounts"]["run"]["spent"]["nano_usd"], 9_080_000);
    assert_eq!(
        json["steps"][0]["nested"][0]["steps"][1]["path"],
        "qa/write"
    );
}

#[test]
fn nested_runs_are_listed_only_where_they_are_asked_for() {
    let desk = composed();
    let runs = |more: &[&str]| desk.ask(&[&["runs"], more].concat());
    let listed = runs(&[]).out;
    assert!(
        listed.contains("outer@1") && !listed.contains("brief@1"),
        "{listed}"
    );
    assert!(
        listed.contains("1 nested in others left out; `--nested`"),
        "{listed}"
    );
    assert!(listed.contains("0.00908"), "{listed}");
    let json = runs(&["--nested", "--json"]).json();
    let all = json["runs"].as_array().unwrap();
    let outer = all.iter().find(|run| run["workflow"] == "outer").unwrap();
    let inner = all.iter().find(|run| run["workflow"] == "brief").unwrap();
    assert_eq!(inner["nested_in"]["run"], outer["run_id"]);
    assert_eq!(outer["spent_nested_usd"], "0.00908");
}

#[test]
fn costs_by_workflow_count_nested_runs_once() {
    let desk = composed();
    let costs = desk.ask(&["costs", "--by", "workflow", "--json"]).json();
    assert_eq!(costs["total"]["cost_usd"], "0.00908", "{costs}");
    let rows = costs["rows"].as_array().unwrap();
    let named: Vec<&str> = rows.iter().filter_map(|row| row["key"].as_str()).collect();
    assert_eq!(named, ["brief"], "{costs}");
}

#[test]
fn a_workflow_that_uses_what_is_not_published_is_refused_with_its_place() {
    let desk = Desk::new();
    desk.write("outer.yaml", OUTER);
    let answer = desk.ask(&["workflows", "publish", &desk.text("outer.yaml")]);
    assert_ne!(answer.exit, Exit::Done);
    assert!(
        answer
            .err
            .contains("/steps/qa/uses: `brief@1` is not published"),
        "{}",
        answer.err
    );
}

#[test]
fn a_failed_run_is_redriven_and_goes_on_with_the_next_run_of_the_store() {
    let desk = Desk::with_failure("came back empty");
    let run = desk.newest();
    let unknown = desk.ask(&["redrive", &run, "--from", "gone"]);
    assert_ne!(unknown.exit, Exit::Done);
    let answer = desk.ask(&["redrive", &run, "--reason", "mended"]);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    assert!(answer.out.contains("is running again"), "{}", answer.out);
    let again = desk.ask(&["redrive", &run]);
    assert!(again.err.contains("has not ended"), "{}", again.err);
    assert_eq!(desk.count("run.redriven"), 1);
    assert_eq!(desk.ask(&["verify"]).exit, Exit::Done);
    assert_eq!(desk.ask(&["replay", &run]).exit, Exit::Done);
}

#[test]
fn a_run_is_watched_with_those_nested_in_it_in_their_order_up_to_its_seal() {
    let desk = composed();
    let outer = desk.newest();
    let watched = desk.ask(&["watch", "--run", &outer, "--json"]);
    assert_eq!(watched.exit, Exit::Done, "{watched:?}");
    let events = watched.out.lines();
    let events: Vec<serde_json::Value> = events.map(|l| serde_json::from_str(l).unwrap()).collect();
    let seqs: Vec<u64> = events
        .iter()
        .filter_map(|one| one["seq"].as_u64())
        .collect();
    assert!(seqs.is_sorted() && seqs.len() == events.len(), "{seqs:?}");
    let sealed = events.iter().filter(|one| one["type"] == "run.sealed");
    let sealed: Vec<&str> = sealed.filter_map(|one| one["run_id"].as_str()).collect();
    assert_eq!(sealed.len(), 2, "{}", watched.out);
    assert_eq!(sealed[1], outer);
    let written =
        |one: &&serde_json::Value| one["type"] == "step.completed" && one["run_id"] == sealed[0];
    assert_eq!(events.iter().filter(written).count(), 2);
}

/// What `run` of the desk's outer workflow says at a terminal where these lines are typed.
fn typed(desk: &Desk, mut said: &[u8]) -> (Exit, String) {
    let files = ["outer.yaml", "agents.yaml", "a.redb"].map(|name| desk.text(name));
    let [workflow, agents, db] = files.each_ref().map(String::as_str);
    let command = ["mission-control", "run", workflow, "--agents", agents];
    let more = ["--db", db, "--operator", "ann"];
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console {
        out: &mut out,
        err: &mut err,
        screen: Screen::Plain,
        signals: Signals::Left,
        input: Some(&mut said),
    };
    let args = command.iter().chain(&more);
    let exit = mc_cli::run_on(args, &mut console);
    (exit, String::from_utf8(out).unwrap())
}

#[test]
fn a_run_at_a_terminal_asks_what_runs_nested_in_it_ask_too() {
    let desk = Desk::new();
    desk.write("outer.yaml", OUTER);
    desk.edit("workflow.yaml", "risk: read", "risk: irreversible");
    desk.edit("calls.jsonl", "\"came back empty\"", "null");
    desk.ask(&["workflows", "publish", &desk.text("workflow.yaml")]);
    // Nobody asks whoever sits here what other runs want to know.
    let (exit, _) = typed(&desk, b"");
    assert_eq!(exit, Exit::Negative);
    let (exit, out) = typed(&desk, b"yes\nlooks right\n");
    assert_eq!(exit, Exit::Done, "{out}");
    assert_eq!(out.matches("approve it?").count(), 1, "{out}");
    let path = format!("  at qa/plan of run {}", desk.newest());
    assert!(out.contains(&path), "{path} in {out}");
    assert_eq!(desk.count("approval.consumed"), 1);
}
