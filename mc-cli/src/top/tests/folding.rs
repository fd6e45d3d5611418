//! What was read becomes a view, and keys move in it.

use mc_core::budget::{Account, AccountId, Amount, Limit, Movement, OnExceed};
use mc_core::event::RunStatus;
use mc_core::event::approval::ApprovalVerdict;

use super::*;
use crate::top::keys::{Deed, Key};
use crate::top::rows::count;
use crate::top::view::{Page, Pane, Said};

fn order(view: &View) -> Vec<RunId> {
    view.runs().iter().map(|line| line.run_id).collect()
}

fn typed(view: &mut View, text: &str) {
    for c in text.chars() {
        assert_eq!(view.key(Key::Char(c)), Deed::Nothing);
    }
}

#[test]
fn runs_that_have_not_ended_stand_first_and_the_newest_on_top() {
    assert_eq!(order(&view()), [run_id(3), run_id(2), run_id(1)]);
}

#[test]
fn what_moved_is_replaced_and_the_rest_stays() {
    let mut view = view();
    view.take(Reading {
        extent: Extent::Part,
        runs: vec![run(2, RunStatus::Completed, "")],
        asked: [(run_id(2), Vec::new())].into(),
        ..Reading::default()
    });
    assert_eq!(order(&view), [run_id(3), run_id(2), run_id(1)]);
    assert_eq!((view.open_runs(), view.requests().len()), (1, 0));
}

#[test]
fn that_the_store_is_away_is_said_until_it_was_read_again() {
    let mut view = view();
    view.said = Some(Said::Away("its owner went away".to_owned()));
    view.take(reading());
    assert_eq!(view.said, None);
    let done = Some(Said::Done("it is approved".to_owned()));
    view.said.clone_from(&done);
    view.take(reading());
    assert_eq!(view.said, done);
}

#[test]
fn a_whole_reading_forgets_what_is_not_in_it() {
    let mut view = view();
    view.take(Reading::default());
    assert_eq!((view.runs().len(), view.requests().len()), (0, 0));
    assert_eq!(view.chosen_run(), None);
}

#[test]
fn the_chosen_run_stays_chosen_when_others_come_before_it() {
    let mut view = view();
    view.key(Key::Down);
    assert_eq!(view.chosen_run(), Some(run_id(2)));
    view.take(Reading {
        extent: Extent::Part,
        runs: vec![run(9, RunStatus::Running, "")],
        ..Reading::default()
    });
    assert_eq!(view.chosen_run(), Some(run_id(2)));
    assert_eq!(view.place(Pane::Runs), 2);
}

#[test]
fn of_runs_that_ended_the_oldest_are_let_go() {
    let mut view = view();
    let ended = (0..=255).map(|n| run(n, RunStatus::Completed, ""));
    view.take(Reading {
        runs: ended.collect(),
        ..Reading::default()
    });
    assert_eq!(view.runs().len(), 200);
    assert_eq!(view.runs()[199].run_id, run_id(56));
}

#[test]
fn an_answer_is_handed_in_with_a_reason_and_by_no_key_alone() {
    let mut view = view();
    assert_eq!(view.key(Key::Char('a')), Deed::Nothing);
    assert_eq!(view.key(Key::Enter), Deed::Nothing);
    typed(&mut view, "looks fi");
    view.key(Key::Backspace);
    typed(&mut view, "ine q");
    let Deed::Decide(word) = view.key(Key::Enter) else {
        panic!("nothing is handed in")
    };
    assert_eq!(word.id.run_id, run_id(2));
    assert_eq!(word.verdict, ApprovalVerdict::Approved);
    assert_eq!(word.reason, "looks fine q");
    assert_eq!(view.page, Page::Lists);
}

#[test]
fn escape_gives_an_answer_up_and_then_leaves_the_page() {
    let mut view = view();
    view.key(Key::Char('r'));
    typed(&mut view, "no");
    view.key(Key::Escape);
    assert!(matches!(view.page, Page::Request { asking: None, .. }));
    view.key(Key::Escape);
    assert_eq!(view.page, Page::Lists);
    assert_eq!(view.key(Key::Char('q')), Deed::Quit);
}

#[test]
fn a_request_that_lies_open_is_the_one_that_is_answered_whatever_comes_meanwhile() {
    let mut view = view();
    view.key(Key::Char('a'));
    view.take(Reading {
        extent: Extent::Part,
        asked: [(run_id(1), vec![asked(1, "{\"other\":1}")])].into(),
        ..Reading::default()
    });
    typed(&mut view, "x");
    assert!(matches!(view.key(Key::Enter), Deed::Decide(word) if word.id.run_id == run_id(2)));
}

#[test]
fn where_nothing_is_asked_there_is_nothing_to_answer() {
    let mut view = View::new("a.redb", "ann");
    view.key(Key::Char('a'));
    assert_eq!(view.page, Page::Lists);
    assert!(matches!(view.said, Some(Said::Failed(_))));
}

#[test]
fn control_c_ends_it_from_every_page() {
    for key in ['?', 'a', 'z'] {
        let mut view = view();
        view.key(Key::Char(key));
        assert_eq!(view.key(Key::Interrupt), Deed::Quit);
    }
}

#[test]
fn an_account_is_told_with_what_is_held_and_how_full_it_is() {
    let mut books = Account::new(Limit::usd(usd(1_000)), OnExceed::Abort);
    let amount = |mills| Amount {
        money: usd(mills),
        ..Amount::ZERO
    };
    books.apply(&Movement::Reserve(amount(500))).unwrap();
    let held = amount(210);
    let actual = held;
    books.apply(&Movement::Settle { held, actual }).unwrap();
    let line = AccountLine::of(&AccountId::Workspace, &books);
    assert_eq!(line.bar, "###++.....");
    assert_eq!(line.percent, Some(50));
    assert_eq!(line.told, "0.21 of 1.00 USD, 0.29 held");
    assert_eq!((line.window.as_str(), line.resets_at), ("", None));
}

#[test]
fn little_money_does_not_look_like_none_and_large_counts_are_short() {
    let shown = |nano| crate::top::rows::usd(NanoUsd::from_nano(nano));
    assert_eq!(shown(1), "0.0001");
    assert_eq!(shown(0), "0.00");
    assert_eq!(shown(6_000_000), "0.006");
    let counts = [99_999, 100_000, 250_000_000].map(count);
    assert_eq!(counts, ["99999", "100k", "250M"]);
}
