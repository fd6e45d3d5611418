//! The policy file: published, shown, compared, listed.

use crate::support::Desk;
use mc_cli::Exit;

#[test]
fn a_policy_is_published_shown_compared_and_listed() {
    let desk = Desk::new();
    desk.write("one.yaml", "approvals: { from: write }");
    desk.write("two.yaml", "approvals: { from: write, expires_in: 1h }");
    for (name, version) in [("one.yaml", 1), ("two.yaml", 2)] {
        let file = desk.text(name);
        let answer = desk.ask(&["policy", "publish", &file, "--json"]);
        assert_eq!(answer.json()["version"], version, "{answer:?}");
    }
    let shown = desk.ask(&["policy", "show", "--json"]).json();
    assert_eq!(shown["policy"]["approvals"]["from"], "write");
    assert_eq!(shown["in_force"], true);
    let differ = desk.ask(&["policy", "diff", "1", &desk.text("two.yaml")]);
    assert_eq!(differ.out, "~ approvals.expires_in_ms\n");
    let history = desk.ask(&["policy", "history", "--json"]).json();
    assert_eq!(history["policies"][1]["by"], "operator:ann");
}

#[test]
fn a_file_that_is_no_policy_makes_no_store_and_every_problem_is_told() {
    let desk = Desk::new();
    desk.write(
        "bad.yaml",
        "approvals: { from: read }\nguardrails: [ { id: r, at: nowhere } ]\n",
    );
    let answer = desk.ask(&["policy", "publish", &desk.text("bad.yaml")]);
    assert_eq!(answer.exit, Exit::Negative, "{answer:?}");
    assert!(answer.err.contains("/approvals/from") && answer.err.contains("/guardrails"));
    assert!(!desk.path("a.redb").exists());
}
