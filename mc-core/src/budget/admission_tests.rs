//! The rules of admission, one named case each.

use super::*;
use crate::budget::{Change, Movement, post};
use crate::money::NanoUsd;

type Map = BTreeMap<AccountId, Account>;

fn nano(money: i64) -> Amount {
    Amount {
        money: NanoUsd::from_nano(money),
        ..Amount::ZERO
    }
}

fn agent() -> AccountId {
    AccountId::Agent("writer".parse().unwrap())
}

fn both() -> Path {
    [AccountId::Workspace, agent()].into_iter().collect()
}

fn limited(limit: i64, on_exceed: OnExceed) -> Account {
    Account::new(Limit::usd(NanoUsd::from_nano(limit)), on_exceed)
}

fn books(workspace: i64, agent_limit: i64) -> Map {
    Map::from([
        (AccountId::Workspace, limited(workspace, OnExceed::Pause)),
        (agent(), limited(agent_limit, OnExceed::Abort)),
    ])
}

fn after(mut books: Map, path: &Path, movements: &[Movement]) -> Map {
    for movement in movements {
        post(&mut books, path, movement).unwrap();
    }
    books
}

fn names(failing: &[FailingAccount]) -> Vec<&str> {
    failing.iter().map(|one| one.account.as_str()).collect()
}

#[test]
fn every_account_that_refuses_is_named_in_every_dimension() {
    let limit = Limit {
        money: Some(NanoUsd::from_nano(5)),
        calls: Some(0),
        ..Limit::default()
    };
    let mut books = books(5, 100);
    books.insert(AccountId::Workspace, Account::new(limit, OnExceed::Pause));
    let amount = Amount {
        calls: 1,
        ..nano(101)
    };
    let Verdict::Exceeded { failing, on_exceed } =
        check(&books, &both(), &amount, &Staying::none())
    else {
        panic!("it can never fit");
    };
    let dimensions: Vec<_> = failing.iter().map(|one| one.dimension.as_str()).collect();
    assert_eq!(names(&failing), ["workspace", "workspace", "agent:writer"]);
    assert_eq!(dimensions, ["money", "calls", "money"]);
    assert_eq!(on_exceed, OnExceed::Abort);
}

#[test]
fn what_fits_once_a_hold_settles_is_contended_and_what_cannot_is_exceeded() {
    let books = after(books(10, 100), &both(), &[Movement::Reserve(nano(6))]);
    let verdict = |amount| check(&books, &both(), &nano(amount), &Staying::none());
    assert_eq!(verdict(4), Verdict::Fits);
    assert!(matches!(
        verdict(5),
        Verdict::Contended {
            only_doubt: false,
            ..
        }
    ));
    assert!(matches!(verdict(10), Verdict::Contended { .. }));
    assert!(matches!(
        verdict(11),
        Verdict::Exceeded {
            on_exceed: OnExceed::Pause,
            ..
        }
    ));
}

#[test]
fn money_in_doubt_that_alone_stands_in_the_way_is_told_apart() {
    let moves = [Movement::Reserve(nano(9)), Movement::Doubt(nano(6))];
    let books = after(books(10, 100), &both(), &moves);
    let only_doubt = |amount| match check(&books, &both(), &nano(amount), &Staying::none()) {
        Verdict::Contended { only_doubt, .. } => Some(only_doubt),
        Verdict::Fits | Verdict::Frozen { .. } | Verdict::Exceeded { .. } => None,
    };
    assert_eq!(
        only_doubt(4),
        Some(false),
        "fits once the hold of 3 settles"
    );
    assert_eq!(
        only_doubt(5),
        Some(true),
        "waits for reconcile: 6 in doubt and 5 are over 10"
    );
}

#[test]
fn a_request_does_not_wait_on_its_own_ancestors_holds() {
    let books = after(books(10, 100), &both(), &[Movement::Reserve(nano(6))]);
    let mut staying = Staying::none();
    staying.add(&both(), &nano(6));
    assert!(check(&books, &both(), &nano(5), &staying).is_exceeded());
    assert!(!check(&books, &both(), &nano(5), &Staying::none()).is_exceeded());
}

#[test]
fn doubts_and_ancestors_holds_together_wait_for_reconcile() {
    let moves = [Movement::Reserve(nano(9)), Movement::Doubt(nano(3))];
    let books = after(books(10, 100), &both(), &moves);
    let mut staying = Staying::none();
    staying.add(&both(), &nano(4));
    let verdict = check(&books, &both(), &nano(4), &staying);
    assert!(
        matches!(
            verdict,
            Verdict::Contended {
                only_doubt: true,
                ..
            }
        ),
        "{verdict:?}"
    );
}

#[test]
fn a_frozen_account_admits_nothing_not_even_zero_and_does_not_end_a_run() {
    let only_agent: Path = [agent()].into_iter().collect();
    let books = after(
        books(10, 10),
        &only_agent,
        &[Movement::Change(Change::Freeze)],
    );
    let verdict = check(&books, &both(), &Amount::ZERO, &Staying::none());
    let Verdict::Frozen { accounts, failing } = verdict else {
        panic!("frozen")
    };
    assert_eq!((accounts, failing), (only_agent, Vec::new()));
    assert!(check(&books, &both(), &nano(11), &Staying::none()).is_exceeded());
}

#[test]
fn children_may_together_have_more_than_their_parent() {
    let other = AccountId::Agent("other".parse().unwrap());
    let mut books = books(10, 8);
    books.insert(other.clone(), limited(8, OnExceed::Abort));
    let books = after(books, &both(), &[Movement::Reserve(nano(8))]);
    let path: Path = [AccountId::Workspace, other].into_iter().collect();
    assert_eq!(
        check(&books, &path, &nano(2), &Staying::none()),
        Verdict::Fits
    );
    let Verdict::Contended { failing, .. } = check(&books, &path, &nano(3), &Staying::none())
    else {
        panic!("the parent is full for now");
    };
    assert_eq!(names(&failing), ["workspace"]);
}

#[test]
fn a_limit_lowered_below_the_exposure_admits_nothing() {
    let limit = Limit::usd(NanoUsd::from_nano(5));
    let lower = Movement::Change(Change::SetLimit {
        limit,
        on_exceed: OnExceed::Abort,
    });
    let books = after(
        books(10, 100),
        &both(),
        &[Movement::Reserve(nano(6)), lower],
    );
    let verdict = |amount| check(&books, &both(), &amount, &Staying::none());
    assert!(matches!(verdict(Amount::ZERO), Verdict::Contended { .. }));
    assert!(matches!(verdict(nano(5)), Verdict::Contended { .. }));
    assert!(verdict(nano(6)).is_exceeded());
}

#[test]
fn after_an_overrun_nothing_is_admitted_until_there_is_headroom() {
    let settle = Movement::Settle {
        held: nano(8),
        actual: nano(12),
    };
    let books = after(
        books(10, 100),
        &both(),
        &[Movement::Reserve(nano(8)), settle],
    );
    assert!(check(&books, &both(), &Amount::ZERO, &Staying::none()).is_exceeded());
    let limit = Limit::usd(NanoUsd::from_nano(13));
    let raise = Movement::Change(Change::SetLimit {
        limit,
        on_exceed: OnExceed::Abort,
    });
    let books = after(books, &both(), &[raise]);
    assert_eq!(
        check(&books, &both(), &nano(1), &Staying::none()),
        Verdict::Fits
    );
}

#[test]
fn absurd_requests_are_refused_and_do_not_wrap() {
    let all = Amount {
        input_tokens: u64::MAX,
        ..nano(i64::MAX)
    };
    let empty = Map::new();
    assert_eq!(
        check(&empty, &both(), &all, &Staying::none()),
        Verdict::Fits
    );
    let books = after(empty, &both(), &[Movement::Reserve(all)]);
    let one = Amount {
        input_tokens: 1,
        ..Amount::ZERO
    };
    assert!(matches!(
        check(&books, &both(), &one, &Staying::none()),
        Verdict::Contended { .. }
    ));
    assert!(check(&books, &both(), &nano(-1), &Staying::none()).is_exceeded());
    assert!(!fits(&Map::new(), &both(), &nano(i64::MIN)));
}

#[test]
fn affordable_is_the_least_headroom_over_the_path() {
    let books = after(books(10, 7), &both(), &[Movement::Reserve(nano(3))]);
    assert_eq!(
        affordable(&books, &both()),
        Limit::usd(NanoUsd::from_nano(4))
    );
    assert!(affordable(&Map::new(), &both()).is_none());
    assert_eq!(
        refusing(&books, &both(), &nano(5))
            .iter()
            .collect::<Vec<_>>(),
        [&agent()]
    );
}

#[test]
fn the_worst_overshoot_is_calls_in_flight_times_the_worst_overrun() {
    assert_eq!(
        worst_case_overshoot(63, &nano(50_000_000)),
        nano(3_150_000_000)
    );
    assert_eq!(
        worst_case_overshoot(u64::MAX, &nano(i64::MAX)),
        nano(i64::MAX)
    );
}
