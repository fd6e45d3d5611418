//! Reconcile: evidence settles money in doubt; time never does.

use super::View;
use crate::error::{Error, ErrorKind, Result};
use crate::event::budget::BudgetReconciled;
use crate::money::NanoUsd;
use crate::sequencer::command::Reconcile;
use crate::sequencer::decision::{Decision, NewEvent, NewPart};

/// Settles one hold in doubt with what the evidence says was billed.
///
/// # Errors
/// `NotFound` for a run or hold that does not exist; `InvalidTransition` for a hold that is not in
/// doubt; `InvalidInput` for an amount that is negative or more than can be counted.
pub fn reconcile(view: &View<'_>, request: &Reconcile) -> Result<Decision> {
    let resident = view.resident(request.run_id)?;
    let run = &resident.run;
    if request.actual.money < NanoUsd::ZERO {
        return Err(Error::invalid("actual", "an amount may not be negative"));
    }
    let hold = run.holds.get(&request.hold);
    let hold = hold.ok_or_else(|| Error::not_found("hold", &request.hold))?;
    if !hold.is_in_doubt() {
        let message = "this hold is open; only money in doubt is reconciled";
        return Err(
            Error::new(ErrorKind::InvalidTransition, message).with_context("hold", &request.hold)
        );
    }
    super::call_settle::countable(view, resident, &request.hold.step, &request.actual)?;
    let facts = BudgetReconciled {
        step: request.hold.step.clone(),
        attempt: request.hold.attempt,
        ordinal: request.hold.ordinal,
        held: *hold.amount(),
        actual: request.actual,
    };
    let event = NewEvent::new(run.run_id, facts).with(NewPart::text(&request.evidence));
    Ok(Decision::events(vec![event]))
}
