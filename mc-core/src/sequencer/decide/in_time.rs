//! In time: when a call that is out has to be looked at, and by when the calls of a run have to be out.
//!
//! Both follow from the policy and are told with the permission to go out: the engine waits for these
//! times, and asks then (`in_flight`). Nothing is looked at in between. What is *not* here: what a rule
//! says of the call that is looked at.

use std::time::Duration;

use super::View;
use super::guard::{Place, at_place, cut};
use crate::event::EventKind;
use crate::id::AgentName;
use crate::money::NanoUsd;
use crate::policy::Mode;
use crate::policy::guard::{Asked, Asking, Checkpoint, Guardrail, Progress, Rule, Verdict, Who};
use crate::run::{Call, Run, Step};
use crate::sequencer::command::CallProgress;
use crate::sequencer::decision::{Decision, Reply};
use crate::sequencer::resident::Resident;
use crate::sequencer::token::Token;
use crate::time::{Timestamp, as_ms};

/// After how many milliseconds a call is looked at, if it is still out: once for each rule about its
/// duration, in order.
pub fn looks(view: &View<'_>, who: &Who<'_>) -> Vec<u64> {
    let rails = view.workspace.policy.guardrails().iter();
    let asked = rails.filter(|rail| rail.mode != Mode::Off && rail.scope.holds(who));
    let mut looks: Vec<u64> = asked.filter_map(longest).collect();
    looks.sort_unstable();
    looks.dedup();
    looks
}

fn longest(rail: &Guardrail) -> Option<u64> {
    let Rule::MaxDuration(most) = &rail.rule else {
        return None;
    };
    (rail.at == Checkpoint::InFlight).then(|| as_ms(*most))
}

/// After when no call of an attempt goes out any more, by the rules that are obeyed.
pub fn run_deadline(view: &View<'_>, run: &Run, agent: &AgentName) -> Option<Timestamp> {
    let who = Who {
        agents: std::slice::from_ref(agent),
        workflow: run.workflow().map(|(name, _)| name),
        ..Who::default()
    };
    let rails = view.workspace.policy.guardrails().iter();
    // One that concerns some models only is no end of the attempt.
    let obeyed = rails.filter(|rail| rail.mode == Mode::Enforce && rail.scope.holds(&who));
    let spans = obeyed.filter_map(|rail| {
        let Rule::Deadline(span) = &rail.rule else {
            return None;
        };
        (rail.at == Checkpoint::ModelCall).then_some(*span)
    });
    spans.min().map(|span| run.started_at.after(span))
}

/// Who makes a tool call.
pub fn tool_user<'a>(run: &'a Run, step: &'a Step, call: &'a Call) -> Who<'a> {
    Who {
        agents: step.agent.as_slice(),
        workflow: run.workflow().map(|(name, _)| name),
        model: None,
        tool: call.tool.as_ref(),
    }
}

/// Judges a tool call that is out still. One that cannot be undone may have happened when it is cut, so
/// that its whole attempt is.
pub fn tool(
    view: &View<'_>,
    token: &Token,
    (resident, step, call): (&Resident, &Step, &Call),
    report: &CallProgress,
) -> Decision {
    let elapsed = report.elapsed_ms.unwrap_or_default();
    let asking = Asking {
        at: Checkpoint::InFlight,
        who: tool_user(&resident.run, step, call),
        asked: Asked::Progress(Progress {
            output_tokens: 0,
            cost: Some(NanoUsd::ZERO),
            elapsed: Duration::from_millis(elapsed),
            text: None,
        }),
    };
    let place = Place {
        token,
        resident,
        ordinal: report.ordinal,
        inputs: call.request,
    };
    let judged = at_place(view, place, &asking);
    let mut events = judged.events;
    // What was told at an earlier look is not told again.
    events.retain(|event| {
        let EventKind::GuardrailJudged(facts) = &event.kind else {
            return true;
        };
        is_due(view, &facts.rule, elapsed)
    });
    let Some(denial) = judged.denial else {
        return Decision::events(events);
    };
    let lasting = call.risk.is_some_and(|risk| !risk.is_repeatable());
    if lasting || denial.verdict == Verdict::Halt {
        events.extend(cut(view, resident, &resident.run, token, &denial.rule));
    }
    let refused = Reply::Refused(denial.error.into());
    Decision::durable(events, refused)
}

/// Whether a rule's own time is the one that is over just now.
fn is_due(view: &View<'_>, rule: &str, elapsed: u64) -> bool {
    let mut rails = view.workspace.policy.guardrails().iter();
    let rail = rails.find(|rail| rail.id.as_ref() == rule);
    let most = rail.and_then(longest);
    most.is_none_or(|most| most.saturating_add(1) >= elapsed)
}
