//! `runs`, `show`, `replay`, `costs` and `prices`: what they answer.

use crate::support::Desk;
use mc_cli::Exit;

#[test]
fn runs_are_found_by_workflow_agent_status_label_and_time() {
    let desk = Desk::new();
    desk.run(&["--label", "team=tea"]);
    let count = |args: &[&str]| {
        let answer = desk.ask(&[&["runs", "--json"], args].concat());
        answer.json()["runs"].as_array().unwrap().len()
    };
    for found in [
        ["--workflow", "brief"],
        ["--agent", "writer"],
        ["--status", "completed"],
        ["--label", "team=tea"],
        ["--since", "1h"],
        ["--since", "2020-01-01"],
        ["--since", "2020-01-01T00:00:00Z"],
    ] {
        assert_eq!(count(&found), 1, "{found:?}");
    }
    for none in [
        ["--workflow", "other"],
        ["--status", "failed"],
        ["--label", "team=x"],
        ["--since", "2999-01-01"],
    ] {
        assert_eq!(count(&none), 0, "{none:?}");
    }
}

#[test]
fn no_runs_are_said_to_be_none() {
    let desk = Desk::with_run();
    assert_eq!(desk.ask(&["runs", "--status", "failed"]).out, "no runs\n");
}

#[test]
fn a_run_is_shown_by_the_beginning_of_its_id() {
    let desk = Desk::with_run();
    let answer = desk.ask(&["show", &desk.newest()[..8]]);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    let tables: Vec<&str> = answer.out.split("\n\n").skip(1).collect();
    insta::assert_snapshot!(tables.join("\n\n"), @r"
    STEP   STATUS     ATTEMPT  AGENT    CALLS  INPUT  OUTPUT  COST USD  NOTE
    plan   completed        1  planner      1    100      50     0.006
    write  completed        2  writer       1   1000      20   0.00308

    ACCOUNT     COUNTS  LIMIT    SPENT  RESERVED  IN DOUBT
    run         USD         -  0.00908      0.00      0.00
    step:plan   USD         -    0.006      0.00      0.00
    step:write  USD         -  0.00308      0.00      0.00
    ");
}

#[test]
fn a_beginning_that_fits_several_or_no_runs_is_refused() {
    let desk = Desk::with_run();
    desk.run(&[]);
    let several = desk.ask(&["show", "0"]);
    assert!(several.err.contains("several runs"), "{}", several.err);
    for none in ["ffff", "x!", ""] {
        assert_eq!(desk.ask(&["show", none]).exit, Exit::Negative, "{none}");
    }
}

#[test]
fn replay_equals_the_stored_state() {
    let desk = Desk::with_run();
    let answer = desk.ask(&["replay", &desk.newest()]);
    assert_eq!(answer.exit, Exit::Done);
    assert!(
        answer.out.contains("replay equals the stored state"),
        "{}",
        answer.out
    );
}

#[test]
fn replay_goes_back_to_any_event() {
    let desk = Desk::with_run();
    let answer = desk
        .ask(&["replay", &desk.newest(), "--at", "0", "--json"])
        .json();
    assert_eq!(answer["state"]["status"], "pending");
    assert_eq!(answer["run_seq"], 0);
    assert!(answer["equals_stored"].is_null());
}

#[test]
fn costs_by_agent_are_a_table_with_a_total() {
    let answer = Desk::with_run().ask(&["costs", "--by", "agent"]);
    insta::assert_snapshot!(answer.out, @r"
    AGENT    CALLS  INPUT  OUTPUT  COST USD
    planner      1    100      50     0.006
    writer       1   1000      20   0.00308
    total        2   1100      70   0.00908
    ");
}

#[test]
fn every_way_to_sum_gives_the_total_of_the_accounts() {
    let desk = Desk::with_run();
    desk.run(&[]);
    let runs = desk.ask(&["runs", "--json"]).json();
    assert_eq!(runs["runs"][1]["spent_usd"], "0.00908");
    for by in ["agent", "model", "workflow", "day", "step"] {
        let costs = desk.ask(&["costs", "--by", by, "--json"]).json();
        assert_eq!(costs["total"]["cost_usd"], "0.01816", "{by}");
        assert_eq!(costs["total"]["calls"], 4, "{by}");
    }
    let one = desk
        .ask(&["costs", "--run", &desk.newest(), "--json"])
        .json();
    assert_eq!(one["total"]["cost_usd"], "0.00908");
}

#[test]
fn costs_are_written_as_csv() {
    let answer = Desk::with_run().ask(&["costs", "--by", "model", "--csv"]);
    insta::assert_snapshot!(answer.out, @r"
    model,calls,input_tokens,output_tokens,cost_usd
    recorded/GPT_4,1,100,50,0.006
    recorded/GPT_3_5_TURBO,1,1000,20,0.00308
    ");
}

#[test]
fn prices_are_listed_with_their_source() {
    let desk = Desk::new();
    let answer = desk.ask(&["prices", "list", "recorded/GPT_4"]);
    assert!(answer.out.contains("CHECKED") && answer.out.contains("recorded/GPT_4"));
    assert!(answer.out.contains(", version "), "{}", answer.out);
    assert_eq!(
        desk.ask(&["prices", "list", "no-such-model"]).exit,
        Exit::Negative
    );
}
