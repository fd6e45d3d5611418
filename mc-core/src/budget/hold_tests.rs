//! The escrow's rules, one named case each, and its transition matrix.

use super::*;
use crate::budget::AccountId;
use crate::money::NanoUsd;

fn nano(money: i64) -> Amount {
    Amount {
        money: NanoUsd::from_nano(money),
        ..Amount::ZERO
    }
}

fn hold(amount: i64) -> Hold {
    Hold::open([AccountId::Workspace].into_iter().collect(), nano(amount)).unwrap()
}

fn drawn(amount: i64, draws: &[i64]) -> Hold {
    let mut hold = hold(amount);
    for (ordinal, draw) in (0..).zip(draws) {
        hold.draw(ordinal, nano(*draw)).unwrap();
    }
    hold
}

#[test]
fn settling_less_than_drawn_returns_the_rest_to_the_hold() {
    let mut hold = drawn(100, &[60]);
    let settlement = hold.settle(0, nano(20)).unwrap();
    assert_eq!(
        settlement.movement(),
        Movement::Settle {
            held: nano(20),
            actual: nano(20)
        }
    );
    assert_eq!(
        (settlement.returned, settlement.overrun),
        (nano(40), Amount::ZERO)
    );
    assert_eq!((*hold.amount(), hold.free()), (nano(80), nano(80)));
}

#[test]
fn an_overrun_takes_from_the_free_part_before_it_passes_the_hold() {
    let mut covered = drawn(100, &[60, 10]);
    let settlement = covered.settle(0, nano(80)).unwrap();
    assert_eq!((settlement.held, settlement.overrun), (nano(80), nano(20)));
    assert_eq!(
        (settlement.beyond_hold, covered.free()),
        (Amount::ZERO, nano(10))
    );
    let mut beyond = drawn(100, &[60, 10]);
    let settlement = beyond.settle(0, nano(130)).unwrap();
    assert_eq!(
        settlement.movement(),
        Movement::Settle {
            held: nano(90),
            actual: nano(130)
        }
    );
    assert_eq!(
        (settlement.overrun, settlement.beyond_hold),
        (nano(70), nano(40))
    );
    assert_eq!(
        (beyond.free(), beyond.draws()[&1]),
        (Amount::ZERO, nano(10))
    );
}

#[test]
fn a_call_draws_only_what_is_free_and_once() {
    let mut hold = drawn(100, &[60]);
    assert!(hold.fits(&nano(40)) && !hold.fits(&nano(41)) && !hold.fits(&nano(-1)));
    assert_eq!(hold.shortfall(&nano(41)), nano(1));
    assert_eq!(hold.draw(1, nano(41)), Err(LedgerFault::BeyondHold));
    assert_eq!(hold.draw(0, nano(1)), Err(LedgerFault::DrawExists));
    assert_eq!(hold.draw(1, nano(-1)), Err(LedgerFault::Negative));
    hold.extend(nano(1)).unwrap();
    hold.draw(1, nano(41)).unwrap();
    assert_eq!(hold.release(1), Ok(nano(41)));
    assert_eq!(hold.release(1), Err(LedgerFault::NoSuchDraw));
    assert_eq!(hold.extend(nano(i64::MAX)), Err(LedgerFault::Overflow));
}

#[test]
fn a_hold_ends_exactly_once() {
    let mut hold = drawn(100, &[60]);
    assert_eq!(hold.close(), Err(LedgerFault::DrawsOpen));
    hold.settle(0, nano(60)).unwrap();
    assert_eq!(hold.settle(0, nano(60)), Err(LedgerFault::NoSuchDraw));
    assert_eq!(hold.close(), Ok(nano(40)));
    assert_eq!(hold.state(), HoldState::Settled);
    assert_eq!(hold.close(), Err(LedgerFault::NotInThisState));
    assert_eq!(hold.doubt_whole(), Err(LedgerFault::NotInThisState));
    assert_eq!(hold.draw(1, Amount::ZERO), Err(LedgerFault::NotInThisState));
}

#[test]
fn a_hold_that_was_never_billed_ends_released() {
    let mut hold = hold(100);
    assert_eq!(
        (hold.close(), hold.state()),
        (Ok(nano(100)), HoldState::Released)
    );
}

#[test]
fn a_dropped_permit_goes_in_doubt_and_only_its_own_part() {
    let mut hold = drawn(100, &[60]);
    let doubted = hold.doubt_split().unwrap();
    assert_eq!((doubted.to_doubt, doubted.to_release), (nano(60), nano(40)));
    assert_eq!(
        (hold.state(), *hold.amount()),
        (HoldState::InDoubt, nano(60))
    );
    let late = hold.late(0, nano(25)).unwrap();
    let movement = Movement::SettleDoubt {
        held: nano(60),
        actual: nano(25),
    };
    assert_eq!(
        (late.doubt_movement(), hold.state()),
        (movement, HoldState::Settled)
    );
    assert_eq!(hold.reconcile(nano(1)), Err(LedgerFault::NotInThisState));
}

#[test]
fn without_an_open_call_nothing_goes_in_doubt() {
    let mut hold = hold(100);
    let doubted = hold.doubt_split().unwrap();
    assert_eq!(
        (doubted.to_doubt, doubted.to_release),
        (Amount::ZERO, nano(100))
    );
    assert_eq!(hold.state(), HoldState::Released);
}

#[test]
fn a_crash_puts_the_whole_hold_in_doubt_until_it_is_reconciled() {
    let mut hold = drawn(100, &[60, 10]);
    assert_eq!(hold.doubt_whole().unwrap().to_doubt, nano(100));
    hold.late(1, nano(10)).unwrap();
    assert_eq!(
        (hold.state(), *hold.amount()),
        (HoldState::InDoubt, nano(90))
    );
    let settlement = hold.reconcile(nano(30)).unwrap();
    let movement = Movement::SettleDoubt {
        held: nano(90),
        actual: nano(30),
    };
    assert_eq!(
        (settlement.doubt_movement(), hold.state()),
        (movement, HoldState::Reconciled)
    );
}

#[test]
fn one_call_in_doubt_leaves_the_rest_of_the_hold_open() {
    let mut hold = drawn(100, &[60, 10]);
    let mut doubt = hold.split_doubt(0).unwrap();
    assert_eq!((*doubt.amount(), doubt.is_in_doubt()), (nano(60), true));
    assert_eq!(
        (*hold.amount(), hold.free(), hold.state()),
        (nano(40), nano(30), HoldState::Open)
    );
    assert_eq!(hold.split_doubt(0), Err(LedgerFault::NoSuchDraw));
    assert_eq!(doubt.late(0, nano(5)).unwrap().held, nano(60));
}

#[test]
fn a_hold_reads_back_from_its_compact_json() {
    let hold = drawn(9, &[4]);
    let json = serde_json::to_string(&hold).unwrap();
    assert_eq!(
        json,
        r#"{"path":["workspace"],"amount":{"nano_usd":9},"draws":{"0":{"nano_usd":4}}}"#
    );
    assert_eq!(serde_json::from_str::<Hold>(&json).unwrap(), hold);
}

#[test]
fn the_transition_matrix_is_as_its_table_says() {
    let row = |state: HoldState| {
        let cell = |trigger: &HoldTrigger| match state.after(*trigger) {
            Some(next) => format!("{trigger:?}->{next:?}"),
            None => String::new(),
        };
        let cells: Vec<_> = HoldTrigger::ALL
            .iter()
            .map(cell)
            .filter(|c| !c.is_empty())
            .collect();
        format!("{state:?}: {}", cells.join(" "))
    };
    let matrix: Vec<_> = HoldState::ALL.iter().map(|state| row(*state)).collect();
    insta::assert_snapshot!(matrix.join("\n"), @r"
    Open: Draw->Open Extend->Open EndDraw->Open Settle->Settled Release->Released Doubt->InDoubt
    Settled: 
    Released: 
    InDoubt: Late->InDoubt Reconcile->Reconciled
    Reconciled: 
    ");
    let ends = HoldState::ALL
        .iter()
        .filter(|state| state.is_terminal())
        .count();
    assert_eq!(ends, 3);
}
