//! Runs that nobody attends: what only a person could clear ends them, in one decision.

use mission_control::{AbortReason, Mode, Policy};

use crate::common::*;

fn alone(mode: Mode) -> Settings {
    let mut settings = settings();
    settings.run_policy.unattended = true;
    settings.run_policy.no_progress = mode;
    settings
}

/// An agent that asks the same again and again, inside a hold of its own.
fn stopped(rules: &str) -> (String, u64, Vec<String>) {
    let world = World::seeded(11);
    let it = agent(|ctx, _| async move {
        for _ in 0..5 {
            call(&ctx, "same", 10, 1).await?;
        }
        Ok(json!("done").into())
    });
    world.run(async {
        let control = open_with(&world, alone(Mode::Enforce), "it", it).await;
        let policy = Policy::from_yaml(rules).unwrap();
        control.publish_policy("ann", policy).await.unwrap();
        let hold =
            ", estimate: { model: test/m, input_tokens: 0, max_output_tokens: 10, calls: 2 }";
        let run = begin(&control, &one(hold), json!({})).await;
        let outcome = run.outcome().await.unwrap();
        let Outcome::Aborted(AbortReason::Policy { code }) = outcome else {
            panic!("{outcome:?}")
        };
        let kinds = loop {
            // The attempt that was cut ends on its own.
            let kinds = events(&control, &run).await;
            if kinds.iter().any(|record| &*record.kind == "run.sealed") {
                break kinds;
            }
            world.pass(secs(1)).await;
        };
        let kinds = kinds.iter().map(|record| record.kind.to_string()).collect();
        (code, control.metrics().soft_restarts, kinds)
    })
}

#[test]
fn calls_without_progress_end_the_run_at_the_third() {
    let (code, restarts, kinds) = stopped("{}");
    assert_eq!((code.as_str(), restarts), ("no_progress", 0));
    let settled = |kind: &&String| *kind == "model_call.settled";
    assert_eq!(kinds.iter().filter(settled).count(), 3);
    assert_eq!(kinds.last().unwrap(), "run.sealed");
}

#[test]
fn an_answer_that_a_rule_forbids_ends_the_run() {
    let rule = "guardrails: [ { id: short, at: after, max_bytes: 1 } ]";
    let (code, restarts, kinds) = stopped(rule);
    assert_eq!((code.as_str(), restarts), ("short", 0));
    assert_eq!(kinds.last().unwrap(), "run.sealed");
}

#[test]
fn a_call_that_a_rule_denies_ends_the_run() {
    let rule = "guardrails: [ { id: never, at: model_call, models: { deny: [test/m] } } ]";
    let (code, restarts, kinds) = stopped(rule);
    assert_eq!((code.as_str(), restarts), ("never", 0));
    assert_eq!(kinds.last().unwrap(), "run.sealed");
}
