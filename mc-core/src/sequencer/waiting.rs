//! Waiting: who waits for money or a breaker, and who is woken when.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::batch::{Pending, Slot};
use super::command::{AttemptRequest, Command, Request, ReserveCall};
use super::core::{Group, Sequencer, Submitted};
use super::decide::{self, View};
use super::decision::{Answer, CallReply, Reply, Wait};
use super::token::Token;
use super::turns::Turn;
use super::workspace::{ResidentBooks, Waiting, Workspace};
use crate::budget::{Owner, Ticket, Verdict, Waiter, Wake};
use crate::error::{Error, ErrorKind, Result};
use crate::event::StepStatus;
use crate::event::run::PauseReason;
use crate::id::{RunId, StepKey};
use crate::run::HoldKey;

impl Sequencer {
    pub(super) fn take_ticket(&mut self) -> Ticket {
        let ticket = self.workspace.next_ticket;
        self.workspace.next_ticket += 1;
        ticket
    }

    pub(super) fn push(&mut self, waiter: Waiter) {
        let mut queue = std::mem::take(&mut self.workspace.queue);
        self.freed = self.freed.union(&waiter.path);
        queue.push(&ResidentBooks(&self.workspace), waiter);
        self.workspace.queue = queue;
    }

    /// A run that waits for room lets go what it holds for steps that have not gone out.
    pub(super) fn let_go(&mut self, run: RunId) -> Result<()> {
        self.commit(decide::reserving::let_go(&self.workspace, run))
    }

    /// Notes what a ticket stands for.
    pub(super) fn put_waiting(&mut self, ticket: Ticket, waiting: Waiting) {
        let run = waiting.run_id();
        self.workspace.waiting.insert(ticket, waiting);
        self.waiting_of.entry(run).or_default().insert(ticket);
    }

    pub(super) fn remove(&mut self, ticket: Ticket) {
        if let Some(waiting) = self.workspace.waiting.remove(&ticket) {
            let run = waiting.run_id();
            let rest = self.waiting_of.entry(run).or_default();
            rest.remove(&ticket);
            if rest.is_empty() {
                self.waiting_of.remove(&run);
            }
        }
        if let Some(waiter) = self.workspace.queue.remove(ticket) {
            self.freed = self.freed.union(&waiter.path);
        }
    }

    /// A run that has ended waits for nothing.
    pub(super) fn leave_queues(&mut self, run: RunId) {
        let tickets = self.waiting_of.get(&run).cloned().unwrap_or_default();
        for ticket in tickets {
            self.remove(ticket);
            if let Some((command, slot)) = self.slots.remove(&ticket) {
                self.promise(&command, slot, Err(run_ended(run)));
            }
        }
        self.prune_turns(run);
        let mut gone = Vec::new();
        for slots in self.circuit_slots.values_mut() {
            gone.extend(slots.extract_if(.., |(id, ..)| *id == run));
        }
        for (_, command, slot) in gone {
            self.promise(&command, slot, Err(run_ended(run)));
        }
    }

    /// What can no longer be admitted leaves the queue: a call whose token was revoked, a step that
    /// is no longer waiting or whose run is paused.
    pub(super) fn prune(&mut self, run: RunId) {
        self.prune_turns(run);
        let Some(tickets) = self.waiting_of.get(&run).cloned() else {
            return;
        };
        for ticket in tickets {
            let alive = match self.workspace.waiting.get(&ticket) {
                None => continue,
                Some(Waiting::Call(token, ..)) => self.view().live(token).is_some(),
                Some(Waiting::Step(_, key)) => self.may_wait(run, key),
            };
            if alive {
                continue;
            }
            self.remove(ticket);
            if let Some((command, slot)) = self.slots.remove(&ticket) {
                let error = Error::new(ErrorKind::Cancelled, "this attempt's token was revoked");
                self.promise(&command, slot, Err(error));
            }
        }
    }

    fn may_wait(&self, run: RunId, key: &StepKey) -> bool {
        let resident = self.workspace.runs.get(&run);
        resident.is_some_and(|resident| {
            let run = &resident.run;
            // The next item of a `for_each` waits under the key of its step, which is under way.
            let expanded = run.step(key).is_some_and(|step| step.expansion.is_some());
            let status = run.step_status(key);
            let waits =
                status == StepStatus::Waiting || (expanded && status == StepStatus::Running);
            run.paused.is_none() && waits
        })
    }

    /// Calls of one step share its hold: what one of them leaves, the others need no more.
    pub(super) fn refresh(&mut self, run: RunId, key: &StepKey) {
        let Some(tickets) = self.waiting_of.get(&run) else {
            return;
        };
        let Some(resident) = self.workspace.runs.get(&run) else {
            return;
        };
        let mut changed = Vec::new();
        for ticket in tickets {
            let (Some(Waiting::Call(token, call, whole)), Some(waiter)) = (
                self.workspace.waiting.get(ticket),
                self.workspace.queue.waiter(*ticket),
            ) else {
                continue;
            };
            let own = resident.run.step(key).and_then(|step| step.agent.as_ref());
            if token.step != *key || call.agent.as_ref().is_some_and(|agent| Some(agent) != own) {
                continue;
            }
            let escrow = HoldKey::escrow(key.clone(), token.attempt);
            let hold = resident.run.holds.get(&escrow);
            let amount = hold.map_or(*whole, |hold| hold.shortfall(whole));
            if amount.is_zero() {
                self.covered.insert(*ticket);
            } else if amount != waiter.amount {
                let waiter = waiter.clone();
                changed.push(Waiter { amount, ..waiter });
            }
        }
        for waiter in changed {
            self.push(waiter);
        }
    }

    pub(super) fn promise(&mut self, command: &Arc<Command>, slot: Slot, reply: Result<Reply>) {
        let command = Arc::clone(command);
        self.batch.pending.push(Pending {
            command,
            reply: Some((slot, reply)),
        });
    }

    /// Puts a call where it waits for its turn.
    pub(super) fn enqueue(
        &mut self,
        command: &Arc<Command>,
        wait: Wait,
        slot: Option<Slot>,
    ) -> Submitted {
        let Request::Attempt(token, AttemptRequest::ReserveCall(call)) = &command.request else {
            return self.answer_late(command, slot, Err(Error::internal("only calls wait")));
        };
        let Some(slot) = slot else {
            return Submitted::Now(Err(Error::internal("nobody waits for this call")));
        };
        match wait {
            Wait::Turn { of, until } => {
                let run_id = token.run_id;
                let turn = Turn { run_id, of, until };
                self.await_turn((Arc::clone(command), slot), turn);
            }
            Wait::Circuit => {
                let waiting = self.circuit_slots.entry(call.model.clone()).or_default();
                waiting.push((token.run_id, Arc::clone(command), slot));
            }
            Wait::Budget {
                path,
                amount,
                whole,
            } => {
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
                let waiting = Waiting::Call(token.clone(), Arc::clone(call), whole);
                self.put_waiting(ticket, waiting);
                self.slots.insert(ticket, (Arc::clone(command), slot));
                self.push(waiter);
                let settled = self.let_go(token.run_id);
                if let Err(error) = settled.and_then(|()| self.settle_down(BTreeSet::new())) {
                    self.defect = Some(error.to_string());
                    return Submitted::Now(Err(error));
                }
            }
        }
        Submitted::Later
    }

    /// Calls that need no more than their own hold has wait for nobody.
    fn wake_covered(&mut self) -> Result<BTreeSet<RunId>> {
        let mut touched = BTreeSet::new();
        while let Some(ticket) = self.covered.pop_first() {
            let verdict = Verdict::Fits;
            touched.extend(self.wake(&Wake { ticket, verdict })?);
        }
        Ok(touched)
    }

    /// Wakes whoever waited for what was let go, first in first out.
    pub(super) fn wake_queue(&mut self) -> Result<BTreeSet<RunId>> {
        let mut touched = self.wake_covered()?;
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
        if let Some(wake) = wake {
            // The paths that moved are asked again, until nobody is woken.
            self.freed = self.freed.union(&freed);
            touched.extend(self.wake(&wake)?);
        }
        Ok(touched)
    }

    pub(super) fn wake(&mut self, wake: &Wake) -> Result<BTreeSet<RunId>> {
        let waiting = self.workspace.waiting.get(&wake.ticket).cloned();
        self.remove(wake.ticket);
        match waiting {
            None => Ok(BTreeSet::new()),
            Some(Waiting::Step(run, key)) => {
                self.step_forward(run, &key, Some(wake))?;
                Ok(BTreeSet::from([run]))
            }
            Some(Waiting::Call(token, call, _)) => {
                let found = self.slots.remove(&wake.ticket);
                // Nobody waits for it any more: nothing is held for it.
                let Some((command, slot)) = found.filter(|(_, slot)| !slot.is_closed()) else {
                    return Ok(BTreeSet::new());
                };
                let call = (token, call);
                self.call_again((command, slot), &call, wake)
            }
        }
    }

    pub(super) fn call_again(
        &mut self,
        (command, slot): (Arc<Command>, Slot),
        (token, call): &(Token, Arc<ReserveCall>),
        wake: &Wake,
    ) -> Result<BTreeSet<RunId>> {
        let view = View {
            turn: Some(wake),
            ..self.view()
        };
        let decision = match decide::call_reserve::reserve(&view, token, call) {
            Ok(decision) => decision,
            Err(error) => {
                self.promise(&command, slot, Err(error));
                return Ok(BTreeSet::new());
            }
        };
        // The events belong to the decision that made room, and to the actor whose call it is.
        let own = Group {
            actor: command.actor.clone(),
            auth_method: command.auth_method,
            ..self.group.clone()
        };
        let causer = std::mem::replace(&mut self.group, own);
        self.commit(decision.events)?;
        self.group = causer;
        match decision.answer {
            Answer::Now(reply) | Answer::Durable(reply) => self.promise(&command, slot, Ok(reply)),
            // The breaker opened meanwhile, or a rate is full: it asks again, and is told to wait
            // there.
            Answer::Queued(Wait::Circuit | Wait::Turn { .. }) => {
                self.promise(&command, slot, Ok(Reply::Call(CallReply::Again)));
            }
            // The room that it was woken for is gone again: it keeps its place.
            Answer::Queued(Wait::Budget {
                path,
                amount,
                whole,
            }) => {
                let owner = Some(Owner {
                    run: token.run_id,
                    step: token.step.clone(),
                });
                let ticket = wake.ticket;
                let waiting = Waiting::Call(token.clone(), Arc::clone(call), whole);
                self.put_waiting(ticket, waiting);
                self.slots.insert(ticket, (command, slot));
                self.push(Waiter {
                    ticket,
                    path,
                    amount,
                    owner,
                });
                self.let_go(token.run_id)?;
            }
        }
        Ok(BTreeSet::from([token.run_id]))
    }

    /// Runs and steps that stood still for an account ask again once there may be room.
    pub(super) fn unblock_budgets(&mut self) -> Result<BTreeSet<RunId>> {
        let workspace = &self.workspace;
        let blocked = workspace.budget_blocked.iter().map(|(run, _)| *run);
        let all = blocked.chain(workspace.budget_paused.iter().copied());
        let runs: BTreeSet<RunId> = all.map(|run| paused_with(workspace, run)).collect();
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

    pub(super) fn wake_circuits(&mut self) {
        for model in std::mem::take(&mut self.circuits_changed) {
            for (_, _, slot) in self.circuit_slots.remove(&model).into_iter().flatten() {
                // The answer depends on nothing that could be lost: ask again.
                let _ = slot.send(Ok(Reply::Call(CallReply::Again)));
            }
        }
    }
}

/// The run that a run goes on with: itself, or the one around it that paused for a budget.
fn paused_with(workspace: &Workspace, run: RunId) -> RunId {
    let around = workspace.runs.get(&run);
    let around = around.map_or(&[][..], |resident| &resident.run.created.nested_in);
    let for_budget = |run: &RunId| {
        let outer = workspace.runs.get(run);
        outer.is_some_and(|outer| matches!(outer.run.paused, Some(PauseReason::Budget { .. })))
    };
    let mut outermost = around.iter().rev().map(|place| place.run);
    outermost.find(for_budget).unwrap_or(run)
}

fn run_ended(run: RunId) -> Error {
    Error::new(ErrorKind::Cancelled, "the run has ended").with_context("run", run)
}
