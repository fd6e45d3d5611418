//! Waiting: who waits for money or a breaker, and who is woken when.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::batch::{Pending, Slot};
use super::command::{AttemptRequest, Command, Request, ReserveCall};
use super::core::{Sequencer, Submitted};
use super::decide;
use super::decision::{Answer, CallReply, Reply, Wait};
use super::token::Token;
use super::workspace::{ResidentBooks, Waiting};
use crate::budget::{Owner, Ticket, Waiter, Wake};
use crate::error::{Error, ErrorKind, Result};
use crate::id::RunId;

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

    pub(super) fn remove(&mut self, ticket: Ticket) {
        self.workspace.waiting.remove(&ticket);
        if let Some(waiter) = self.workspace.queue.remove(ticket) {
            self.freed = self.freed.union(&waiter.path);
        }
    }

    /// A run that has ended waits for nothing.
    pub(super) fn leave_queues(&mut self, run: RunId) {
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
            let gone: Vec<(RunId, Slot)> = gone;
            for (_, slot) in gone {
                let _ = slot.send(Err(run_ended(run)));
            }
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
    pub(super) fn wake_queue(&mut self) -> Result<BTreeSet<RunId>> {
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

    pub(super) fn wake(&mut self, ticket: Ticket) -> Result<BTreeSet<RunId>> {
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

    pub(super) fn call_again(
        &mut self,
        command: &Arc<Command>,
        token: &Token,
        call: &Arc<ReserveCall>,
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
            // It was woken and has to wait once more: it asks again, as any other.
            Answer::Queued(Wait::Budget { .. } | Wait::Circuit) => {
                self.promise(command, slot, Ok(Reply::Call(CallReply::Again)));
            }
        }
        Ok(BTreeSet::from([token.run_id]))
    }

    /// Runs and steps that stood still for an account ask again once there may be room.
    pub(super) fn unblock_budgets(&mut self) -> Result<BTreeSet<RunId>> {
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

    pub(super) fn wake_circuits(&mut self) {
        for model in std::mem::take(&mut self.circuits_changed) {
            for (_, slot) in self.circuit_slots.remove(&model).into_iter().flatten() {
                // The answer depends on nothing that could be lost: ask again.
                let _ = slot.send(Ok(Reply::Call(CallReply::Again)));
            }
        }
    }
}

fn run_ended(run: RunId) -> Error {
    Error::new(ErrorKind::Cancelled, "the run has ended").with_context("run", run)
}
