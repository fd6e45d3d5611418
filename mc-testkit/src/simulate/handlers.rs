//! Who works in this process: what a live step of the log has to have, and how long one had nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mc_core::id::{RunId, StepKey};

use super::checker::Checker;

/// How long a live step may have no handler while the world goes on: a failed disk heals in that.
const PATIENCE: Duration = Duration::from_secs(20);

/// An attempt: run, step, number.
pub(super) type Attempt = (RunId, StepKey, u32);

#[derive(Debug, Default)]
struct State {
    working: BTreeSet<Attempt>,
    /// Live steps of the log without a handler, since when.
    alone: BTreeMap<Attempt, Duration>,
}

/// The handlers and sessions of a process. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Handlers(Arc<Mutex<State>>);

/// Works on an attempt for as long as it lives.
#[derive(Debug)]
pub(super) struct Working {
    handlers: Handlers,
    /// The attempt.
    pub(super) attempt: Attempt,
}

impl Drop for Working {
    fn drop(&mut self) {
        self.handlers.state().working.remove(&self.attempt);
    }
}

impl Handlers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that somebody works on an attempt.
    pub(super) fn work(&self, attempt: Attempt) -> Working {
        self.state().working.insert(attempt.clone());
        Working {
            handlers: self.clone(),
            attempt,
        }
    }

    /// Holds the live steps of the log against those who work here: each has a handler of this
    /// epoch, or gets one, or is ended, within [`PATIENCE`].
    pub(super) fn look(&self, checker: &mut Checker, now: Duration) {
        let epoch = checker.epoch();
        let mut state = self.state();
        let live: Vec<(Attempt, u64)> = checker
            .runs()
            .values()
            .filter(|run| !run.status.is_terminal())
            .flat_map(|run| {
                let live = |(key, step): (&StepKey, &mc_core::run::Step)| {
                    let attempt = (run.run_id, key.clone(), step.attempt);
                    step.live.map(|since| (attempt, since))
                };
                run.steps.iter().filter_map(live)
            })
            .collect();
        let kept =
            |(attempt, since): &&(Attempt, u64)| state.working.contains(attempt) && *since == epoch;
        let alone: BTreeSet<Attempt> = live
            .iter()
            .filter(|one| !kept(one))
            .map(|(attempt, _)| attempt.clone())
            .collect();
        state.alone.retain(|attempt, _| alone.contains(attempt));
        for attempt in alone {
            let (run, step, number) = attempt.clone();
            let since = *state.alone.entry(attempt.clone()).or_insert(now);
            if now.saturating_sub(since) >= PATIENCE {
                state.alone.insert(attempt, Duration::MAX);
                checker.find(
                    "live",
                    format!("{run}/{step}#{number} is live in the log and has no handler of epoch {epoch}"),
                );
            }
        }
    }
}
