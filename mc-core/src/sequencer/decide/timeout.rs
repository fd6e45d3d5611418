//! Time-out: an attempt took longer than its step allows. It is abandoned: its token is revoked.

use super::View;
use super::again::Ended;
use super::attempt_end::end_calls;
use super::fail::{exhausted, stopped};
use super::late;
use crate::error::Result;
use crate::event::BlockReason;
use crate::event::step::{AbandonReason, AttemptAbandoned, AttemptEnded, StepBlocked};
use crate::policy::RiskTier;
use crate::sequencer::command::{AttemptFailure, Retry};
use crate::sequencer::decision::{Decision, NewEvent, NewPart};
use crate::sequencer::token::Token;

/// Abandons an attempt; nothing where it is not out any more.
pub fn timeout(view: &View<'_>, token: &Token) -> Decision {
    let Some((resident, step)) = view.live(token) else {
        return Decision::events(Vec::new());
    };
    let run = &resident.run;
    let (mut events, released) = end_calls(run, &token.step, "timeout");
    let irreversible = step.may_have_acted();
    let failure = AttemptFailure {
        code: "timeout".into(),
        message: "the attempt took longer than its step allows".into(),
        retry: Retry::AsPolicy,
    };
    let ended = Ended {
        view,
        resident,
        key: &token.step,
        step,
        failure: &failure,
    };
    let (next, outage) = if irreversible {
        (None, false)
    } else {
        ended.next(Ended::waits_at_a_breaker)
    };
    let reason = if outage {
        AbandonReason::Outage
    } else {
        AbandonReason::Timeout
    };
    // A retry that could act twice waits until the first attempt has ended, or long enough.
    let grace = view.now.after(view.workspace.settings.zombie_grace);
    let writes = step.risk.is_none_or(|risk| risk >= RiskTier::Write);
    let retry_at = next.map(|at| if writes { at.max(grace) } else { at });
    let facts = AttemptAbandoned {
        step: token.step.clone(),
        attempt: token.attempt,
        reason,
        retry_at,
        retry_from: next.filter(|at| Some(*at) != retry_at),
        released,
    };
    events.push(NewEvent::new(run.run_id, facts));
    if irreversible {
        let facts = StepBlocked {
            step: token.step.clone(),
            reason: BlockReason::InDoubt,
            code: "timeout".to_owned(),
            failing: Vec::new(),
        };
        events.push(NewEvent::new(run.run_id, facts));
    } else if retry_at.is_none() {
        events.extend(exhausted(resident, &token.step, "timeout"));
    }
    Decision::events(events)
}

/// An attempt that was told to stop has ended without a result, abandoned or not.
///
/// # Errors
/// `NotFound`.
pub fn ended(view: &View<'_>, token: &Token) -> Result<Decision> {
    if let Some((resident, _)) = view.live(token) {
        let message = NewPart::text("it was told to stop");
        return Ok(stopped(view, token, &resident.run, (message, None)));
    }
    let run = late::known(view, token)?;
    let out = run
        .step(&token.step)
        .is_some_and(|step| step.abandoned.contains(&token.attempt));
    if !out {
        return Ok(Decision::events(Vec::new()));
    }
    let facts = AttemptEnded {
        step: token.step.clone(),
        attempt: token.attempt,
    };
    Ok(Decision::events(vec![NewEvent::new(run.run_id, facts)]))
}
