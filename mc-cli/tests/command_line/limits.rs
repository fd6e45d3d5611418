//! Limits of every kind: what `show` and `run` say of them, and of what they refused.

use crate::support::Desk;
use mc_cli::Exit;

fn desk(budget: &str) -> Desk {
    let desk = Desk::new();
    let head = format!("workflow: brief\nbudget: {budget}");
    desk.edit("workflow.yaml", "workflow: brief", &head);
    desk
}

#[test]
fn every_dimension_with_a_limit_is_shown() {
    let desk = desk("{ calls: 7, input_tokens: 5000, output_tokens: 4000 }");
    let ran = desk.run(&[]);
    assert!(ran.out.contains("2 of 7 calls"), "{}", ran.out);
    let answer = desk.ask(&["show", &desk.newest()]);
    let tables: Vec<&str> = answer.out.split("\n\n").skip(2).collect();
    insta::assert_snapshot!(tables.join("\n\n"), @r"
    ACCOUNT     COUNTS         LIMIT    SPENT  RESERVED  IN DOUBT
    run         USD                -  0.00908      0.00      0.00
    run         input tokens    5000     1100         0         0
    run         output tokens   4000       70         0         0
    run         calls              7        2         0         0
    step:plan   USD                -    0.006      0.00      0.00
    step:write  USD                -  0.00308      0.00      0.00
    ");
}

#[test]
fn a_stop_by_budget_names_the_accounts_that_failed_with_their_columns() {
    let desk = desk("{ calls: 1, usd: \"0.01\" }");
    let ran = desk.run(&[]);
    assert_eq!(ran.exit, Exit::Negative);
    let shown = desk.ask(&["show", &desk.newest()]);
    for out in [&ran.out, &shown.out] {
        let line = "(calls): limit 1, spent 1, reserved 0, in doubt 0, requested 1";
        assert!(out.contains(line), "{out}");
    }
    let json = desk.ask(&["show", &desk.newest(), "--json"]).json();
    let refused = &json["refused"];
    assert_eq!(refused["step"], "write");
    assert_eq!(refused["accounts"][0]["dimension"], "calls");
    assert_eq!(refused["accounts"][0]["spent"], 1);
}

#[test]
fn a_pause_by_budget_says_what_an_operator_can_do() {
    let desk = Desk::with_paused_run();
    let run = desk.newest();
    let shown = desk.ask(&["show", &run]);
    let abort = format!("mission-control abort {run}");
    assert!(shown.out.contains(&abort), "{}", shown.out);
    assert!(shown.out.contains("requested"), "{}", shown.out);
}

#[test]
fn a_budget_on_the_command_line_replaces_the_money_alone() {
    let desk = desk("{ usd: \"5.00\", calls: 1, output_tokens: 4000, on_exceed: pause }");
    let ran = desk.run(&["--budget", "0.50", "--key", "k"]);
    let run = &desk.ask(&["show", &desk.newest(), "--json"]).json();
    let limit = &run["accounts"]["run"]["limit"];
    assert_eq!(limit["nano_usd"], 500_000_000, "{run}");
    assert_eq!(
        (&limit["calls"], &limit["output_tokens"]),
        (&1.into(), &4000.into())
    );
    // One call is used; the second waits for more, as the workflow says.
    assert_eq!(run["status"], "running", "{ran:?}");
    assert!(ran.out.contains("top-up"), "{}", ran.out);
    // The same words find the same run.
    let again = desk.run(&["--budget", "0.50", "--key", "k"]);
    assert!(again.err.is_empty(), "{}", again.err);
    let other = desk.run(&["--budget", "0.60", "--key", "k"]);
    assert!(other.err.contains("another budget"), "{}", other.err);
}
