//! Under a policy: what rules that only observe say is what they would have enforced, and changes
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mc_cli::rehearse::{RehearseOptions, Summary};
use mission_control::core::event::EventKind;
use mission_control::{Digest, Policy, RunStatus, StepKey};
use serde_json::Value;

use crate::data;
use crate::world::{World, all_models, directory, fresh, now};

/// Rules that judge a run by itself: an allow-list of models, a cap on what a call of one agent may
/// cost, prompts that come again, and no progress.
const OWN: &str = r#"
no_progress: MODE
guardrails:
  - { id: known-models, at: model_call, mode: MODE, models: { allow: [recorded/GPT_3_5_TURBO, recorded/GPT_3_5_TURBO_NEW, recorded/GTP_4O_MINI, recorded/LLAMA_3, recorded/unknown] } }
  - { id: cap-programmer, at: model_call, mode: MODE, for: { agents: [programmer] }, max_cost_per_call: { usd: "0.02" } }
  - { id: again, at: model_call, mode: MODE, repeated_prompt: { times: 4, within: 1h } }
"#;

/// A rule that counts the money of all runs together.
const TOGETHER: &str = r#"
  - { id: speed, at: model_call, mode: MODE, velocity: { usd: "0.05", window: 1m } }
"#;

pub(crate) fn policy(rules: &str, mode: &str) -> Policy {
    Policy::from_yaml(rules.replace("MODE", mode)).unwrap()
}

pub(crate) fn under(policy: Policy) -> impl Fn(&Path, &Path) -> RehearseOptions {
    move |file, db| RehearseOptions {
        policy: Some(policy.clone()),
        ..all_models(file, db)
    }
}

/// A verdict against a call, and the call.
pub(crate) type Denial = (String, u32, String, Digest, (StepKey, u32, Option<u32>));

/// The first denial of each recorded run.
pub(crate) fn denials(world: &World) -> BTreeMap<String, Denial> {
    let recorded = world.recorded();
    let mut first = BTreeMap::new();
    for (record, kind) in &world.events {
        let EventKind::GuardrailJudged(facts) = kind else {
            continue;
        };
        if !["deny", "halt"].contains(&facts.verdict.as_str()) {
            continue;
        }
        let call = (facts.step.clone(), facts.attempt, facts.ordinal);
        let (rule, code) = (facts.rule.clone(), facts.code.clone());
        let denial = (rule, facts.policy_version, code, facts.inputs_hash, call);
        let run = recorded[&record.run_id].clone();
        first.entry(run).or_insert(denial);
    }
    first
}

pub(crate) fn rules(denials: &BTreeMap<String, Denial>) -> BTreeSet<&str> {
    denials.values().map(|denial| denial.0.as_str()).collect()
}

/// How each recorded run ended, and what it had spent then.
fn ends(world: &World) -> BTreeMap<String, (RunStatus, i64)> {
    let recorded = world.recorded();
    let ends = recorded.into_iter().map(|(run, name)| {
        let row = now(world.log.run_row(run)).unwrap().unwrap();
        let (status, spent) = (row.summary.status, row.summary.spent.as_nano());
        (name, (status, spent))
    });
    ends.collect()
}

#[test]
fn the_first_denial_of_each_run_is_the_same_observed_and_enforced() {
    let Some(file) = data::file() else { return };
    let [observed, enforced] = ["observe", "enforce"].map(|mode| {
        let policy = policy(OWN, mode);
        fresh(&file, under(policy))
    });
    let (seen, obeyed) = (denials(&observed), denials(&enforced));
    assert_eq!(seen, obeyed);
    eprintln!("{} runs denied first by {:?}", seen.len(), rules(&seen));
    assert!(rules(&seen).len() >= 3);
    assert_eq!(enforced.line["would_deny"], 0);
    let stopped = enforced.line["stopped"].as_u64();
    assert_eq!(stopped, Some(seen.len() as u64));
    assert_eq!(enforced.summary.unfinished(), 0);
}

#[test]
fn what_is_observed_changes_no_outcome_no_total_and_no_cost() {
    let Some(file) = data::file() else { return };
    let all = policy(&[OWN, TOGETHER].concat(), "observe");
    let (plain, observed) = (fresh(&file, all_models), fresh(&file, under(all)));
    assert_eq!(ends(&observed), ends(&plain));
    let unjudged = Summary {
        would_deny: None,
        ..observed.summary
    };
    assert_eq!(unjudged, plain.summary);
    let denied = denials(&observed);
    assert!(rules(&denied).contains("speed"));
    assert!(observed.line["would_deny"].as_u64() >= Some(denied.len() as u64));
}

/// A rule over all runs counts less where another run was stopped before: each by itself, then.
#[test]
fn a_limit_on_speed_denies_the_same_call_first_observed_and_enforced() {
    let Some(file) = data::file() else { return };
    let dir = directory();
    let mut denied = 0;
    // The dear ones: the others never reach the limit.
    let runs = data::runs(&file);
    for run in runs.iter().filter(|run| data::run_cost(run) > 300_000_000) {
        let alone = dir.path().join("alone.jsonl");
        std::fs::write(&alone, Value::to_string(run)).unwrap();
        let [seen, obeyed] = ["observe", "enforce"].map(|mode| {
            let speed = policy(&["guardrails:", TOGETHER].concat(), mode);
            denials(&fresh(&alone, under(speed)))
        });
        assert_eq!(seen, obeyed);
        denied += seen.len();
    }
    assert!(denied >= 3, "{denied}");
}
