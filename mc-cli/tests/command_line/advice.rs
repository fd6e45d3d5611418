//! What an error tells the person to do next: something that helps.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::support::{Answer, Desk};
use mc_cli::Exit;

fn next(answer: &Answer) -> &str {
    let line = answer
        .err
        .lines()
        .find_map(|line| line.strip_prefix("next: "));
    line.unwrap()
}

#[test]
fn a_file_that_is_missing_is_not_looked_for_among_runs() {
    let desk = Desk::with_run();
    let (absent, agents) = (desk.text("absent"), desk.text("agents.yaml"));
    let (input, workflow) = (format!("@{absent}"), desk.text("workflow.yaml"));
    let deep = desk.text("no/such/dir/log.jsonl");
    for args in [
        &["run", &absent, "--agents", &agents][..],
        &["run", &workflow, "--agents", &absent],
        &["run", &workflow, "--agents", &agents, "--input", &input],
        &["export", "--out", &deep],
        &["verify", "--export", &absent],
        &["rehearse", &absent],
    ] {
        let answer = desk.ask(args);
        assert_eq!(answer.exit, Exit::CannotOpen, "{args:?}: {answer:?}");
        let told = next(&answer);
        assert!(!told.contains("mission-control runs"), "{args:?}: {told}");
        assert!(!told.contains("makes one"), "{args:?}: {told}");
    }
}

#[test]
fn verify_never_advises_verify() {
    let desk = Desk::new();
    desk.write("a.redb", "not a store, but somebody's letter");
    let answer = desk.ask(&["verify"]);
    assert!(!next(&answer).contains("verify"), "{answer:?}");
    assert!(next(&answer).contains("--db"), "{answer:?}");
    desk.write("rubbish", "{}\n");
    let answer = desk.ask(&["verify", "--export", &desk.text("rubbish")]);
    assert!(
        next(&answer).contains("mission-control export"),
        "{answer:?}"
    );
}

#[test]
fn a_model_without_a_price_asks_for_a_price() {
    let desk = Desk::new();
    desk.edit(
        "calls.jsonl",
        "\"model\":\"GPT_3_5_TURBO\"",
        "\"model\":\"STRANGE\"",
    );
    let answer = desk.run(&[]);
    assert_eq!(answer.exit, Exit::Negative, "{answer:?}");
    let shown = desk.ask(&["show", &desk.newest()]);
    for out in [&answer.out, &shown.out] {
        assert!(out.contains("recorded/STRANGE"), "{out}");
        assert!(out.contains("add a price"), "{out}");
        assert!(!out.contains("run.unblock"), "{out}");
    }
}

#[test]
fn a_rehearsal_that_an_unknown_model_stopped_names_it_and_the_flag() {
    let desk = Desk::new();
    desk.edit(
        "calls.jsonl",
        "\"model\":\"GPT_3_5_TURBO\"",
        "\"model\":\"STRANGE\"",
    );
    let answer = desk.ask(&["rehearse", &desk.text("calls.jsonl")]);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    assert!(
        answer.out.contains("--allow-unknown-models"),
        "{}",
        answer.out
    );
    let shown = desk.ask(&["show", &desk.newest()]).out;
    assert!(
        shown.contains("write asked for model `recorded/STRANGE`"),
        "{shown}"
    );
}

#[test]
fn a_step_that_waits_for_an_approval_names_the_commands_that_decide_it() {
    let desk = Desk::new();
    desk.edit(
        "workflow.yaml",
        "agent: planner, risk: read",
        "agent: planner, risk: irreversible",
    );
    let answer = desk.run(&[]);
    assert_eq!(answer.exit, Exit::Negative, "{answer:?}");
    assert!(
        answer.out.contains("mission-control approvals --db"),
        "{}",
        answer.out
    );
    let abort = format!("mission-control abort {}", desk.newest());
    assert!(answer.out.contains(&abort), "{}", answer.out);
}

#[test]
fn recorded_runs_that_cannot_be_read_are_named_with_the_cause() {
    let desk = Desk::new();
    let whole = {
        use std::io::Write as _;
        let calls = std::fs::read(desk.path("calls.jsonl")).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&calls).unwrap();
        gzip.finish().unwrap()
    };
    std::fs::write(desk.path("cut.gz"), &whole[..whole.len() / 2]).unwrap();
    std::fs::create_dir(desk.path("folder")).unwrap();
    for (name, cause) in [("cut.gz", "cut short"), ("folder", "directory")] {
        let answer = desk.ask(&["rehearse", &desk.text(name)]);
        assert_eq!(answer.exit, Exit::CannotOpen, "{answer:?}");
        assert!(
            answer.err.contains(name) && answer.err.contains(cause),
            "{}",
            answer.err
        );
        assert!(!desk.path("a.redb").exists());
    }
}

#[test]
fn wrong_usage_is_a_json_line_where_json_was_asked_for() {
    let desk = Desk::new();
    for args in [
        &["--json", "no-such-command"][..],
        &["costs", "--by", "moon", "--json"],
        &["run", "--json"],
        &["--json"],
    ] {
        let answer = desk.ask(args);
        assert_eq!(answer.exit, Exit::Usage, "{args:?}: {answer:?}");
        let error: serde_json::Value = serde_json::from_str(&answer.err).unwrap();
        assert_eq!(error["error"]["code"], "invalid_input");
        let text = |key: &str| error["error"][key].as_str().unwrap().to_owned();
        assert!(
            text("next").contains("--help") && !text("message").is_empty(),
            "{error}"
        );
    }
    let plain = desk.ask(&["costs", "--by", "moon"]);
    assert!(next(&plain).contains("costs --help"), "{plain:?}");
}

#[test]
fn a_refusal_of_a_command_names_what_it_would_take() {
    let desk = Desk::with_run();
    let (run, calls) = (desk.newest(), desk.text("calls.jsonl"));
    let ended = desk.ask(&["abort", &run, "--reason", "as tested"]);
    assert!(next(&ended).contains(&format!("show {run}")), "{ended:?}");
    desk.ask(&["rehearse", &calls]);
    let other = desk.ask(&["rehearse", &calls, "--allow-unknown-models"]);
    assert_eq!(other.exit, Exit::Negative);
    assert!(next(&other).contains("--db FILE"), "{other:?}");
    let none = desk.ask(&["prices", "list", "no-such-model"]);
    assert!(next(&none).contains("prices list"), "{none:?}");
}

#[test]
fn an_open_run_whose_process_died_says_how_it_goes_on() {
    let desk = Desk::new();
    let (workflow, agents) = (desk.text("workflow.yaml"), desk.text("agents.yaml"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_mission-control"))
        .args(["run", &workflow, "--agents", &agents, "--speed", "1"])
        .args(["--db", &desk.text("a.redb")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The first step takes nine seconds: it is out when its line is read.
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap);
    assert!(lines.any(|line| line.contains("plan           running")));
    child.kill().unwrap();
    child.wait().unwrap();
    let shown = desk.ask(&["show", &desk.newest()]);
    assert_eq!(shown.exit, Exit::Done, "{shown:?}");
    assert!(
        shown.out.contains("no process drives the run"),
        "{}",
        shown.out
    );
}
