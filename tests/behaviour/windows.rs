//! Windows of budgets: what counts when, who waits for the next one, and what clocks cannot do.

use crate::common::*;
use mission_control::core::budget::{Period, Window};
use mission_control::core::ports::Clock;
use mission_control::{Budget, Detail, Timestamp};

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
const CALLS: &str =
    "{ workflow: w, steps: { a: { agent: caller, retry: { maximum_attempts: 1 } } } }";

/// A day of UTC: the world begins at the beginning of one.
const DAYS: &str = "day UTC";

async fn allot(control: &MissionControl, of: i64, window: &str) {
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

/// The facts of every event of a kind that is about no run.
async fn told(control: &MissionControl, kind: &str) -> Vec<Value> {
    let log = control.log().read_workspace(0, 100_000).await.unwrap();
    let found = log.iter().filter(|one| &*one.kind == kind);
    found
        .map(|one| serde_json::from_str(&one.facts).unwrap())
        .collect()
}

/// Spent, reserved and in doubt that count in the workspace now, in thousandths of a dollar.
fn counted(control: &MissionControl) -> [i64; 3] {
    let account = workspace(control);
    [account.spent(), account.reserved(), account.in_doubt()]
        .map(|amount| amount.money.as_nano() / 1_000_000)
}

fn permit(admission: Admission) -> mission_control::Permit {
    let Admission::Allowed(permit) = admission else {
        panic!("{admission:?}");
    };
    permit
}

#[test]
fn each_day_has_the_limit_for_itself() {
    let world = World::seeded(1);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        allot(&control, 60, DAYS).await;
        for day in 0..3 {
            let run = begin(&control, CALLS, json!({"bound": 50, "cost": 50})).await;
            completes(&run).await;
            assert_eq!(counted(&control), [50, 0, 0], "day {day}");
            world.pass(secs(DAY)).await;
        }
        let closed = told(&control, "budget.window_closed").await;
        let spent: Vec<_> = closed.iter().map(|one| &one["spent"]["nano_usd"]).collect();
        // The time before the first window, and two days.
        assert_eq!(
            spent,
            [&json!(null), &json!(50_000_000), &json!(50_000_000)]
        );
    });
}

#[test]
fn a_refusal_says_when_the_window_resets_and_the_step_goes_on_then() {
    let world = World::seeded(2);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        allot(&control, 60, DAYS).await;
        completes(&begin(&control, CALLS, json!({"bound": 50, "cost": 50})).await).await;
        world.pass(secs(HOUR)).await;
        let run = start(&control, json!({"bound": 50, "cost": 20})).await;
        run.settled_or_blocked().await.unwrap();
        let blocked = facts(&control, &run, "step.blocked").await;
        let resets = Timestamp::from_unix_us(blocked["failing"][0]["resets_at"].as_i64().unwrap());
        assert_eq!(resets, START.after(secs(DAY)));
        completes(&run).await;
        assert_eq!(world.elapsed(), secs(DAY + 1), "nobody had to ask again");
    });
}

#[test]
fn what_no_window_could_hold_does_not_wait_for_the_next() {
    let world = World::seeded(3);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        allot(&control, 40, DAYS).await;
        let run = begin(&control, CALLS, json!({"bound": 50, "cost": 20})).await;
        run.settled_or_blocked().await.unwrap();
        let blocked = facts(&control, &run, "step.blocked").await;
        assert_eq!(blocked["failing"][0]["resets_at"], json!(null));
    });
}

#[test]
fn a_call_over_midnight_is_charged_to_the_day_of_its_reserve() {
    let world = World::seeded(4);
    world.run(async {
        let control = world.open().await;
        allot(&control, 100, DAYS).await;
        let session = guard(&control).await;
        let late = permit(session.reserve(&request("p", 60)).await.unwrap());
        world.pass(secs(DAY)).await;
        // The new day has all of its limit, although the call is out.
        let next = permit(session.reserve(&request("q", 100)).await.unwrap());
        assert_eq!(counted(&control), [0, 100, 0]);
        late.settle(&answer("ok", 30)).await.unwrap();
        next.settle(&answer("ok", 90)).await.unwrap();
        session.close().await.unwrap();
        assert_eq!(counted(&control), [90, 0, 0]);
        let closed = told(&control, "budget.window_closed").await;
        assert_eq!(closed[1]["spent"]["nano_usd"], json!(30_000_000));
        assert_eq!(closed.len(), 2, "each window closes once");
    });
}

#[test]
fn a_day_is_not_final_before_its_last_doubt_is_settled() {
    let world = World::seeded(5);
    world.run(async {
        let control = world.open().await;
        allot(&control, 100, DAYS).await;
        let session = guard(&control).await;
        drop(permit(session.reserve(&request("p", 60)).await.unwrap()));
        world.pass(secs(2 * DAY)).await;
        allot(&control, 100, DAYS).await;
        assert_eq!(counted(&control), [0, 0, 0]);
        assert_eq!(told(&control, "budget.window_closed").await.len(), 1);
        for (hold, amount) in control.run(session.id()).doubts().await.unwrap() {
            let run = control.run(session.id());
            run.reconcile("ann", &hold, amount, "bill").await.unwrap();
        }
        let closed = told(&control, "budget.window_closed").await;
        assert_eq!(closed[1]["spent"]["nano_usd"], json!(60_000_000));
        assert_eq!(counted(&control), [0, 0, 0]);
    });
}

#[test]
fn no_stretch_of_a_sliding_window_passes_the_limit() {
    let world = World::seeded(6);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        allot(&control, 100, "sliding 1h 6").await;
        let mut spent: Vec<(Duration, i64)> = Vec::new();
        for _ in 0..12 {
            let run = begin(&control, CALLS, json!({"bound": 40, "cost": 40})).await;
            completes(&run).await;
            spent.push((world.elapsed(), 40));
            world.pass(secs(431)).await;
        }
        for (end, _) in &spent {
            let within = spent
                .iter()
                .filter(|(at, _)| at <= end && end.saturating_sub(*at) < secs(HOUR));
            assert!(within.map(|(_, cost)| cost).sum::<i64>() <= 100);
        }
        // Twelve calls of 40 take six times the limit of an hour, and hardly longer.
        assert!(world.elapsed() < secs(7 * HOUR), "{:?}", world.elapsed());
    });
}

#[test]
fn another_zone_holds_from_the_next_boundary_and_nothing_is_reset_for_it() {
    let world = World::seeded(7);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        allot(&control, 60, DAYS).await;
        completes(&begin(&control, CALLS, json!({"bound": 50, "cost": 50})).await).await;
        allot(&control, 60, "day Asia/Kolkata").await;
        assert_eq!(counted(&control), [50, 0, 0]);
        world.pass(secs(DAY)).await;
        completes(&start(&control, json!({"bound": 50, "cost": 50})).await).await;
        let opened = told(&control, "budget.window_opened").await;
        let last: Period = serde_json::from_value(opened[1]["period"].clone()).unwrap();
        // From midnight of the old zone to midnight of the new one.
        let hours = last.end.since(last.start).as_secs() / 60;
        assert_eq!((opened.len(), hours), (2, 18 * 60 + 30));
        assert!(opened[1]["tzdb"].as_str().unwrap().starts_with("20"));
    });
}

#[test]
fn a_restart_goes_on_in_the_same_window() {
    let world = World::seeded(8);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        allot(&control, 60, DAYS).await;
        completes(&begin(&control, CALLS, json!({"bound": 50, "cost": 50})).await).await;
        control.shutdown(secs(1)).await.unwrap();
    });
    world.crash();
    world.run(async {
        let (control, _) = open_caller(&world).await;
        assert_eq!(counted(&control), [50, 0, 0]);
        let run = begin(&control, CALLS, json!({"bound": 50, "cost": 20})).await;
        completes(&run).await;
        assert_eq!(world.elapsed(), secs(DAY + 1));
        assert_eq!(told(&control, "budget.window_opened").await.len(), 2);
    });
}

#[test]
fn a_runs_account_has_no_window() {
    let world = World::seeded(9);
    world.run(async {
        let control = open_echo(&world).await;
        let run = begin(&control, ECHO, json!({})).await;
        let budget = Budget::of(AccountId::Run(run.id())).window("day UTC".parse().unwrap());
        let refused = control
            .set_budget(("ann", "as tested"), budget)
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    });
}

/// A wall clock that leaps a year ahead and comes back, while calls go on.
#[test]
fn a_clock_that_leaps_a_year_and_comes_back_opens_no_window_twice() {
    let world = World::seeded(10);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        allot(&control, 60, "fixed 1h").await;
        let clock = world.0.simulation().clock();
        let mut runs = 0;
        for minute in 0..200_u64 {
            let year = 365 * DAY;
            match minute {
                20 => clock.set_wall(clock.now().after(secs(year))),
                23 => clock.set_wall(START.after(world.elapsed())),
                _ => {}
            }
            if minute % 10 == 1 {
                start_one(&control, runs).await;
                runs += 1;
            }
            world.pass(secs(60)).await;
            assert!(
                counted(&control).iter().sum::<i64>() <= 60,
                "minute {minute}"
            );
        }
        let opened = told(&control, "budget.window_opened").await;
        let periods = opened.iter().map(|one| one["period"].clone());
        let periods: Vec<Period> = periods
            .map(|p| serde_json::from_value(p).unwrap())
            .collect();
        assert!(
            periods.windows(2).all(|two| two[0].end <= two[1].start),
            "{periods:?}"
        );
        assert_eq!(periods.len(), 4, "200 minutes have four hours: {periods:?}");
        assert_eq!(told(&control, "clock.jumped").await.len(), 1);
    });
}

async fn start_one(control: &MissionControl, already: u64) {
    let input = json!({"bound": 30, "cost": 30});
    if already == 0 {
        begin(control, CALLS, input).await;
    } else {
        start(control, input).await;
    }
}

#[test]
fn a_session_is_refused_until_the_window_resets() {
    let world = World::seeded(11);
    world.run(async {
        let control = world.open().await;
        allot(&control, 60, DAYS).await;
        let session = guard(&control).await;
        let first = permit(session.reserve(&request("p", 50)).await.unwrap());
        first.settle(&answer("ok", 50)).await.unwrap();
        let Admission::Denied(error) = session.reserve(&request("q", 50)).await.unwrap() else {
            panic!("it does not fit");
        };
        let Some(Detail::Accounts(failing)) = error.detail() else {
            panic!("{error:?}");
        };
        let end = START.after(secs(DAY)).as_unix_us();
        assert_eq!(failing[0].resets_at, Some(end));
    });
}

#[test]
fn a_jump_that_an_operator_confirms_opens_the_next_window_at_once() {
    let world = World::seeded(12);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        allot(&control, 60, DAYS).await;
        completes(&begin(&control, CALLS, json!({"bound": 50, "cost": 50})).await).await;
        let run = start(&control, json!({"bound": 50, "cost": 20})).await;
        run.settled_or_blocked().await.unwrap();
        let clock = world.0.simulation().clock();
        let unasked = control.confirm_clock("ann").await.unwrap_err();
        assert_eq!(unasked.kind(), ErrorKind::InvalidTransition);
        clock.set_wall(clock.now().after(secs(DAY)));
        control.confirm_clock("ann").await.unwrap();
        completes(&run).await;
        assert!(world.elapsed() < secs(10));
        let log = control.log().read_workspace(0, 10_000).await.unwrap();
        let kinds: Vec<&str> = log.iter().map(|one| &*one.kind).collect();
        let place = |kind: &str| kinds.iter().rposition(|one| *one == kind).unwrap();
        assert!(place("clock.jumped") < place("clock.confirmed"));
        assert!(place("clock.confirmed") < place("budget.window_opened"));
        clock.set_wall(START);
        assert!(
            control.confirm_clock("ann").await.is_err(),
            "time never goes back"
        );
    });
}
