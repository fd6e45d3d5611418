//! What holds for every command: exits, `SEQ` as a place in the run, days in UTC, flags by name.

use crate::support::Desk;
use mc_cli::Exit;

#[test]
fn models_without_a_price_are_allowed_by_a_flag() {
    let desk = Desk::new();
    desk.edit(
        "calls.jsonl",
        "\"model\":\"GPT_4\",\"started\"",
        "\"model\":\"STRANGE\",\"started\"",
    );
    let calls = desk.text("calls.jsonl");
    let args = ["rehearse", &calls, "--allow-unknown-models", "--json"];
    let answer = desk.ask(&args);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    assert_eq!(answer.json()["completed"], 1);
    let gone = desk.ask(&["rehearse", &calls, "--unknown-models", "free"]);
    assert_eq!(gone.exit, Exit::Usage);
}

#[test]
fn seq_is_a_place_in_the_run_and_one_behind_its_end_is_refused() {
    let desk = Desk::with_run();
    desk.run(&[]);
    let run = desk.newest();
    let events = desk.ask(&["show", &run, "--json"]).json()["events"]
        .as_u64()
        .unwrap();
    let at = |seq: u64| desk.ask(&["replay", &run, "--at", &seq.to_string(), "--json"]);
    let last = at(events - 1);
    assert_eq!(last.exit, Exit::Done, "{last:?}");
    assert_eq!(last.json()["run_seq"], events - 1);
    assert_eq!(last.json()["equals_stored"], true);
    let behind = at(events);
    assert_eq!(behind.exit, Exit::Negative, "{behind:?}");
    let last = format!("0 to {}", events - 1);
    assert!(behind.err.contains(&last), "{}", behind.err);
}

#[test]
fn days_are_those_of_utc() {
    let desk = Desk::new();
    let calls = desk.text("calls.jsonl");
    // Recorded at 18:00 without a zone: the same day in UTC, whatever the zone of this process.
    desk.ask(&["rehearse", &calls]);
    let days = desk.ask(&["costs", "--by", "day", "--json"]).json();
    assert_eq!(days["rows"][0]["key"], "2026-01-31");
    let since = |day: &str| {
        let answer = desk.ask(&["runs", "--since", day, "--json"]);
        answer.json()["runs"].as_array().unwrap().len()
    };
    assert_eq!((since("2026-01-31"), since("2026-02-01")), (1, 0));
    let (on, behind) = ("2026-01-31T20:00:00+02:00", "2026-01-31T18:00:01Z");
    assert_eq!((since(on), since(behind)), (1, 0));
}

#[test]
fn prices_are_those_of_the_store_and_need_it_free() {
    let desk = Desk::with_run();
    let list = || desk.ask(&["prices", "list", "--json"]);
    let answer = list().json();
    assert_eq!(answer["in_force"]["price_version"], answer["price_version"]);
    let held = mc_store::RedbLog::open(desk.path("a.redb")).unwrap();
    let taken = list();
    assert_eq!(taken.exit, Exit::CannotOpen, "{taken:?}");
    assert!(taken.err.contains("process"), "{}", taken.err);
    drop(held);
    let without = Desk::new().ask(&["prices", "list", "--json"]);
    assert!(without.json()["in_force"].is_null());
}

#[test]
fn token_counts_that_cannot_be_are_refused_with_file_line_and_field() {
    let desk = Desk::new();
    let calls = desk.text("calls.jsonl");
    let good = std::fs::read_to_string(&calls).unwrap();
    for (old, new, field) in [
        (
            "\"prompt_tokens\":1000",
            "\"prompt_tokens\":9e18",
            "prompt_tokens",
        ),
        (
            "\"prompt_tokens\":1000",
            "\"prompt_tokens\":9000000000000000000",
            "prompt_tokens",
        ),
        (
            "\"completion_tokens\":50",
            "\"completion_tokens\":-1",
            "completion_tokens",
        ),
        (
            "\"completion_tokens\":50",
            "\"completion_tokens\":1000000001",
            "completion_tokens",
        ),
    ] {
        let second = good
            .replacen("\"id\":\"a\"", "\"id\":\"b\"", 1)
            .replace(old, new);
        desk.write("calls.jsonl", &format!("{good}{second}"));
        for answer in [desk.ask(&["rehearse", &calls]), desk.run(&[])] {
            assert_eq!(answer.exit, Exit::Negative, "{new}: {answer:?}");
            for place in ["line 2", field, "calls.jsonl"] {
                assert!(answer.err.contains(place), "{place}: {}", answer.err);
            }
        }
    }
    assert!(!desk.path("a.redb").exists());
}

/// Commands over a desk with one run, and the exit of each.
const EXITS: &[(&[&str], i32)] = &[
    (&["runs"], 0),
    (&["show", "RUN"], 0),
    (&["show", "ffff"], 1),
    (&["replay", "RUN"], 0),
    (&["replay", "RUN", "--at", "999"], 1),
    (&["replay", "RUN", "--at", "x"], 64),
    (&["costs", "--by", "day"], 0),
    (&["costs", "--run", "ffff"], 1),
    (&["costs", "--by", "moon"], 64),
    (&["abort", "RUN"], 64),
    (&["abort", "RUN", "--reason", "as tested"], 1),
    (&["abort", "ffff", "--reason", "as tested"], 1),
    (&["prices", "list"], 0),
    (&["prices", "list", "no-such-model"], 1),
    (&["prices"], 64),
    (&["verify"], 0),
    (&["verify", "--export", "absent"], 3),
    (&["export"], 0),
    (&["export", "--run", "ffff"], 1),
    (&["export", "--format", "xml"], 64),
    (&["rehearse", "absent"], 3),
    (&["rehearse", "absent", "--budget-fraction", "-1"], 64),
    (&["run", "absent", "--agents", "absent"], 3),
    (&["run", "absent"], 64),
    (&["runs", "--limit", "0"], 64),
    (&["demo", "--no"], 64),
];

#[test]
fn every_command_keeps_to_its_exits() {
    let desk = Desk::with_run();
    let run = desk.newest();
    for (args, code) in EXITS {
        let args: Vec<&str> = args
            .iter()
            .map(|arg| if *arg == "RUN" { &*run } else { arg })
            .collect();
        let answer = desk.ask(&args);
        assert_eq!(i32::from(answer.exit.code()), *code, "{args:?}: {answer:?}");
        assert_eq!(*code == 0, answer.err.is_empty(), "{args:?}: {answer:?}");
    }
}

#[test]
fn without_a_store_it_cannot_be_opened_and_is_not_made() {
    let desk = Desk::new();
    for (args, _) in EXITS.iter().filter(|(_, code)| *code == 0) {
        let expected = if args[0] == "prices" {
            Exit::Done
        } else {
            Exit::CannotOpen
        };
        assert_eq!(desk.ask(args).exit, expected, "{args:?}");
    }
    assert!(!desk.path("a.redb").exists());
}
