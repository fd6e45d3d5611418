//! Circles: waiters that hold what other waiters need, each waiting for the other.
//!
//! It is the banker's question. Suppose that every hold that no waiter keeps open is released, every
//! doubt reconciled and every freeze lifted. Then again and again let any waiter whose request fits
//! finish: that never takes room, and lets go of the holds that only it kept open. A waiter that is
//! left at the end can never be admitted, whatever the others do: it waits for one that waits for it.
//! The order in which waiters are let finish does not matter, because finishing only ever adds room;
//! so one greedy pass after another finds the largest set. What is *not* here: what becomes of the
//! one that closes a circle (`queue`).

use std::collections::BTreeSet;

use super::admission::{LetGo, Staying, fits_beside, is_stalled};
use super::waiting::{Holders, Kept, Owner, Ticket, Waiter};
use super::{AccountId, Path};

/// A waiter as the banker sees it.
pub(super) struct Applicant<'a> {
    waiter: &'a Waiter,
    /// The accounts in which it bars later waiters; only read where turns are kept.
    bars: &'a Path,
    kept: Vec<Kept>,
}

impl<'a> Applicant<'a> {
    pub(super) fn new(world: &dyn Holders, waiter: &'a Waiter, bars: &'a Path) -> Self {
        Self {
            waiter,
            bars,
            kept: kept_by(world, waiter),
        }
    }

    pub(super) fn ticket(&self) -> Ticket {
        self.waiter.ticket
    }

    pub(super) fn holds_something(&self) -> bool {
        self.kept.iter().any(|kept| !kept.amount.is_zero())
    }
}

/// The holds that stay open until the waiter is answered.
pub(super) fn kept_by(world: &dyn Holders, waiter: &Waiter) -> Vec<Kept> {
    waiter
        .owner
        .as_ref()
        .map(|owner| world.kept(owner))
        .unwrap_or_default()
}

/// The holds of several waiters as what stays; an owner that two waiters name is counted once.
pub(super) fn staying<'a>(lists: impl Iterator<Item = &'a Vec<Kept>>) -> Staying {
    let mut staying = Staying::none();
    let mut seen: BTreeSet<&Owner> = BTreeSet::new();
    for list in lists {
        for kept in list.iter().filter(|kept| !seen.contains(&kept.owner)) {
            staying.add(&kept.path, &kept.amount);
        }
        seen.extend(list.iter().map(|kept| &kept.owner));
    }
    staying
}

/// Which waiters the banker lets finish.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Any that fits, whatever a person may have to do for it.
    Any,
    /// Only those that no earlier waiter bars, and with doubts and freezes as they are.
    InTurn,
}

/// The waiters that can finish; `applicants` stand in the order of their tickets.
pub(super) fn finishable(
    world: &dyn Holders,
    applicants: &[Applicant<'_>],
    order: Order,
) -> BTreeSet<Ticket> {
    let let_go = match order {
        Order::Any => LetGo::All,
        Order::InTurn => LetGo::Holds,
    };
    let mut done = BTreeSet::new();
    loop {
        let waiting = || {
            applicants
                .iter()
                .filter(|one| !done.contains(&one.ticket()))
        };
        let staying = staying(waiting().map(|one| &one.kept));
        let mut barred: BTreeSet<&AccountId> = BTreeSet::new();
        let mut ready = Vec::new();
        for one in waiting() {
            let Waiter { path, amount, .. } = one.waiter;
            let turn = order == Order::Any || !path.iter().any(|id| barred.contains(id));
            if turn && fits_beside(world, one.waiter, &staying, let_go) {
                ready.push(one.ticket());
            } else if order == Order::InTurn && !is_stalled(world, path, amount) {
                barred.extend(one.bars);
            }
        }
        if ready.is_empty() {
            return done;
        }
        done.extend(ready);
    }
}

/// The waiter to refuse so that a circle ends: the last that came, of those whose holds another
/// one in the circle needs. None where there is no circle.
pub(super) fn last_in_circle(
    world: &dyn Holders,
    mut applicants: Vec<Applicant<'_>>,
) -> Option<Ticket> {
    let done = finishable(world, &applicants, Order::Any);
    applicants.retain(|one| !done.contains(&one.ticket()) && one.holds_something());
    let mut last = None;
    for index in (0..applicants.len()).rev() {
        let without = applicants.remove(index);
        if last.is_none() {
            last = Some(without.ticket());
        }
        if !finishable(world, &applicants, Order::Any).is_empty() {
            return Some(without.ticket());
        }
        applicants.insert(index, without);
    }
    last
}

#[cfg(test)]
#[path = "circle_tests.rs"]
mod tests;
