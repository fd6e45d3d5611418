//! Halt: nothing more goes out, and what is out stops, until an operator resumes it.
//!
//! At once: no dispatch, no call, no tool; agents that are out are asked to stop, and what they report
//! still counts. At the deadline: whoever is still out loses its token, as at a time-out. A session
//! stays open; its calls are refused.

use super::View;
use super::attempt_end::end_calls;
use super::control;
use super::fail;
use super::refusal::exceeded_error;
use crate::budget::{AccountId, Amount, Books, Path, Staying, Verdict, check};
use crate::error::{Error, ErrorKind, Result};
use crate::event::BlockReason;
use crate::event::run::{PauseReason, RunPaused};
use crate::event::step::{AbandonReason, AttemptAbandoned, HALTED, StepBlocked};
use crate::event::workspace::{HaltLifted, HaltPlaced};
use crate::id::{AgentName, RunId, StepKey};
use crate::policy::RiskTier;
use crate::run::{Run, RunTrigger, Step};
use crate::sequencer::command::{Halt, HaltSource, Lift};
use crate::sequencer::decision::{Decision, Effect, NewEvent, NewPart};
use crate::sequencer::halt::{HaltScope, refused, run_halt};
use crate::sequencer::resident::Resident;
use crate::sequencer::token::Token;
use crate::time::Timestamp;

/// Puts a halt into force; one that is in force already can only be cut shorter. Every word is an
/// event, but for that of a switch that asks for what is in force.
///
/// # Errors
/// `NotFound`; `InvalidTransition` for a run that has ended.
pub fn halt(view: &View<'_>, order: &Halt) -> Result<Decision> {
    let asked = view
        .now
        .after(std::time::Duration::from_millis(order.drain_ms));
    let before = match &order.scope {
        HaltScope::Run(id) => {
            let run = &view.resident(*id)?.run;
            control::check(run, RunTrigger::Pause)?;
            run_halt(run)
        }
        HaltScope::Agent(agent) => view.workspace.shared.halts.until(Some(agent)),
        HaltScope::Workspace => view.workspace.shared.halts.until(None),
    };
    let until = before.map_or(asked, |before| before.min(asked));
    let stands = before == Some(until);
    if stands && order.source == HaltSource::Switch {
        return Ok(Decision::events(Vec::new()));
    }
    let event = placed(&order.scope, until).with(NewPart::text(&order.reason));
    let mut decision = Decision::events(vec![event]);
    if stands {
        return Ok(decision);
    }
    if order.drain_ms == 0 {
        decision.events.extend(cut(view, &order.scope));
    } else {
        decision.effects = asked_to_stop(view, &order.scope);
    }
    Ok(decision)
}

fn placed(scope: &HaltScope, until: Timestamp) -> NewEvent {
    let agent = match scope {
        HaltScope::Run(run) => {
            let reason = PauseReason::Halt { until };
            return NewEvent::new(*run, RunPaused { reason });
        }
        HaltScope::Agent(agent) => Some(agent.clone()),
        HaltScope::Workspace => None,
    };
    NewEvent::new(RunId::ZERO, HaltPlaced { agent, until })
}

/// Lets the workspace, or an agent, go on.
///
/// # Errors
/// `InvalidTransition` where it is not halted.
pub fn lift(view: &View<'_>, order: &Lift) -> Result<Decision> {
    let agent = order.agent.clone();
    if view.workspace.shared.halts.until(agent.as_ref()).is_none() {
        let scope = agent.map_or(HaltScope::Workspace, HaltScope::Agent);
        let message = format!("`{scope}` is not halted");
        return Err(Error::new(ErrorKind::InvalidTransition, message));
    }
    let event = NewEvent::new(RunId::ZERO, HaltLifted { agent });
    Ok(Decision::events(vec![
        event.with(NewPart::text(&order.reason)),
    ]))
}

/// The halt that keeps an attempt from acting: of its run, its agent, of another agent in whose name
/// it asks, or of everything.
pub fn in_force(
    view: &View<'_>,
    run: &Run,
    step: &Step,
    other: Option<&AgentName>,
) -> Option<HaltScope> {
    let around = run.created.nested_in.iter().map(|place| place.run);
    let around = around.filter_map(|outer| view.workspace.runs.get(&outer));
    let mut all = std::iter::once(run).chain(around.map(|outer| &*outer.run));
    if let Some(halted) = all.find(|one| run_halt(one).is_some()) {
        return Some(HaltScope::Run(halted.run_id));
    }
    let halts = &view.workspace.shared.halts;
    if halts.is_empty() {
        return None;
    }
    halts.of(step.agent.iter().chain(other))
}

/// As [`in_force`], as the error that whoever asks is told.
pub fn forbids(
    view: &View<'_>,
    run: &Run,
    step: &Step,
    other: Option<&AgentName>,
) -> Option<Error> {
    in_force(view, run, step, other).map(|scope| refused(&scope))
}

/// Attempts of a halt's scope that are out; sessions are none.
fn out<'a>(
    view: &View<'a>,
    scope: &'a HaltScope,
) -> impl Iterator<Item = (&'a Resident, &'a StepKey, &'a Step)> + 'a {
    let runs = view.workspace.runs.iter();
    let runs = runs.filter(move |(id, resident)| match scope {
        HaltScope::Run(run) => {
            let around = &resident.run.created.nested_in;
            run == *id || around.iter().any(|place| place.run == *run)
        }
        HaltScope::Workspace | HaltScope::Agent(_) => true,
    });
    let runs = runs.filter(|(_, resident)| resident.workflow.is_some());
    runs.flat_map(move |(_, resident)| {
        let live = resident.live.iter();
        let live = live.filter_map(move |key| Some((resident, key, resident.run.steps.get(key)?)));
        live.filter(move |(_, _, step)| match scope {
            HaltScope::Agent(agent) => step.agent.as_ref() == Some(agent),
            HaltScope::Workspace | HaltScope::Run(_) => true,
        })
    })
}

fn asked_to_stop(view: &View<'_>, scope: &HaltScope) -> Vec<Effect> {
    let tokens = out(view, scope).filter_map(|(resident, key, step)| {
        Some(Token {
            epoch: step.live?,
            run_id: resident.run.run_id,
            step: key.clone(),
            attempt: step.attempt,
        })
    });
    tokens.map(Effect::Cancel).collect()
}

/// Whoever is still out loses its token.
pub fn cut(view: &View<'_>, scope: &HaltScope) -> Vec<NewEvent> {
    let each = out(view, scope).map(|(resident, key, step)| cut_one(view, resident, (key, step)));
    each.flatten().collect()
}

/// What is out and counts in an account loses its token, as at a halt; its steps then ask for room
/// like any other. A session stays open: its calls are refused, and its streams told to stop.
pub fn cut_account(view: &View<'_>, account: &AccountId) -> Vec<NewEvent> {
    let everything = HaltScope::Workspace;
    let each = out(view, &everything).filter(|(resident, key, step)| {
        let run = &resident.run;
        let own = step.agent.as_ref().map(|agent| run.path(key, agent));
        let counts = |path: &Path| path.iter().any(|id| id == account);
        let holds = run.holds.iter().filter(|(hold, _)| hold.step == **key);
        own.is_some_and(|path| counts(&path))
            || holds.into_iter().any(|(_, hold)| counts(hold.path()))
    });
    each.flat_map(|(resident, key, step)| cut_one(view, resident, (key, step)))
        .collect()
}

/// Why a call that is out may not go on: an account that it counts in is over its limit, and cuts what
/// is out.
pub fn account_forbids(
    view: &View<'_>,
    resident: &Resident,
    (key, step): (&StepKey, &Step),
) -> Option<Error> {
    let agent = step.agent.as_ref()?;
    let books = view.books(resident);
    let path = resident.run.path(key, agent);
    let cuts = |id: &&AccountId| {
        let account = books.account(id);
        account.is_some_and(|one| !one.in_flight().goes_on() && one.is_breached())
    };
    let over: Path = path.iter().filter(cuts).cloned().collect();
    match check(&books, &over, &Amount::ZERO, &Staying::none()) {
        Verdict::Fits => None,
        Verdict::Contended { failing, .. }
        | Verdict::Frozen { failing, .. }
        | Verdict::Exceeded { failing, .. } => Some(exceeded_error(&failing)),
    }
}

fn cut_one(view: &View<'_>, resident: &Resident, (key, step): (&StepKey, &Step)) -> Vec<NewEvent> {
    let run = &resident.run;
    // What is dispatched and not handed out yet is not, any more: nobody has done anything.
    if resident.is_unsent(key, view.durable) {
        let told = "it was halted before anybody had begun it";
        return fail::unbegun(run, key, (HALTED, HALTED), told);
    }
    let (mut events, released) = end_calls(run, key, HALTED);
    let acted = step.may_have_acted();
    // A retry that could act twice waits until the first attempt has ended, or long enough.
    let writes = step.risk.is_none_or(|risk| risk >= RiskTier::Write);
    let grace = view.now.after(view.workspace.settings.zombie_grace);
    let facts = AttemptAbandoned {
        step: key.clone(),
        attempt: step.attempt,
        reason: AbandonReason::Halt,
        retry_at: (!acted).then_some(if writes { grace } else { view.now }),
        retry_from: (writes && !acted).then_some(view.now),
        released,
    };
    events.push(NewEvent::new(run.run_id, facts));
    events.extend(acted.then(|| in_doubt(run, key)));
    events
}

/// An attempt that a halt stopped may have done what cannot be undone.
pub fn in_doubt(run: &Run, key: &StepKey) -> NewEvent {
    let facts = StepBlocked {
        step: key.clone(),
        reason: BlockReason::InDoubt,
        code: HALTED.to_owned(),
        failing: Vec::new(),
    };
    NewEvent::new(run.run_id, facts)
}
