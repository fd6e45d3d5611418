//! What an operator changes about an account: top-ups, freezes and limits for a time; and the shares
//! of a limit that are told of.

use crate::common::*;
use mission_control::core::budget::{OnReach, Threshold};
use mission_control::{Budget, Note};

const HOUR: u64 = 3_600;

/// The workspace may spend so many thousandths of a dollar, and pauses runs beyond.
async fn allot(control: &MissionControl, of: i64) {
    set(control, AccountId::Workspace, of, OnExceed::Pause).await;
}

const CALLS: &str =
    "{ workflow: w, steps: { a: { agent: caller, retry: { maximum_attempts: 1 } } } }";

async fn spend(control: &MissionControl, mills: i64) {
    let run = begin(control, CALLS, json!({"bound": mills, "cost": mills})).await;
    completes(&run).await;
}

/// The facts of every event of a kind that is about no run.
async fn told(control: &MissionControl, kind: &str) -> Vec<Value> {
    let log = control.log().read_workspace(0, 100_000).await.unwrap();
    let found = log.iter().filter(|one| &*one.kind == kind);
    found
        .map(|one| serde_json::from_str(&one.facts).unwrap())
        .collect()
}

async fn freeze(control: &MissionControl, note: Note) {
    let frozen = control.freeze("ann", AccountId::Workspace, note);
    frozen.await.unwrap();
}

fn in_an_hour() -> Note {
    Note::because("month end").until(START.after(secs(HOUR)))
}

fn limit_of(control: &MissionControl) -> Option<NanoUsd> {
    workspace(control).limit().money
}

#[test]
fn a_top_up_lets_a_paused_run_go_on() {
    let world = World::seeded(1);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        allot(&control, 60).await;
        spend(&control, 50).await;
        let run = start(&control, json!({"bound": 50, "cost": 50})).await;
        run.settled_or_blocked().await.unwrap();
        let note = Note::because("agreed with finance");
        let by = limit(40);
        control
            .top_up("ann", AccountId::Workspace, by, note)
            .await
            .unwrap();
        completes(&run).await;
        assert_eq!(limit_of(&control), Some(mills(100)));
        let told = told(&control, "budget.topped_up").await;
        assert_eq!(
            told,
            [json!({"account": "workspace", "by": {"nano_usd": 40_000_000}})]
        );
    });
}

#[test]
fn a_top_up_for_a_time_is_gone_behind_it_and_a_limit_set_meanwhile_stays_under_it() {
    let world = World::seeded(2);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        allot(&control, 60).await;
        let by = limit(40);
        control
            .top_up("ann", AccountId::Workspace, by, in_an_hour())
            .await
            .unwrap();
        assert_eq!(limit_of(&control), Some(mills(100)));
        allot(&control, 70).await;
        assert_eq!(limit_of(&control), Some(mills(110)));
        world.pass(secs(HOUR)).await;
        spend(&control, 10).await;
        assert_eq!(limit_of(&control), Some(mills(70)));
        assert_eq!(told(&control, "budget.lapsed").await.len(), 1);
    });
}

#[test]
fn a_limit_for_a_time_is_again_what_it_was_unless_another_was_set() {
    for (meanwhile, then) in [(None, 60), (Some(80), 80)] {
        let world = World::seeded(3);
        world.run(async {
            let (control, _) = open_caller(&world).await;
            allot(&control, 60).await;
            let budget = Budget::of(AccountId::Workspace)
                .limit(limit(500))
                .until(START.after(secs(HOUR)));
            control
                .set_budget(("ann", "as tested"), budget)
                .await
                .unwrap();
            if let Some(of) = meanwhile {
                allot(&control, of).await;
            }
            world.pass(secs(HOUR + 1)).await;
            spend(&control, 10).await;
            assert_eq!(limit_of(&control), Some(mills(then)));
        });
    }
}

#[test]
fn what_waits_for_a_frozen_account_goes_on_when_the_freeze_lapses() {
    let world = World::seeded(4);
    world.run(async {
        let (control, notes) = open_caller(&world).await;
        allot(&control, 600).await;
        freeze(&control, in_an_hour()).await;
        let run = begin(&control, CALLS, json!({"bound": 50, "cost": 50})).await;
        world.pass(secs(HOUR - 1)).await;
        assert_eq!(notes.len(), 0, "a frozen account admits nothing");
        completes(&run).await;
        assert_eq!(world.elapsed(), secs(HOUR + 1), "nobody had to ask again");
    });
}

#[test]
fn a_freeze_outlives_the_process_and_ends_with_unfreeze() {
    let world = World::seeded(5);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        freeze(&control, Note::because("an incident")).await;
    });
    world.crash();
    world.run(async {
        let (control, notes) = open_caller(&world).await;
        let run = begin(&control, CALLS, json!({"bound": 50, "cost": 50})).await;
        world.pass(secs(HOUR)).await;
        assert_eq!(notes.len(), 0);
        let note = Note::because("as tested");
        control
            .unfreeze("ann", AccountId::Workspace, note.clone())
            .await
            .unwrap();
        completes(&run).await;
        let again = control.unfreeze("ann", AccountId::Workspace, note).await;
        assert_eq!(again.unwrap_err().kind(), ErrorKind::InvalidTransition);
    });
}

#[test]
fn the_reason_of_a_change_is_kept_as_content() {
    let world = World::seeded(6);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        freeze(&control, Note::because("an incident")).await;
        let log = control.log().read_workspace(0, 1_000).await.unwrap();
        let frozen = log
            .iter()
            .find(|one| &*one.kind == "budget.frozen")
            .unwrap();
        assert_eq!(frozen.actor.to_string(), "operator:ann");
        let place = mission_control::core::event::PartRef {
            seq: frozen.seq,
            part: 0,
        };
        assert_eq!(
            &*control.log().read_part(place).await.unwrap(),
            b"an incident"
        );
    });
}

#[test]
fn a_threshold_is_told_of_once_a_period_and_stands_for_those_below_it() {
    let world = World::seeded(7);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        let window = "day UTC".parse().unwrap();
        let budget = Budget::of(AccountId::Workspace)
            .limit(limit(100))
            .window(window);
        control
            .set_budget(("ann", "as tested"), budget)
            .await
            .unwrap();
        for _ in 0..2 {
            for cost in [30, 15, 10, 30] {
                spend(&control, cost).await;
            }
            world.pass(secs(24 * HOUR)).await;
        }
        let told = told(&control, "budget.threshold_reached").await;
        let percents: Vec<_> = told
            .iter()
            .map(|one| one["percent"].as_u64().unwrap())
            .collect();
        assert_eq!(percents, [50, 80, 50, 80], "55 and 85 hundredths, each day");
    });
}

#[test]
fn a_threshold_counts_afresh_under_a_raised_limit() {
    let world = World::seeded(8);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        allot(&control, 100).await;
        spend(&control, 60).await;
        allot(&control, 200).await;
        spend(&control, 50).await;
        let told = told(&control, "budget.threshold_reached").await;
        let limits: Vec<_> = told
            .iter()
            .map(|one| one["limit"]["nano_usd"].as_i64())
            .collect();
        assert_eq!(limits, [Some(100_000_000), Some(200_000_000)]);
    });
}

#[test]
fn a_threshold_may_freeze_its_account() {
    let world = World::seeded(9);
    world.run(async {
        let freezes = Threshold {
            percent: 50,
            then: OnReach::Freeze,
        };
        let settings = Settings {
            thresholds: vec![freezes],
            ..settings()
        };
        let notes = Notes::default();
        let control = open_with(&world, settings, "caller", caller(notes.clone())).await;
        allot(&control, 100).await;
        spend(&control, 60).await;
        assert!(workspace(&control).is_frozen());
        let run = start(&control, json!({"bound": 5, "cost": 5})).await;
        world.pass(secs(HOUR)).await;
        assert_eq!(notes.len(), 1, "the first call alone went out");
        control
            .unfreeze("ann", AccountId::Workspace, Note::because("as tested"))
            .await
            .unwrap();
        completes(&run).await;
    });
}

#[test]
fn a_change_that_cannot_be_is_refused_by_name() {
    let world = World::seeded(10);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        let top_up = |by, note| control.top_up("ann", AccountId::Workspace, by, note);
        let refused = top_up(limit(5), Note::because("as tested"))
            .await
            .unwrap_err();
        assert!(
            refused.to_string().contains("no limit of money"),
            "{refused}"
        );
        allot(&control, 100).await;
        for (by, note, says) in [
            (limit(0), Note::because("as tested"), "more than nothing"),
            (limit(-5), Note::because("as tested"), "negative"),
            (
                limit(5),
                Note::because("as tested").until(START),
                "passed already",
            ),
            (
                Limit {
                    calls: Some(1),
                    ..Limit::default()
                },
                Note::because("as tested"),
                "no limit of calls",
            ),
            (
                Limit::usd(NanoUsd::from_nano(i64::MAX)),
                Note::because("as tested"),
                "ledger",
            ),
        ] {
            let refused = top_up(by, note).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput);
            assert!(refused.to_string().contains(says), "{refused}");
        }
        let account = AccountId::Run(mission_control::RunId::ZERO);
        let refused = control
            .freeze("ann", account, Note::because("as tested"))
            .await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(limit_of(&control), Some(mills(100)));
    });
}
