//! Breach: more was billed than an account allows. It is recorded in full, and the run stops in flight.

use std::sync::Arc;

use super::billed::Billed;
use super::call_settle::{Holding, after_settling, stop};
use super::{View, abort};
use crate::budget::{Account, AccountId, Amount, Books, Movement, OnExceed, Path, Shares};
use crate::event::step::AbandonReason;
use crate::money::NanoUsd;
use crate::sequencer::decision::NewEvent;
use crate::sequencer::resident::Resident;
use crate::sequencer::token::Token;

pub(super) fn breaches(
    view: &View<'_>,
    (resident, by): (&Resident, &Token),
    (hold, ordinal): (&Holding, u32),
    billed: &Billed,
) -> Vec<(AccountId, OnExceed, Amount)> {
    if billed.actual.fits_in(&hold.drawn) {
        return Vec::new();
    }
    let Some((path, shares)) = source(resident, by, (hold, ordinal)) else {
        return Vec::new();
    };
    let books = view.books(resident);
    let empty = Account::default();
    let mut over = Vec::new();
    // What the hold has beside the call's own part covers it too.
    let (taken, _) = hold.settle(ordinal, billed.actual);
    for id in &path {
        let account = books.account(id).unwrap_or(&empty);
        let settle = Movement::Settle {
            held: taken,
            actual: billed.actual,
        };
        let mut parts = shares.clone().split(&settle, view.now).into_iter();
        let after = parts.try_fold(account.clone(), |account, (at, part)| {
            account.after_at(at, &part)
        });
        if let Ok(after) = after
            && after.is_breached()
            && !account.is_breached()
        {
            let limit = after.limit().money.unwrap_or(NanoUsd::MAX);
            let beyond = after
                .exposure()
                .money
                .saturating_sub(limit)
                .max(NanoUsd::ZERO);
            over.push((
                id.clone(),
                after.on_exceed(),
                Amount {
                    money: beyond,
                    ..Amount::ZERO
                },
            ));
        }
    }
    over
}

/// The accounts that a call counts in, and when what it takes there was reserved; one that held nothing
/// counts in its step's.
fn source(
    resident: &Resident,
    token: &Token,
    (hold, ordinal): (&Holding, u32),
) -> Option<(Path, Shares)> {
    if let Some(open) = &hold.hold {
        return Some((open.path().clone(), open.leaving(Some(ordinal))));
    }
    let run = &resident.run;
    let agent = run.step(&token.step)?.agent.as_ref()?;
    Some((run.path(&token.step, agent), Shares::default()))
}

/// More was billed than the account allows: the run stops in flight.
pub(super) fn halt(
    view: &View<'_>,
    resident: &Resident,
    (token, settled): (&Token, (u32, Amount)),
    (account, on_exceed): (&AccountId, OnExceed),
) -> Vec<NewEvent> {
    let run = &resident.run;
    if on_exceed == OnExceed::Abort || run.created.policy.unattended {
        let mut stopped = resident.clone();
        stopped.run = Arc::new(after_settling(run, token, settled));
        return abort::by_budget(view, &stopped, account.clone());
    }
    let mut events = stop(run, token, settled, AbandonReason::Budget);
    events.push(super::refusal::blocked(
        &super::refusal::Asker {
            resident,
            key: &token.step,
        },
        "breached",
        Vec::new(),
    ));
    events.extend(super::control::pause_for_budget(view, run, account));
    events
}
