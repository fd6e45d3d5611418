//! The driver: commits what was decided, hands out what that promised, and wakes on time.
//!
//! It sleeps until the bell rings or something is due; there is no polling. While one batch is on
//! its way to the disk the sequencer fills the next.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::inner::{Inner, Phase, lock, stopped};
use super::registry::{Offers, Provider};
use super::status::Counters;
use super::steady_clock::Jump;
use crate::error::{Error, Result};
use crate::event::Record;
use crate::id::{Actor, RunId};
use crate::ports::Lease;
use crate::sequencer::{
    AttemptRequest, ClosedBatch, Effect, Promised, Request, Scribe, Sequencer, Token,
};
use crate::time::Timestamp;

/// Runs that are paged in at a time because they are due, unless as many wait for their turn.
const DUE_PAGE: usize = 256;

pub(super) struct Driver {
    pub(super) inner: Arc<Inner>,
    pub(super) lease: Lease,
    pub(super) scribe: Scribe,
    /// When the next run that is not in memory is due.
    pub(super) parked_due: Option<Timestamp>,
    /// Whom runs on disk wait for that go on.
    pub(super) offers: Offers,
    /// When contradictions were found lately.
    pub(super) defects: Vec<Duration>,
    /// Last, so that it goes after everything that the driver holds.
    #[expect(dead_code, reason = "that it is dropped is what it is for")]
    pub(super) driving: watch::Sender<()>,
}

impl Driver {
    /// Runs until the engine is stopped.
    pub(super) async fn run(mut self) {
        loop {
            match self.commit_all().await {
                Ok(()) => {}
                Err((error, promised)) => {
                    if !self.restart(error, promised).await {
                        return;
                    }
                    continue;
                }
            }
            if matches!(lock(&self.inner.live).phase, Phase::Stopped) {
                leave(&self.inner);
                return;
            }
            self.wait().await;
            self.on_time().await;
        }
    }

    /// Commits until nothing is left to commit.
    async fn commit_all(&mut self) -> Result<(), (Error, Promised)> {
        loop {
            let closed = {
                let mut live = lock(&self.inner.live);
                let Some(sequencer) = live.sequencer.as_mut() else {
                    return Ok(());
                };
                if let Some(defect) = sequencer.defect() {
                    return Err((contradiction(defect), Promised::default()));
                }
                let gone = sequencer.page_out();
                self.parked_due = self.parked_due.into_iter().chain(gone).min();
                sequencer
                    .close_batch()
                    .map_err(|error| (error, Promised::default()))?
            };
            match closed {
                Some((closed, promised)) => self.commit(closed, promised).await?,
                None => return Ok(()),
            }
        }
    }

    pub(super) async fn commit(
        &mut self,
        closed: ClosedBatch,
        promised: Promised,
    ) -> Result<(), (Error, Promised)> {
        if closed.placed.is_empty() {
            self.hand_out(promised);
            return Ok(());
        }
        let started = self.inner.clock.monotonic();
        let batch = match self.scribe.write(closed) {
            Ok(batch) => batch,
            Err(error) => return Err((error, promised)),
        };
        let records: Vec<_> = batch.records.iter().map(|record| record.run_id).collect();
        let held_up = |record: &&Record| matches!(&*record.kind, "step.blocked" | "run.paused");
        let held_up = batch.records.iter().filter(held_up);
        let held_up: BTreeSet<RunId> = held_up.map(|record| record.run_id).collect();
        if let Err(error) = self.inner.log.append(self.lease, batch).await {
            return Err((error, promised));
        }
        let took = self.inner.clock.monotonic().saturating_sub(started);
        let counters = &self.inner.counters;
        Counters::add(&counters.commits, 1);
        Counters::add(
            &counters.events,
            u64::try_from(records.len()).unwrap_or(u64::MAX),
        );
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        counters
            .last_commit_us
            .store(micros, std::sync::atomic::Ordering::Relaxed);
        self.hand_out(promised);
        self.inner.publish(&self.inner.with_outer(&records));
        for run in held_up {
            self.inner.warn_once(run);
        }
        Ok(())
    }

    /// The batch is durable: replies and effects leave.
    fn hand_out(&mut self, promised: Promised) {
        // The agents are found first: who waits for the commit may let an older version go.
        let find = |effect: Effect| match &effect {
            Effect::Start(order) => (self.inner.agent_of(order), effect),
            Effect::Cancel(_) | Effect::Probe(_) | Effect::Recall(_) | Effect::Offer(_) => {
                (None, effect)
            }
        };
        let effects: Vec<_> = promised.effects.into_iter().map(find).collect();
        self.look_at_switch(&effects);
        if let Some(sequencer) = lock(&self.inner.live).sequencer.as_mut() {
            sequencer.committed(promised.next_seq);
        }
        for (agent, effect) in effects {
            match effect {
                Effect::Start(order) if self.is_live(&order.token) => {
                    self.inner.start_attempt(*order, agent);
                }
                // Its run ended before the dispatch was on disk: nobody begins any more.
                Effect::Start(order) => {
                    let ended = Request::Attempt(order.token, AttemptRequest::Ended);
                    self.inner.tell(Actor::System, ended);
                }
                Effect::Cancel(token) => self.inner.cancel_attempt(&token),
                Effect::Probe(order) => self.inner.ask_probe(&order),
                Effect::Recall(session) => self.inner.recall(session),
                Effect::Offer(agents) => self.offers.add(agents),
            }
        }
        // Whoever aborted a run is answered once its attempts are told to stop.
        for pending in promised.pending {
            pending.answer();
        }
    }

    /// Before anything goes out: is everything halted from beside the store? Then it does not.
    fn look_at_switch(&self, effects: &[(Option<Provider>, Effect)]) {
        let starts = effects
            .iter()
            .any(|(_, effect)| matches!(effect, Effect::Start(_)));
        if starts {
            self.inner.obey_switch();
        }
    }

    fn is_live(&self, token: &Token) -> bool {
        let live = lock(&self.inner.live);
        live.sequencer
            .as_ref()
            .is_some_and(|sequencer| sequencer.is_live(token))
    }

    /// Sleeps until the bell rings or something is due.
    async fn wait(&mut self) {
        if self.offers.any() {
            return;
        }
        let bell = self.inner.bell.notified();
        let due = self.due();
        match due {
            None => bell.await,
            Some(at) => {
                let clock = Arc::clone(&self.inner.clock);
                tokio::select! {
                    biased;
                    () = bell => {}
                    () = clock.sleep_until(at) => {}
                }
            }
        }
    }

    /// The monotonic time at which something is due.
    fn due(&self) -> Option<Duration> {
        let (wall, deadline) = {
            let live = lock(&self.inner.live);
            live.sequencer
                .as_ref()
                .map_or((None, None), Sequencer::next_due)
        };
        let parked = self.parked_due.filter(|_| self.has_room());
        let walls: Vec<Timestamp> = wall.into_iter().chain(parked).collect();
        let monotonic = self.inner.clock.monotonic();
        let settles = lock(&self.inner.steady).settles_at();
        // A wall clock that was put back stays in doubt; it is not waited for again and again.
        let settles = settles.filter(|at| !walls.is_empty() && *at > monotonic);
        walls
            .iter()
            .map(|at| self.inner.deadline(*at))
            .chain(deadline)
            .chain(settles)
            .min()
    }

    async fn on_time(&mut self) {
        self.watch_clock();
        let (now, monotonic) = self.inner.time();
        if self.parked_due.is_some_and(|at| at <= now)
            && self.has_room()
            && let Err(error) = self.page_in_due(now).await
        {
            tracing::warn!(%error, "runs that are due could not be read");
            self.parked_due = Some(now.after(Duration::from_secs(1)));
        }
        if let Err(error) = self.offers.next_page(&self.inner).await {
            tracing::warn!(%error, "runs that wait for an agent could not be read");
        }
        let due = {
            let live = lock(&self.inner.live);
            let (wall, deadline) = live
                .sequencer
                .as_ref()
                .map_or((None, None), Sequencer::next_due);
            wall.is_some_and(|at| at <= now) || deadline.is_some_and(|at| at <= monotonic)
        };
        if due {
            self.inner.tell(Actor::System, Request::Tick);
        }
    }

    /// Whether runs that are due may come into memory: not while many there wait for their turn. When
    /// one of those goes on, it does so by a commit, and the driver looks again.
    fn has_room(&self) -> bool {
        let live = lock(&self.inner.live);
        let sequencer = live.sequencer.as_ref();
        sequencer.is_none_or(|sequencer| sequencer.waiting_for_their_turn() < DUE_PAGE)
    }

    async fn page_in_due(&mut self, now: Timestamp) -> Result<()> {
        let due = self.parked_until(now).await?;
        let due: Vec<RunId> = due.into_iter().map(|(_, run)| run).collect();
        self.inner.page_in_each(&due, drop).await?;
        self.parked_due = self.next_parked().await?;
        Ok(())
    }

    /// The next due time of a run that is not in memory.
    pub(super) async fn next_parked(&self) -> Result<Option<Timestamp>> {
        let all = self.parked_until(Timestamp::from_unix_us(i64::MAX)).await?;
        Ok(all.first().map(|(at, _)| *at))
    }

    /// The first runs that are due by a time and not in memory.
    ///
    /// Runs in memory keep their rows as they are while they wait for something else; however many
    /// there are, they may not hide the others.
    async fn parked_until(&self, until: Timestamp) -> Result<Vec<(Timestamp, RunId)>> {
        let mut limit = DUE_PAGE;
        loop {
            let mut rows = self.inner.log.runs_due(until, limit).await?;
            let all = rows.len() < limit;
            {
                let live = lock(&self.inner.live);
                let runs = live.sequencer.as_ref().map(|s| &s.workspace().runs);
                rows.retain(|(_, run)| runs.is_none_or(|runs| !runs.contains_key(run)));
            }
            if all || !rows.is_empty() {
                return Ok(rows);
            }
            limit = limit.saturating_mul(4);
        }
    }

    /// Writes a jump of the wall clock down.
    fn watch_clock(&self) {
        let jump = lock(&self.inner.steady).take_jump();
        if let Some(Jump { wall, expected }) = jump {
            let jumped = Request::ClockJumped { wall, expected };
            self.inner.tell(Actor::System, jumped);
        }
    }
}

/// A decision that the state does not allow: a defect of this program, or rows that do not follow
/// from the log.
pub(super) fn contradiction(defect: &str) -> Error {
    Error::internal(format!("the state contradicts a decision: {defect}"))
}

/// Whoever still waits for an answer of a stopped engine is told so.
fn leave(inner: &Inner) {
    let owed = lock(&inner.live)
        .sequencer
        .as_mut()
        .map(Sequencer::owed)
        .unwrap_or_default();
    for pending in owed {
        pending.refuse(stopped);
    }
    inner.wake_all();
}

/// Refuses everything that still waits.
pub(super) fn refuse_all(promised: Promised) {
    for pending in promised.pending {
        pending.refuse(stopped);
    }
}
