//! Decisions: pure functions from the state and a request to events, effects and a reply.
//!
//! One command a file. None of them changes anything: the sequencer applies what they return, and
//! then asks [`advance`](advance::next_step) and its like what follows, until nothing does.

pub mod abort;
pub mod advance;
mod again;
pub mod agents;
pub mod approve;
pub mod approved_cost;
pub mod attempt_end;
mod billed;
mod breach;
mod builtin;
mod call_asks;
pub mod call_draw;
pub mod call_fail;
mod call_hold;
pub mod call_report;
pub mod call_reserve;
mod call_rules;
pub mod call_settle;
mod clamp;
pub mod clearance;
pub mod complete;
pub mod compose;
pub mod control;
pub mod dispatch;
pub mod expand;
pub mod fail;
pub mod guard;
pub mod halt;
pub mod in_flight;
pub mod in_time;
pub mod journal;
pub mod late;
pub mod limits;
mod observed;
pub mod once;
pub mod policy;
pub mod prices;
mod plan;
mod plan_worst;
mod planned;
pub mod publish;
mod reach;
pub mod reconcile;
pub mod recover;
pub mod record;
pub mod redrive;
pub mod refusal;
pub mod reserving;
pub mod resolve;
pub mod session;
mod session_block;
pub mod signal;
pub mod start;
pub mod suspend;
pub mod timeout;
pub mod tool;
mod worst_case;

use super::resident::Resident;
use super::token::Token;
use super::workspace::{AllBooks, ResidentBooks, Workspace};
use crate::budget::{Ticket, Verdict, Waiter, Wake};
use crate::error::{Error, ErrorKind, Result};
use crate::event::StepStatus;
use crate::id::RunId;
use crate::run::Step;
use crate::time::Timestamp;

/// What a decision looks at besides the request.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The state.
    pub workspace: &'a Workspace,
    /// The time of the command.
    pub now: Timestamp,
    /// Chance, drawn for this decision.
    pub random: u64,
    /// Events below this number are durable.
    pub durable: u64,
    /// The wait of who asks is over: its place in the queue, and why.
    pub turn: Option<&'a Wake>,
    /// The place of who asks among those that wait for a rate.
    pub in_turn: Option<Ticket>,
}

impl<'a> View<'a> {
    /// A run in memory.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn resident(&self, run: RunId) -> Result<&'a Resident> {
        self.workspace.resident(run)
    }

    /// The accounts that a run's money counts in.
    pub fn books(&self, resident: &'a Resident) -> AllBooks<'a> {
        AllBooks {
            shared: &self.workspace.accounts,
            family: &self.workspace.family,
            run: &resident.run,
        }
    }

    /// The place in the queue of who asks: that of its turn, or the next one.
    pub fn ticket(&self) -> Ticket {
        self.turn
            .map_or(self.workspace.next_ticket, |wake| wake.ticket)
    }

    /// Judges a request; one whose turn has come does not stand behind others again.
    pub fn judge(&self, waiter: &Waiter) -> Verdict {
        let (queue, books) = (&self.workspace.queue, ResidentBooks(self.workspace));
        match self.turn {
            None => queue.judge(&books, waiter),
            Some(wake) if wake.verdict == Verdict::Fits => queue.judge_in_turn(&books, waiter),
            Some(wake) => wake.verdict.clone(),
        }
    }

    /// The run and step of a token, if it is live.
    pub fn live(&self, token: &Token) -> Option<(&'a Resident, &'a Step)> {
        let resident = self.workspace.runs.get(&token.run_id)?;
        let step = resident.run.steps.get(&token.step)?;
        let live = step.live == Some(token.epoch) && step.attempt == token.attempt;
        live.then_some((resident, step))
    }

    /// As [`View::live`], for requests that a dead token may not make.
    ///
    /// # Errors
    /// `Cancelled`: the attempt timed out, was superseded, or its run has ended.
    pub fn require_live(&self, token: &Token) -> Result<(&'a Resident, &'a Step)> {
        self.live(token).ok_or_else(|| {
            Error::new(ErrorKind::Cancelled, "this attempt's token was revoked")
                .with_context("token", token)
        })
    }
}

/// Whether a step may be dispatched at all by its own state.
fn is_waiting(step: Option<&Step>) -> bool {
    step.is_none_or(|step| step.status.0 == StepStatus::Waiting)
}
