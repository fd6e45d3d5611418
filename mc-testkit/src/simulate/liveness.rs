//! I7: every run that has not ended has something that moves it, or somebody who can.
//!
//! Looked at while the world goes on: a run that stands for a while with nothing of the kind has lost a
//! wake-up, and is found although a crash would have woken it.

use std::collections::BTreeMap;
use std::time::Duration;

use mc_core::id::RunId;
use mc_core::run::{Run, Step};
use mc_core::time::Timestamp;

use super::checker::Checker;
use super::world::stands;

/// How long a run may stand while the world goes on: a failed disk heals in that.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long which run has been standing.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    /// Runs that nothing moves, since when.
    standing: BTreeMap<RunId, Duration>,
    /// How many events there were, and since when.
    written: (usize, Duration),
}

impl Liveness {
    /// Looks at every run of the log.
    pub(super) fn look(&mut self, checker: &mut Checker, now: Duration) {
        if self.written.0 != checker.events() {
            self.written = (checker.events(), now);
        }
        let time = self.time(checker, now);
        let runs = checker.runs();
        let queues_move = runs.values().any(holds_money);
        let moves = |run: &Run| has_a_way_on(run, time) || (queues_move && waits_for_a_turn(run));
        let still = runs
            .values()
            .filter(|run| !run.status.is_terminal() && !moves(run));
        let still: BTreeMap<RunId, String> = still.map(|run| (run.run_id, stands(run))).collect();
        self.standing.retain(|run, _| still.contains_key(run));
        for (run, what) in still {
            let since = self.standing.entry(run).or_insert(now);
            if now.saturating_sub(*since) >= PATIENCE {
                *since = Duration::MAX;
                checker.find("I7", format!("nothing moves {what}"));
            }
        }
    }

    /// The engine's time: the last event's, and what went by since.
    fn time(&self, checker: &Checker, now: Duration) -> Timestamp {
        let last = checker.records().last();
        let last = last.map_or(Timestamp::from_unix_us(0), |record| record.ts);
        last.after(now.saturating_sub(self.written.1))
    }
}

fn holds_money(run: &Run) -> bool {
    run.holds.values().any(|hold| !hold.is_in_doubt())
}

/// A live attempt, a timer, a nested run, a pause, or a person who is asked.
fn has_a_way_on(run: &Run, time: Timestamp) -> bool {
    let way_on = |step: &Step| {
        let sleeps = step.wake_at.is_some_and(|at| at > time);
        step.live.is_some() || step.block.is_some() || sleeps || !step.abandoned.is_empty()
    };
    run.paused.is_some()
        || run.unsealed().next().is_some()
        || run.approvals_until().next().is_some()
        || run.steps.values().any(way_on)
}

/// A run without a timer may wait until others give back what they hold.
fn waits_for_a_turn(run: &Run) -> bool {
    run.steps.values().all(|step| step.wake_at.is_none())
}
