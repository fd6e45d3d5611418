//! What is asked of people, from the command line and at the terminal of `run`.

use crate::support::Desk;
use mc_cli::{Console, Exit, Screen, Signals};

/// A desk whose run waits for an approval of its first step.
fn asking() -> (Desk, serde_json::Value) {
    let desk = Desk::new();
    desk.edit("workflow.yaml", "risk: read", "risk: irreversible");
    desk.edit("calls.jsonl", "\"came back empty\"", "null");
    let answer = desk.run(&["--key", "k", "--input", "{\"to\":\"a\u{202e}b\u{200b}\"}"]);
    assert_eq!(answer.exit, Exit::Negative, "{answer:?}");
    assert!(
        answer.out.contains("mission-control approvals"),
        "{}",
        answer.out
    );
    let listed = desk.ask(&["approvals", "--json"]).json();
    (desk, listed["approvals"][0].clone())
}

#[test]
fn what_is_asked_is_listed_whole_and_escaped() {
    let (desk, asked) = asking();
    assert_eq!(asked["params"], "{\"to\":\"a\\u{202e}b\\u{200b}\"}");
    assert_eq!(
        (&asked["state"], &asked["risk"]),
        (&"pending".into(), &"irreversible".into())
    );
    let shown = desk.ask(&["approvals"]).out;
    assert!(
        shown.contains("a\\u{202e}b\\u{200b}") && shown.contains("sha-256"),
        "{shown}"
    );
}

#[test]
fn an_approval_lets_the_next_run_go_on_and_a_rejection_ends_it() {
    for (word, exit) in [("approve", Exit::Done), ("reject", Exit::Negative)] {
        let (desk, asked) = asking();
        let id = asked["approval"].as_str().unwrap();
        let said = desk.ask(&[word, id, "--reason", "seen", "--operator", "bob"]);
        assert_eq!(said.exit, Exit::Done, "{said:?}");
        let again = desk.ask(&[word, id, "--reason", "seen", "--operator", "bob"]);
        assert_eq!(again.exit, Exit::Negative);
        assert!(again.err.contains("approval_invalid"), "{}", again.err);
        let gone = desk.ask(&["approvals", "--json"]).json();
        assert_eq!(gone["approvals"], serde_json::json!([]));
        let all = desk.ask(&["approvals", "--all", "--json"]).json();
        assert_eq!(all["approvals"][0]["decided_by"], "bob");
        let input = "{\"to\":\"a\u{202e}b\u{200b}\"}";
        let run = desk.run(&["--key", "k", "--input", input]);
        assert_eq!(run.exit, exit, "{run:?}");
    }
}

#[test]
fn a_word_that_does_not_count_says_what_to_do() {
    let (desk, asked) = asking();
    desk.write("p.yaml", "approvals: { four_eyes: [irreversible] }");
    desk.ask(&["policy", "publish", &desk.text("p.yaml")]);
    let id = asked["approval"].as_str().unwrap();
    let say = |by: &str| desk.ask(&["approve", id, "--reason", "seen", "--operator", by]);
    let own = say("ann");
    assert!(own.err.contains("next: another operator has to decide it"));
    assert_eq!(say("bob").exit, Exit::Done);
    let late = say("bob");
    assert!(late.err.contains("next: nothing:"), "{}", late.err);
}

#[test]
fn a_run_at_a_terminal_asks_whoever_sits_there() {
    let desk = Desk::new();
    desk.edit("workflow.yaml", "risk: read", "risk: irreversible");
    desk.edit("calls.jsonl", "\"came back empty\"", "null");
    let files = ["workflow.yaml", "agents.yaml", "a.redb"].map(|name| desk.text(name));
    let [workflow, agents, db] = files.each_ref().map(String::as_str);
    let args = [
        "mission-control",
        "run",
        workflow,
        "--agents",
        agents,
        "--db",
        db,
    ];
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut said: &[u8] = b"yes\nlooks right\n";
    let mut console = Console {
        out: &mut out,
        err: &mut err,
        screen: Screen::Plain,
        signals: Signals::Left,
        input: Some(&mut said),
    };
    let exit = mc_cli::run_on(args.iter().chain(&["--operator", "ann"]), &mut console);
    let out = String::from_utf8(out).unwrap();
    assert_eq!(exit, Exit::Done, "{out}");
    assert!(out.contains("approve it?"), "{out}");
    assert_eq!(desk.count("approval.consumed"), 1);
}

#[test]
fn a_doubt_is_resolved_only_where_there_is_one_and_in_one_way() {
    let (desk, _) = asking();
    let run = desk.newest();
    let none = desk.ask(&["resolve", &run, "plan", "--did-not-happen"]);
    assert_eq!(none.exit, Exit::Negative);
    assert!(none.err.contains("invalid_transition"), "{}", none.err);
    let two = desk.ask(&["resolve", &run, "plan", "--did-not-happen", "--abort"]);
    assert_eq!(two.exit, Exit::Usage);
    let bulk = [
        "reconcile",
        "--account",
        "workspace",
        "--billed",
        "nothing",
        "--evidence",
        "none",
    ];
    assert!(desk.ask(&bulk).out.starts_with("0 holds"));
}

#[test]
fn letters_without_ink_are_shown_to_whoever_decides() {
    let desk = Desk::new();
    desk.edit("workflow.yaml", "risk: read", "risk: irreversible");
    let blank = "{\"to\":\"ann\u{3164}\u{2800}\u{1d159}\u{ffa0}\u{fe0f}\u{e0041}\"}";
    let asked = desk.run(&["--input", blank]);
    assert_eq!(asked.exit, Exit::Negative, "{asked:?}");
    let shown = desk.ask(&["approvals"]).out;
    let whole = "ann\\u{3164}\\u{2800}\\u{1d159}\\u{ffa0}\\u{fe0f}\\u{e0041}";
    assert!(shown.contains(whole), "{shown}");
    let listed = desk.ask(&["approvals", "--json"]).json();
    let params = listed["approvals"][0]["params"].as_str().unwrap();
    assert!(params.contains(whole), "{params}");
}
