//! In flight: how far an answer has come, and whether it may go on.

use std::sync::Arc;
use std::time::Duration;

use super::guard::{Place, at_place, cut};
use super::{View, halt, in_time};
use crate::budget::Amount;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ModelId, Region};
use crate::money::NanoUsd;
use crate::policy::guard::{Asked, Asking, Checkpoint, Progress, Verdict, Who};
use crate::pricing::{CallBound, reserve_bound};
use crate::run::{CallKind, CallState};
use crate::sequencer::command::CallProgress;
use crate::sequencer::decision::{Decision, Reply};
use crate::sequencer::token::Token;

/// Judges what has come; the error of a rule that forbids goes to whoever reads the stream, who cuts
/// it.
///
/// # Errors
/// `Cancelled` where the token was revoked; `InvalidTransition` for a call that is not open.
pub fn progress(view: &View<'_>, token: &Token, report: &CallProgress) -> Result<Decision> {
    let (resident, step) = view.require_live(token)?;
    let forbids = halt::forbids(view, &resident.run, step, None)
        .or_else(|| halt::account_forbids(view, resident, (&token.step, step)));
    if let Some(error) = forbids {
        return Ok(Decision::durable(
            Vec::new(),
            Reply::Refused(Arc::new(error)),
        ));
    }
    let call = step.calls.get(&report.ordinal);
    let open = CallState::Open {
        attempt: token.attempt,
    };
    let open = call.filter(|call| call.state == open);
    if let Some(call) = open.filter(|call| call.kind == CallKind::Tool) {
        return Ok(in_time::tool(view, token, (resident, step, call), report));
    }
    let Some((call, model)) = open.and_then(|call| Some((call, call.model.as_ref()?))) else {
        let message = format!("call {} is not open", report.ordinal);
        return Err(Error::new(ErrorKind::InvalidTransition, message));
    };
    let key = (token.run_id, token.step.clone(), report.ordinal);
    let out = view.workspace.calls_out.get(&key);
    let known = out.filter(|out| out.since.is_some());
    let since = known.and_then(|out| out.since);
    let agent = out
        .and_then(|out| out.agent.clone())
        .or_else(|| step.agent.clone());
    let asking = Asking {
        at: Checkpoint::InFlight,
        who: Who {
            agents: agent.as_slice(),
            workflow: resident.run.workflow().map(|(name, _)| name),
            model: Some(view.workspace.settings.prices.named(model)),
            tool: None,
        },
        asked: Asked::Progress(Progress {
            output_tokens: report.output_tokens,
            cost: so_far(view, model, report, known.map(|out| out.amount)),
            // Nobody knows since when: it may have been for any time.
            elapsed: since.map_or(Duration::MAX, |since| view.now.since(since)),
            text: report.text.as_deref(),
        }),
    };
    let place = Place {
        token,
        resident,
        ordinal: report.ordinal,
        inputs: call.request,
    };
    let mut judged = at_place(view, place, &asking);
    // A rule that was told of once is not told of again with every piece of the stream.
    if let Some(out) = out {
        judged.events.retain(|event| !out.was_told(&event.kind));
    }
    let mut events = judged.events;
    let Some(denial) = judged.denial else {
        return Ok(if events.is_empty() {
            Decision::now(Reply::Done)
        } else {
            Decision::events(events)
        });
    };
    if denial.verdict == Verdict::Halt {
        events.extend(cut(view, resident, &resident.run, token, &denial.rule));
    }
    Ok(Decision::durable(
        events,
        Reply::Refused(Arc::new(denial.error)),
    ))
}

/// What the whole input and the output so far cost at most.
fn so_far(
    view: &View<'_>,
    model: &ModelId,
    report: &CallProgress,
    reserved: Option<Amount>,
) -> Option<NanoUsd> {
    let workspace = view.workspace;
    let prices = &workspace.settings.prices;
    let quote = prices.quote(model, view.now, workspace.unknown_models())?;
    let caps = report.terms.caps();
    let bound = CallBound {
        input_tokens: Some(reserved?.input_tokens),
        max_output_tokens: Some(report.output_tokens),
        units: &caps,
        service_tier: report.terms.service_tier,
        region: report.terms.region.as_ref().map(Region::as_str),
        ..CallBound::default()
    };
    let bound = reserve_bound(&quote.price, &bound).ok()?;
    Some(bound.money)
}
