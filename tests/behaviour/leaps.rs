//! A wall clock that leaps a year ahead, is believed, and comes back: every limit holds in every window.
//!
//! Time never goes back: what the year opened stays open once, and what it ended stays ended.

use crate::asking::{open_noting, pending, state_of};
use crate::clock::set_wall;
use crate::common::*;
use mission_control::core::budget::Window;
use mission_control::{ApprovalState, Budget, Note};

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
const YEAR: i64 = 365 * 86_400;

/// What a period may spend, and what a grant of two hours adds to it, in thousandths of a dollar.
const LIMIT: i64 = 60;
const GRANT: i64 = 40;

/// Windows of each kind, and how long one lasts.
const WINDOWS: [(&str, u64); 5] = [
    ("day UTC", DAY),
    ("day America/New_York", DAY),
    ("month:31 Europe/Berlin", 28 * DAY),
    ("fixed 6h", 6 * HOUR),
    ("sliding 6h", 6 * HOUR),
];

/// Spends all that is let through, ten at a time; how much that was.
async fn spend_all(session: &Session) -> i64 {
    let mut spent = 0;
    loop {
        match session.reserve(&request("p", 10)).await.unwrap() {
            Admission::Allowed(permit) => permit.settle(&answer("ok", 10)).await.unwrap(),
            Admission::Denied(_) => return spent,
            other @ (Admission::Clamped(_)
            | Admission::Answered(_)
            | Admission::NeedsApproval(_)) => panic!("{other:?}"),
        }
        spent += 10;
    }
}

/// What is spent in so many steps of half an hour, by when; never more than the limit counts.
async fn spend_on(
    world: &World,
    (control, session): (&MissionControl, &Session),
    steps: u64,
) -> Vec<(u64, i64)> {
    let mut spent = Vec::new();
    for _ in 0..steps {
        let now = spend_all(session).await;
        if now > 0 {
            spent.push((world.elapsed().as_secs(), now));
        }
        let counted = workspace(control).exposure().money;
        assert!(counted <= mills(LIMIT), "{counted}");
        world.pass(secs(HOUR / 2)).await;
    }
    spent
}

/// A store whose workspace has a window, a grant for two hours, and its limit spent.
async fn spent_with_a_grant(world: &World, window: &str) -> (MissionControl, RunHandle) {
    let (control, _) = open_noting(world).await;
    let run = begin(&control, &one(", risk: irreversible"), json!({})).await;
    pending(&control, &run).await;
    let of: Window = window.parse().unwrap();
    let budget = Budget::of(AccountId::Workspace).limit(limit(LIMIT));
    let set = control.set_budget(("ann", "as tested"), budget.window(of));
    set.await.unwrap();
    let note = || Note::because("for a while").until(START.after(secs(2 * HOUR)));
    let (all, frozen) = (
        AccountId::Workspace,
        AccountId::Agent("other".parse().unwrap()),
    );
    control
        .top_up("ann", all, limit(GRANT), note())
        .await
        .unwrap();
    control.freeze("ann", frozen, note()).await.unwrap();
    (control, run)
}

/// A year that nobody believes before it has stood for ten minutes; what is spent once it is, and when.
async fn a_year_ahead(world: &World, session: &Session, window: &str) -> (u64, i64) {
    set_wall(world, YEAR);
    for wait in [0, 300] {
        world.pass(secs(wait)).await;
        assert_eq!(spend_all(session).await, 0, "{window}: not believed yet");
    }
    world.pass(secs(360)).await;
    (world.elapsed().as_secs(), spend_all(session).await)
}

/// The most that was spent in a stretch of so many seconds.
fn most_within(spent: &[(u64, i64)], length: u64) -> i64 {
    let sums = spent.iter().map(|(from, _)| {
        let within = spent
            .iter()
            .filter(|(at, _)| (*from..from + length).contains(at));
        within.map(|(_, spent)| spent).sum()
    });
    sums.max().unwrap_or_default()
}

/// The year that is believed, and the way back; what holds then.
async fn leapt(world: &World, (window, length): (&str, u64)) {
    let (control, run) = spent_with_a_grant(world, window).await;
    let session = guard(&control).await;
    assert_eq!(spend_all(&session).await, LIMIT + GRANT, "{window}");
    let first = a_year_ahead(world, &session, window).await;
    assert_eq!(first.1, LIMIT, "{window}: a year later, without the grant");
    set_wall(world, -YEAR);
    let steps = 2 * length.min(DAY) / (HOUR / 2);
    let mut spent = vec![first];
    spent.extend(spend_on(world, (&control, &session), steps).await);
    // Two periods of a calendar, or two that are fixed, can meet in a stretch of one's length.
    let periods = if window.starts_with("sliding") { 1 } else { 2 };
    let most = most_within(&spent, length);
    assert!(most <= periods * LIMIT, "{window}: {most}: {spent:?}");
    ended(&control, &run).await;
}

/// What has ended in that year stays ended.
async fn ended(control: &MissionControl, run: &RunHandle) {
    assert!(matches!(state_of(run).await, ApprovalState::Voided(_)));
    assert_eq!(workspace(control).limit().money, Some(mills(LIMIT)));
    let other = AccountId::Agent("other".parse().unwrap());
    let other = control.account(&other);
    assert!(other.is_none_or(|one| !one.is_frozen()));
    let opened = control.log().read_workspace(0, 100_000).await.unwrap();
    let opened = opened
        .iter()
        .filter(|one| &*one.kind == "budget.window_opened");
    let starts: Vec<Value> = { opened }
        .map(|one| serde_json::from_str::<Value>(&one.facts).unwrap()["period"]["start"].clone())
        .collect();
    let mut once = starts.clone();
    once.dedup();
    assert_eq!(once, starts, "no window is opened twice");
}

#[test]
fn every_limit_holds_in_every_window_when_a_clock_leaps_a_year_and_comes_back() {
    for (seed, window) in (40..).zip(WINDOWS) {
        let world = World::seeded(seed);
        world.run(leapt(&world, window));
    }
}
