//! Observed: what goes out although a limit that is only looked at has no room for it.
//!
//! It is told in the commit in which it goes out, once; what waits or is refused by other limits is not
//! told of. What is *not* here: what such a limit would answer (`budget::would_refuse`).

use super::View;
use crate::budget::{Amount, Path, would_refuse};
use crate::event::budget::BudgetJudged;
use crate::id::StepKey;
use crate::sequencer::decision::NewEvent;
use crate::sequencer::resident::Resident;

/// Whose request it is: the step, its attempt, and the call where it is one.
pub(super) type Asker<'a> = (&'a StepKey, u32, Option<u32>);

/// The event that says what would have been refused; none where there was room.
pub(super) fn judged(
    view: &View<'_>,
    resident: &Resident,
    (step, attempt, ordinal): Asker<'_>,
    (path, requested): (&Path, Amount),
) -> Option<NewEvent> {
    let found = would_refuse(&view.books(resident), path, &requested)?;
    let facts = BudgetJudged {
        step: step.clone(),
        attempt,
        ordinal,
        verdict: found.refusal,
        requested,
        failing: found.failing,
    };
    Some(NewEvent::new(resident.run.run_id, facts))
}
