//! What a budget's refusal does to a step and its run.

use super::{View, abort, control};
use crate::budget::{Account, AccountId, Books as _, OnExceed};
use crate::error::{Detail, Error, ErrorKind, FailingAccount};
use crate::event::BlockReason;
use crate::event::step::StepBlocked;
use crate::id::StepKey;
use crate::sequencer::decision::NewEvent;
use crate::sequencer::resident::Resident;

/// The step that asked.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Its run.
    pub resident: &'a Resident,
    /// Its key.
    pub key: &'a StepKey,
}

/// The step waits for what a person has to clear.
pub fn blocked(asker: &Asker<'_>, code: &str, failing: Vec<FailingAccount>) -> NewEvent {
    let facts = StepBlocked {
        step: asker.key.clone(),
        reason: BlockReason::Budget,
        code: code.to_owned(),
        failing,
    };
    NewEvent::new(asker.resident.run.run_id, facts)
}

/// The account that a refusal is told by: that of the outermost run which it ends, else the first
/// that fails.
pub fn account(view: &View<'_>, resident: &Resident, failing: &[FailingAccount]) -> AccountId {
    let all = failing.iter().filter_map(|one| one.account.parse().ok());
    let all: Vec<AccountId> = all.collect();
    if resident.run.created.nested_in.is_empty() {
        return all.into_iter().next().unwrap_or(AccountId::Workspace);
    }
    let books = view.books(resident);
    let on_exceed = |id: &AccountId| {
        books
            .account(id)
            .map(Account::on_exceed)
            .unwrap_or_default()
    };
    let strictest = all.iter().map(on_exceed).reduce(OnExceed::stricter);
    let strict: Vec<&AccountId> = all
        .iter()
        .filter(|id| Some(on_exceed(id)) == strictest)
        .collect();
    let outer = resident.run.created.nested_in.iter().rev();
    let outermost = outer.flat_map(|place| strict.iter().filter(|id| id.run() == Some(place.run)));
    let first = outermost.chain(&strict).next();
    first.map_or(AccountId::Workspace, |id| AccountId::clone(id))
}

/// It can never fit: the run ends, or pauses until the account has room.
///
/// The step must not have an attempt out.
pub fn exceeded(
    view: &View<'_>,
    asker: &Asker<'_>,
    failing: Vec<FailingAccount>,
    on_exceed: OnExceed,
) -> Vec<NewEvent> {
    let account = account(view, asker.resident, &failing);
    let mut events = vec![blocked(asker, "exceeded", failing)];
    let unattended = asker.resident.run.created.policy.unattended;
    match on_exceed {
        OnExceed::Pause if !unattended => {
            events.extend(control::pause_for_budget(
                view,
                &asker.resident.run,
                &account,
            ));
        }
        OnExceed::Pause | OnExceed::Abort => {
            // Nothing happened to it before: nobody else cancels it.
            if asker.resident.run.step(asker.key).is_none() {
                events.push(abort::cancelled(&asker.resident.run, asker.key));
            }
            events.extend(abort::by_budget(view, asker.resident, account));
        }
    }
    events
}

/// The error that names every account that has no room for all of a run now, and those in which others
/// wait for room; with neither, one is frozen.
pub fn no_room_error(failing: &[FailingAccount], behind: &[AccountId]) -> Error {
    let waits = |id: &AccountId| format!("others wait for room in {id}");
    let short = failing.iter().map(ToString::to_string);
    let mut all: Vec<String> = short.chain(behind.iter().map(waits)).collect();
    if all.is_empty() {
        all.push("an account of it is frozen".to_owned());
    }
    let message = format!(
        "what it can cost cannot be held for it now: {}; start it again once others have ended",
        all.join("; ")
    );
    Error::new(ErrorKind::Unavailable, message).with_detail(Detail::Accounts(failing.to_vec()))
}

/// The error that names every account that refuses.
pub fn exceeded_error(failing: &[FailingAccount]) -> Error {
    let all: Vec<String> = failing.iter().map(ToString::to_string).collect();
    Error::new(
        ErrorKind::BudgetExceeded,
        format!("it can never fit: {}", all.join("; ")),
    )
    .with_detail(Detail::Accounts(failing.to_vec()))
}
