//! Windows of places whose clocks change, and of months of different length, spent over by the hour;
//! and what has expired stays so when a clock goes back.
//!
//! The boundaries are those of the IANA database, as another program reads it.

use crate::asking::{open_noting, pending, state_of};
use crate::clock::set_wall;
use crate::common::*;
use mission_control::core::budget::{Period, Window};
use mission_control::{ApprovalState, Budget, Detail, Note, Timestamp};

const HOUR: u64 = 3_600;

/// A window, the hour after the beginning of the world a little before its first boundary, and three
/// boundaries in a row, in UTC.
const CHANGES: [(&str, u64, [&str; 3]); 9] = [
    (
        "day America/New_York",
        10_490,
        ["2027-03-14T05:00", "2027-03-15T04:00", "2027-03-16T04:00"],
    ),
    (
        "day America/New_York",
        16_201,
        ["2027-11-07T04:00", "2027-11-08T05:00", "2027-11-09T05:00"],
    ),
    (
        "day Europe/Berlin",
        10_820,
        ["2027-03-27T23:00", "2027-03-28T22:00", "2027-03-29T22:00"],
    ),
    (
        "day Europe/Berlin",
        16_027,
        ["2027-10-30T22:00", "2027-10-31T23:00", "2027-11-01T23:00"],
    ),
    (
        "day Australia/Lord_Howe",
        10_978,
        ["2027-04-03T13:00", "2027-04-04T13:30", "2027-04-05T13:30"],
    ),
    (
        "day Australia/Lord_Howe",
        15_346,
        ["2027-10-02T13:30", "2027-10-03T13:00", "2027-10-04T13:00"],
    ),
    (
        "month:31 Pacific/Auckland",
        9_464,
        ["2027-01-30T11:00", "2027-02-27T11:00", "2027-03-30T11:00"],
    ),
    (
        "month:31 Pacific/Apia",
        9_464,
        ["2027-01-30T11:00", "2027-02-27T11:00", "2027-03-30T11:00"],
    ),
    (
        "month:31 Asia/Kolkata",
        9_471,
        ["2027-01-30T18:30", "2027-02-27T18:30", "2027-03-30T18:30"],
    ),
];

/// Whether a call of so many thousandths of a dollar is let through; until when not, if it is not.
async fn spend(session: &Session, of: u64) -> Result<(), Timestamp> {
    match session.reserve(&request("p", of)).await.unwrap() {
        Admission::Allowed(permit) => {
            permit.settle(&answer("ok", of)).await.unwrap();
            Ok(())
        }
        Admission::Denied(error) => {
            let Some(Detail::Accounts(failing)) = error.detail() else {
                panic!("{error:?}");
            };
            Err(Timestamp::from_unix_us(failing[0].resets_at.unwrap()))
        }
        other @ (Admission::Clamped(_) | Admission::Answered(_) | Admission::NeedsApproval(_)) => {
            panic!("{other:?}")
        }
    }
}

async fn until(world: &World, at: Timestamp) {
    let now = START.after(world.elapsed());
    world.pass(at.since(now)).await;
}

/// The periods that were opened from a time on.
async fn opened(control: &MissionControl, from: Timestamp) -> Vec<Timestamp> {
    let log = control.log().read_workspace(0, 100_000).await.unwrap();
    let opened = log
        .iter()
        .filter(|one| &*one.kind == "budget.window_opened");
    let starts = opened.map(|one| {
        let facts: Value = serde_json::from_str(&one.facts).unwrap();
        let period: Period = serde_json::from_value(facts["period"].clone()).unwrap();
        period.start
    });
    starts.filter(|start| *start >= from).collect()
}

/// Asks for more in every hour until a boundary, and just before it; then it is there.
async fn refused_until(world: &World, session: &Session, end: Timestamp) {
    while START.after(world.elapsed()).after(secs(HOUR)) < end {
        world.pass(secs(HOUR)).await;
        assert_eq!(spend(session, 1).await, Err(end));
    }
    until(world, Timestamp::from_unix_us(end.as_unix_us() - 1)).await;
    assert_eq!(spend(session, 1).await, Err(end));
    until(world, end).await;
}

/// Spends all of each period, and asks for more in every hour of it.
async fn spent_over(world: &World, window: &str, hour: u64, boundaries: [&str; 3]) {
    let control = world.open().await;
    let budget = Budget::of(AccountId::Workspace).limit(limit(60));
    let of: Window = window.parse().unwrap();
    control
        .set_budget(("ann", "as tested"), budget.window(of))
        .await
        .unwrap();
    world.pass(secs(hour * HOUR)).await;
    let session = guard(&control).await;
    assert_eq!(spend(&session, 60).await, Ok(()));
    let mut seen = Vec::new();
    for expected in boundaries {
        let end = spend(&session, 1).await.unwrap_err();
        assert!(end.to_string().starts_with(expected), "{window}: {end}");
        refused_until(world, &session, end).await;
        assert_eq!(spend(&session, 60).await, Ok(()), "{window}");
        seen.push(end);
    }
    let opened = opened(&control, seen[0]).await;
    assert_eq!(opened, seen, "{window}: each is opened once");
}

#[test]
fn every_limit_holds_in_every_window_when_clocks_change_and_months_end() {
    for (window, hour, boundaries) in CHANGES {
        let world = World::seeded(1);
        world.run(spent_over(&world, window, hour, boundaries));
    }
}

#[test]
fn what_has_expired_stays_so_when_the_clock_goes_back() {
    let world = World::seeded(2);
    world.run(async {
        let (control, _) = open_noting(&world).await;
        let run = begin(&control, &one(", risk: irreversible"), json!({})).await;
        let asked = pending(&control, &run).await;
        let account = || AccountId::Workspace;
        set(&control, account(), 60, OnExceed::Abort).await;
        let note = || Note::because("for an hour").until(START.after(secs(HOUR)));
        control
            .top_up("ann", account(), limit(40), note())
            .await
            .unwrap();
        control.freeze("ann", account(), note()).await.unwrap();
        world.pass(secs(25 * HOUR)).await;
        set_wall(&world, -26 * 3_600);
        world.pass(secs(60)).await;
        let late = control.approve(asked, "bob", "too late").await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::ApprovalInvalid);
        assert!(matches!(state_of(&run).await, ApprovalState::Voided(_)));
        let account = workspace(&control);
        assert_eq!(account.limit().money, Some(mills(60)));
        assert!(!account.is_frozen());
    });
}
