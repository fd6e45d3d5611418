//! Planned: what comes of the plan check, for a run that is to start or to go on.
//!
//! What is *not* here: what a run can cost, and which accounts could never hold it (`plan`).

use super::View;
use super::plan::{Plan, Planning};
use super::refusal::{exceeded_error, no_room_error};
use crate::budget::{AccountId, OnExceed};
use crate::error::{Error, FailingAccount};
use crate::event::run::{PlanCheck, PlannedHold, RunPlanned};

/// What comes of the plan check.
pub(super) enum Planned {
    /// The run starts; with what it can cost at most, where somebody asks and something is known of it.
    Goes(Option<RunPlanned>),
    /// It is refused for that.
    Refused(RunPlanned, Error),
}

/// Checks what a run can cost before anything of it goes out.
pub(super) fn planned(view: &View<'_>, planning: &Planning<'_>, check: PlanCheck) -> Planned {
    if check == PlanCheck::Off {
        return Planned::Goes(None);
    }
    let plan = Plan::of(view, planning);
    let over = plan.over(view, planning);
    let fixed = over.fixed;
    let exceeds = over.failing.len() > fixed;
    let ends = exceeds && over.strictest == OnExceed::Abort;
    let whole = (check == PlanCheck::Reserving).then(|| Whole {
        short: plan.without_room(view),
        behind: plan.with_others_waiting(view),
        frozen: plan.is_frozen(view),
        holds: plan.holds(),
    });
    let Some(facts) = plan.facts(check, over) else {
        return Planned::Goes(None);
    };
    // What could never fit cannot be held, whatever else its account does.
    let refuses = match check {
        PlanCheck::Off | PlanCheck::Advisory => false,
        PlanCheck::Strict => ends,
        PlanCheck::Reserving => exceeds,
    };
    if refuses {
        let error = exceeded_error(&facts.over);
        return Planned::Refused(facts, error);
    }
    // Nor is more held in an account than its limit, where it goes on all the same.
    match whole.filter(|_| fixed == 0) {
        None => Planned::Goes(Some(facts)),
        Some(whole) => whole.held(facts),
    }
}

/// All that a run can cost, to be held for it.
struct Whole {
    /// The accounts that have no room for it now.
    short: Vec<FailingAccount>,
    /// Those in which others wait for room.
    behind: Vec<AccountId>,
    /// Whether one of them is frozen.
    frozen: bool,
    holds: Vec<PlannedHold>,
}

impl Whole {
    fn held(self, facts: RunPlanned) -> Planned {
        let refuses = self.frozen || !self.short.is_empty() || !self.behind.is_empty();
        if refuses {
            let (error, over) = (no_room_error(&self.short, &self.behind), self.short);
            return Planned::Refused(RunPlanned { over, ..facts }, error);
        }
        let reserved = self.holds;
        Planned::Goes(Some(RunPlanned { reserved, ..facts }))
    }
}
