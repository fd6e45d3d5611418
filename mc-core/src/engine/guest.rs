//! A handle that has joined another process: how that process' answers and orders reach it, and how
//! it takes the log over when the owner is gone.
//!
//! A joined handle is the same [`MissionControl`] with another [`Phase`]: its commands go through a
//! port, its reads through a log that asks the owner. Everything else is the same code. What is *not*
//! here: how the two processes talk, and who takes over (`mc-link`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use super::block::OwnersPrices;
use super::control::{Engine, MissionControl, Parts};
use super::driver::Driver;
use super::events::News;
use super::inner::{Inner, Joining, Phase, lock, stopped};
use super::passage;
use super::port::{Asked, OwnerPort, Room, Unreached};
use super::steady_clock::SteadyClock;
use super::sync::Mutex;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Actor, RunId};
use crate::run::read_event;
use crate::sequencer::{AttemptOrder, Command, ProbeOrder, Reply, Request, Token};
use crate::time::{Timestamp, as_ms};

/// Events that are read at a time in search of a command.
const PAGE: u64 = 1_000;

/// How much older than a command its events may seem: clocks differ.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

/// The way to a joined handle, for the adapter that carries messages.
#[derive(Debug)]
pub struct Guest {
    inner: Arc<Inner>,
    /// Goes to the driver with the log.
    driving: Mutex<Option<watch::Sender<()>>>,
}

impl Engine {
    /// A control over a log that another process owns. `parts.log` asks that process until it is
    /// taken over.
    ///
    /// # Errors
    /// `InvalidInput` where the owner's prices are no table.
    pub fn join(parts: Parts, port: Arc<dyn OwnerPort>) -> Result<(MissionControl, Guest)> {
        let prices = OwnersPrices::of(port.terms())?;
        let phase = Phase::Joined(Arc::new(Joining { port, prices }));
        let (inner, driving) = Inner::of(parts, None, phase);
        let control = MissionControl {
            inner: Arc::clone(&inner),
        };
        let guest = Guest {
            inner,
            driving: Mutex::new(Some(driving)),
        };
        Ok((control, guest))
    }
}

impl Guest {
    /// Starts an attempt that the owner dispatched to this process.
    pub fn start(&self, order: AttemptOrder) {
        let agent = self.inner.agent_of(&order);
        self.inner.start_attempt(order, agent);
    }

    /// Asks an attempt or a session to stop whose token the owner revoked.
    pub fn cancel(&self, token: &Token) {
        if let Some(block) = lock(&self.inner.blocks).get(&token.run_id) {
            block.shut();
        }
        self.inner.cancel_attempt(token);
    }

    /// Asks an agent of this process what became of a step in doubt, and tells the owner what it knows.
    pub fn probe(&self, order: &ProbeOrder) {
        self.inner.ask_probe(order);
    }

    /// A session has to ask for every call, until the owner says what may be drawn again.
    pub fn recall(&self, session: RunId) {
        if let Some(block) = lock(&self.inner.blocks).get(&session) {
            block.shut();
        }
    }

    /// Runs have moved.
    pub fn moved(&self, runs: &[RunId]) {
        self.inner.publish(runs);
    }

    /// The owner left out so many notices: any run may have moved.
    pub fn missed(&self, notices: u64) {
        self.inner.wake_all();
        if notices > 0 {
            // No subscribers is no error.
            let _ = self.inner.news.send(News::Missed(notices));
        }
    }

    /// What may be drawn of a session's block; in the order in which the owner said so.
    pub fn room(&self, room: &Room) {
        if let Some(block) = lock(&self.inner.blocks).get(&room.session) {
            block.told(room);
        }
    }

    /// The owner is gone: commands wait, and what is out here is not its any more. By the rules of a
    /// crash the next owner finds it in doubt; what it still reports is late.
    pub fn lost(&self) {
        {
            let mut live = lock(&self.inner.live);
            if !matches!(live.phase, Phase::Stopped) {
                live.phase = Phase::Recovering;
            }
            // Of a take-over that did not come to its end.
            live.sequencer = None;
        }
        let out = std::mem::take(&mut *lock(&self.inner.attempts));
        for cell in out.values() {
            cell.cancel();
        }
        let blocks = std::mem::take(&mut *lock(&self.inner.blocks));
        for block in blocks.values() {
            block.shut();
        }
        self.inner.turned.notify_waiters();
    }

    /// No owner can be reached for now: hosts are refused by this reason, attempts wait.
    pub fn down(&self, error: Error) {
        {
            let mut live = lock(&self.inner.live);
            if matches!(live.phase, Phase::Stopped) {
                return;
            }
            live.phase = Phase::Down(Arc::new(error));
        }
        self.inner.turned.notify_waiters();
    }

    /// Another process is the owner now: it hears which handlers act here still, and of this one's agents,
    /// then commands go on.
    ///
    /// # Errors
    /// `Unavailable` where it is gone already, or the handle is being shut down; `InvalidInput` where its
    /// prices are no table; or why it takes no agents.
    pub async fn rejoin(&self, port: Arc<dyn OwnerPort>) -> Result<()> {
        let inner = &self.inner;
        // The new owner would send work to whoever is on the way out.
        inner.require_staying()?;
        let prices = OwnersPrices::of(port.terms())?;
        let agents: Vec<_> = inner.agents.all().into_iter().collect();
        // First: until it is heard, nobody may be asked what became of these.
        port.acting(&inner.acting_here());
        let mut said = vec![Request::AgentsAvailable(agents)];
        if inner.dispatches.load(Ordering::Relaxed) {
            said.push(Request::StartDispatch);
        }
        for request in said {
            let command = inner.command(Actor::System, request);
            let told = port.submit(command, Asked::First).await;
            told.map_err(gone)?.reply?;
        }
        {
            let mut live = lock(&inner.live);
            if live.leaving {
                return Err(stopped());
            }
            live.phase = Phase::Joined(Arc::new(Joining { port, prices }));
        }
        for (actor, request) in std::mem::take(&mut *lock(&inner.untold)) {
            inner.tell(actor, request);
        }
        inner.turned.notify_waiters();
        inner.wake_all();
        Ok(())
    }

    /// This process owns the log now (its own log port says so): open work is recovered as at every
    /// start of a process, and commands that wait are decided here.
    ///
    /// # Errors
    /// As [`Engine::open`]; it can be called again then.
    pub async fn take_over(&self) -> Result<()> {
        let inner = &self.inner;
        inner.require_staying()?;
        let found = inner.log.acquire().await?;
        let (wall, monotonic) = (inner.clock.now(), inner.clock.monotonic());
        *lock(&inner.steady) = SteadyClock::starting(wall, found.last_ts, monotonic);
        let driving = lock(&self.driving).take();
        let driving = driving.unwrap_or_else(|| watch::channel(()).0);
        inner.expect_joiners();
        Driver::start(Arc::clone(inner), &found, driving).await?;
        inner.wait_for_joiners();
        if inner.dispatches.load(Ordering::Relaxed) {
            inner.tell(Actor::System, Request::StartDispatch);
        }
        inner.turned.notify_waiters();
        inner.wake_all();
        Ok(())
    }

    /// The control, once it owns the log.
    pub fn control(&self) -> MissionControl {
        MissionControl {
            inner: Arc::clone(&self.inner),
        }
    }

    /// Returns once the handle was shut down.
    pub async fn stopped(&self) {
        self.inner.until_stopped().await;
    }
}

fn gone(_: Unreached) -> Error {
    Error::new(ErrorKind::Unavailable, "the owner of the store is gone")
}

impl Inner {
    /// Returns once the engine was shut down.
    pub(super) async fn until_stopped(&self) {
        loop {
            let turned = self.turned.notified();
            if matches!(lock(&self.live).phase, Phase::Stopped) {
                return;
            }
            turned.await;
        }
    }

    /// # Errors
    /// `Unavailable` where a joined handle is being shut down.
    fn require_staying(&self) -> Result<()> {
        if lock(&self.live).leaving {
            return Err(stopped());
        }
        Ok(())
    }

    /// The reply to a command that an earlier owner may have taken: none where it left no trace in
    /// the log, or where deciding it again gives the same.
    ///
    /// # Errors
    /// What the log says.
    pub(super) async fn asked_before(&self, command: &Command) -> Result<Option<Reply>> {
        let Some(proof) = passage::of(&command.request).if_done else {
            return Ok(None);
        };
        let mut wrote = Vec::new();
        let issued = issued_ms(command);
        let mut until = self.log.head().await?.next_seq;
        while until > 0 {
            let from = until.saturating_sub(PAGE);
            let size = usize::try_from(until - from).unwrap_or(usize::MAX);
            let page = self.log.read_workspace(from, size).await?;
            for record in page.iter().rev() {
                if record.cmd_id == command.id {
                    wrote.push((record.run_id, read_event(record)?));
                } else if !wrote.is_empty() || record.ts < issued {
                    // What a command writes stands together.
                    return Ok(proof.reply(&wrote));
                }
            }
            until = from;
        }
        Ok(proof.reply(&wrote))
    }
}

/// The time before which no event of a command can be; its id tells when it was given.
fn issued_ms(command: &Command) -> Timestamp {
    let mut ms = [0_u8; 8];
    ms[2..].copy_from_slice(&command.id.as_bytes()[..6]);
    let differ = as_ms(CLOCKS_DIFFER);
    let ms = u64::from_be_bytes(ms).saturating_sub(differ);
    Timestamp::from_unix_us(i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000))
}

/// Runs that are told of together.
pub(super) type Runs = Arc<BTreeSet<RunId>>;
