//! What an account is again once what was changed for a time lapses, and what it is told of meanwhile.

use mission_control::core::budget::{OnReach, Threshold, Window};
use mission_control::{Budget, Note, Policy};

use crate::common::*;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
const CALLS: &str =
    "{ workflow: w, steps: { a: { agent: caller, retry: { maximum_attempts: 1 } } } }";

async fn allot(control: &MissionControl, of: i64) {
    set(control, AccountId::Workspace, of, OnExceed::Pause).await;
}

async fn for_hours(control: &MissionControl, of: i64, hours: u64) {
    let until = START.after(secs(hours * HOUR));
    let budget = Budget::of(AccountId::Workspace)
        .limit(limit(of))
        .until(until);
    control
        .set_budget(("ann", "a campaign"), budget)
        .await
        .unwrap();
}

async fn in_window(control: &MissionControl, of: i64, window: &str) {
    let window: Window = window.parse().unwrap();
    let budget = Budget::of(AccountId::Workspace)
        .limit(limit(of))
        .on_exceed(OnExceed::Pause)
        .window(window);
    control
        .set_budget(("ann", "as tested"), budget)
        .await
        .unwrap();
}

async fn spend(control: &MissionControl, mills: i64) {
    let run = begin(control, CALLS, json!({"bound": mills, "cost": mills})).await;
    completes(&run).await;
}

fn limit_of(control: &MissionControl) -> Option<NanoUsd> {
    workspace(control).limit().money
}

/// The percentages that were told of.
async fn told(control: &MissionControl) -> Vec<u64> {
    let log = control.log().read_workspace(0, 100_000).await.unwrap();
    let found = log
        .iter()
        .filter(|one| &*one.kind == "budget.threshold_reached");
    let facts = found.map(|one| serde_json::from_str::<Value>(&one.facts).unwrap());
    facts.map(|one| one["percent"].as_u64().unwrap()).collect()
}

#[test]
fn two_limits_for_a_time_leave_what_was_before_the_first() {
    let world = World::seeded(1);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        allot(&control, 60).await;
        for_hours(&control, 500, 1).await;
        for_hours(&control, 300, 2).await;
        world.pass(secs(2 * HOUR + 1)).await;
        spend(&control, 10).await;
        assert_eq!(limit_of(&control), Some(mills(60)));
    });
}

#[test]
fn the_limit_of_a_policy_stays_although_it_was_set_for_a_time_before() {
    let world = World::seeded(2);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        allot(&control, 100).await;
        for_hours(&control, 60, 1).await;
        let text = "budgets: [{ account: workspace, limit: { usd: \"0.06\" } }]";
        let policy = Policy::from_yaml(text).unwrap();
        control.publish_policy("ann", policy).await.unwrap();
        world.pass(secs(HOUR + 1)).await;
        spend(&control, 10).await;
        assert_eq!(limit_of(&control), Some(mills(60)));
    });
}

#[test]
fn a_freeze_for_a_time_does_not_end_one_without_an_end() {
    let world = World::seeded(3);
    world.run(async {
        let (control, notes) = open_caller(&world).await;
        let freeze = |note| control.freeze("ann", AccountId::Workspace, note);
        freeze(Note::because("an incident")).await.unwrap();
        let until = START.after(secs(HOUR));
        freeze(Note::because("month end").until(until))
            .await
            .unwrap();
        begin(&control, CALLS, json!({"bound": 50, "cost": 50})).await;
        world.pass(secs(2 * HOUR)).await;
        assert!(workspace(&control).is_frozen());
        assert_eq!(notes.len(), 0);
    });
}

#[test]
fn a_top_up_stays_when_a_limit_for_a_time_lapses_under_it() {
    let world = World::seeded(4);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        allot(&control, 60).await;
        for_hours(&control, 500, 1).await;
        let note = Note::because("agreed with finance");
        let top_up = |by, note| control.top_up("ann", AccountId::Workspace, limit(by), note);
        top_up(40, note.clone()).await.unwrap();
        top_up(7, note.until(START.after(secs(HOUR / 2))))
            .await
            .unwrap();
        assert_eq!(limit_of(&control), Some(mills(547)));
        world.pass(secs(HOUR + 1)).await;
        spend(&control, 10).await;
        assert_eq!(limit_of(&control), Some(mills(100)));
    });
}

#[test]
fn a_threshold_that_freezes_does_so_although_a_higher_one_is_crossed_with_it() {
    let freezes = Threshold {
        percent: 50,
        then: OnReach::Freeze,
    };
    let settings = Settings {
        thresholds: vec![freezes, Threshold::told(80)],
        ..settings()
    };
    let world = World::seeded(5);
    world.run(async {
        let agent = caller(Notes::default());
        let control = open_with(&world, settings, "caller", agent).await;
        allot(&control, 100).await;
        spend(&control, 85).await;
        assert_eq!(told(&control).await, [80], "it stands for the one below");
        assert!(workspace(&control).is_frozen());
    });
}

#[test]
fn a_threshold_is_told_of_once_while_a_sliding_window_holds_it() {
    let world = World::seeded(6);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        in_window(&control, 100, "sliding 1h 6").await;
        spend(&control, 60).await;
        for _ in 0..3 {
            world.pass(secs(600)).await;
            spend(&control, 1).await;
        }
        assert_eq!(told(&control).await, [50]);
        world.pass(secs(2 * HOUR)).await;
        spend(&control, 60).await;
        assert_eq!(told(&control).await, [50, 50]);
    });
}

#[test]
fn a_threshold_is_not_told_of_again_because_the_account_was_frozen_meanwhile() {
    let world = World::seeded(7);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        allot(&control, 100).await;
        let run = begin(&control, CALLS, json!({"bound": 60, "cost": 1})).await;
        completes(&run).await;
        let account = || AccountId::Workspace;
        let note = Note::because("as tested");
        control
            .freeze("ann", account(), note.clone())
            .await
            .unwrap();
        control.unfreeze("ann", account(), note).await.unwrap();
        let run = start(&control, json!({"bound": 60, "cost": 1})).await;
        completes(&run).await;
        assert_eq!(told(&control).await, [50]);
    });
}

#[test]
fn the_largest_limit_there_is_may_be_set_under_a_top_up() {
    let world = World::seeded(8);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        allot(&control, 60).await;
        let note = Note::because("as tested").until(START.after(secs(HOUR)));
        let top_up = control.top_up("ann", AccountId::Workspace, limit(40), note);
        top_up.await.unwrap();
        let most = Limit::usd(NanoUsd::MAX);
        let set = control.set_limit(
            ("ann", "as tested"),
            AccountId::Workspace,
            most,
            OnExceed::Pause,
        );
        set.await.unwrap();
        assert_eq!(limit_of(&control), Some(NanoUsd::MAX));
        spend(&control, 10).await;
    });
}

#[test]
fn an_account_that_counted_for_ever_again_may_have_a_window_again() {
    let world = World::seeded(9);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        in_window(&control, 60, "day UTC").await;
        spend(&control, 50).await;
        in_window(&control, 60, "lifetime").await;
        world.pass(secs(DAY)).await;
        spend(&control, 50).await;
        world.pass(secs(3 * DAY)).await;
        assert_eq!(
            workspace(&control).spent().money,
            mills(50),
            "it counts for ever"
        );
        in_window(&control, 60, "day UTC").await;
        for _ in 0..2 {
            spend(&control, 50).await;
            assert_eq!(workspace(&control).spent().money, mills(50));
            world.pass(secs(DAY)).await;
        }
    });
}
