//! The sequencer itself: takes commands one by one, decides, applies, and fills the open batch.
//!
//! It is synchronous and never waits. Order of decision is order of `seq` is order of commit.
//! Replies and effects are handed out by [`Sequencer::committed`], behind the durable head; the one
//! exception is what lies inside a hold that is durable already.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::batch::{ClosedBatch, ClosedRun, OpenBatch, Pending, Promised, Slot};
use super::command::{AttemptRequest, Command, Request};
use super::decide::{self, View, dispatch::Dispatched};
use super::decision::{Answer, CallReply, Decision, NewEvent, Reply, Wait};
use super::resident::Resident;
use super::token::Token;
use super::workspace::{Dispatch, ResidentBooks, Waiting, Workspace};
use crate::budget::{Owner, Path, Ticket, Waiter, Wake};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Actor, CommandId, ModelId, RunId, StepKey};
use crate::ports::RunNeeds;
use crate::run::BlockReason;
use crate::time::Timestamp;

/// The time of a command.
#[derive(Clone, Copy, Debug)]
pub struct Instant {
    /// Wall time.
    pub now: Timestamp,
    /// Monotonic time.
    pub monotonic: Duration,
    /// Chance, drawn for this command.
    pub random: u64,
}

/// What became of a command at once.
#[derive(Debug)]
pub enum Submitted {
    /// The answer.
    Now(Result<Reply>),
    /// The slot gets it.
    Later,
}

/// The one place where order is made.
#[derive(Debug)]
pub struct Sequencer {
    pub(super) workspace: Workspace,
    pub(super) batch: OpenBatch,
    pub(super) next_seq: u64,
    pub(super) next_run_zero: u64,
    pub(super) durable: u64,
    pub(super) last_ts: Timestamp,
    slots: BTreeMap<Ticket, (Arc<Command>, Slot)>,
    circuit_slots: BTreeMap<ModelId, Vec<(RunId, Slot)>>,
    pub(super) deadlines: BTreeSet<(Duration, Token)>,
    pub(super) freed: Path,
    pub(super) wake_all: bool,
    pub(super) circuits_changed: BTreeSet<ModelId>,
    pub(super) group: Group,
    evicted: Vec<RunId>,
    /// A defect was found: nothing more is taken until the state is recovered from the log.
    poisoned: bool,
}

/// Who causes the events of the command under way.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) command: CommandId,
    pub(super) actor: Actor,
    pub(super) auth_method: crate::id::AuthMethod,
    pub(super) instant: Instant,
}

impl Sequencer {
    /// A sequencer over a state that was read back from the log.
    pub fn new(
        workspace: Workspace,
        next_seq: u64,
        next_run_zero: u64,
        last_ts: Timestamp,
    ) -> Self {
        Self {
            workspace,
            batch: OpenBatch::default(),
            next_seq,
            next_run_zero,
            durable: next_seq,
            last_ts,
            slots: BTreeMap::new(),
            circuit_slots: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            freed: Path::default(),
            wake_all: false,
            circuits_changed: BTreeSet::new(),
            group: Group {
                command: CommandId::NIL,
                actor: Actor::System,
                auth_method: crate::id::AuthMethod::Library,
                instant: Instant {
                    now: last_ts,
                    monotonic: Duration::ZERO,
                    random: 0,
                },
            },
            evicted: Vec::new(),
            poisoned: false,
        }
    }

    /// Writes the first events of an epoch.
    ///
    /// # Errors
    /// Only defects.
    pub(super) fn open(&mut self, instant: Instant, events: Vec<NewEvent>) -> Result<()> {
        self.last_ts = self.last_ts.max(instant.now);
        self.group.instant = Instant {
            now: self.last_ts,
            ..instant
        };
        self.commit(events)
    }

    /// The state, to look at.
    pub const fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Changes settings that are no part of the log: which agents are here.
    pub fn register(&mut self, agent: crate::id::AgentName) {
        self.workspace.agents.insert(agent);
    }

    /// The number behind the last event that was decided.
    pub const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Events below this number are durable.
    pub const fn durable(&self) -> u64 {
        self.durable
    }

    /// Whether a defect was found.
    pub const fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Takes a command. Its run must be in memory.
    pub fn submit(
        &mut self,
        command: &Arc<Command>,
        instant: Instant,
        slot: Option<Slot>,
    ) -> Submitted {
        if self.poisoned {
            return self.answer_late(command, slot, Err(poisoned()));
        }
        self.begin(command, instant);
        let decision = match self.decide(&command.request) {
            Ok(decision) => decision,
            Err(error) => return self.answer_late(command, slot, Err(error)),
        };
        let touched: BTreeSet<RunId> = decision
            .events
            .iter()
            .map(|event| event.run_id)
            .chain(command.request.run_id())
            .collect();
        let (events, effects, answer) = (decision.events, decision.effects, decision.answer);
        let wrote = !events.is_empty();
        let outcome = self.commit(events).and_then(|()| {
            self.batch.effects.extend(effects);
            self.follow_up(&command.request, touched)
        });
        if let Err(error) = outcome {
            self.poisoned = true;
            return self.answer_late(command, slot, Err(error));
        }
        match answer {
            Answer::Now(reply) => {
                if wrote {
                    self.batch.pending.push(Pending {
                        command: Arc::clone(command),
                        reply: None,
                    });
                }
                Submitted::Now(Ok(reply))
            }
            Answer::Durable(reply) => self.answer_late(command, slot, Ok(reply)),
            Answer::Queued(wait) => self.enqueue(command, wait, slot),
        }
    }

    fn begin(&mut self, command: &Command, mut instant: Instant) {
        // Time in the log never goes back.
        instant.now = instant.now.max(self.last_ts);
        self.last_ts = instant.now;
        self.group = Group {
            command: command.id,
            actor: command.actor.clone(),
            auth_method: command.auth_method,
            instant,
        };
    }

    /// Answers once everything that was decided so far is durable, so that nothing leaves that
    /// depends on what may be lost.
    fn answer_late(
        &mut self,
        command: &Arc<Command>,
        slot: Option<Slot>,
        reply: Result<Reply>,
    ) -> Submitted {
        let Some(slot) = slot else {
            if reply.is_ok() {
                self.batch.pending.push(Pending {
                    command: Arc::clone(command),
                    reply: None,
                });
            }
            return Submitted::Later;
        };
        if self.next_seq == self.durable || self.poisoned {
            return Submitted::Now(reply);
        }
        let command = Arc::clone(command);
        self.batch.pending.push(Pending {
            command,
            reply: Some((slot, reply)),
        });
        Submitted::Later
    }

    pub(super) fn view(&self) -> View<'_> {
        View {
            workspace: &self.workspace,
            now: self.group.instant.now,
            random: self.group.instant.random,
            durable: self.durable,
        }
    }

    fn decide(&self, request: &Request) -> Result<Decision> {
        let view = self.view();
        match request {
            Request::Publish(publish) => Ok(decide::publish::publish(&view, publish)),
            Request::Activate(activate) => decide::publish::activate(&view, activate),
            Request::Start(start) => decide::start::start(&view, start),
            Request::OpenSession(open) => decide::session::open(&view, open),
            Request::CloseSession(run) => decide::session::close(&view, *run),
            Request::Abort(run) => decide::abort::abort(&view, *run),
            Request::Pause(run) => decide::control::pause(&view, *run),
            Request::Resume(run) => decide::control::resume(&view, *run),
            Request::Unblock(run, step) => decide::control::unblock(&view, *run, step),
            Request::Signal(run, name, payload) => {
                decide::signal::signal(&view, *run, name, payload)
            }
            Request::SetLimit(set) => decide::limits::set(&view, set),
            Request::Reconcile(reconcile) => decide::reconcile::reconcile(&view, reconcile),
            Request::Attempt(token, request) => decide_attempt(&view, token, request),
            Request::Recover(run, alive) => decide::recover::recover(&view, *run, alive),
            Request::ClockJumped { expected } => Ok(clock_jumped(&view, *expected)),
            Request::AgentsAvailable(_)
            | Request::StartDispatch
            | Request::Drain
            | Request::Tick => Ok(Decision::events(Vec::new())),
        }
    }

    /// Everything that follows from a command, until nothing does.
    fn follow_up(&mut self, request: &Request, mut touched: BTreeSet<RunId>) -> Result<()> {
        match request {
            Request::Start(start) => self.remember_key(start),
            Request::AgentsAvailable(agents) => {
                self.workspace.agents.extend(agents.iter().cloned());
                touched.extend(self.agents_available()?);
            }
            Request::StartDispatch => {
                self.workspace.dispatch = Dispatch::On;
                touched.extend(self.workspace.runs.keys().copied());
                self.workspace
                    .runs
                    .values_mut()
                    .for_each(Resident::look_at_all);
            }
            Request::Drain => self.workspace.dispatch = Dispatch::Draining,
            Request::Tick => touched.extend(self.tick()?),
            Request::Recover(run, _) => {
                self.workspace
                    .runs
                    .get_mut(run)
                    .into_iter()
                    .for_each(Resident::look_at_all);
            }
            _ => {}
        }
        touched.remove(&RunId::ZERO);
        self.settle_down(touched)
    }

    fn remember_key(&mut self, start: &super::command::Start) {
        let Some(key) = &start.key else { return };
        if !self.workspace.runs.contains_key(&start.run_id) {
            return;
        }
        let row = crate::ports::KeyRow {
            workflow: start.workflow.clone(),
            key: Arc::from(key.key.as_str()),
            run_id: start.run_id,
            request: decide::start::request_digest(start),
        };
        self.batch.keys.push(row.clone());
        self.workspace.keys.remember(row, self.next_seq);
    }

    fn agents_available(&mut self) -> Result<BTreeSet<RunId>> {
        let agents = self.workspace.agents.clone();
        let all: Vec<RunId> = self.workspace.runs.keys().copied().collect();
        let mut touched = BTreeSet::new();
        for run in all {
            let Some(resident) = self.workspace.runs.get(&run) else {
                continue;
            };
            let events = decide::agents::available(resident, &agents);
            if !events.is_empty() {
                self.commit(events)?;
                touched.insert(run);
            }
        }
        Ok(touched)
    }

    /// Time-outs, and runs that go on by themselves.
    fn tick(&mut self) -> Result<BTreeSet<RunId>> {
        let Instant { now, monotonic, .. } = self.group.instant;
        let mut touched = BTreeSet::new();
        while let Some((at, token)) = self.deadlines.first().cloned() {
            if at > monotonic {
                break;
            }
            self.deadlines.pop_first();
            let decision = decide::timeout::timeout(&self.view(), &token);
            self.commit(decision.events)?;
            touched.insert(token.run_id);
        }
        let due: Vec<RunId> = self
            .workspace
            .wakes
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(run, _)| *run)
            .collect();
        for run in due {
            if let Some(resident) = self.workspace.runs.get_mut(&run) {
                let due = resident.wakes.iter().filter(|(_, at)| **at <= now);
                let due: Vec<StepKey> = due.map(|(key, _)| key.clone()).collect();
                resident.ready.extend(due);
                touched.insert(run);
            }
        }
        Ok(touched)
    }

    /// Decides what follows in these runs, and in all that wait for what they let go.
    fn settle_down(&mut self, mut runs: BTreeSet<RunId>) -> Result<()> {
        loop {
            while let Some(run) = runs.pop_first() {
                self.settle_run(run)?;
            }
            runs.extend(self.wake_queue()?);
            self.wake_circuits();
            if runs.is_empty() {
                return Ok(());
            }
        }
    }

    fn settle_run(&mut self, run: RunId) -> Result<()> {
        loop {
            let Some(resident) = self.workspace.runs.get_mut(&run) else {
                return Ok(());
            };
            let Some(key) = resident.ready.pop_first() else {
                break;
            };
            self.step_forward(run, &key)?;
        }
        self.end_run(run)?;
        self.note_wake(run);
        Ok(())
    }

    fn step_forward(&mut self, run: RunId, key: &StepKey) -> Result<()> {
        let resident = self.workspace.resident(run)?;
        if self.is_waiting(run, key) {
            return Ok(());
        }
        match decide::advance::next_step(&self.view(), resident, key)? {
            Dispatched::NotNow => Ok(()),
            Dispatched::Decided(decision) => {
                self.commit(decision.events)?;
                self.batch.effects.extend(decision.effects);
                let resident = self.workspace.resident(run)?;
                let events = decide::advance::superfluous(resident, key);
                self.commit(events)
            }
            Dispatched::Queued(Wait::Budget { path, amount }) => {
                let ticket = self.take_ticket();
                let waiter = Waiter {
                    ticket,
                    path,
                    amount,
                    owner: None,
                };
                self.workspace
                    .waiting
                    .insert(ticket, Waiting::Step(run, key.clone()));
                self.push(waiter);
                Ok(())
            }
            Dispatched::Queued(Wait::Circuit) => {
                Err(Error::internal("a step waits for no breaker"))
            }
        }
    }

    fn is_waiting(&self, run: RunId, key: &StepKey) -> bool {
        let mut waiting = self.workspace.waiting.values();
        waiting.any(|w| matches!(w, Waiting::Step(id, step) if *id == run && step == key))
    }

    fn end_run(&mut self, run: RunId) -> Result<()> {
        let Some(resident) = self.workspace.runs.get(&run) else {
            return Ok(());
        };
        let events = decide::advance::run_end(&self.view(), resident);
        self.commit(events)?;
        let resident = self.workspace.resident(run)?;
        if resident.run.status.is_terminal() {
            self.leave_queues(run)?;
        }
        let resident = self.workspace.resident(run)?;
        let seal = decide::advance::seal(&resident.run);
        self.commit(seal.into_iter().collect())
    }

    fn note_wake(&mut self, run: RunId) {
        match self.workspace.runs.get(&run).and_then(Resident::next_wake) {
            Some(at) => drop(self.workspace.wakes.insert(run, at)),
            None => drop(self.workspace.wakes.remove(&run)),
        }
    }

    fn take_ticket(&mut self) -> Ticket {
        let ticket = self.workspace.next_ticket;
        self.workspace.next_ticket += 1;
        ticket
    }

    fn push(&mut self, waiter: Waiter) {
        let mut queue = std::mem::take(&mut self.workspace.queue);
        self.freed = self.freed.union(&waiter.path);
        queue.push(&ResidentBooks(&self.workspace), waiter);
        self.workspace.queue = queue;
    }

    fn remove(&mut self, ticket: Ticket) {
        self.workspace.waiting.remove(&ticket);
        if let Some(waiter) = self.workspace.queue.remove(ticket) {
            self.freed = self.freed.union(&waiter.path);
        }
    }

    /// A run that has ended waits for nothing.
    fn leave_queues(&mut self, run: RunId) -> Result<()> {
        let mine = self
            .workspace
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.run_id() == run);
        let tickets: Vec<Ticket> = mine.map(|(ticket, _)| *ticket).collect();
        for ticket in tickets {
            self.remove(ticket);
            if let Some((command, slot)) = self.slots.remove(&ticket) {
                self.promise(&command, slot, Err(run_ended(run)));
            }
        }
        for slots in self.circuit_slots.values_mut() {
            let (gone, rest) = std::mem::take(slots)
                .into_iter()
                .partition(|(id, _)| *id == run);
            *slots = rest;
            for (_, slot) in Vec::<(RunId, Slot)>::from(gone) {
                let _ = slot.send(Err(run_ended(run)));
            }
        }
        Ok(())
    }

    fn promise(&mut self, command: &Arc<Command>, slot: Slot, reply: Result<Reply>) {
        let command = Arc::clone(command);
        self.batch.pending.push(Pending {
            command,
            reply: Some((slot, reply)),
        });
    }

    /// Puts a call where it waits for its turn.
    fn enqueue(&mut self, command: &Arc<Command>, wait: Wait, slot: Option<Slot>) -> Submitted {
        let Request::Attempt(token, AttemptRequest::ReserveCall(call)) = &command.request else {
            return self.answer_late(command, slot, Err(Error::internal("only calls wait")));
        };
        let Some(slot) = slot else {
            return Submitted::Now(Err(Error::internal("nobody waits for this call")));
        };
        match wait {
            Wait::Circuit => {
                let waiting = self.circuit_slots.entry(call.model.clone()).or_default();
                waiting.push((token.run_id, slot));
            }
            Wait::Budget { path, amount } => {
                let ticket = self.take_ticket();
                let owner = Owner {
                    run: token.run_id,
                    step: token.step.clone(),
                };
                let waiter = Waiter {
                    ticket,
                    path,
                    amount,
                    owner: Some(owner),
                };
                let waiting = Waiting::Call(token.clone(), Arc::clone(call), command.id);
                self.workspace.waiting.insert(ticket, waiting);
                self.slots.insert(ticket, (Arc::clone(command), slot));
                self.push(waiter);
                if let Err(error) = self.settle_down(BTreeSet::new()) {
                    self.poisoned = true;
                    return Submitted::Now(Err(error));
                }
            }
        }
        Submitted::Later
    }

    /// Wakes whoever waited for what was let go, first in first out.
    fn wake_queue(&mut self) -> Result<BTreeSet<RunId>> {
        let mut touched = BTreeSet::new();
        let freed = std::mem::take(&mut self.freed);
        if freed.is_empty() {
            return Ok(touched);
        }
        touched.extend(self.unblock_budgets()?);
        let mut queue = std::mem::take(&mut self.workspace.queue);
        let books = ResidentBooks(&self.workspace);
        let wake = if std::mem::take(&mut self.wake_all) {
            queue.next(&books)
        } else {
            queue.next_after(&books, &freed)
        };
        self.workspace.queue = queue;
        if let Some(Wake { ticket, .. }) = wake {
            // The paths that moved are asked again, until nobody is woken.
            self.freed = freed;
            touched.extend(self.wake(ticket)?);
        }
        Ok(touched)
    }

    fn wake(&mut self, ticket: Ticket) -> Result<BTreeSet<RunId>> {
        let waiting = self.workspace.waiting.get(&ticket).cloned();
        self.remove(ticket);
        match waiting {
            None => Ok(BTreeSet::new()),
            Some(Waiting::Step(run, key)) => {
                if let Some(resident) = self.workspace.runs.get_mut(&run) {
                    resident.ready.insert(key);
                }
                Ok(BTreeSet::from([run]))
            }
            Some(Waiting::Call(token, call, _)) => {
                let Some((command, slot)) = self.slots.remove(&ticket) else {
                    return Ok(BTreeSet::new());
                };
                self.call_again(&command, &token, &call, slot)
            }
        }
    }

    fn call_again(
        &mut self,
        command: &Arc<Command>,
        token: &Token,
        call: &Arc<super::command::ReserveCall>,
        slot: Slot,
    ) -> Result<BTreeSet<RunId>> {
        let decision = match decide::call_reserve::reserve(&self.view(), token, call) {
            Ok(decision) => decision,
            Err(error) => {
                self.promise(command, slot, Err(error));
                return Ok(BTreeSet::new());
            }
        };
        let caused = std::mem::replace(&mut self.group.command, command.id);
        self.commit(decision.events)?;
        self.group.command = caused;
        match decision.answer {
            Answer::Now(reply) | Answer::Durable(reply) => self.promise(command, slot, Ok(reply)),
            Answer::Queued(wait) => drop(self.enqueue_again(command, wait, slot)),
        }
        Ok(BTreeSet::from([token.run_id]))
    }

    fn enqueue_again(&mut self, command: &Arc<Command>, wait: Wait, slot: Slot) -> Submitted {
        match wait {
            // It was woken and has to wait once more: at the end, as any other.
            Wait::Budget { .. } | Wait::Circuit => {
                self.promise(command, slot, Ok(Reply::Call(CallReply::Again)));
                Submitted::Later
            }
        }
    }

    /// Runs and steps that stood still for an account ask again once there may be room.
    fn unblock_budgets(&mut self) -> Result<BTreeSet<RunId>> {
        let runs: BTreeSet<RunId> = self
            .workspace
            .budget_blocked
            .iter()
            .map(|(run, _)| *run)
            .collect();
        let mut touched = BTreeSet::new();
        for run in runs {
            let Some(resident) = self.workspace.runs.get(&run) else {
                continue;
            };
            let events = decide::limits::room(&self.view(), resident);
            if !events.is_empty() {
                self.commit(events)?;
                touched.insert(run);
            }
        }
        Ok(touched)
    }

    fn wake_circuits(&mut self) {
        for model in std::mem::take(&mut self.circuits_changed) {
            for (_, slot) in self.circuit_slots.remove(&model).into_iter().flatten() {
                // The answer depends on nothing that could be lost: ask again.
                let _ = slot.send(Ok(Reply::Call(CallReply::Again)));
            }
        }
    }

    fn commit(&mut self, events: Vec<NewEvent>) -> Result<()> {
        for event in events {
            self.place(event)?;
        }
        Ok(())
    }

    /// Closes the open batch; none where nothing was decided.
    ///
    /// # Errors
    /// `Internal`, which cannot happen for these shapes.
    pub fn close_batch(&mut self) -> Result<Option<(ClosedBatch, Promised)>> {
        if self.batch.placed.is_empty() && self.batch.pending.is_empty() {
            return Ok(None);
        }
        let batch = std::mem::take(&mut self.batch);
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
            evicted: std::mem::take(&mut self.evicted),
        };
        let promised = Promised {
            pending: batch.pending,
            effects: batch.effects,
            next_seq: self.next_seq,
        };
        Ok(Some((closed, promised)))
    }

    fn closed_run(&self, run: RunId) -> Option<ClosedRun> {
        let resident = self.workspace.runs.get(&run)?;
        let definition = resident
            .workflow
            .as_ref()
            .map(|workflow| workflow.definition());
        let mut agents: Vec<_> = match (&resident.run.created.subject, definition) {
            (crate::event::run::Subject::Session { agent }, _) => vec![agent.clone()],
            (_, Some(definition)) => definition
                .steps()
                .values()
                .map(|step| step.agent.clone())
                .collect(),
            (_, None) => Vec::new(),
        };
        agents.sort_unstable();
        agents.dedup();
        Some(ClosedRun {
            run: Arc::clone(&resident.run),
            agents,
            chain: resident.chain.0,
            needs: self.needs(resident),
        })
    }

    /// What a run needs from a process that opens the store.
    fn needs(&self, resident: &Resident) -> RunNeeds {
        let run = &resident.run;
        let open = !run.status.is_terminal();
        let waits_for = |reason: BlockReason| {
            run.steps
                .values()
                .any(|s| s.block.as_ref().is_some_and(|b| b.reason == reason))
        };
        let queued = self
            .workspace
            .waiting
            .values()
            .any(|w| w.run_id() == run.run_id);
        let out = run
            .steps
            .values()
            .any(|s| s.live.is_some() || !s.abandoned.is_empty());
        let ready = open && run.paused.is_none() && self.can_move(resident);
        let agents = if open && waits_for(BlockReason::AgentUnavailable) {
            resident
                .workflow
                .iter()
                .flat_map(|w| w.definition().steps().values())
                .map(|s| s.agent.clone())
                .collect()
        } else {
            Vec::new()
        };
        RunNeeds {
            attention: out || queued || ready || (open && waits_for(BlockReason::Budget)),
            due: resident.next_wake(),
            agents,
        }
    }

    /// Whether something of a run could be dispatched if dispatch were on.
    fn can_move(&self, resident: &Resident) -> bool {
        let run = &resident.run;
        if self.workspace.dispatch == Dispatch::On {
            return !resident.ready.is_empty();
        }
        let waits = |step: &crate::run::Step| {
            step.status.0 == crate::event::StepStatus::Waiting && step.wake_at.is_none()
        };
        run.steps.is_empty() || run.steps.values().any(waits) || !resident.ready.is_empty()
    }

    /// A batch is durable: everything up to `next_seq` is on disk.
    pub fn committed(&mut self, next_seq: u64) {
        self.durable = self.durable.max(next_seq);
    }

    /// Puts a run that was paged in into memory.
    pub fn page_in(&mut self, resident: Resident) {
        let run = resident.run.run_id;
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
        self.workspace.runs.entry(run).or_insert(resident);
        self.note_wake(run);
    }

    /// Takes runs out of memory that only wait, where more are there than there may be.
    pub fn page_out(&mut self) {
        let most = self.workspace.settings.resident_runs;
        let excess = self.workspace.runs.len().saturating_sub(most);
        if excess == 0 {
            return;
        }
        let idle: Vec<RunId> = self
            .workspace
            .runs
            .values()
            .filter(|resident| self.is_idle(resident))
            .map(|resident| resident.run.run_id)
            .take(excess)
            .collect();
        for run in idle {
            self.workspace.runs.remove(&run);
            self.workspace.wakes.remove(&run);
            self.evicted.push(run);
        }
    }

    fn is_idle(&self, resident: &Resident) -> bool {
        let changed = self.batch.runs.contains(&resident.run.run_id);
        resident.last_seq < self.durable && !changed && !self.needs(resident).attention
    }

    /// When something in memory has to be done by itself: wall time, and monotonic time.
    pub fn next_due(&self) -> (Option<Timestamp>, Option<Duration>) {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        (self.workspace.next_wake(), deadline)
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
        for (_, slot) in std::mem::take(&mut self.circuit_slots)
            .into_values()
            .flatten()
        {
            let _ = slot.send(Ok(Reply::Call(CallReply::Again)));
        }
        owed
    }
}

fn decide_attempt(view: &View<'_>, token: &Token, request: &AttemptRequest) -> Result<Decision> {
    match request {
        AttemptRequest::ReserveCall(call) => decide::call_reserve::reserve(view, token, call),
        AttemptRequest::SettleCall(answer) => decide::call_settle::settle(view, token, answer),
        AttemptRequest::FailCall(failure) => decide::call_fail::fail(view, token, failure),
        AttemptRequest::BeginTool(tool) => decide::tool::begin(view, token, tool),
        AttemptRequest::EndTool(tool) => decide::tool::end(view, token, tool),
        AttemptRequest::LookUpOnce(place) => decide::once::look_up(view, token, *place),
        AttemptRequest::RecordOnce(place, value) => {
            decide::once::record(view, token, *place, value)
        }
        AttemptRequest::Decision(parts) => decide::record::decision(view, token, parts),
        AttemptRequest::SideEffect(what) => decide::record::side_effect(view, token, what),
        AttemptRequest::Complete(output) => decide::complete::complete(view, token, output),
        AttemptRequest::Fail(failure) => decide::fail::fail(view, token, failure, None),
        AttemptRequest::Suspend(checkpoint, waiting_for) => {
            decide::suspend::suspend(view, token, checkpoint, waiting_for)
        }
        AttemptRequest::Ended => decide::timeout::ended(view, token),
    }
}

fn clock_jumped(view: &View<'_>, expected: Timestamp) -> Decision {
    let facts = crate::event::workspace::ClockJumped {
        wall: view.now,
        expected,
    };
    Decision::events(vec![NewEvent::new(RunId::ZERO, facts)])
}

fn poisoned() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the engine recovers its state from the log",
    )
}

fn run_ended(run: RunId) -> Error {
    Error::new(ErrorKind::Cancelled, "the run has ended").with_context("run", run)
}
