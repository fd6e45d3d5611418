//! Answers in JSON where they were missing, paths that a shell takes, and accounts of runs.

use crate::support::Desk;
use mc_cli::Exit;
use serde_json::json;

#[test]
fn a_graph_in_json_has_its_steps_and_what_each_needs() {
    let desk = Desk::new();
    let file = desk.text("workflow.yaml");
    let answer = desk.ask(&["workflows", "graph", &file, "--json"]);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    let graph = answer.json();
    let plan = json!({ "step": "plan", "layer": 0, "agent": "planner", "risk": "read" });
    assert_eq!(graph["workflow"], "brief");
    assert_eq!(graph["nodes"][0], plan);
    assert_eq!(graph["nodes"][1]["step"], "write");
    let edge = json!([{ "from": "plan", "to": "write" }]);
    assert_eq!(graph["edges"], edge);
}

#[test]
fn rows_for_a_spreadsheet_are_no_json() {
    let desk = Desk::with_run();
    let refused = desk.ask(&["export", "--format", "csv", "--json"]);
    assert_eq!(refused.exit, Exit::Usage, "{refused:?}");
    assert!(refused.out.is_empty(), "{}", refused.out);
    let error: serde_json::Value = serde_json::from_str(&refused.err).unwrap();
    let said = error["error"]["message"].as_str().unwrap();
    assert!(
        said.contains("--json") && said.contains("--format csv"),
        "{said}"
    );
}

#[test]
fn an_export_is_lines_of_json_and_one_into_a_file_is_answered_in_json() {
    let desk = Desk::with_run();
    let plain = desk.ask(&["export"]);
    assert_eq!(desk.ask(&["export", "--json"]).out, plain.out);
    for format in ["jsonl", "csv"] {
        let file = desk.text(format);
        let answer = desk.ask(&["export", "--format", format, "--out", &file, "--json"]);
        assert_eq!(answer.exit, Exit::Done, "{answer:?}");
        let told = json!({ "out": file, "format": format });
        assert_eq!(answer.json(), told);
    }
}

#[test]
fn commands_that_the_demo_names_can_be_pasted() {
    let desk = Desk::new();
    let db = desk.text("my stores/a b.redb");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = ["mission-control", "demo", "--db", &db, "--operator", "ann"];
    assert_eq!(mc_cli::run(args, &mut out, &mut err), Exit::Done);
    let out = String::from_utf8(out).unwrap();
    let named = out.lines().filter(|line| line.contains(" --db "));
    let named: Vec<&str> = named.collect();
    assert_eq!(named.len(), 3, "{out}");
    let quoted = format!("--db '{db}'");
    assert!(named.iter().all(|line| line.ends_with(&quoted)), "{out}");
}

#[test]
fn a_table_that_is_no_text_is_refused_with_its_place() {
    let desk = Desk::new();
    std::fs::write(desk.path("t.toml"), b"schema = 1\n\xff").unwrap();
    let file = desk.text("t.toml");
    let listed = desk.ask(&["prices", "list", "--table", &file]);
    assert_eq!(listed.exit, Exit::Usage, "{listed:?}");
    assert!(listed.err.contains("not UTF-8 from byte 11"), "{listed:?}");
    assert!(listed.err.contains("t.toml"), "{listed:?}");
    let compared = desk.ask(&["prices", "diff", "embedded", &file]);
    assert_eq!(compared.exit, Exit::Usage, "{compared:?}");
}

#[test]
fn an_account_of_a_run_is_shown_when_it_has_changed() {
    let desk = Desk::with_paused_run();
    let account = format!("run:{}", desk.newest());
    let more = [
        "budgets",
        "top-up",
        &account,
        "--usd",
        "0.50",
        "--reason",
        "as tested",
    ];
    let answer = desk.ask(&more);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    let row = answer.out.lines().find(|line| line.starts_with(&account));
    assert!(row.unwrap().contains("0.500001"), "{}", answer.out);
    let all = desk.ask(&[&more[..], &["--json"]].concat()).json();
    let accounts = all["accounts"].as_array().unwrap();
    assert_eq!(accounts.len(), 1, "{all}");
    assert_eq!(accounts[0]["limit"]["nano_usd"], 1_000_001_000);
}
