//! Under a policy: what rules that only observe say is what they would have enforced, and changes
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mc_cli::rehearse::{RehearseOptions, Summary};
use mission_control::core::event::EventKind;
use mission_control::{Digest, Policy, RunStatus, StepKey};

use crate::data;
use crate::world::{World, all_models, fresh};

/// An allow-list of models, a cap on what a call of one agent may cost, a speed limit on money, prompts
/// that come again, and no progress.
const RULES: &str = r#"
no_progress: MODE
guardrails:
  - { id: known-models, at: model_call, mode: MODE, models: { allow: [recorded/GPT_3_5_TURBO, recorded/GPT_3_5_TURBO_NEW, recorded/GTP_4O_MINI, recorded/LLAMA_3, recorded/unknown] } }
  - { id: cap-programmer, at: model_call, mode: MODE, for: { agents: [programmer] }, max_cost_per_call: { usd: "0.02" } }
  - { id: speed, at: model_call, mode: MODE, velocity: { usd: "0.10", window: 1m } }
  - { id: again, at: model_call, mode: MODE, repeated_prompt: { times: 2, within: 1h } }
"#;

fn under(mode: &str) -> impl Fn(&Path, &Path) -> RehearseOptions {
    let policy = Policy::from_yaml(RULES.replace("MODE", mode)).unwrap();
    move |file, db| RehearseOptions {
        policy: Some(policy.clone()),
        ..all_models(file, db)
    }
}

/// A verdict against a call, and the call.
type Denial = (String, u32, String, Digest, (StepKey, u32, Option<u32>));

/// The first denial of each recorded run.
fn denials(world: &World) -> BTreeMap<String, Denial> {
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

/// How each recorded run ended, and what it had spent then.
fn ends(world: &World) -> BTreeMap<String, (RunStatus, i64)> {
    let recorded = world.recorded();
    let ends = recorded.into_iter().map(|(run, name)| {
        let row = crate::world::now(world.log.run_row(run)).unwrap().unwrap();
        let (status, spent) = (row.summary.status, row.summary.spent.as_nano());
        (name, (status, spent))
    });
    ends.collect()
}

#[test]
fn the_first_denial_of_each_run_is_the_same_observed_and_enforced_and_observing_changes_nothing() {
    let Some(file) = data::file() else { return };
    let [plain, observed, enforced] = [
        fresh(&file, all_models),
        fresh(&file, under("observe")),
        fresh(&file, under("enforce")),
    ];
    let (seen, obeyed) = (denials(&observed), denials(&enforced));
    assert_eq!(seen, obeyed);
    let rules: BTreeSet<&str> = seen.values().map(|denial| denial.0.as_str()).collect();
    eprintln!("{} runs denied first by {rules:?}", seen.len());
    assert!(rules.len() >= 3, "{rules:?}");
    assert_eq!(ends(&observed), ends(&plain));
    let unjudged = Summary {
        would_deny: None,
        ..observed.summary.clone()
    };
    assert_eq!(unjudged, plain.summary);
    assert!(observed.line["would_deny"].as_u64().unwrap() >= seen.len() as u64);
    assert_eq!(enforced.line["would_deny"], 0);
    assert_eq!(
        enforced.line["stopped"].as_u64().unwrap(),
        seen.len() as u64
    );
    assert_eq!(enforced.summary.unfinished(), 0);
}
