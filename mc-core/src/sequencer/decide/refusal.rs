//! What a budget's refusal does to a step and its run.

use super::{View, abort, control};
use crate::budget::{AccountId, OnExceed};
use crate::error::{Detail, Error, ErrorKind, FailingAccount};
use crate::event::BlockReason;
use crate::event::run::AbortReason;
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

/// The account that a refusal is told by: the first that fails.
pub fn account(failing: &[FailingAccount]) -> AccountId {
    let first = failing
        .first()
        .and_then(|account| account.account.parse().ok());
    first.unwrap_or(AccountId::Workspace)
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
    let account = account(&failing);
    let mut events = vec![blocked(asker, "exceeded", failing)];
    let unattended = asker.resident.run.created.policy.unattended;
    match on_exceed {
        OnExceed::Pause if !unattended => {
            events.extend(control::pause_for_budget(&asker.resident.run, account));
        }
        OnExceed::Pause | OnExceed::Abort => {
            let reason = AbortReason::Budget { account };
            // Nothing happened to it before: nobody else cancels it.
            if asker.resident.run.step(asker.key).is_none() {
                events.push(abort::cancelled(&asker.resident.run, asker.key));
            }
            events.extend(abort::all(view, asker.resident, reason));
        }
    }
    events
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
