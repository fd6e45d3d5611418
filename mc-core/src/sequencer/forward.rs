//! Forward: everything that follows from a command, until nothing does.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::command::{Request, Start};
use super::core::{Instant, Sequencer};
use super::decide::{self, View, dispatch::Dispatched};
use super::decision::Wait;
use super::family::members;
use super::halt::HaltScope;
use super::resident::Resident;
use super::workspace::{Dispatch, Waiting};
use crate::budget::{Ticket, Waiter, Wake};
use crate::error::{Error, Result};
use crate::id::{AgentName, RunId, StepKey};
use crate::time::Timestamp;

impl Sequencer {
    /// Everything that follows from a command, until nothing does.
    pub(super) fn follow_up(
        &mut self,
        request: &Request,
        mut touched: BTreeSet<RunId>,
    ) -> Result<()> {
        match request {
            Request::Start(start) => self.remember_key(start),
            Request::AgentsAvailable(agents) => {
                self.workspace.agents.extend(agents.iter().cloned());
                self.agents_available()?;
            }
            Request::AgentsGone(agents) => {
                let gone = |agent: &AgentName| agents.contains(agent);
                self.workspace.agents.retain(|agent, _| !gone(agent));
            }
            Request::StartDispatch => self.begin_dispatch(),
            Request::Drain => self.workspace.dispatch = Dispatch::Draining,
            Request::Tick => touched.extend(self.tick()?),
            Request::Lift(_) => self.agents_available()?,
            Request::Recover(run, _) | Request::HostLost(run, _) => {
                self.workspace
                    .runs
                    .get_mut(run)
                    .into_iter()
                    .for_each(Resident::look_at_all);
                touched.extend(members(&self.workspace, *run));
                // What one of them decides may reach into the others: all are taken up first.
                if self.has_stale(&touched) {
                    return Ok(());
                }
            }
            Request::Publish(_)
            | Request::Activate(_)
            | Request::PublishPolicy(_)
            | Request::OpenSession(_)
            | Request::CloseSession(_)
            | Request::Abort(_)
            | Request::Pause(_)
            | Request::Resume(_)
            | Request::Halt(_)
            | Request::Unblock(..)
            | Request::Signal(..)
            | Request::SetLimit(_)
            | Request::Adjust(_)
            | Request::ChangePrices(_)
            | Request::Reconcile(_)
            | Request::DecideApproval(_)
            | Request::RevokeApproval(_)
            | Request::Resolve(_)
            | Request::Redrive(_)
            | Request::Attempt(..)
            | Request::ClockJumped { .. }
            | Request::ClockConfirmed { .. } => {}
        }
        touched.remove(&RunId::ZERO);
        self.settle_down(touched)
    }

    /// Whether one of these runs has an attempt of an epoch before this one, which nobody has taken up
    /// yet.
    fn has_stale(&self, runs: &BTreeSet<RunId>) -> bool {
        let epoch = self.workspace.epoch;
        let stale = |resident: &Resident| {
            let mut live = resident
                .live
                .iter()
                .filter_map(|key| resident.run.step(key));
            live.any(|step| step.live.is_some_and(|since| since != epoch))
        };
        runs.iter()
            .any(|run| self.workspace.runs.get(run).is_some_and(stale))
    }

    pub(super) fn remember_key(&mut self, start: &Start) {
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

    /// Steps that waited for an agent go on, run by run as their turn comes.
    pub(super) fn agents_available(&mut self) -> Result<()> {
        let agents = self.workspace.agents.keys();
        let agents = self.workspace.shared.halts.free(agents);
        let all: Vec<RunId> = self.workspace.runs.keys().copied().collect();
        for run in all {
            let Some(resident) = self.workspace.runs.get(&run) else {
                continue;
            };
            let doubts = decide::agents::in_doubt(resident);
            let events = decide::agents::available(resident, &agents);
            if !events.is_empty() {
                self.commit(events)?;
                self.hold_back(run);
            }
            for key in doubts {
                self.probe(run, &key);
            }
        }
        Ok(())
    }

    /// Time-outs, and runs that go on by themselves.
    pub(super) fn tick(&mut self) -> Result<BTreeSet<RunId>> {
        let Instant { now, monotonic, .. } = self.group.instant;
        let mut touched = BTreeSet::new();
        self.turns_moved |= self.turns_due(now);
        while let Some((at, token)) = self.deadlines.first().cloned() {
            if at > monotonic {
                break;
            }
            self.deadlines.pop_first();
            let decision = decide::timeout::timeout(&self.view(), &token);
            self.commit(decision.events)?;
            touched.insert(token.run_id);
        }
        self.ask_those_held(monotonic);
        touched.extend(self.drained(now)?);
        let wakes = self.workspace.wakes.iter();
        let due = wakes.filter(|(_, at)| **at <= now);
        let due: Vec<(RunId, Timestamp)> = due.map(|(run, at)| (*run, *at)).collect();
        for (run, at) in due {
            if let Some(resident) = self.workspace.runs.get_mut(&run) {
                let due = resident.wakes.iter().filter(|(_, at)| **at <= now);
                let due: Vec<StepKey> = due.map(|(key, _)| key.clone()).collect();
                // Its time has come once: what still stands in its way is no matter of time.
                resident.wakes.retain(|_, at| *at > now);
                resident.ready.extend(due);
                touched.insert(run);
                // Its time came while nothing was dispatched: it is one of many.
                if Some(at) <= self.dispatched_since {
                    self.hold_back(run);
                }
            }
            if let Some(resident) = self.workspace.runs.get(&run) {
                let assumed = decide::reconcile::assumed(&self.view(), &resident.run);
                self.commit(assumed)?;
            }
            self.expire_approvals(run)?;
        }
        Ok(touched)
    }

    /// What was out at a halt and did not end in time is cut.
    fn drained(&mut self, now: Timestamp) -> Result<BTreeSet<RunId>> {
        let due = self.workspace.draining.iter().filter(|(_, at)| **at <= now);
        let due: Vec<HaltScope> = due.map(|(scope, _)| scope.clone()).collect();
        let mut touched = BTreeSet::new();
        for scope in due {
            let events = decide::halt::cut(&self.view(), &scope);
            touched.extend(events.iter().map(|event| event.run_id));
            self.commit(events)?;
            self.workspace.draining.remove(&scope);
        }
        Ok(touched)
    }

    /// Requests and approvals of a run whose time is over end, one after the other: the end of one
    /// may change what another holds up.
    fn expire_approvals(&mut self, run: RunId) -> Result<()> {
        while let Some(resident) = self.workspace.runs.get(&run) {
            let expired = decide::approve::expired(&self.view(), resident);
            if expired.is_empty() {
                break;
            }
            self.commit(expired)?;
        }
        Ok(())
    }

    /// Decides what follows in these runs, and in all that wait for what they let go.
    pub(super) fn settle_down(&mut self, mut runs: BTreeSet<RunId>) -> Result<()> {
        loop {
            runs.append(&mut self.stirred);
            while let Some(run) = runs.pop_first() {
                self.settle_run(run)?;
                self.look_at_wave(run);
                runs.append(&mut self.stirred);
            }
            runs.extend(self.wake_queue()?);
            runs.extend(self.handlers_ended()?);
            self.wake_circuits();
            runs.extend(self.take_turns()?);
            let idle = self.freed.is_empty() && self.covered.is_empty();
            let quiet = runs.is_empty() && self.stirred.is_empty() && idle;
            if quiet && !self.release()? {
                return Ok(());
            }
        }
    }

    /// Steps that a cap on abandoned handlers held up ask again.
    fn handlers_ended(&mut self) -> Result<BTreeSet<RunId>> {
        let ended = std::mem::take(&mut self.handlers_ended);
        let most = self.workspace.settings.max_abandoned_per_agent;
        let freed = |agent: &&AgentName| self.workspace.abandoned_of(agent) < most;
        let freed: BTreeSet<AgentName> = ended.iter().filter(freed).cloned().collect();
        let mut touched = BTreeSet::new();
        if freed.is_empty() {
            return Ok(touched);
        }
        let capped = |resident: &Resident| decide::agents::freed(resident, &freed);
        let found: Vec<(RunId, Vec<_>)> = self
            .workspace
            .runs
            .iter()
            .map(|(run, resident)| (*run, capped(resident)))
            .collect();
        for (run, events) in found.into_iter().filter(|(_, events)| !events.is_empty()) {
            self.commit(events)?;
            touched.insert(run);
        }
        Ok(touched)
    }

    pub(super) fn settle_run(&mut self, run: RunId) -> Result<()> {
        let most = self.workspace.settings.max_live_per_run;
        loop {
            let Some(resident) = self.workspace.runs.get_mut(&run) else {
                return Ok(());
            };
            if resident.out() < most {
                let held_up = std::mem::take(&mut resident.held_up);
                resident.ready.extend(held_up);
            }
            // A failure ends the run before anything is decided for what needed the step.
            if resident.failed.is_some() {
                break;
            }
            let Some(key) = resident.ready.pop_first() else {
                break;
            };
            self.step_forward(run, &key, None)?;
        }
        self.end_run(run)?;
        self.prune(run);
        self.note_wake(run);
        Ok(())
    }

    /// Does what follows for one step; `turn` where its wait for money is over.
    pub(super) fn step_forward(
        &mut self,
        run: RunId,
        key: &StepKey,
        turn: Option<&Wake>,
    ) -> Result<()> {
        let Some(resident) = self.workspace.runs.get(&run) else {
            return Ok(());
        };
        let failed = decide::expand::has_failed(resident, key);
        match self.waiting_as(run, key) {
            Some(_) if !failed => return Ok(()),
            // Its next item waits under its key; since another has failed, it goes out no more.
            Some(ticket) => self.remove(ticket),
            None => {}
        }
        let Some(resident) = self.workspace.runs.get(&run) else {
            return Ok(());
        };
        let view = View {
            turn,
            ..self.view()
        };
        match decide::advance::next_step(&view, resident, key)? {
            Dispatched::NotNow => {
                self.hold_up(run, key);
                Ok(())
            }
            Dispatched::Decided(decision) => {
                self.commit(decision.events)?;
                self.batch.effects.extend(decision.effects);
                let resident = self.workspace.resident(run)?;
                let events = decide::advance::superfluous(&self.view(), resident, key);
                self.commit(events)
            }
            Dispatched::Queued(Wait::Budget { path, amount, .. }) => {
                let ticket = match turn {
                    Some(wake) => wake.ticket,
                    None => self.take_ticket(),
                };
                let waiter = Waiter {
                    ticket,
                    path,
                    amount,
                    owner: None,
                };
                self.put_waiting(ticket, Waiting::Step(run, key.clone()));
                self.push(waiter);
                self.let_go(run)
            }
            Dispatched::Queued(Wait::Circuit | Wait::Turn { .. }) => {
                Err(Error::internal("a step waits for no breaker"))
            }
        }
    }

    /// A step that finds its run full is looked at again once an attempt has ended.
    fn hold_up(&mut self, run: RunId, key: &StepKey) {
        let most = self.workspace.settings.max_live_per_run;
        if let Some(resident) = self.workspace.runs.get_mut(&run)
            && resident.out() >= most
        {
            resident.held_up.insert(key.clone());
        }
    }

    /// The ticket under which a step waits for money, if it does.
    fn waiting_as(&self, run: RunId, key: &StepKey) -> Option<Ticket> {
        let mut tickets = self.waiting_of.get(&run).into_iter().flatten();
        let found = tickets.find(|ticket| {
            let waiting = self.workspace.waiting.get(*ticket);
            matches!(waiting, Some(Waiting::Step(_, step)) if step == key)
        });
        found.copied()
    }

    pub(super) fn end_run(&mut self, run: RunId) -> Result<()> {
        let Some(resident) = self.workspace.runs.get(&run) else {
            return Ok(());
        };
        let events = decide::advance::run_end(&self.view(), resident);
        self.commit(events)?;
        let resident = self.workspace.resident(run)?;
        if resident.run.status.is_terminal() {
            self.leave_queues(run);
            self.note_end(run);
            self.tell_outer(run)?;
        }
        let resident = self.workspace.resident(run)?;
        let leftovers = decide::approve::leftovers(&resident.run);
        self.commit(leftovers)?;
        let resident = self.workspace.resident(run)?;
        let seal = decide::advance::seal(&resident.run);
        self.commit(seal.into_iter().collect())?;
        let resident = self.workspace.resident(run)?;
        if let Some(told) = decide::compose::sealed(&self.view(), &resident.run) {
            self.stirred.insert(told.run_id);
            self.commit(vec![told])?;
        }
        Ok(())
    }

    pub(super) fn note_wake(&mut self, run: RunId) {
        match self.workspace.runs.get(&run).and_then(Resident::next_wake) {
            Some(at) => drop(self.workspace.wakes.insert(run, at)),
            None => drop(self.workspace.wakes.remove(&run)),
        }
    }
}
