//! Given up: a call leaves the queue that it waits in, because its caller has gone.
//!
//! What is *not* here: a call that is admitted already; it ends like any other that was not sent
//! (`decide::call_fail`).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::batch::Slot;
use super::command::{AttemptRequest, Command, Request};
use super::core::Sequencer;
use super::token::Token;
use super::workspace::Waiting;
use crate::budget::Ticket;
use crate::error::{Error, ErrorKind, Result};
use crate::resilience::CallFailure;

impl Sequencer {
    /// Where a request says that a call was not sent: the call waits for nothing any more, and
    /// whoever stood behind it may go.
    ///
    /// # Errors
    /// Only defects.
    pub(super) fn give_up(&mut self, request: &Request) -> Result<()> {
        let Request::Attempt(token, AttemptRequest::FailCall(failed)) = request else {
            return Ok(());
        };
        if failed.failure != CallFailure::NotSent {
            return Ok(());
        }
        let place = (token, failed.ordinal);
        let mut left = self.leave_queue(place);
        left.extend(self.leave_rates(place));
        for slots in self.circuit_slots.values_mut() {
            let own = slots.extract_if(.., |(_, command, _)| is_for(command, place));
            left.extend(own.map(|(_, _, slot)| slot));
        }
        if left.is_empty() {
            return Ok(());
        }
        for slot in left {
            let message = "its caller gave up before it was sent";
            // In the process that asked nobody listens; one that carries its word may.
            let _ = slot.send(Err(Error::new(ErrorKind::Cancelled, message)));
        }
        self.settle_down(BTreeSet::new())
    }

    fn leave_queue(&mut self, (token, ordinal): (&Token, u32)) -> Vec<Slot> {
        let tickets = self.waiting_of.get(&token.run_id).into_iter().flatten();
        let own = |ticket: &&Ticket| match self.workspace.waiting.get(*ticket) {
            Some(Waiting::Call(of, call, _)) => is_same(of, token) && call.place.ordinal == ordinal,
            Some(Waiting::Step(..)) | None => false,
        };
        let tickets: Vec<Ticket> = tickets.filter(own).copied().collect();
        let mut left = Vec::new();
        for ticket in tickets {
            self.remove(ticket);
            left.extend(self.slots.remove(&ticket).map(|(_, slot)| slot));
        }
        left
    }

    fn leave_rates(&mut self, place: (&Token, u32)) -> Vec<Slot> {
        let own = self.turn_slots.iter();
        let own = own.filter(|(_, (command, _))| is_for(command, place));
        let tickets: Vec<Ticket> = own.map(|(ticket, _)| *ticket).collect();
        let left = tickets.into_iter().filter_map(|one| self.leave_turn(one));
        left.map(|(_, slot)| slot).collect()
    }
}

/// Whether a command reserves this call of this attempt.
fn is_for(command: &Arc<Command>, (token, ordinal): (&Token, u32)) -> bool {
    let Request::Attempt(of, AttemptRequest::ReserveCall(call)) = &command.request else {
        return false;
    };
    is_same(of, token) && call.place.ordinal == ordinal
}

/// Whether two tokens are of one attempt, whichever epoch adopted it.
fn is_same(one: &Token, other: &Token) -> bool {
    one.run_id == other.run_id && one.step == other.step && one.attempt == other.attempt
}
