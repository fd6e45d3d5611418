//! Pace: runs that were at rest while no process had them go on in waves, not all at once.
//!
//! A wave has a bounded number of attempts. The next run goes on when an attempt of the wave has
//! ended, or has been out for so long that nobody knows whether it waits for one of those behind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::core::{Group, Sequencer};
use super::resident::Resident;
use super::workspace::Dispatch;
use crate::error::Result;
use crate::id::{Actor, RunId, StepKey};

/// Who goes on now, and who has to wait.
#[derive(Debug, Default)]
pub(super) struct Pace {
    backlog: BTreeSet<RunId>,
    wave: BTreeMap<RunId, Begun>,
}

/// What a run of the wave has begun.
#[derive(Debug)]
struct Begun {
    attempts: BTreeSet<(StepKey, u32)>,
    until: Duration,
}

impl Pace {
    /// A run waits until the wave has room.
    pub(super) fn put(&mut self, run: RunId) {
        self.backlog.insert(run);
    }

    /// Whether a run waits.
    pub(super) fn holds_up(&self, run: RunId) -> bool {
        self.backlog.contains(&run)
    }

    /// How many runs wait.
    pub(super) fn waiting(&self) -> usize {
        self.backlog.len()
    }

    /// When the wave has room although nothing has ended; none where nobody waits.
    pub(super) fn due(&self) -> Option<Duration> {
        let untils = self.wave.values().map(|begun| begun.until);
        untils.min().filter(|_| !self.backlog.is_empty())
    }

    /// The next run, where the wave has room.
    fn next(&mut self, most: usize, now: Duration) -> Option<RunId> {
        if self.backlog.is_empty() {
            self.wave.clear();
            return None;
        }
        self.wave.retain(|_, begun| begun.until > now);
        let out: usize = self.wave.values().map(|begun| begun.attempts.len()).sum();
        if out < most.max(1) {
            self.backlog.pop_first()
        } else {
            None
        }
    }

    /// Takes over which attempts of a run are still out.
    fn look_at(&mut self, run: RunId, resident: Option<&Resident>) {
        let Some(begun) = self.wave.get_mut(&run) else {
            return;
        };
        let is_out = |(key, attempt): &(StepKey, u32)| {
            let step = resident.and_then(|resident| resident.run.step(key));
            step.is_some_and(|step| step.live.is_some() && step.attempt == *attempt)
        };
        begun.attempts.retain(is_out);
        if begun.attempts.is_empty() {
            self.wave.remove(&run);
        }
    }
}

impl Sequencer {
    /// How many runs in memory wait until the wave has room.
    pub fn waiting_for_their_turn(&self) -> usize {
        self.pace.waiting()
    }

    /// Dispatch begins: every run in memory goes on when its turn comes. An engine that is being shut
    /// down dispatches nothing, whoever asks.
    pub(super) fn begin_dispatch(&mut self) {
        if self.workspace.dispatch == Dispatch::Draining {
            return;
        }
        self.workspace.dispatch = Dispatch::On;
        self.dispatched_since = Some(self.group.instant.now);
        let open = self.workspace.runs.values();
        let open = open.filter(|resident| !resident.run.status.is_terminal());
        for run in open.map(|resident| resident.run.run_id) {
            self.pace.put(run);
        }
    }

    /// A run goes on when its turn comes; what it would have done now is found again then.
    pub(super) fn hold_back(&mut self, run: RunId) {
        if let Some(resident) = self.workspace.runs.get_mut(&run) {
            resident.ready.clear();
            self.pace.put(run);
        }
    }

    /// What has become of the attempts of a run that count in the wave.
    pub(super) fn look_at_wave(&mut self, run: RunId) {
        self.pace.look_at(run, self.workspace.runs.get(&run));
    }

    /// Lets the next run go on whose turn it is. False where there is none.
    pub(super) fn release(&mut self) -> Result<bool> {
        if self.workspace.dispatch != Dispatch::On {
            return Ok(false);
        }
        let settings = &self.workspace.settings;
        let (most, patience) = (settings.recovery_wave, settings.recovery_patience);
        let now = self.group.instant.monotonic;
        let Some(run) = self.pace.next(most, now) else {
            return Ok(false);
        };
        let Some(resident) = self.workspace.runs.get_mut(&run) else {
            return Ok(true);
        };
        let before = resident.live.clone();
        resident.look_at_all();
        // Whoever's command made room, it is the engine that lets the run go on.
        let own = Group {
            actor: Actor::System,
            ..self.group.clone()
        };
        let causer = std::mem::replace(&mut self.group, own);
        let settled = self.settle_run(run);
        self.group = causer;
        settled?;
        if let Some(resident) = self.workspace.runs.get(&run) {
            let begun = resident.live.difference(&before);
            let attempt = |key: &StepKey| resident.run.step(key).map_or(0, |step| step.attempt);
            let attempts: BTreeSet<_> = begun.map(|key| (key.clone(), attempt(key))).collect();
            if !attempts.is_empty() {
                let until = now.saturating_add(patience);
                let begun = self.pace.wave.entry(run).or_insert_with(|| Begun {
                    attempts: BTreeSet::new(),
                    until,
                });
                begun.attempts.extend(attempts);
                begun.until = until;
            }
        }
        Ok(true)
    }
}
