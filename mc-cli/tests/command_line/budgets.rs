//! `budgets`: what accounts may spend, as an operator sets and sees it.

use mc_cli::Exit;
use serde_json::{Value, json};

use crate::support::Desk;

/// A desk whose store has a workflow and nothing else.
fn desk() -> Desk {
    let desk = Desk::new();
    let file = desk.text("workflow.yaml");
    ok(&desk, &["workflows", "publish", &file]);
    desk
}

fn ok(desk: &Desk, args: &[&str]) -> String {
    let answer = desk.ask(args);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    answer.out
}

fn listed(desk: &Desk) -> Value {
    let answer = desk.ask(&["budgets", "list", "--json"]);
    answer.json()["accounts"].clone()
}

#[test]
fn a_limit_is_set_topped_up_frozen_and_shown() {
    let desk = desk();
    let set = [
        "budgets",
        "set",
        "agent:writer",
        "--usd",
        "20.00",
        "--window",
        "day Europe/Berlin",
        "--reason",
        "agreed",
    ];
    ok(&desk, &set);
    ok(
        &desk,
        &[
            "budgets",
            "top-up",
            "agent:writer",
            "--usd",
            "5",
            "--reason",
            "month end",
        ],
    );
    ok(
        &desk,
        &[
            "budgets",
            "freeze",
            "agent:writer",
            "--until",
            "2h",
            "--operator",
            "ann",
            "--reason",
            "an incident",
        ],
    );
    let account = &listed(&desk)[0];
    assert_eq!(account["account"], "agent:writer");
    assert_eq!(account["limit"], json!({"nano_usd": 25_000_000_000_i64}));
    assert_eq!(
        (&account["frozen"], &account["window"]),
        (&json!(true), &json!("day Europe/Berlin"))
    );
    let shown = ok(&desk, &["budgets", "list"]);
    assert!(shown.contains("frozen until "), "{shown}");
    assert!(
        ok(
            &desk,
            &[
                "budgets",
                "unfreeze",
                "agent:writer",
                "--reason",
                "as tested"
            ]
        )
        .contains("0 %")
    );
}

#[test]
fn what_cannot_be_set_is_named_and_changes_nothing() {
    let desk = desk();
    for (args, says) in [
        (
            &["set", "agents:x", "--usd", "1"][..],
            "an account is workspace",
        ),
        (&["set", "workspace"], "give at least one of --usd"),
        (&["set", "workspace", "--usd", "-1"], "negative"),
        (&["set", "workspace", "--usd", "1.0000000001"], "usd"),
        (
            &[
                "set",
                "workspace",
                "--usd",
                "1",
                "--window",
                "day Mars/Olympus",
            ],
            "Mars/Olympus",
        ),
        (
            &["set", "workspace", "--usd", "1", "--until", "2001-01-01"],
            "passed already",
        ),
        (
            &["set", "workspace", "--usd", "1", "--until", "soon"],
            "a span (24h, 7d)",
        ),
        (&["top-up", "workspace", "--usd", "1"], "no limit of money"),
        (&["unfreeze", "workspace"], "is not frozen"),
    ] {
        let answer = desk.ask(&[&["budgets"], args, &["--reason", "as tested"]].concat());
        assert_ne!(answer.exit, Exit::Done, "{args:?}");
        assert!(answer.err.contains(says), "{args:?}: {}", answer.err);
    }
    assert_eq!(listed(&desk), json!([]));
}
