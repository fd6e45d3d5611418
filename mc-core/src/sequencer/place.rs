//! How a decided event gets its place: sequence numbers, the state after it, and what is touched.

use std::sync::Arc;

use serde_json::Value;

use super::batch::Placed;
use super::circuits::Try;
use super::core::Sequencer;
use super::decide::reserving;
use super::decision::{Effect, NewEvent};
use super::halt::{HaltScope, run_halt};
use super::redaction::redact;
use super::resident::Resident;
use super::token::Token;
use super::traffic::Folding;
use super::workspace::{PolicyHead, Versions, Workspace};
use crate::budget::{self, Movement, post_at};
use crate::error::{Error, Result};
use crate::event::workspace::{
    CircuitClosed, CircuitHalfOpened, CircuitOpened, HaltLifted, HaltPlaced, PolicyPublished,
    PricesLoaded, WorkflowActivated, WorkflowPublished,
};
use crate::event::{EventKind, StepStatus};
use crate::id::{ModelId, RunId};
use crate::policy::Policy;
use crate::ports::WorkflowRow;
use crate::resilience::Change;
use crate::run::postings::{self, Posting};
use crate::run::{BlockReason, CallState, Run, RunEvent};
use crate::workflow::Workflow;

impl Sequencer {
    /// Gives an event its place and applies it; a change of a breaker follows at once.
    pub(super) fn place(&mut self, event: NewEvent) -> Result<()> {
        let run = event.run_id;
        self.place_one(event)?;
        // What was held for steps that it ended; there may be very many.
        while let Some(next) = self.no_longer_held(run) {
            self.place_one(next)?;
        }
        Ok(())
    }

    fn place_one(&mut self, mut event: NewEvent) -> Result<()> {
        if let Some(redaction) = &self.workspace.settings.redaction {
            redact(redaction, &mut event);
        }
        let seq = self.next_seq;
        let attempt = self.attempt_of(&event);
        let circuits = &self.workspace.shared.circuits;
        let settings = &self.workspace.settings;
        let change = circuits.change(&event.kind, self.group.instant.now, &settings.breaker);
        let run_seq = match event.run_id {
            RunId::ZERO => self.apply_shared(&event, seq)?,
            run => self.apply_run(run, &event, seq)?,
        };
        let at = self.group.instant.now;
        let budget = self.workspace.settings.retry_budget;
        self.workspace
            .shared
            .circuits
            .follow(&event.kind, at, attempt, &budget);
        self.count(&event, attempt);
        self.next_seq += 1;
        self.batch.placed.push(Placed {
            seq,
            run_id: event.run_id,
            run_seq,
            ts: at,
            actor: self.group.actor.clone(),
            auth_method: self.group.auth_method,
            cmd_id: self.group.command,
            kind: event.kind,
            parts: event.parts,
        });
        if let Some((model, change)) = change {
            self.place(circuit_event(model, &change))?;
        }
        for next in self.nested_follow(self.batch.placed.last()) {
            self.place(next)?;
        }
        match self.follows() {
            Some(next) => self.place(next),
            None => Ok(()),
        }
    }

    fn no_longer_held(&self, run: RunId) -> Option<NewEvent> {
        reserving::ended(&self.workspace.runs.get(&run)?.run)
    }

    /// What rules and rates count follows the event.
    fn count(&mut self, event: &NewEvent, attempt: Try) {
        let Workspace {
            shared,
            policy,
            runs,
            calls_out,
            turns,
            settings,
            ..
        } = &mut self.workspace;
        let before = calls_out.len();
        let run = runs.get(&event.run_id).map(|resident| &*resident.run);
        let mut folding = Folding {
            policy,
            at: self.group.instant.now,
            run,
            attempt,
            out: calls_out,
            prices: &settings.prices,
        };
        shared
            .traffic
            .follow(event.run_id, &event.kind, &mut folding);
        let less = calls_out.len() < before;
        let changed = less || matches!(event.kind, EventKind::PolicyPublished(_));
        self.turns_moved |= changed && !turns.is_empty();
    }

    /// Whether a reservation follows a refusal of the same call.
    fn attempt_of(&self, event: &NewEvent) -> Try {
        let EventKind::ModelCallReserved(facts) = &event.kind else {
            return Try::First;
        };
        let run = self
            .workspace
            .runs
            .get(&event.run_id)
            .map(|resident| &resident.run);
        let call = run.and_then(|run| run.step(&facts.step)?.calls.get(&facts.ordinal));
        match call.map(|call| &call.state) {
            Some(CallState::Throttled { .. }) => Try::Again,
            _ => Try::First,
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "other kinds leave the shared state alone"
    )]
    fn apply_shared(&mut self, event: &NewEvent, seq: u64) -> Result<u64> {
        match &event.kind {
            EventKind::WorkflowPublished(facts) => self.published(facts, event)?,
            EventKind::WorkflowActivated(facts) => self.activated(facts)?,
            EventKind::HaltPlaced(facts) => self.halted(facts),
            EventKind::HaltLifted(facts) => self.lifted(facts),
            EventKind::BudgetLimitSet(_)
            | EventKind::BudgetWindowOpened(_)
            | EventKind::BudgetWindowClosed(_)
            | EventKind::BudgetToppedUp(_)
            | EventKind::BudgetFrozen(_)
            | EventKind::BudgetUnfrozen(_)
            | EventKind::BudgetLapsed(_)
            | EventKind::BudgetThresholdReached(_) => {
                self.post_shared(&postings::of_account(&event.kind), seq)?;
            }
            EventKind::PricesLoaded(facts) => self.prices_loaded(facts, event, seq)?,
            EventKind::PolicyPublished(facts) => self.policy_published(facts, event, seq)?,
            EventKind::CircuitOpened(CircuitOpened { model, .. })
            | EventKind::CircuitHalfOpened(CircuitHalfOpened { model })
            | EventKind::CircuitClosed(CircuitClosed { model }) => {
                self.circuits_changed.insert(model.clone());
            }
            _ => {}
        }
        let run_seq = self.next_run_zero;
        self.next_run_zero += 1;
        Ok(run_seq)
    }

    fn halted(&mut self, facts: &HaltPlaced) {
        let halts = &mut self.workspace.shared.halts;
        halts.set(facts.agent.as_ref(), Some(facts.until));
        let scope = HaltScope::of_agent(facts.agent.as_ref());
        self.workspace.draining.insert(scope, facts.until);
        self.recall();
    }

    fn lifted(&mut self, facts: &HaltLifted) {
        let workspace = &mut self.workspace;
        workspace.shared.halts.set(facts.agent.as_ref(), None);
        let scope = HaltScope::of_agent(facts.agent.as_ref());
        workspace.draining.remove(&scope);
        let agents = match &facts.agent {
            Some(agent) => vec![agent.clone()],
            None => workspace.agents.keys().cloned().collect(),
        };
        self.batch.effects.push(Effect::Offer(agents));
    }

    /// Joined processes have to ask for every call of their sessions, until they are told otherwise.
    pub(super) fn recall(&mut self) {
        let lent = self.workspace.lent.iter().copied();
        self.batch.effects.extend(lent.map(Effect::Recall));
    }

    fn prices_loaded(&mut self, facts: &PricesLoaded, event: &NewEvent, seq: u64) -> Result<()> {
        let (prices, table) = self.workspace.prices.after(facts, &event.parts)?;
        self.workspace.prices = prices;
        self.workspace.settings.prices = table;
        let shared = &mut self.workspace.shared;
        shared.price_version = Some(facts.price_version);
        shared.price_layers_at = (!facts.layers.is_empty()).then_some(seq);
        Ok(())
    }

    fn published(&mut self, facts: &WorkflowPublished, event: &NewEvent) -> Result<()> {
        let part = event
            .parts
            .first()
            .ok_or_else(|| Error::internal("no definition"))?;
        let row = WorkflowRow {
            workflow: facts.workflow.clone(),
            version: facts.version,
            hash: facts.definition_hash,
            published_at: self.group.instant.now,
            active: false,
            definition: Arc::clone(&part.bytes),
        };
        let compiled = Workflow::from_canonical(&part.bytes)?;
        self.workspace.compiled.insert(row.hash, Arc::new(compiled));
        let versions: &mut Versions = self
            .workspace
            .workflows
            .entry(facts.workflow.clone())
            .or_default();
        versions.rows.insert(facts.version, row.clone());
        self.batch.workflows.push(row);
        Ok(())
    }

    fn policy_published(
        &mut self,
        facts: &PolicyPublished,
        event: &NewEvent,
        seq: u64,
    ) -> Result<()> {
        let part = event.parts.first();
        let part = part.ok_or_else(|| Error::internal("no policy"))?;
        let policy = Policy::from_canonical(&part.bytes)?;
        let traffic = &mut self.workspace.shared.traffic;
        traffic.policy_changed(&self.workspace.policy, &policy);
        self.workspace.policy = policy;
        self.workspace.shared.policy = Some(PolicyHead {
            version: facts.version,
            hash: facts.policy_hash,
            seq,
        });
        // It may have something to say on calls that nobody was asked for so far.
        self.recall();
        Ok(())
    }

    fn activated(&mut self, facts: &WorkflowActivated) -> Result<()> {
        let versions = self.workspace.workflows.get_mut(&facts.workflow);
        let versions = versions.ok_or_else(|| Error::not_found("workflow", &facts.workflow))?;
        versions.active = Some(facts.version);
        for (version, row) in &mut versions.rows {
            let active = *version == facts.version;
            if row.active != active {
                row.active = active;
                self.batch.workflows.push(row.clone());
            }
        }
        Ok(())
    }

    fn apply_run(&mut self, run_id: RunId, event: &NewEvent, seq: u64) -> Result<u64> {
        self.batch.runs.insert(run_id);
        let actor = self.group.actor.clone();
        let run_event = RunEvent {
            seq,
            ts: self.group.instant.now,
            epoch: self.workspace.epoch,
            actor: &actor,
            kind: &event.kind,
        };
        let first = event.parts.first();
        let value = first.and_then(|part| Some((part.value.clone()?, part.bytes.len())));
        if let EventKind::RunCreated(_) = &event.kind {
            let run = Run::create(run_id, &run_event)?;
            self.begin_run(run, value.map(|(input, _)| input), seq);
            return Ok(0);
        }
        let resident = self.workspace.runs.get_mut(&run_id);
        let resident = resident.ok_or_else(|| Error::not_found("run", run_id))?;
        let run_seq = resident.run.events;
        let before = event
            .kind
            .step()
            .and_then(|key| resident.run.step(key))
            .map(|step| {
                (
                    step.live,
                    step.attempt,
                    step.abandoned.clone(),
                    step.agent.clone(),
                )
            });
        let cut_off = cut_off(&resident.run, &event.kind);
        let postings = Arc::make_mut(&mut resident.run).apply(&run_event)?;
        resident.follow(&event.kind, seq, value);
        if let EventKind::RunRedriven(_) = &event.kind {
            self.ended.remove(run_id);
        }
        if let Some((live, attempt, ..)) = &before
            && let (Some(epoch), Some(key)) = (live, event.kind.step())
        {
            self.revoke(
                run_id,
                event,
                &Token {
                    epoch: *epoch,
                    run_id,
                    step: key.clone(),
                    attempt: *attempt,
                },
            );
        }
        self.note_step(run_id, &event.kind);
        self.note_halt(run_id);
        self.workspace.note_pause(run_id);
        if matches!(&event.kind, EventKind::RunPaused(_)) {
            self.recall();
        }
        self.probe_after(run_id, &event.kind);
        self.post_shared(&postings, seq)?;
        self.note_nested(run_id, &event.kind, (&postings, seq))?;
        self.note_call(run_id, &event.kind);
        for model in cut_off {
            self.workspace.shared.circuits.give_back(&model);
            self.circuits_changed.insert(model);
        }
        Ok(run_seq)
    }

    fn begin_run(&mut self, run: Run, input: Option<Arc<Value>>, seq: u64) {
        let run_id = run.run_id;
        let hash = run.created.definition_hash;
        let workflow = hash.and_then(|hash| self.workspace.compiled.get(&hash).cloned());
        let nested = run.outer().is_some();
        let mut resident = Resident::new(run, workflow, input.unwrap_or_default());
        resident.last_seq = seq;
        self.workspace.runs.insert(run_id, resident);
        if nested {
            self.stirred.insert(run_id);
        }
    }

    /// An attempt that lost its token without having said so itself is asked to stop.
    fn revoke(&mut self, run_id: RunId, event: &NewEvent, token: &Token) {
        let Some(resident) = self.workspace.runs.get(&run_id) else {
            return;
        };
        let step = resident.run.step(&token.step);
        if step.is_some_and(|step| step.live.is_some()) {
            return;
        }
        let ended_itself = matches!(
            event.kind,
            EventKind::StepCompleted(_) | EventKind::AttemptFailed(_) | EventKind::StepSuspended(_)
        );
        self.deadlines.retain(|(_, timed)| timed != token);
        if !ended_itself {
            self.batch.effects.push(Effect::Cancel(token.clone()));
        }
    }

    /// The end of a call changes what others of its step and its model wait for.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only the end of a call is meant"
    )]
    fn note_call(&mut self, run_id: RunId, kind: &EventKind) {
        let (step, model) = match kind {
            EventKind::ModelCallSettled(facts) => (&facts.step, &facts.model),
            EventKind::ModelCallThrottled(facts) => (&facts.step, &facts.model),
            EventKind::ModelCallReleased(facts) => (&facts.step, &facts.model),
            EventKind::ModelCallDoubted(facts) => (&facts.step, &facts.model),
            _ => return,
        };
        // A probe that was given back is another's.
        if self.circuit_slots.contains_key(model) {
            self.circuits_changed.insert(model.clone());
        }
        self.refresh(run_id, step);
    }

    /// What the workspace keeps of the state of steps.
    fn note_step(&mut self, run_id: RunId, kind: &EventKind) {
        let Some(key) = kind.step() else { return };
        let Some(resident) = self.workspace.runs.get(&run_id) else {
            return;
        };
        let Some(step) = resident.run.step(key) else {
            return;
        };
        let place = (run_id, key.clone());
        let budget = step
            .block
            .as_ref()
            .is_some_and(|b| b.reason == BlockReason::Budget);
        if budget && step.status.0 == StepStatus::Blocked {
            self.workspace.budget_blocked.insert(place);
        } else {
            self.workspace.budget_blocked.remove(&place);
        }
        if let Some(agent) = &step.agent {
            let all = self.workspace.abandoned.entry(agent.clone()).or_default();
            let before = all.len();
            all.retain(|(run, step_key, _)| *run != run_id || step_key != key);
            all.extend(
                step.abandoned
                    .iter()
                    .map(|attempt| (run_id, key.clone(), *attempt)),
            );
            if all.len() < before {
                self.handlers_ended.insert(agent.clone());
            }
        }
        if let EventKind::StepDispatched(facts) = kind {
            self.set_deadline(run_id, facts);
        }
        if let EventKind::StepUnblocked(_) = kind {
            self.ask_queue_again(run_id);
        }
    }

    /// When what a run, and what is nested in it, has out is to be gone, where the run is halted.
    pub(super) fn note_halt(&mut self, run: RunId) {
        let resident = self.workspace.runs.get(&run);
        match resident.and_then(|resident| run_halt(&resident.run)) {
            Some(until) => drop(self.workspace.draining.insert(HaltScope::Run(run), until)),
            None if self.workspace.draining.is_empty() => {}
            None => drop(self.workspace.draining.remove(&HaltScope::Run(run))),
        }
    }

    /// A step that said what holds it up says so no more: its other calls may have to be told.
    fn ask_queue_again(&mut self, run_id: RunId) {
        for ticket in self.waiting_of.get(&run_id).into_iter().flatten() {
            if let Some(waiter) = self.workspace.queue.waiter(*ticket) {
                self.freed = self.freed.union(&waiter.path);
            }
        }
    }

    fn set_deadline(&mut self, run_id: RunId, facts: &crate::event::step::StepDispatched) {
        let resident = self.workspace.runs.get(&run_id);
        let workflow = resident.and_then(|resident| resident.workflow.as_ref());
        let step = workflow.and_then(|w| w.definition().step(facts.step.name()));
        if let Some(timeout) = step.and_then(|step| step.timeout) {
            let token = Token {
                epoch: self.workspace.epoch,
                run_id,
                step: facts.step.clone(),
                attempt: facts.attempt,
            };
            let at = self.group.instant.monotonic.saturating_add(timeout);
            self.deadlines.insert((at, token));
        }
    }

    fn post_shared(&mut self, postings: &[Posting], seq: u64) -> Result<()> {
        for posting in postings {
            let shared = posting.shared();
            post_at(&mut self.workspace, &shared, posting.at, &posting.movement)
                .map_err(|fault| Error::corrupt("ledger", Some(seq)).with_source(fault))?;
            self.batch.accounts.extend(shared.iter().cloned());
            self.note_movement(&shared, &posting.movement);
            if self.workspace.nobody_waits_for_room() {
                continue;
            }
            self.freed = self.freed.union(&posting.path);
            // These can stop a waiter from barring accounts that they do not touch.
            self.wake_all |= match posting.movement {
                Movement::Doubt(_) | Movement::SettleDoubt { .. } => true,
                Movement::Change(change) => makes_room(&change),
                Movement::Reserve(_) | Movement::Release(_) | Movement::Settle { .. } => false,
            };
        }
        Ok(())
    }
}

/// The models of calls that end with their attempt's hold, and of which no event of their own tells.
fn cut_off(run: &Run, kind: &EventKind) -> Vec<ModelId> {
    let EventKind::AttemptInterrupted(facts) = kind else {
        return Vec::new();
    };
    let open = CallState::Open {
        attempt: facts.attempt,
    };
    let calls = run
        .step(&facts.step)
        .into_iter()
        .flat_map(|step| step.calls.values());
    let open = calls.filter(|call| call.state == open);
    open.filter_map(|call| call.model.clone()).collect()
}

/// Whether a change of an account's rules can let a waiter through, or bar it.
const fn makes_room(change: &budget::Change) -> bool {
    match change {
        budget::Change::SetLimit { .. }
        | budget::Change::SetMode(_)
        | budget::Change::TopUp(_)
        | budget::Change::Freeze
        | budget::Change::Unfreeze
        | budget::Change::Lapse(_)
        | budget::Change::OpenWindow { .. } => true,
        budget::Change::Lapses(_)
        | budget::Change::SetInFlight(_)
        | budget::Change::RaiseLasting(_)
        | budget::Change::Reach(_)
        | budget::Change::SetWindow(_)
        | budget::Change::CloseWindow(_) => false,
    }
}

fn circuit_event(model: ModelId, change: &Change) -> NewEvent {
    let kind: EventKind = match *change {
        Change::Opened { failures, until } => CircuitOpened {
            model,
            failures,
            until,
        }
        .into(),
        Change::HalfOpened => CircuitHalfOpened { model }.into(),
        Change::Closed => CircuitClosed { model }.into(),
    };
    NewEvent {
        run_id: RunId::ZERO,
        kind,
        parts: Vec::new(),
    }
}
