//! What a file has to keep to, and what its lines become.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use mc_core::error::Result;
use serde_json::{Value, json};

use super::{RecordedRun, parse_runs, read_runs};

fn call(phase: &str) -> Value {
    json!({
        "phase": phase, "turn": 0, "agent": "Code Reviewer", "counterpart": "Programmer",
        "model": "GPT_4", "started": "2026-01-31T18:00:00", "finished": "2026-01-31T18:00:09",
        "rate_limit_refusals": 2, "prompt": "p", "completion": "c", "prompt_tokens": 3,
        "completion_tokens": 5, "reported_cost_usd": 0.000_39,
    })
}

fn run(calls: &[Value]) -> Value {
    json!({
        "id": "a1", "task": "t", "project": "p", "model": "GPT_4",
        "started": "2026-01-31T18:00:00", "finished": "2026-01-31T19:00:00", "calls": calls,
    })
}

fn parse(lines: &[Value]) -> Result<Vec<RecordedRun>> {
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    parse_runs(lines.join("\n").as_bytes())
}

fn refusal(lines: &[Value]) -> String {
    format!("{:?}", parse(lines).unwrap_err())
}

#[test]
fn a_call_gets_names_a_model_and_an_output_limit() {
    let runs = parse(&[run(&[call("CodeReview Comment")])]).unwrap();
    let call = &runs[0].calls[0];
    let names = (call.step.as_str(), call.agent.as_str(), call.model.as_str());
    assert_eq!(
        names,
        ("codereview_comment", "code_reviewer", "recorded/GPT_4")
    );
    assert_eq!(
        (call.max_output_tokens, call.latency),
        (8, Duration::from_secs(9))
    );
    assert_eq!(
        (call.refusals, call.reported_cost_micro_usd),
        (2, Some(390))
    );
}

#[test]
fn a_call_without_a_model_is_of_an_unknown_one() {
    let mut nameless = call("Coding");
    nameless["model"] = "".into();
    let runs = parse(&[run(&[nameless])]).unwrap();
    assert_eq!(runs[0].calls[0].model.as_str(), "recorded/unknown");
}

#[test]
fn phases_in_order_of_first_appearance_are_a_chain() {
    let calls = ["Coding", "Review", "Coding", "Manual"].map(call);
    let runs = parse(&[run(&calls)]).unwrap();
    let workflow = runs[0].workflow().unwrap();
    let steps = workflow.definition().steps();
    let needs = |step: &str| {
        let (_, step) = steps
            .iter()
            .find(|(name, _)| name.as_str() == step)
            .unwrap();
        step.needs
            .iter()
            .map(|name| name.as_str().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (needs("coding").len(), needs("review"), needs("manual")),
        (0, vec!["coding".to_owned()], vec!["review".to_owned()],)
    );
    assert_eq!(runs[0].calls_of("coding").count(), 2);
}

#[test]
fn a_file_is_read_plain_and_packed() {
    let dir = tempfile::tempdir().unwrap();
    let line = format!("{}\n", run(&[call("Coding")]));
    let (plain, packed) = (dir.path().join("a.jsonl"), dir.path().join("b"));
    std::fs::write(&plain, &line).unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(line.as_bytes()).unwrap();
    std::fs::write(&packed, gzip.finish().unwrap()).unwrap();
    assert_eq!(read_runs(plain).unwrap(), read_runs(packed).unwrap());
    assert!(read_runs(dir.path().join("none")).is_err());
}

#[test]
fn an_error_names_its_line() {
    let mut wrong = run(&[call("Coding")]);
    wrong["id"] = "a2".into();
    wrong["calls"][0]["started"] = "2026-01-31 18:00".into();
    let text = refusal(&[run(&[call("Coding")]), wrong]);
    assert!(text.contains("line 2") && text.contains("call 0"), "{text}");
}

#[test]
fn an_id_stands_once() {
    let line = run(&[call("Coding")]);
    assert!(refusal(&[line.clone(), line]).contains("earlier line"));
}

#[test]
fn what_the_format_does_not_know_is_refused() {
    let edits: [fn(&mut Value); 7] = [
        |run| run["more"] = 1.into(),
        |run| run["calls"] = json!([]),
        |run| run["finished"] = "2025-01-31T18:00:00".into(),
        |run| run["calls"][0]["prompt_tokens"] = (-1).into(),
        |run| run["calls"][0]["completion_tokens"] = u64::MAX.into(),
        |run| run["calls"][0]["phase"] = "1st".into(),
        |run| run["calls"][0]["agent"] = "".into(),
    ];
    for (at, edit) in edits.iter().enumerate() {
        let mut line = run(&[call("Coding")]);
        edit(&mut line);
        assert!(refusal(&[line]).contains("line 1"), "edit {at}");
    }
}
