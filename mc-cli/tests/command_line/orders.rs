//! Orders: each says why, and a budget may be looked at before it holds.

use mc_cli::Exit;

use crate::support::Desk;

#[test]
fn an_order_without_a_reason_is_refused_and_says_how_to_give_one() {
    let desk = Desk::with_paused_run();
    let run = desk.newest();
    let scope = format!("run:{run}");
    let before = desk.bytes();
    for args in [
        &["abort", &run][..],
        &["pause", &run],
        &["halt"],
        &["resume", &scope],
        &["unblock", &run, "plan"],
        &["budgets", "set", "workspace", "--usd", "1"],
        &["budgets", "top-up", "workspace", "--usd", "1"],
        &["budgets", "freeze", "workspace"],
        &["budgets", "unfreeze", "workspace"],
        &["abort", &run, "--reason", "  "],
    ] {
        let answer = desk.ask(args);
        assert_eq!(answer.exit, Exit::Usage, "{args:?}: {answer:?}");
        assert!(
            answer.err.contains("next: say why with --reason"),
            "{answer:?}"
        );
    }
    assert!(before == desk.bytes());
}

#[test]
fn a_budget_is_looked_at_and_enforced_later() {
    let desk = Desk::new();
    desk.run(&["--key", "k"]);
    let why = ["--reason", "as tested"];
    let set = ["budgets", "set", "workspace", "--usd", "0.000001"];
    let observed = desk.ask(&[&set[..], &["--observe"], &why].concat());
    assert_eq!(observed.exit, Exit::Done, "{observed:?}");
    assert!(
        observed.out.contains("observed, over its limit"),
        "{}",
        observed.out
    );
    let ran = desk.run(&["--key", "l"]);
    assert_eq!(ran.exit, Exit::Done, "{ran:?}");
    assert!(desk.count("budget.judged") > 0);
    let cut = desk.ask(&[&set[..], &["--halt-inflight"], &why].concat());
    assert_eq!(cut.exit, Exit::Done, "{cut:?}");
    let listed = desk.ask(&["budgets", "list", "--json"]).json();
    let workspace = listed["accounts"].as_array().unwrap().iter();
    let mut workspace = workspace.filter(|one| one["account"] == "workspace");
    let workspace = workspace.next().unwrap();
    assert_eq!(workspace["mode"], "enforce");
    assert_eq!(workspace["in_flight"], "halts");
    let ran = desk.run(&["--key", "m"]);
    assert_eq!(ran.exit, Exit::Negative, "{ran:?}");
    let both = desk.ask(&[&set[..], &["--observe", "--halt-inflight"], &why].concat());
    assert_eq!(both.exit, Exit::Usage, "{both:?}");
}
