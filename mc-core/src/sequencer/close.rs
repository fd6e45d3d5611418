//! Close: what a batch takes with it, and which runs stay in memory.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::batch::{ClosedBatch, ClosedRun, Pending, Promised};
use super::command::Request;
use super::core::Sequencer;
use super::decide::agents::ABANDONED_HANDLERS;
use super::decision::{CallReply, Reply};
use super::family::members;
use super::resident::{Loaded, Resident};
use super::token::Token;
use super::traffic::{CallsOut, calls_out};
use super::workspace::Dispatch;
use crate::error::{Error, Result};
use crate::event::StepStatus;
use crate::event::run::{PauseReason, Subject};
use crate::id::{RunId, StepKey, StepName};
use crate::ports::RunNeeds;
use crate::run::{BlockReason, Run, Step};
use crate::time::Timestamp;

impl Sequencer {
    /// Closes the open batch; none where nothing was decided.
    ///
    /// # Errors
    /// `Internal`, which cannot happen for these shapes.
    pub fn close_batch(&mut self) -> Result<Option<(ClosedBatch, Promised)>> {
        let batch = &self.batch;
        if batch.placed.is_empty() && batch.pending.is_empty() && batch.effects.is_empty() {
            return Ok(None);
        }
        let batch = std::mem::take(&mut self.batch);
        // Who writes events learns who has left memory; a batch without events is not written.
        let evicted = match batch.placed.as_slice() {
            [] => Vec::new(),
            _ => std::mem::take(&mut self.evicted),
        };
        let shared = serde_json::to_vec(&self.workspace.shared)
            .map_err(|e| Error::internal("the workspace cannot be written").with_source(e))?;
        let runs = batch
            .runs
            .iter()
            .filter_map(|run| Some((*run, self.closed_run(*run)?)));
        let account = |id: &crate::budget::AccountId| {
            self.workspace
                .accounts
                .get(id)
                .map(|account| (id.clone(), account.clone()))
        };
        let closed = ClosedBatch {
            workspace_id: self.workspace.workspace_id,
            epoch: self.workspace.epoch,
            placed: batch.placed,
            runs: runs.collect(),
            accounts: batch.accounts.iter().filter_map(account).collect(),
            workflows: batch.workflows,
            keys: batch.keys,
            shared: shared.into(),
            evicted,
        };
        let promised = Promised {
            pending: batch.pending,
            effects: batch.effects,
            next_seq: self.next_seq,
        };
        Ok(Some((closed, promised)))
    }

    pub(super) fn closed_run(&self, run: RunId) -> Option<ClosedRun> {
        let resident = self.workspace.runs.get(&run)?;
        let definition = resident
            .workflow
            .as_ref()
            .map(|workflow| workflow.definition());
        let agents = match (&resident.run.created.subject, definition) {
            (Subject::Session { agent }, _) => vec![agent.clone()],
            (_, Some(definition)) => definition.agents(),
            (_, None) => Vec::new(),
        };
        Some(ClosedRun {
            run: Arc::clone(&resident.run),
            agents,
            chain: resident.chain.0,
            needs: self.needs(resident),
        })
    }

    /// What a run needs from a process that opens the store.
    pub(super) fn needs(&self, resident: &Resident) -> RunNeeds {
        let run = &resident.run;
        let open = !run.status.is_terminal();
        let waits_for = |reason: BlockReason| {
            run.steps
                .values()
                .any(|s| s.block.as_ref().is_some_and(|b| b.reason == reason))
        };
        let queued = self.waiting_of.contains_key(&run.run_id) || self.pace.holds_up(run.run_id);
        let capped = |step: &Step| {
            step.block
                .as_ref()
                .is_some_and(|block| block.code == ABANDONED_HANDLERS)
        };
        let capped = open && run.steps.values().any(capped);
        let out = run
            .steps
            .values()
            .any(|s| s.live.is_some() || !s.abandoned.is_empty());
        let ready = open && run.paused.is_none() && self.can_move(resident);
        let paused = matches!(run.paused, Some(PauseReason::Budget { .. }));
        let short = paused || waits_for(BlockReason::Budget);
        let mut agents = if open && waits_for(BlockReason::AgentUnavailable) {
            resident
                .workflow
                .iter()
                .flat_map(|w| w.definition().agents())
                .collect::<Vec<_>>()
        } else {
            Vec::new()
        };
        // Who can be asked what became of a step, also of a run that has ended.
        let doubts = run.steps.iter().filter(|(key, _)| run.is_in_doubt(key));
        agents.extend(doubts.filter_map(|(_, step)| step.agent.clone()));
        RunNeeds {
            attention: out || queued || ready || capped || (open && short),
            due: run.next_wake(),
            agents,
        }
    }

    /// Whether something of a run could be dispatched if dispatch were on.
    pub(super) fn can_move(&self, resident: &Resident) -> bool {
        let run = &resident.run;
        if self.workspace.dispatch == Dispatch::On {
            return !resident.ready.is_empty();
        }
        let waits = |(key, step): (&StepKey, &Step)| {
            // A `for_each` that is under way may have items that never went out.
            let expanded = step.expansion.is_some() && step.status.0 == StepStatus::Running;
            expanded || (step.status.0 == StepStatus::Waiting && !resident.wakes.contains_key(key))
        };
        let untouched = |name: &StepName| !run.steps.contains_key(&StepKey::of(name));
        resident.open.iter().any(untouched)
            || run.steps.iter().any(waits)
            || !resident.ready.is_empty()
    }

    /// A batch is durable: everything up to `next_seq` is on disk.
    pub fn committed(&mut self, next_seq: u64) {
        self.durable = self.durable.max(next_seq);
    }

    /// Puts a run that was paged in into memory, with those that are nested in one another with it.
    ///
    /// # Errors
    /// `Corrupt` where their accounts cannot be added up.
    pub fn page_in(&mut self, family: Vec<Resident>) -> Result<()> {
        // The row of a run that is here already is older than it.
        let here = |resident: &Resident| self.workspace.runs.contains_key(&resident.run.run_id);
        let new: Vec<Resident> = family.into_iter().filter(|one| !here(one)).collect();
        let runs: Vec<RunId> = new.iter().map(|resident| resident.run.run_id).collect();
        for resident in new {
            self.page_in_one(resident);
        }
        self.sum_up(&runs)
    }

    /// Gives an ended run its content back, if it is still as it was when that was read.
    ///
    /// # Errors
    /// `Corrupt` where content is missing.
    pub fn restore(&mut self, run: &Arc<Run>, loaded: &Loaded) -> Result<()> {
        match self.workspace.runs.get_mut(&run.run_id) {
            Some(resident) if resident.run.events == run.events => resident.restore(loaded),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether the content that a request needs is not in memory, although its run is.
    pub fn wants_content(&self, request: &Request) -> Option<RunId> {
        let Request::Redrive(redrive) = request else {
            return None;
        };
        let resident = self.workspace.runs.get(&redrive.run_id)?;
        let wants = !resident.whole && resident.run.status.is_terminal();
        wants.then_some(redrive.run_id)
    }

    fn page_in_one(&mut self, resident: Resident) {
        let run = resident.run.run_id;
        self.evicted.retain(|gone| *gone != run);
        for (key, step) in &resident.run.steps {
            if let Some(agent) = &step.agent {
                let all = self.workspace.abandoned.entry(agent.clone()).or_default();
                all.extend(
                    step.abandoned
                        .iter()
                        .map(|attempt| (run, key.clone(), *attempt)),
                );
            }
            if step
                .block
                .as_ref()
                .is_some_and(|b| b.reason == BlockReason::Budget)
            {
                self.workspace.budget_blocked.insert((run, key.clone()));
            }
        }
        self.workspace.calls_out.extend(calls_out(&resident.run));
        let ended = resident.run.status.is_terminal();
        self.workspace.runs.insert(run, resident);
        self.note_wake(run);
        self.note_halt(run);
        self.workspace.note_pause(run);
        if ended {
            self.note_end(run);
        }
    }

    /// What is known of calls that are still out after a soft restart, beyond their run's state.
    pub fn recall_calls(&mut self, known: CallsOut) {
        for (place, call) in known {
            if let Some(out) = self.workspace.calls_out.get_mut(&place) {
                *out = call;
            }
        }
    }

    /// How often runs have left memory.
    pub const fn departures(&self) -> u64 {
        self.departures.total()
    }

    /// Whether a run has left memory since so many had: a row of it that was read before may be old.
    pub fn has_left_since(&self, run: RunId, departures: u64) -> bool {
        self.departures.have(run, departures)
    }

    /// A run has ended: its content leaves memory now, its state when its turn comes.
    pub(super) fn note_end(&mut self, run: RunId) {
        let Some(resident) = self.workspace.runs.get_mut(&run) else {
            return;
        };
        resident.drop_content();
        self.ended.add(run, resident.weight());
    }

    /// About how many bytes the states of ended runs take in memory.
    pub const fn ended_bytes(&self) -> u64 {
        self.ended.bytes()
    }

    /// Takes runs out of memory where more are there than there may be: first those that ended,
    /// the oldest end before the others, then those that only wait. Tells when the first of them is
    /// due.
    pub fn page_out(&mut self) -> Option<Timestamp> {
        let (most, most_bytes) = {
            let settings = &self.workspace.settings;
            (settings.resident_runs, settings.ended_bytes)
        };
        let mut excess = self.workspace.runs.len().saturating_sub(most);
        let mut bytes = self.ended.bytes().saturating_sub(most_bytes);
        if excess == 0 && bytes == 0 {
            return None;
        }
        let mut idle = BTreeSet::new();
        let mut go = |run: RunId| {
            let family = members(&self.workspace, run);
            let all = family.iter().all(|run| self.is_idle_run(*run));
            let new = family.iter().filter(|run| all && idle.insert(**run));
            new.count()
        };
        for (run, weight) in self.ended.oldest() {
            if excess == 0 && bytes == 0 {
                break;
            }
            let gone = go(run);
            excess = excess.saturating_sub(gone);
            if gone > 0 {
                bytes = bytes.saturating_sub(weight);
            }
        }
        for resident in self.workspace.runs.values() {
            if excess == 0 {
                break;
            }
            if !resident.run.status.is_terminal() {
                excess = excess.saturating_sub(go(resident.run.run_id));
            }
        }
        let due = idle.into_iter().filter_map(|run| self.evict(run));
        due.min()
    }

    /// Takes a run out of memory; tells when it is due.
    fn evict(&mut self, run: RunId) -> Option<Timestamp> {
        let gone = self.workspace.runs.remove(&run);
        self.workspace.wakes.remove(&run);
        self.workspace.family.remove(run);
        self.ended.remove(run);
        self.evicted.push(run);
        self.departures.add(run);
        gone?.run.next_wake()
    }

    fn is_idle_run(&self, run: RunId) -> bool {
        let resident = self.workspace.runs.get(&run);
        resident.is_some_and(|resident| self.is_idle(resident))
    }

    pub(super) fn is_idle(&self, resident: &Resident) -> bool {
        let changed = self.batch.runs.contains(&resident.run.run_id);
        resident.last_seq < self.durable && !changed && !self.needs(resident).attention
    }

    /// When something in memory has to be done by itself: wall time, and monotonic time.
    pub fn next_due(&self) -> (Option<Timestamp>, Option<Duration>) {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        // While nothing is dispatched, room in the wave is of no use to anybody.
        let pace = self.pace.due();
        let pace = pace.filter(|_| self.workspace.dispatch == Dispatch::On);
        let deadline = deadline.into_iter().chain(pace);
        let deadline = deadline.chain(self.asks_at()).min();
        let window = self.next_window();
        let drained = self.workspace.draining.values().min().copied();
        let wall = self.workspace.next_wake().into_iter();
        let wall = wall.chain(window).chain(drained).min();
        (wall, deadline)
    }

    /// An attempt that this epoch adopted times out when it would have.
    pub fn keep_deadline(&mut self, token: Token, deadline: Option<Duration>) {
        let timed = deadline.filter(|_| self.view().live(&token).is_some());
        self.deadlines.extend(timed.map(|at| (at, token)));
    }

    /// Every command whose reply is still owed, in order: to be decided again after a soft restart.
    pub fn owed(&mut self) -> Vec<Pending> {
        let mut owed = std::mem::take(&mut self.batch.pending);
        for (_, (command, slot)) in std::mem::take(&mut self.slots) {
            let again = Ok(Reply::Call(CallReply::Again));
            owed.push(Pending {
                command,
                reply: Some((slot, again)),
            });
        }
        for (_, (command, slot)) in std::mem::take(&mut self.turn_slots) {
            let again = Ok(Reply::Call(CallReply::Again));
            owed.push(Pending {
                command,
                reply: Some((slot, again)),
            });
        }
        for (_, _, slot) in std::mem::take(&mut self.circuit_slots)
            .into_values()
            .flatten()
        {
            let _ = slot.send(Ok(Reply::Call(CallReply::Again)));
        }
        owed
    }
}
