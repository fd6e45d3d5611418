//! Under one policy with everything in it: an allow-list, a cap for an agent, a limit on speed and no
//! progress. Observed and enforced they deny the same call of each run first, and observed they change
//! nothing.
//!
//! A limit on speed counts the money of all runs, and counts less where one was stopped before: so each
//! run is rehearsed by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mission_control::Policy;
use mission_control::core::event::EventKind;
use serde_json::Value;

use crate::data;
use crate::policy::{denials, policy, rules, under};
use crate::world::{World, directory, fresh};

const ALL: &str = r#"
no_progress: MODE
guardrails:
  - { id: known-models, at: model_call, mode: MODE, models: { allow: [recorded/GPT_3_5_TURBO, recorded/GPT_3_5_TURBO_NEW, recorded/GTP_4O_MINI, recorded/LLAMA_3, recorded/unknown] } }
  - { id: cap-programmer, at: model_call, mode: MODE, for: { agents: [programmer] }, max_cost_per_call: { usd: "0.02" } }
  - { id: speed, at: model_call, mode: MODE, velocity: { usd: "0.05", window: 1m } }
"#;

/// The same answer to the same request so often is no progress.
const REPEATS: usize = 3;

/// A run, a step and a call's place in it.
type Place = (String, String, usize);

/// Where the data has the same request answered in the same way for the third time, and again, in a step.
fn repeated(runs: &[Value]) -> BTreeSet<Place> {
    let mut found = BTreeSet::new();
    for run in runs {
        for (step, calls) in data::by_step(run) {
            let mut seen: BTreeMap<String, usize> = BTreeMap::new();
            for (place, call) in calls.into_iter().enumerate() {
                let of = ["agent", "model", "prompt", "completion"].map(|field| &call[field]);
                // The limit that a call asks for is part of what it asks.
                let limit = call["completion_tokens"].as_u64().unwrap();
                let limit = limit.next_power_of_two();
                let times = seen.entry(format!("{of:?} {limit}")).or_default();
                *times += 1;
                let id = run["id"].as_str().unwrap().to_owned();
                found.extend(
                    times
                        .is_multiple_of(REPEATS)
                        .then_some((id, step.clone(), place)),
                );
            }
        }
    }
    found
}

/// Where the log says that there was no progress.
fn no_progress(world: &World) -> BTreeSet<Place> {
    let recorded = world.recorded();
    let mut found = BTreeSet::new();
    for (record, kind) in &world.events {
        if let EventKind::GuardrailJudged(facts) = kind
            && facts.rule == "no_progress"
        {
            let place = usize::try_from(facts.ordinal.unwrap()).unwrap();
            let run = recorded[&record.run_id].clone();
            found.insert((run, facts.step.to_string(), place));
        }
    }
    found
}

/// A file with one run.
fn alone(dir: &Path, run: &Value) -> std::path::PathBuf {
    let file = dir.join("alone.jsonl");
    std::fs::write(&file, Value::to_string(run)).unwrap();
    file
}

fn all(mode: &str) -> Policy {
    policy(ALL, mode)
}

/// What is observed changes nothing: the run completes, for what the data says that it costs.
fn is_undisturbed(run: &Value, observed: &World) {
    let summary = &observed.summary;
    assert_eq!((summary.completed, summary.stopped), (1, 0));
    let cost = u64::try_from(summary.cost.as_nano()).unwrap();
    assert_eq!(cost, data::run_cost(run));
}

#[test]
fn all_rules_together_deny_the_same_call_of_each_run_first_observed_and_enforced() {
    let Some(file) = data::file() else { return };
    let (dir, runs) = (directory(), data::runs(&file));
    let (mut first, mut repeats) = (BTreeMap::new(), BTreeSet::new());
    for run in &runs {
        let alone = alone(dir.path(), run);
        let observed = fresh(&alone, under(all("observe")));
        is_undisturbed(run, &observed);
        repeats.extend(no_progress(&observed));
        let enforced = fresh(&alone, under(all("enforce")));
        let (seen, obeyed) = (denials(&observed), denials(&enforced));
        assert_eq!(seen, obeyed);
        assert_eq!(enforced.summary.stopped, seen.len() as u64);
        first.extend(seen);
    }
    eprintln!("{} runs denied first by {:?}", first.len(), rules(&first));
    let every = ["cap-programmer", "known-models", "no_progress", "speed"];
    assert_eq!(rules(&first), BTreeSet::from(every));
    // No progress is seen where the data repeats itself, in three runs, and nowhere else.
    let expected = repeated(&runs);
    let of: BTreeSet<&str> = expected.iter().map(|place| place.0.as_str()).collect();
    assert_eq!(of.len(), 3);
    assert_eq!(repeats, expected);
}
