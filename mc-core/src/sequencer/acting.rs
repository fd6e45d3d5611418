//! Handlers that may still act: while one does, nobody is asked what became of its step.
//!
//! An owner that dies leaves handlers behind, in this process and in those that had joined it. None of
//! it is in the log: who is here knows it, and says so whenever the log is read back. What is *not*
//! here: attempts that this owner has abandoned (they are in the log, `Step::abandoned`), and how
//! processes tell each other (`engine::acting`).

use std::collections::BTreeSet;
use std::time::Duration;

use super::core::Sequencer;
use super::decision::Effect;
use crate::id::{AgentName, RunId, StepKey};

/// The handler of an attempt, in one process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handler {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// The joined process that has it; none where it is here.
    pub host: Option<u64>,
}

/// The handlers that are known to act, and whether others may be that are not known of yet.
#[derive(Clone, Debug, Default)]
pub struct Acting {
    handlers: BTreeSet<Handler>,
    /// Until when processes that had joined an earlier owner may come back, in monotonic time.
    until: Option<Duration>,
    /// Agents that are asked then.
    held: BTreeSet<AgentName>,
}

impl Acting {
    /// Whether a handler of a step, of any attempt, still acts.
    pub fn has(&self, run_id: RunId, step: &StepKey) -> bool {
        let first = Handler {
            run_id,
            step: step.clone(),
            attempt: 0,
            host: None,
        };
        let mut from = self.handlers.range(first..);
        from.next()
            .is_some_and(|one| one.run_id == run_id && one.step == *step)
    }

    /// Whether processes may come back that have handlers nobody knows of.
    pub const fn may_be_more(&self) -> bool {
        self.until.is_some()
    }
}

impl Sequencer {
    /// Takes over which handlers act, and until when others may turn up; `Duration::MAX` where that is
    /// not known yet.
    pub fn set_acting(&mut self, handlers: BTreeSet<Handler>, until: Option<Duration>) {
        let acting = &mut self.workspace.acting;
        acting.handlers = handlers;
        acting.until = until;
    }

    /// From now on it is known until when handlers may turn up.
    pub fn expect_handlers_until(&mut self, until: Duration) {
        self.workspace.acting.until = Some(until);
    }

    /// A process says that a handler acts in it.
    pub fn acts(&mut self, handler: Handler) {
        self.workspace.acting.handlers.insert(handler);
    }

    /// A handler has ended, or its process is gone. Whether it was known to act.
    pub fn acts_no_more(&mut self, handler: &Handler) -> bool {
        self.workspace.acting.handlers.remove(handler)
    }

    /// Asks again what became of a step, whose handler has ended; false where its run is not in memory.
    pub fn ask_again(&mut self, run_id: RunId, step: &StepKey) -> bool {
        let known = self.workspace.runs.contains_key(&run_id);
        self.probe(run_id, step);
        known
    }

    /// Whether an agent may be asked about a step now. Otherwise it is once that is so.
    pub(super) fn may_ask(&mut self, run_id: RunId, step: &StepKey, agent: &AgentName) -> bool {
        let acting = &mut self.workspace.acting;
        if acting.may_be_more() {
            acting.held.insert(agent.clone());
            return false;
        }
        !acting.has(run_id, step)
    }

    /// When those are asked that were not so far.
    pub(super) fn asks_at(&self) -> Option<Duration> {
        self.workspace
            .acting
            .until
            .filter(|until| *until < Duration::MAX)
    }

    /// Whoever had joined an earlier owner has had the time to come back: agents are asked, also for
    /// runs that are not in memory.
    pub(super) fn ask_those_held(&mut self, monotonic: Duration) {
        if self.asks_at().is_none_or(|at| at > monotonic) {
            return;
        }
        let acting = &mut self.workspace.acting;
        acting.until = None;
        let held = std::mem::take(&mut acting.held);
        if !held.is_empty() {
            let held = held.into_iter().collect();
            self.batch.effects.push(Effect::Offer(held));
        }
    }
}
