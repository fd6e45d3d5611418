//! What a run that reserves holds for its steps: taken at its start, and given up bit by bit.
//!
//! A step whose whole hold is covered takes it out of what is held for it, and stands behind nobody.
//! Whatever is not covered (a list without an end, a price that rose, a call beyond its step's estimate)
//! asks like that of any other run; where it has to wait, the run lets all go that it still has:
//! it may be this that stands in its way, and who waits may not keep others from going on.
//! What is *not* here: how much that is (`plan`).

use std::collections::BTreeMap;

use super::View;
use crate::budget::{
    Account, AccountId, Amount, Books as _, Hold, Movement, Path, Staying, Verdict, Waiter, check,
    post_at,
};
use crate::event::run::{PlanEnd, PlanReleased};
use crate::id::{AgentName, RunId, StepKey, StepName};
use crate::run::{HoldKey, Run};
use crate::sequencer::decision::NewEvent;
use crate::sequencer::workspace::{ResidentBooks, Workspace};

/// What covers an attempt that is to go out.
pub(super) struct Cover {
    /// The run that holds it: its own, or the outermost around it.
    run: RunId,
    key: HoldKey,
    step: StepName,
    amount: Amount,
    path: Path,
}

/// The run that holds for a run, and the step there that it goes out for.
fn holder<'a>(
    workspace: &'a Workspace,
    run: &'a Run,
    step: &StepKey,
) -> Option<(&'a Run, StepName)> {
    let (holder, top) = match run.created.nested_in.last() {
        None => (run, step),
        Some(place) => (&*workspace.runs.get(&place.run)?.run, &place.step),
    };
    Some((holder, StepName::new(top.name()).ok()?))
}

/// What covers all of a hold; none where nothing does.
pub(super) fn cover(
    view: &View<'_>,
    run: &Run,
    step: &StepKey,
    (agent, amount): (&AgentName, Amount),
) -> Option<Cover> {
    let (holder, top) = holder(view.workspace, run, step)?;
    let path = run.path(step, agent);
    let covers = |hold: &Hold| {
        let (accounts, all) = (hold.path(), amount.fits_in(hold.amount()));
        all && accounts.iter().all(|id| path.contains(id))
    };
    let (key, hold) = holder.planned_for(&top).find(|(_, hold)| covers(hold))?;
    let fits = has_room_instead(view, hold, &amount);
    (fits && !amount.is_zero()).then(|| Cover {
        run: holder.run_id,
        key: key.clone(),
        step: top,
        amount,
        path: hold.path().clone(),
    })
}

/// Whether there is room for an amount once it is no longer held for later. There is none where an account
/// is frozen or over its limit, or where a period began since in which it was not held.
fn has_room_instead(view: &View<'_>, hold: &Hold, amount: &Amount) -> bool {
    let world = ResidentBooks(view.workspace);
    let path = hold.path();
    let copy = |id: &AccountId| Some((id.clone(), world.account(id)?.clone()));
    let mut books: BTreeMap<AccountId, Account> = path.iter().filter_map(copy).collect();
    let parts = hold
        .leaving(None)
        .split(&Movement::Release(*amount), view.now);
    let taken = parts
        .iter()
        .all(|(at, movement)| post_at(&mut books, path, *at, movement).is_ok());
    taken && check(&books, path, amount, &Staying::none()) == Verdict::Fits
}

impl Cover {
    /// Whether the attempt may go out: what is covered waits for no room; the accounts of nested runs
    /// are asked for all of it.
    pub(super) fn judge(&self, view: &View<'_>, wanted: &Waiter) -> Verdict {
        let rest = wanted.path.iter().filter(|id| !self.path.contains(id));
        view.judge(&Waiter {
            path: rest.cloned().collect(),
            ..wanted.clone()
        })
    }

    /// The attempt takes it over.
    pub(super) fn drawn(self) -> NewEvent {
        let facts = PlanReleased {
            step: self.step,
            hold: self.key.ordinal.unwrap_or_default(),
            amount: self.amount,
            reason: PlanEnd::Drawn,
        };
        NewEvent::new(self.run, facts)
    }
}

/// The first hold of a run for what will not go out any more: its step has ended, or the run.
pub(crate) fn ended(run: &Run) -> Option<NewEvent> {
    let over = |key: &HoldKey| run.status.is_terminal() || run.step_status(&key.step).is_terminal();
    let (key, hold) = run.planned().find(|(key, _)| over(key))?;
    released(run.run_id, key, *hold.amount(), PlanEnd::Ended)
}

/// All that is still held for what a run has not sent out, or for the run around it.
pub(crate) fn let_go(workspace: &Workspace, run: RunId) -> Vec<NewEvent> {
    let Some(resident) = workspace.runs.get(&run) else {
        return Vec::new();
    };
    let outermost = resident.run.created.nested_in.last();
    let holder = match outermost {
        None => Some(resident),
        Some(place) => workspace.runs.get(&place.run),
    };
    let all = holder.into_iter().flat_map(|holder| {
        let run = holder.run.run_id;
        let planned = holder.run.planned();
        planned.filter_map(move |(key, hold)| released(run, key, *hold.amount(), PlanEnd::LetGo))
    });
    all.collect()
}

fn released(run: RunId, key: &HoldKey, amount: Amount, reason: PlanEnd) -> Option<NewEvent> {
    let facts = PlanReleased {
        step: StepName::new(key.step.name()).ok()?,
        hold: key.ordinal?,
        amount,
        reason,
    };
    Some(NewEvent::new(run, facts))
}
