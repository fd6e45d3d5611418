//! What all handles of an engine share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Notify, broadcast, oneshot, watch};

use super::attempt::{AttemptCell, AttemptKey};
use super::block::{Block, OwnersPrices};
use super::events::News;
use super::given_up::GivenUp;
use super::port::{Asked, OwnerPort, Unreached};
use super::read_only;
use super::registry::Registry;
use super::spawner::Spawner;
use super::status::Counters;
use super::steady_clock::SteadyClock;
use super::sync::Mutex;
pub(super) use super::sync::lock;
use crate::error::{Detail, Error, ErrorKind, Result};
use crate::event::PartRef;
use crate::id::{Actor, AuthMethod, CommandId, RunId};
use crate::ports::{Clock, Entropy, EventLog, HaltSwitch, uuid_v7};
use crate::sequencer::{Command, Handler, Instant, Reply, Request, Sequencer, Settings, Submitted};
use crate::time::Timestamp;

/// Whether the engine takes commands.
#[derive(Debug)]
pub(super) enum Phase {
    /// It reads the log back; commands wait.
    Recovering,
    /// It does.
    Up,
    /// Another process owns the log; commands go to it.
    Joined(Arc<Joining>),
    /// The store refuses; reads go on, new work is refused by this reason.
    Down(Arc<Error>),
    /// Its state contradicts the log; reads go on, everything else is refused by this reason.
    Broken(Arc<Error>),
    /// It was shut down.
    Stopped,
}

/// The owner that a handle has joined.
#[derive(Debug)]
pub(super) struct Joining {
    pub(super) port: Arc<dyn OwnerPort>,
    pub(super) prices: OwnersPrices,
}

/// The sequencer and its phase, behind the one lock.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) phase: Phase,
    pub(super) sequencer: Option<Sequencer>,
    /// Whether a handle that has joined is being shut down: it neither joins another owner nor becomes
    /// one.
    pub(super) leaving: bool,
}

/// What all handles share.
pub(super) struct Inner {
    pub(super) log: Arc<dyn EventLog>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) steady: Mutex<SteadyClock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) spawner: Arc<dyn Spawner>,
    pub(super) settings: Settings,
    pub(super) auth_method: AuthMethod,
    pub(super) live: Mutex<Live>,
    /// Rung when there is something to commit or a time has changed.
    pub(super) bell: Notify,
    /// Rung when the phase changes.
    pub(super) turned: Notify,
    pub(super) agents: Registry,
    pub(super) attempts: Mutex<BTreeMap<AttemptKey, Arc<AttemptCell>>>,
    /// Handlers that have not ended: those in this process, also where their owner is gone, and what
    /// joined processes have of earlier owners.
    pub(super) acting: Mutex<BTreeSet<Handler>>,
    /// Until when processes may come back that had joined an earlier owner, in monotonic time.
    pub(super) joiners_until: Mutex<Option<Duration>>,
    /// Who waits for a run to move.
    pub(super) watchers: Mutex<BTreeMap<RunId, Arc<Notify>>>,
    /// Rung for subscribers of events, with the runs that moved.
    pub(super) news: broadcast::Sender<News>,
    /// What dropped handles had to say while no command was taken.
    pub(super) untold: Mutex<Vec<(Actor, Request)>>,
    /// Runs about which a person was told that they wait.
    pub(super) warned: Mutex<BTreeSet<RunId>>,
    pub(super) counters: Counters,
    /// Blocks of this process' sessions, while it has joined another.
    pub(super) blocks: Mutex<BTreeMap<RunId, Arc<Block>>>,
    /// Whether this process owns the log; once it does, it does for good.
    pub(super) drives: AtomicBool,
    /// What halts everything from beside the store.
    pub(super) switch: Option<Arc<dyn HaltSwitch>>,
    /// Held from the look at it to the word that follows.
    pub(super) switch_turn: Mutex<()>,
    /// Whether this process asked to dispatch.
    pub(super) dispatches: AtomicBool,
    /// Closed when the driver has gone.
    pub(super) driving: watch::Receiver<()>,
    /// Has a receiver for every handler that may still hold the engine.
    pub(super) handling: watch::Sender<()>,
    /// Says that handlers which have not ended are dropped where they stand.
    pub(super) letting_go: watch::Sender<bool>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its log may be of any size.
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}

/// What became of one try to hand a command over.
enum Handed {
    Done(Result<Reply>),
    Wait(oneshot::Receiver<Result<Reply>>),
    PageIn(RunId),
    Restore(RunId),
    Elsewhere(Arc<Joining>),
    NotYet,
}

/// Somebody's place at the notice board of a run.
pub(super) struct Watcher<'a> {
    inner: &'a Inner,
    run: RunId,
    pub(super) moved: Arc<Notify>,
}

impl Drop for Watcher<'_> {
    fn drop(&mut self) {
        let mut watchers = lock(&self.inner.watchers);
        // Given up under the lock: of two that leave at once, one is the last, and takes the board
        // down, of which only the map's copy is left then.
        drop(std::mem::take(&mut self.moved));
        let board = watchers.get(&self.run);
        if board.is_some_and(|board| Arc::strong_count(board) == 1) {
            watchers.remove(&self.run);
        }
    }
}

impl Inner {
    pub(super) fn instant(&self) -> Instant {
        let mut random = [0; 8];
        self.entropy.fill(&mut random);
        let (now, monotonic) = self.time();
        Instant {
            now,
            monotonic,
            random: u64::from_be_bytes(random),
        }
    }

    /// The engine's time, and the monotonic one.
    pub(super) fn time(&self) -> (Timestamp, Duration) {
        // Both are read under the lock, so that one reader's time is not older than another's.
        let mut steady = lock(&self.steady);
        let (wall, monotonic) = (self.clock.now(), self.clock.monotonic());
        (steady.read(wall, monotonic), monotonic)
    }

    pub(super) fn new_id(&self) -> [u8; 16] {
        uuid_v7(self.time().0, self.entropy.as_ref())
    }

    pub(super) fn command(&self, actor: Actor, request: Request) -> Arc<Command> {
        let id = CommandId::from_bytes(self.new_id());
        Arc::new(Command {
            id,
            actor,
            auth_method: self.auth_method,
            request,
        })
    }

    /// Hands a command over and waits for its answer.
    ///
    /// # Errors
    /// What the command says; `Unavailable` while the store refuses.
    pub(super) async fn submit(&self, actor: Actor, request: Request) -> Result<Reply> {
        let command = self.command(actor, request);
        self.submit_command(command, Asked::First).await
    }

    /// As [`Inner::submit`], for a command that has its id.
    pub(super) async fn submit_command(
        &self,
        mut command: Arc<Command>,
        mut asked: Asked,
    ) -> Result<Reply> {
        if self.spawner.is_inherited() {
            return Err(forked());
        }
        let patient = matches!(command.request, Request::Attempt(..));
        loop {
            let turned = self.turned.notified();
            if asked == Asked::Again && self.is_up() {
                asked = Asked::First;
                if let Some(reply) = self.asked_before(&command).await? {
                    return Ok(reply);
                }
            }
            match self.hand_over(&command, patient) {
                Handed::Done(reply) => return reply,
                Handed::Wait(answer) => {
                    let given_up = GivenUp::of(self, &command);
                    let reply = answer.await.unwrap_or_else(|_| Err(stopped()));
                    given_up.answered();
                    return reply;
                }
                Handed::PageIn(run) => self.page_in(run).await?,
                Handed::Restore(run) => self.restore(run).await?,
                Handed::Elsewhere(owner) => {
                    let given_up = GivenUp::of(self, &command);
                    let told = owner.port.submit(Arc::clone(&command), asked).await;
                    given_up.answered();
                    match told {
                        Ok(told) => return told.reply,
                        Err(Unreached::NotSent) => {}
                        Err(Unreached::Unknown) => asked = Asked::Again,
                    }
                    self.left_behind(&owner).await;
                }
                Handed::NotYet => {
                    turned.await;
                    command = self.readdress(command);
                }
            }
        }
    }

    fn is_up(&self) -> bool {
        matches!(lock(&self.live).phase, Phase::Up)
    }

    /// The owner that this process has joined, if it has.
    pub(super) fn joined(&self) -> Option<Arc<Joining>> {
        match &lock(&self.live).phase {
            Phase::Joined(owner) => Some(Arc::clone(owner)),
            Phase::Recovering | Phase::Up | Phase::Down(_) | Phase::Broken(_) | Phase::Stopped => {
                None
            }
        }
    }

    /// Returns once an owner that is gone is no longer the one that was joined.
    async fn left_behind(&self, owner: &Arc<Joining>) {
        loop {
            let turned = self.turned.notified();
            if !self.joined().is_some_and(|now| Arc::ptr_eq(&now, owner)) {
                return;
            }
            turned.await;
        }
    }

    /// The same command under the epoch that has adopted its attempt meanwhile; under the old one
    /// it would be a late result, and the step would stay live without a handler.
    pub(super) fn readdress(&self, command: Arc<Command>) -> Arc<Command> {
        let Request::Attempt(token, request) = &command.request else {
            return command;
        };
        let key = (token.run_id, token.step.clone(), token.attempt);
        let Some(cell) = lock(&self.attempts).get(&key).cloned() else {
            return command;
        };
        let request = Request::Attempt(cell.token(), request.clone());
        Arc::new(Command {
            request,
            ..Command::clone(&command)
        })
    }

    /// As [`Inner::submit`], for an answer that may be there at once; the common case of a call
    /// inside a hold never waits.
    fn hand_over(&self, command: &Arc<Command>, patient: bool) -> Handed {
        let instant = self.instant();
        let mut live = lock(&self.live);
        match &live.phase {
            Phase::Up => {}
            Phase::Joined(owner) => return Handed::Elsewhere(Arc::clone(owner)),
            Phase::Recovering => return Handed::NotYet,
            Phase::Down(error) if read_only::refuses(error, &command.request) => {
                return Handed::Done(Err(read_only::to_stop(error)));
            }
            Phase::Down(_) if patient => return Handed::NotYet,
            Phase::Down(error) => return Handed::Done(Err(down(error))),
            Phase::Broken(error) => return Handed::Done(Err(broken(error))),
            Phase::Stopped => return Handed::Done(Err(stopped())),
        }
        // After a contradiction the state is read back first.
        let sound = |sequencer: &&mut Sequencer| sequencer.defect().is_none();
        let Some(sequencer) = live.sequencer.as_mut().filter(sound) else {
            return Handed::NotYet;
        };
        if let Some(run) = command.request.run_id()
            && !sequencer.workspace().runs.contains_key(&run)
        {
            return Handed::PageIn(run);
        }
        if let Some(run) = sequencer.wants_content(&command.request) {
            return Handed::Restore(run);
        }
        let (slot, answer) = oneshot::channel();
        let submitted = sequencer.submit(command, instant, Some(slot));
        drop(live);
        self.bell.notify_one();
        match submitted {
            Submitted::Now(reply) => Handed::Done(reply),
            Submitted::Later => Handed::Wait(answer),
        }
    }

    /// Hands a command over and waits for nothing; its run is in memory or it is of no use.
    pub(super) fn tell(&self, actor: Actor, request: Request) {
        if self.spawner.is_inherited() {
            return;
        }
        let owner = {
            let live = lock(&self.live);
            let sound = live
                .sequencer
                .as_ref()
                .is_some_and(|sequencer| sequencer.defect().is_none());
            match &live.phase {
                Phase::Up if sound => None,
                Phase::Joined(owner) => Some(Arc::clone(owner)),
                Phase::Up | Phase::Recovering | Phase::Down(_) => {
                    // A handle that was dropped meanwhile is gone for good: it is told later.
                    if request.outlives_recovery() {
                        lock(&self.untold).push((actor, request));
                    }
                    return;
                }
                Phase::Broken(_) | Phase::Stopped => return,
            }
        };
        let command = self.command(actor, request);
        match owner {
            Some(owner) => owner.port.tell(command),
            None => self.tell_command(&command),
        }
    }

    pub(super) fn tell_command(&self, command: &Arc<Command>) {
        let instant = self.instant();
        let mut live = lock(&self.live);
        let up = matches!(live.phase, Phase::Up);
        if let Some(sequencer) = live.sequencer.as_mut().filter(|_| up) {
            sequencer.submit(command, instant, None);
        }
        drop(live);
        self.bell.notify_one();
    }

    /// The monotonic time at which the engine's clock shows a time.
    pub(super) fn deadline(&self, at: Timestamp) -> Duration {
        let (now, monotonic) = self.time();
        monotonic.saturating_add(at.since(now))
    }

    /// Reads a part of the log as JSON.
    ///
    /// # Errors
    /// `NotFound` where it was erased, `Corrupt` where it is not JSON.
    pub(super) async fn read_value(&self, place: PartRef) -> Result<Value> {
        let bytes = self.log.read_part(place).await?;
        serde_json::from_slice(&bytes)
            .map_err(|e| Error::corrupt("content", Some(place.seq)).with_source(e))
    }

    /// The notice board of a run.
    pub(super) fn watcher(&self, run: RunId) -> Watcher<'_> {
        let moved = Arc::clone(lock(&self.watchers).entry(run).or_default());
        Watcher {
            inner: self,
            run,
            moved,
        }
    }

    /// Wakes everybody who waits for a run, because the engine has stopped.
    pub(super) fn wake_all(&self) {
        for notify in lock(&self.watchers).values() {
            notify.notify_waiters();
        }
        let _ = self.news.send(News::Moved(Arc::default()));
    }

    /// Whether something can still happen.
    ///
    /// # Errors
    /// `Unavailable` where the engine was shut down, `Internal` where it broke down.
    pub(super) fn require_open(&self) -> Result<()> {
        if self.spawner.is_inherited() {
            return Err(forked());
        }
        match &lock(&self.live).phase {
            Phase::Stopped => Err(stopped()),
            Phase::Broken(error) => Err(broken(error)),
            Phase::Up | Phase::Joined(_) | Phase::Recovering | Phase::Down(_) => Ok(()),
        }
    }

    /// Tells everybody who waits that these runs have moved.
    pub(super) fn publish(&self, runs: &[RunId]) {
        let runs: BTreeSet<RunId> = runs.iter().copied().collect();
        let watchers = lock(&self.watchers);
        for run in &runs {
            if let Some(notify) = watchers.get(run) {
                notify.notify_waiters();
            }
        }
        drop(watchers);
        // No subscribers is no error.
        let _ = self.news.send(News::Moved(Arc::new(runs)));
    }
}

pub(super) fn stopped() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the engine was shut down; open the store again",
    )
}

/// A process that was forked off has the memory of the engine and none of its threads.
fn forked() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the handle was inherited over a fork; open the store again",
    )
    .with_detail(Detail::ForkedHandle)
}

/// The engine broke down: it is to be opened again, by a program without the defect.
pub(super) fn broken(cause: &Arc<Error>) -> Error {
    Error::new(cause.kind(), cause.message())
}

fn down(cause: &Arc<Error>) -> Error {
    let error = Error::new(
        ErrorKind::Unavailable,
        format!("the store takes no writes: {}", cause.message()),
    );
    match cause.detail() {
        Some(detail) => error.with_detail(detail.clone()),
        None => error,
    }
}
