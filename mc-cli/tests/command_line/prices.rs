//! `prices`: imports, overrides, versions and what differs between them.

use mc_cli::Exit;
use serde_json::Value;

use crate::support::{Answer, Desk};

const LIST: &str = r#"{
  "one": {"litellm_provider": "acme", "mode": "chat", "input_cost_per_token": 1.00000001e-06,
          "output_cost_per_token": 2e-06, "supports_vision": true},
  "two": {"litellm_provider": "other", "mode": "chat", "input_cost_per_token": 1e-06,
          "output_cost_per_token": 2e-06}
}"#;

/// A desk whose store has the models of a list.
fn imported() -> Desk {
    let desk = Desk::new();
    desk.write("list.json", LIST);
    let answer = import(&desk, &[]);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    desk
}

fn import(desk: &Desk, more: &[&str]) -> Answer {
    let file = desk.text("list.json");
    let args = ["prices", "import", "--from", "litellm", &file];
    desk.ask(&[&args[..], more].concat())
}

fn versions(desk: &Desk) -> Vec<Value> {
    let answer = desk.ask(&["prices", "versions", "--json"]).json();
    answer["versions"].as_array().unwrap().clone()
}

#[test]
fn an_import_is_in_force_and_listed_and_says_what_it_changed() {
    let desk = Desk::new();
    desk.write("list.json", LIST);
    let answer = import(&desk, &["--provider", "acme", "--json"]).json();
    assert_eq!(answer["report"]["models"], 1);
    assert_eq!(answer["report"]["other_providers"], 1);
    assert_eq!(answer["report"]["lossy"][0]["row"], "one");
    assert_eq!(answer["report"]["unused"]["supports_vision"]["count"], 1);
    let list = desk.ask(&["prices", "list", "acme/", "--json"]).json();
    assert_eq!(list["models"][0]["model"], "acme/one");
    assert_eq!(list["price_version"], answer["price_version"]);
    assert_eq!(list["in_force"]["price_version"], answer["price_version"]);
    assert_eq!(
        desk.ask(&["prices", "list", "other/two"]).exit,
        Exit::Negative
    );
}

#[test]
fn a_bad_file_stores_nothing_and_names_the_place() {
    let desk = imported();
    let before = versions(&desk);
    desk.write("list.json", &LIST.replace("2e-06,", "-2e-06,"));
    let answer = import(&desk, &[]);
    assert_eq!(answer.exit, Exit::Negative);
    assert!(
        answer.err.contains("/one/output_cost_per_token"),
        "{answer:?}"
    );
    desk.write(
        "over.toml",
        "schema = 1\nversion = \"o\"\n[[discount]]\nmodel = \"a/b\"\nfactor = \"1/2\"\n",
    );
    let answer = desk.ask(&["prices", "override", &desk.text("over.toml")]);
    assert_eq!(answer.exit, Exit::Negative);
    assert!(answer.err.contains("/discount/0/model"), "{answer:?}");
    assert_eq!(versions(&desk), before);
    let fresh = Desk::new();
    fresh.write("list.json", "{}");
    assert_eq!(import(&fresh, &[]).exit, Exit::Negative);
    assert!(!fresh.path("a.redb").exists());
}

#[test]
fn a_dry_run_reports_and_stores_nothing() {
    let desk = Desk::new();
    desk.write("list.json", LIST);
    let answer = import(&desk, &["--dry-run"]);
    assert!(answer.out.contains("nothing was stored"), "{answer:?}");
    assert!(!desk.path("a.redb").exists());
}

#[test]
fn overrides_lie_on_top_and_can_be_dropped() {
    let desk = imported();
    let text = "schema: 1\nversion: ours\ndiscount:\n  - { model: acme/one, factor: 1/2 }\n";
    desk.write("over.yaml", text);
    let over = desk.text("over.yaml");
    assert_eq!(desk.ask(&["prices", "override", &over]).exit, Exit::Done);
    let all = versions(&desk);
    let version = |at: usize| {
        all[at]["facts"]["price_version"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let found = desk
        .ask(&["prices", "diff", &version(1), &version(2), "--json"])
        .json();
    let names: Vec<&str> = found["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["model"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["acme/one"]);
    let text = desk.ask(&["prices", "diff", &version(1), &version(2)]).out;
    assert!(text.contains("~ standard from 0: output: 2 -> 1"), "{text}");
    assert_eq!(desk.ask(&["prices", "drop", "overrides"]).exit, Exit::Done);
    let all = versions(&desk);
    assert_eq!(
        all[1]["facts"]["price_version"],
        all[3]["facts"]["price_version"]
    );
    assert_eq!(
        desk.ask(&["prices", "drop", "overrides"]).exit,
        Exit::Negative
    );
}

#[test]
fn what_is_no_table_is_refused() {
    let desk = imported();
    for (args, exit) in [
        (&["prices", "diff", "embedded", "ffff"][..], Exit::Negative),
        (
            &["prices", "diff", "embedded", "absent.toml"],
            Exit::CannotOpen,
        ),
        (&["prices", "drop", "base"], Exit::Usage),
        (&["prices", "drop", "moon"], Exit::Usage),
        (&["prices", "import", "--from", "moon", "x"], Exit::Usage),
        (
            &["prices", "import", "--from", "litellm", "absent"],
            Exit::CannotOpen,
        ),
        (&["prices", "override", "absent"], Exit::CannotOpen),
    ] {
        let answer = desk.ask(args);
        assert_eq!(answer.exit, exit, "{args:?}: {answer:?}");
    }
}

#[test]
fn a_run_goes_by_the_prices_of_its_store_and_the_store_verifies() {
    let desk = imported();
    assert_eq!(desk.run(&[]).exit, Exit::Done);
    assert_eq!(versions(&desk).len(), 2);
    assert_eq!(desk.ask(&["verify"]).exit, Exit::Done);
}

#[test]
fn old_prices_are_warned_of() {
    let desk = Desk::new();
    desk.write("list.json", LIST);
    assert_eq!(
        import(&desk, &["--checked-at", "2020-01-01"]).exit,
        Exit::Done
    );
    let text = desk.ask(&["prices", "list", "acme/"]).out;
    assert!(text.contains("warning: 1 of 1 prices"), "{text}");
    let run = desk.run(&["--price-age", "365d"]);
    assert_eq!(run.exit, Exit::Done);
    assert!(run.err.contains("warning: 2 of "), "{run:?}");
    assert_eq!(desk.run(&["--price-age", "soon"]).exit, Exit::Usage);
    let wrong = import(&desk, &["--checked-at", "yesterday"]);
    assert_eq!(wrong.exit, Exit::Usage);
}
