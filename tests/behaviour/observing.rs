//! Budgets that are only looked at: what they would refuse is told, and goes out.

use crate::common::*;
use mission_control::Budget;
use mission_control::Policy;
use mission_control::core::budget::{OnReach, Threshold};

const CALLS: &str =
    "{ workflow: w, steps: { a: { agent: caller, retry: { maximum_attempts: 1 } } } }";

async fn observe(control: &MissionControl, of: i64) {
    let budget = Budget::of(AccountId::Workspace).limit(limit(of)).observe();
    let set = control.set_budget(("ann", "to see what it does"), budget);
    set.await.unwrap();
}

/// The verdicts of limits that are only looked at, in a run.
async fn judged(control: &MissionControl, run: &RunHandle) -> Vec<Value> {
    let events = events(control, run).await;
    let judged = events.iter().filter(|one| &*one.kind == "budget.judged");
    judged
        .map(|one| serde_json::from_str(&one.facts).unwrap())
        .collect()
}

#[test]
fn what_a_limit_would_refuse_goes_out_and_is_told() {
    let world = World::seeded(1);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        observe(&control, 60).await;
        let run = begin(&control, CALLS, json!({"bound": 50, "cost": 20})).await;
        completes(&run).await;
        assert_eq!(judged(&control, &run).await, [] as [Value; 0]);
        let run = start(&control, json!({"bound": 50, "cost": 50})).await;
        completes(&run).await;
        let told = judged(&control, &run).await;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0]["verdict"], "exceeded");
        assert_eq!(told[0]["requested"]["nano_usd"], 50_000_000);
        let failing = &told[0]["failing"][0];
        assert_eq!(
            (&failing["account"], &failing["limit"]),
            (&json!("workspace"), &json!(60_000_000))
        );
        assert_eq!(count(&control, &run, "budget.breached").await, 0);
        assert_eq!(workspace(&control).spent().money, mills(70));
    });
}

#[test]
fn a_limit_that_is_enforced_at_last_counts_what_was_spent_meanwhile() {
    let world = World::seeded(2);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        observe(&control, 60).await;
        let run = begin(&control, CALLS, json!({"bound": 50, "cost": 50})).await;
        completes(&run).await;
        set(&control, AccountId::Workspace, 60, OnExceed::Abort).await;
        let run = start(&control, json!({"bound": 50, "cost": 20})).await;
        let outcome = run.outcome().await.unwrap();
        assert!(matches!(outcome, Outcome::Aborted(_)), "{outcome:?}");
        let run = start(&control, json!({"bound": 10, "cost": 10})).await;
        completes(&run).await;
        assert_eq!(workspace(&control).spent().money, mills(60));
    });
}

#[test]
fn whoever_waits_for_room_goes_on_once_the_limit_is_only_looked_at() {
    let world = World::seeded(3);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        set(&control, AccountId::Workspace, 40, OnExceed::Pause).await;
        let run = begin(&control, CALLS, json!({"bound": 50, "cost": 20})).await;
        run.settled_or_blocked().await.unwrap();
        observe(&control, 40).await;
        completes(&run).await;
        assert_eq!(judged(&control, &run).await.len(), 1);
    });
}

#[test]
fn thresholds_of_such_a_limit_are_told_and_freeze_nothing() {
    let world = World::seeded(4);
    world.run(async {
        let settings = Settings {
            thresholds: vec![Threshold {
                percent: 80,
                then: OnReach::Freeze,
            }],
            ..settings()
        };
        let it = caller(Notes::default());
        let control = open_with(&world, settings, "caller", it).await;
        observe(&control, 60).await;
        for _ in 0..2 {
            let run = begin(&control, CALLS, json!({"bound": 50, "cost": 50})).await;
            completes(&run).await;
        }
        let log = control.log().read_workspace(0, 1_000).await.unwrap();
        let reached = find(&log, "budget.threshold_reached").unwrap();
        assert_eq!(reached["percent"], 80);
        assert!(find(&log, "budget.frozen").is_none());
        assert!(!workspace(&control).is_frozen());
    });
}

#[test]
fn a_freeze_refuses_also_where_the_limit_is_only_looked_at() {
    let world = World::seeded(5);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        observe(&control, 60).await;
        let note = || mission_control::Note::because("an incident");
        let workspace = AccountId::Workspace;
        control
            .freeze("ann", workspace.clone(), note())
            .await
            .unwrap();
        let run = begin(&control, CALLS, json!({"bound": 50, "cost": 50})).await;
        world.pass(secs(60)).await;
        assert_eq!(count(&control, &run, "model_call.reserved").await, 0);
        control.unfreeze("ann", workspace, note()).await.unwrap();
        completes(&run).await;
    });
}

#[test]
fn a_step_s_hold_and_a_plan_are_judged_too() {
    let yaml = "{ workflow: w, steps: { a: { agent: caller, estimate: { model: test/m, input_tokens: 0, max_output_tokens: 80 } } } }";
    let world = World::seeded(6);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        observe(&control, 60).await;
        let run = begin(&control, yaml, json!({"bound": 50, "cost": 50})).await;
        completes(&run).await;
        let told = judged(&control, &run).await;
        assert_eq!(told.len(), 1, "the call lies inside the hold");
        assert_eq!(
            (&told[0]["step"], &told[0]["ordinal"]),
            (&json!("a"), &Value::Null)
        );
        let planned = facts(&control, &run, "run.planned").await;
        assert_eq!(planned["observed"][0]["account"], "workspace");
        assert!(planned.get("over").is_none());
    });
}

#[test]
fn every_call_of_a_session_beyond_such_a_limit_is_told_of() {
    let world = World::seeded(7);
    world.run(async {
        let control = world.open().await;
        observe(&control, 10).await;
        let session = guard(&control).await;
        let send = |_| async { Ok(answer("ok", 5)) };
        for _ in 0..4 {
            session.model_call(&request("p", 5), send).await.unwrap();
        }
        let run = control.run(session.id());
        session.close().await.unwrap();
        assert_eq!(judged(&control, &run).await.len(), 2);
    });
}

#[test]
fn a_policy_names_limits_that_are_only_looked_at() {
    let world = World::seeded(8);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        let publish = async |mode: &str| {
            let yaml = format!(
                "budgets: [ {{ account: workspace, limit: {{ usd: \"0.06\" }}, mode: {mode} }} ]"
            );
            let policy = Policy::from_yaml(&yaml).unwrap();
            control.publish_policy("ann", policy).await.unwrap();
        };
        publish("observe").await;
        let run = begin(&control, CALLS, json!({"bound": 70, "cost": 20})).await;
        completes(&run).await;
        assert_eq!(judged(&control, &run).await.len(), 1);
        publish("enforce").await;
        assert!(workspace(&control).mode().is_enforced());
        let run = start(&control, json!({"bound": 70, "cost": 20})).await;
        let outcome = run.outcome().await.unwrap();
        assert!(matches!(outcome, Outcome::Aborted(_)), "{outcome:?}");
    });
}
