//! Rehearsals of small files that the tests write themselves.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail as a test does"
)]

use std::path::Path;

use mc_agents::recorded::RecordedAgent;
use mc_cli::rehearse::{RehearseOptions, Report, Summary, UnknownIds, rehearse};
use mission_control::testing::Scenario;
use mission_control::{Outcome, Policy, Result, StartOptions, Workflow};
use serde_json::{Value, json};
use tempfile::TempDir;

fn call(phase: &str, completion: &str) -> Value {
    json!({
        "phase": phase, "turn": 0, "agent": "Programmer", "counterpart": "Reviewer",
        "model": "GPT_4", "started": "2026-01-31T18:00:00", "finished": "2026-01-31T18:00:09",
        "rate_limit_refusals": 0, "prompt": phase, "completion": completion,
        "prompt_tokens": 100, "completion_tokens": 50, "reported_cost_usd": null,
    })
}

fn run(id: &str, calls: &[Value]) -> Value {
    json!({
        "id": id, "task": "t", "project": "Game", "model": "GPT_4",
        "started": "2026-01-31T18:00:00", "finished": "2026-01-31T19:00:00", "calls": calls,
    })
}

fn write(dir: &TempDir, runs: &[Value]) -> RehearseOptions {
    let lines: Vec<String> = runs.iter().map(Value::to_string).collect();
    let file = dir.path().join("runs.jsonl");
    std::fs::write(&file, lines.join("\n")).unwrap();
    RehearseOptions {
        operator: "ann".to_owned(),
        seed: Some(1),
        ..RehearseOptions::new(file, dir.path().join("r.redb"))
    }
}

/// A run of a known model, and one of a model without a price.
fn two() -> [Value; 2] {
    let mut strange = run("b", &[call("Coding", "x")]);
    strange["calls"][0]["model"] = "STRANGE".into();
    [
        run("a", &[call("Coding", "x"), call("Manual", "y")]),
        strange,
    ]
}

fn printed(options: &RehearseOptions) -> (Summary, String) {
    let mut out = Vec::new();
    let summary = rehearse(options, &mut out).unwrap();
    (summary, String::from_utf8(out).unwrap())
}

#[test]
fn the_json_report_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let options = RehearseOptions {
        report: Report::Json,
        ..write(&dir, &two())
    };
    let (summary, text) = printed(&options);
    assert_eq!(summary.unfinished(), 0);
    assert_eq!(
        text,
        "{\"runs\":2,\"completed\":1,\"stopped\":1,\"model_calls\":2,\"denied_calls\":1,\
         \"input_tokens\":200,\"output_tokens\":100,\"cost_usd\":\"0.012\",\"refusals\":0,\
         \"max_over_limit_nano_usd\":0,\"replay_mismatches\":0}\n"
    );
}

#[test]
fn the_text_report_says_what_stopped_each_run() {
    let dir = tempfile::tempdir().unwrap();
    let budget_fraction = Some("0.6".parse().unwrap());
    let (_, text) = printed(&RehearseOptions {
        budget_fraction,
        ..write(&dir, &two())
    });
    assert!(text.contains("stopped by budget of run:"), "{text}");
    assert!(text.contains("stopped by policy unknown_model"), "{text}");
    assert!(
        text.contains("2 runs: 0 completed, 2 stopped, 0 unfinished"),
        "{text}"
    );
}

/// A rule against the model of both runs.
fn against(mode: &str) -> Policy {
    let rule = "guardrails: [ { id: strange, at: model_call, mode: MODE, models: { deny: [recorded/GPT_4] } } ]";
    Policy::from_yaml(rule.replace("MODE", mode)).unwrap()
}

fn judged(mode: &str, report: Report) -> (Summary, String) {
    let dir = tempfile::tempdir().unwrap();
    printed(&RehearseOptions {
        policy: Some(against(mode)),
        report,
        ..write(&dir, &two()[..1])
    })
}

#[test]
fn a_rule_that_observes_tells_what_it_would_have_denied_and_changes_nothing() {
    let (summary, text) = judged("observe", Report::Json);
    assert_eq!((summary.completed, summary.model_calls), (1, 2));
    assert!(
        text.ends_with("\"replay_mismatches\":0,\"would_deny\":2}\n"),
        "{text}"
    );
    let (_, text) = judged("observe", Report::Text);
    let told = "strange, which only observes, would have denied 2 calls";
    assert!(text.contains(told), "{text}");
}

#[test]
fn a_rule_that_enforces_stops_its_run_by_name() {
    let (summary, _) = judged("enforce", Report::Json);
    assert_eq!((summary.stopped, summary.model_calls), (1, 0));
    assert_eq!((summary.denied_calls, summary.would_deny), (1, Some(0)));
    let (_, text) = judged("enforce", Report::Text);
    assert!(text.contains("stopped by policy strange"), "{text}");
}

#[test]
fn a_run_that_a_rule_does_not_let_start_is_stopped_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let rule = "guardrails: [ { id: one, at: admission, max_runs_in_flight: 1 } ]";
    let runs = [
        run("a", &[call("Coding", "x")]),
        run("b", &[call("Coding", "x")]),
    ];
    let (summary, text) = printed(&RehearseOptions {
        policy: Some(Policy::from_yaml(rule).unwrap()),
        ..write(&dir, &runs)
    });
    assert_eq!(
        (summary.completed, summary.stopped, summary.unfinished()),
        (1, 1, 0)
    );
    assert!(text.contains("stopped by policy one"), "{text}");
}

#[test]
fn another_policy_is_refused_on_the_same_store() {
    let dir = tempfile::tempdir().unwrap();
    let options = write(&dir, &two());
    rehearse(&options, &mut Vec::new()).unwrap();
    let other = RehearseOptions {
        policy: Some(against("observe")),
        ..options
    };
    let refused = rehearse(&other, &mut Vec::new()).unwrap_err();
    assert_eq!(refused.code(), "conflict");
}

#[test]
fn a_model_without_a_price_costs_nothing_where_it_is_listed_as_free() {
    let dir = tempfile::tempdir().unwrap();
    let unknown_ids = UnknownIds::ListAsFree;
    let (summary, _) = printed(&RehearseOptions {
        unknown_ids,
        ..write(&dir, &two())
    });
    assert_eq!((summary.completed, summary.model_calls), (2, 3));
    assert_eq!(summary.cost.to_string(), "0.012");
}

#[test]
fn a_seed_gives_the_same_log_again() {
    let logs = [1, 2].map(|_| {
        let dir = tempfile::tempdir().unwrap();
        let options = write(&dir, &two());
        rehearse(&options, &mut Vec::new()).unwrap();
        let log = mission_control::store::RedbLog::open_read_only(&options.db).unwrap();
        let log: &dyn mission_control::core::ports::EventLog = &log;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(log.read_workspace(0, 10_000)).unwrap()
    });
    assert_eq!(logs[0], logs[1]);
    assert!(logs[0].len() > 20);
}

#[test]
fn an_empty_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = rehearse(&write(&dir, &[]), &mut Vec::new()).unwrap_err();
    assert_eq!(refused.code(), "invalid_input");
}

async fn enact(world: &Scenario, file: &Path, steps: &str) -> Result<Outcome> {
    let control = world.open().await?;
    control
        .register_agent("clerk", RecordedAgent::open(file)?)
        .await?;
    control.publish(Workflow::from_yaml(steps)?).await?;
    control.start_dispatch().await?;
    let run = control
        .start("w", json!({}), StartOptions::by("ann"))
        .await?;
    run.outcome().await
}

#[test]
fn of_an_agents_file_a_last_completion_that_is_an_object_is_the_output() {
    let dir = tempfile::tempdir().unwrap();
    let calls = [call("Plan", "{\"parts\":[1]}"), call("Code", "text")];
    let options = write(&dir, &[run("a", &calls)]);
    let world = Scenario::seeded(1);
    let steps = "{ workflow: w, steps: { plan: { agent: clerk }, code: { agent: clerk } } }";
    let outcome = world
        .run(enact(&world, &options.file, steps))
        .unwrap()
        .unwrap();
    let Outcome::Completed(outputs) = outcome else {
        panic!("{outcome:?}")
    };
    let outputs: Vec<Value> = outputs.into_values().collect();
    assert_eq!(outputs, [json!({"text": "text"}), json!({"parts": [1]})]);
}

#[test]
fn a_step_without_recorded_calls_fails_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let options = write(&dir, &[run("a", &[call("Plan", "x")])]);
    let world = Scenario::seeded(1);
    let steps = "{ workflow: w, steps: { other: { agent: clerk } } }";
    let outcome = world
        .run(enact(&world, &options.file, steps))
        .unwrap()
        .unwrap();
    assert!(matches!(outcome, Outcome::Failed { code, .. } if code == "not_recorded"));
}
