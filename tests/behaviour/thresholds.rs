//! Thresholds that mean something for every further call: a person is asked, or a model is suggested.

use crate::asking::*;
use crate::common::*;

const ASKS: &str = "budgets: [{ account: workspace, limit: { usd: '0.100' }, window: day UTC, \
                    thresholds: [20, { percent: 50, then: require_approval }] }]";

const SUGGESTS: &str = "budgets: [{ account: workspace, limit: { usd: '0.100' }, \
                        thresholds: [{ percent: 50, downgrade_to: test/small }] }]";

/// The facts of every threshold that was told of.
async fn told(control: &MissionControl) -> Vec<Value> {
    let events = control.log().read_workspace(0, 10_000).await.unwrap();
    let events = events
        .iter()
        .filter(|one| &*one.kind == "budget.threshold_reached");
    events
        .map(|one| serde_json::from_str(&one.facts).unwrap())
        .collect()
}

async fn spend(session: &Session, prompt: &str, of: u64) {
    let admission = session.reserve(&request(prompt, of)).await.unwrap();
    let Admission::Allowed(permit) = admission else {
        panic!("{admission:?}");
    };
    permit.settle(&answer("ok", of)).await.unwrap();
}

async fn asked(session: &Session, prompt: &str) -> mission_control::ApprovalId {
    let admission = session.reserve(&request(prompt, 2)).await.unwrap();
    let Admission::NeedsApproval(id) = admission else {
        panic!("{admission:?}");
    };
    id
}

#[test]
fn beyond_its_share_each_call_needs_a_word_until_the_limit_is_raised() {
    let world = World::seeded(1);
    world.run(async {
        let control = world.open().await;
        enforce(&control, ASKS).await;
        let session = guard(&control).await;
        spend(&session, "a", 30).await;
        spend(&session, "b", 30).await;
        let told = told(&control).await;
        let asks: Vec<_> = told
            .iter()
            .map(|one| (&one["percent"], &one["asks"]))
            .collect();
        assert_eq!(
            asks,
            [(&json!(20), &Value::Null), (&json!(50), &json!(true))]
        );
        let id = asked(&session, "c").await;
        let shown = only(&control).await;
        assert_eq!(
            shown.asked.rule.as_deref(),
            Some("builtin.budget_threshold")
        );
        control.approve(id, "bob", "once more").await.unwrap();
        spend(&session, "c", 2).await;
        let other = asked(&session, "d").await;
        assert_ne!(id, other);
        control.reject(other, "bob", "no").await.unwrap();
        set(&control, AccountId::Workspace, 1_000, OnExceed::Abort).await;
        spend(&session, "e", 2).await;
    });
}

#[test]
fn a_new_period_of_the_window_asks_nobody() {
    let world = World::seeded(2);
    world.run(async {
        let control = world.open().await;
        enforce(&control, ASKS).await;
        let session = guard(&control).await;
        spend(&session, "a", 60).await;
        asked(&session, "b").await;
        world.pass(secs(25 * 3_600)).await;
        spend(&session, "c", 2).await;
    });
}

#[test]
fn a_step_waits_with_its_call_and_the_verdict_is_in_its_log() {
    let world = World::seeded(3);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        enforce(&control, ASKS).await;
        let session = guard(&control).await;
        spend(&session, "a", 60).await;
        session.close().await.unwrap();
        let one = "{ workflow: w, steps: { a: { agent: caller } } }";
        let run = begin(&control, one, json!({"bound": 5, "cost": 5})).await;
        let id = pending(&control, &run).await;
        let judged = facts(&control, &run, "guardrail.judged").await;
        assert_eq!(judged["rule"], "builtin.budget_threshold");
        assert_eq!(judged["verdict"], "needs_approval");
        control.approve(id, "bob", "yes").await.unwrap();
        completes(&run).await;
    });
}

#[test]
fn a_model_is_suggested_and_nothing_is_held_up() {
    let world = World::seeded(4);
    world.run(async {
        let control = world.open().await;
        enforce(&control, SUGGESTS).await;
        let session = guard(&control).await;
        let first = permit(&session, 60).await;
        assert_eq!(first.suggested_model(), None);
        first.settle(&answer("ok", 60)).await.unwrap();
        assert_eq!(told(&control).await[0]["suggests"], "test/small");
        let second = permit(&session, 2).await;
        assert_eq!(
            second.suggested_model(),
            Some(&"test/small".parse().unwrap())
        );
        second.settle(&answer("ok", 2)).await.unwrap();
    });
}

#[test]
fn the_thresholds_of_the_policy_take_the_place_of_the_hosts() {
    let world = World::seeded(5);
    world.run(async {
        let control = world.open().await;
        let none = ASKS.replace("20, { percent: 50, then: require_approval }", "");
        enforce(&control, &none).await;
        let session = guard(&control).await;
        spend(&session, "a", 95).await;
        assert!(told(&control).await.is_empty());
        // What is told of later counts from there on.
        enforce(&control, ASKS).await;
        spend(&session, "b", 1).await;
        asked(&session, "c").await;
    });
}
