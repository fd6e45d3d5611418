//! Turns: calls that a rate holds back, first in first out, and when they are asked again.
//!
//! What is *not* here: whether a rate has room (`traffic`), and the queue for money (`waiting`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::batch::Slot;
use super::command::{AttemptRequest, Command, Request};
use super::core::{Group, Sequencer};
use super::decide::{self, View};
use super::decision::{Answer, CallReply, Reply, Wait};
use crate::budget::Ticket;
use crate::error::{Error, ErrorKind, Result};
use crate::id::RunId;
use crate::policy::RateOf;
use crate::time::Timestamp;

/// A call that waits for its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The run.
    pub run_id: RunId,
    /// The rates that hold it back; nobody behind it passes it in these.
    pub of: BTreeSet<RateOf>,
    /// When it is asked again; none where that depends on other calls alone.
    pub until: Option<Timestamp>,
}

/// Those that wait for their turn, in order.
pub type Turns = BTreeMap<Ticket, Turn>;

impl Sequencer {
    /// Puts a call where it waits for its turn.
    pub(super) fn await_turn(&mut self, (command, slot): (Arc<Command>, Slot), turn: Turn) {
        let ticket = self.take_ticket();
        self.workspace.turns.insert(ticket, turn);
        self.turn_slots.insert(ticket, (command, slot));
    }

    /// Whether a turn has come by time.
    pub(super) fn turns_due(&self, now: Timestamp) -> bool {
        let mut turns = self.workspace.turns.values();
        turns.any(|turn| turn.until.is_some_and(|until| until <= now))
    }

    /// Asks again, in order, for those whose turn may have come.
    pub(super) fn take_turns(&mut self) -> Result<BTreeSet<RunId>> {
        let mut touched = BTreeSet::new();
        if !std::mem::take(&mut self.turns_moved) {
            return Ok(touched);
        }
        let tickets: Vec<Ticket> = self.workspace.turns.keys().copied().collect();
        // The rates in which somebody before the next one still waits: whom only these hold back stays
        // where it is, and need not be judged.
        let mut taken = BTreeSet::new();
        for ticket in tickets {
            let awaited = self.is_awaited(ticket);
            match self.workspace.turns.get_mut(&ticket) {
                // Its time is that of those before it.
                Some(turn) if awaited && turn.of.is_subset(&taken) => turn.until = None,
                _ => touched.extend(self.turn(ticket)?),
            }
            if let Some(turn) = self.workspace.turns.get(&ticket) {
                taken.extend(turn.of.iter().cloned());
            }
        }
        Ok(touched)
    }

    /// Whether anybody still waits for the turn.
    fn is_awaited(&self, ticket: Ticket) -> bool {
        let waits = self.turn_slots.get(&ticket);
        waits.is_some_and(|(_, slot)| !slot.is_closed())
    }

    fn turn(&mut self, ticket: Ticket) -> Result<Option<RunId>> {
        let waits = self.turn_slots.get(&ticket);
        let Some((command, _)) = waits.filter(|(_, slot)| !slot.is_closed()) else {
            self.leave_turn(ticket);
            return Ok(None);
        };
        let command = Arc::clone(command);
        let Request::Attempt(token, AttemptRequest::ReserveCall(call)) = &command.request else {
            return Err(Error::internal("only calls have turns"));
        };
        let view = View {
            in_turn: Some(ticket),
            ..self.view()
        };
        let decided = decide::call_reserve::reserve(&view, token, call);
        let decision = match decided {
            Ok(decision) => decision,
            Err(error) => {
                self.end_turn(ticket, Err(error));
                return Ok(None);
            }
        };
        match decision.answer {
            Answer::Queued(Wait::Turn { of, until }) => {
                if let Some(turn) = self.workspace.turns.get_mut(&ticket) {
                    (turn.of, turn.until) = (of, until);
                }
                return Ok(None);
            }
            // It waits for something else from now on, and asks for it itself.
            Answer::Queued(Wait::Budget { .. } | Wait::Circuit) => {
                self.end_turn(ticket, Ok(Reply::Call(CallReply::Again)));
                return Ok(None);
            }
            Answer::Now(_) | Answer::Durable(_) => {}
        }
        let own = Group {
            actor: command.actor.clone(),
            auth_method: command.auth_method,
            ..self.group.clone()
        };
        let causer = std::mem::replace(&mut self.group, own);
        self.commit(decision.events)?;
        self.group = causer;
        if let Answer::Now(reply) | Answer::Durable(reply) = decision.answer {
            self.end_turn(ticket, Ok(reply));
        }
        Ok(Some(token.run_id))
    }

    fn end_turn(&mut self, ticket: Ticket, reply: Result<Reply>) {
        if let Some((command, slot)) = self.leave_turn(ticket) {
            self.promise(&command, slot, reply);
        }
    }

    /// A turn is not waited for any more.
    pub(super) fn leave_turn(&mut self, ticket: Ticket) -> Option<(Arc<Command>, Slot)> {
        self.workspace.turns.remove(&ticket);
        // Whoever it held back may go.
        self.turns_moved = !self.workspace.turns.is_empty();
        self.turn_slots.remove(&ticket)
    }

    /// Those of a run that can no longer be admitted leave.
    pub(super) fn prune_turns(&mut self, run: RunId) {
        let turns = self.workspace.turns.iter();
        let own = turns.filter(|(_, turn)| turn.run_id == run);
        let own: Vec<Ticket> = own.map(|(ticket, _)| *ticket).collect();
        for ticket in own {
            let command = self
                .turn_slots
                .get(&ticket)
                .map(|(command, _)| Arc::clone(command));
            let alive = command.is_some_and(|command| {
                let Request::Attempt(token, _) = &command.request else {
                    return false;
                };
                self.view().live(token).is_some()
            });
            if !alive {
                let error = Error::new(ErrorKind::Cancelled, "this attempt's token was revoked");
                self.end_turn(ticket, Err(error));
            }
        }
    }
}
