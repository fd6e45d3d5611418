//! Approved cost: a step that a person approved may cost what was shown, and no more.
//!
//! What counts is all that the attempts of its intent were billed since, what their calls that are out
//! can cost, and what of it is in doubt; in its own hold or in that of a call in another agent's name.
//! A step without an estimate was shown as not bounded.

use crate::budget::{Amount, Hold};
use crate::error::{Detail, Error, ErrorKind};
use crate::id::StepKey;
use crate::money::NanoUsd;
use crate::run::{ApprovalState, HoldKey, Run};

/// The code of a call that would cost more than a person approved.
pub const OVER_MAXIMUM_COST: &str = "over_maximum_cost";

/// Why a call may not go out whose step is approved for less, if it is.
pub fn over_maximum(run: &Run, key: &StepKey, amount: &Amount) -> Option<Error> {
    let step = run.step(key)?;
    let number = step.approval?;
    let approval = run.approvals.get(&number)?;
    let since = approval.used_by?;
    if approval.state != ApprovalState::Consumed || !approval.is_bounded() {
        return None;
    }
    let own = |(hold, _): &(&HoldKey, &Hold)| hold.step == *key && hold.attempt >= since;
    let holds = run.holds.iter().filter(own);
    let open = holds.map(|(_, hold)| at_stake(hold));
    let so_far = open.fold(step.billed, NanoUsd::saturating_add);
    let most = approval.maximum.money;
    if amount.money == NanoUsd::ZERO || so_far.saturating_add(amount.money) <= most {
        return None;
    }
    let message = format!(
        "{OVER_MAXIMUM_COST}: step `{key}` is approved for {most} USD; {so_far} USD are spent or out, and \
         this call may cost {} USD",
        amount.money
    );
    let error = Error::new(ErrorKind::PolicyDenied, message);
    Some(error.with_detail(Detail::Rule {
        rule: OVER_MAXIMUM_COST.to_owned(),
        subject: key.to_string(),
    }))
}

/// What of a hold calls have drawn; all of it where it is in doubt.
fn at_stake(hold: &Hold) -> NanoUsd {
    if hold.is_in_doubt() {
        return hold.amount().money;
    }
    let drawn = hold.draws().values().map(|draw| draw.money);
    drawn.fold(NanoUsd::ZERO, NanoUsd::saturating_add)
}
