//! Open and soft restart: the sequencer's memory is thrown away and read back from the log.
//!
//! The same code serves a fresh process and a failed commit. After a failure, attempts that are
//! still alive are adopted, and commands whose events are not in the log are decided again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::attempt::AttemptCell;
use super::driver::{Driver, contradiction, refuse_all};
use super::inner::{Inner, Phase, broken, lock};
use super::read_only;
use super::status::Counters;
use crate::error::{Error, ErrorKind, Result};
use crate::event::PartRef;
use crate::id::{Actor, CommandId, Digest, RunId, StepKey};
use crate::ports::Recovered;
use crate::pricing::PriceTable;
use crate::sequencer::{
    AttemptRequest, CallsOut, Command, Dispatch, Pending, Promised, Request, Scribe, Submitted,
    recover,
};

/// Runs that are taken up in one commit.
const PAGE: usize = 1_000;

/// How long a store that refuses is left alone before it is asked again.
const PATIENCE: Duration = Duration::from_secs(1);

/// So many contradictions within this span, and the engine stops: reading the same log again would
/// only meet the same one, and write another epoch each time.
const MOST_DEFECTS: usize = 3;
const DEFECT_SPAN: Duration = Duration::from_secs(60);

/// What the old sequencer owed when it was thrown away.
struct Owed {
    /// The batch whose append failed: its commands, and the number behind its last event.
    failed: Promised,
    /// Commands behind it.
    behind: Vec<Pending>,
    dispatch: Dispatch,
    /// Whether the failed batch is in the log, once that was looked up. Recovery itself writes, so
    /// a later look would see its events.
    committed: Option<bool>,
    /// Calls that were out.
    calls: CallsOut,
    /// Tables that open calls were reserved by.
    prices: BTreeMap<Digest, Arc<PriceTable>>,
}

impl Driver {
    /// Reads the state back after a failure. False where the engine was stopped meanwhile, or has to
    /// stop because the failure would come again.
    pub(super) async fn restart(&mut self, error: Error, failed: Promised) -> bool {
        tracing::warn!(%error, "a commit failed; the state is read back from the log");
        Counters::add(&self.inner.counters.soft_restarts, 1);
        let mut owed = self.set_aside(failed);
        let mut failure = Some(error);
        loop {
            if let Some(error) = failure.take().filter(|error| self.is_hopeless(error)) {
                self.break_down(error, owed);
                return false;
            }
            let Err(error) = self.reopen(&mut owed).await else {
                return true;
            };
            if error.kind() == ErrorKind::Internal {
                failure = Some(error);
                continue;
            }
            if self.go_down(&Arc::new(error), &mut owed) {
                return false;
            }
            let again = self.inner.clock.monotonic().saturating_add(PATIENCE);
            self.inner.clock.sleep_until(again).await;
        }
    }

    /// Whether a contradiction came up so often lately that it would for ever.
    fn is_hopeless(&mut self, error: &Error) -> bool {
        if error.kind() != ErrorKind::Internal {
            return false;
        }
        let now = self.inner.clock.monotonic();
        self.defects
            .retain(|at| now.saturating_sub(*at) < DEFECT_SPAN);
        self.defects.push(now);
        self.defects.len() > MOST_DEFECTS
    }

    /// The engine stops for good: reads go on, everything else is refused by this error.
    fn break_down(&self, error: Error, owed: Owed) {
        tracing::error!(%error, "the engine stops: its state contradicts the log; reads go on");
        let error = Arc::new(error);
        {
            let mut live = lock(&self.inner.live);
            live.sequencer = None;
            if !matches!(live.phase, Phase::Stopped) {
                live.phase = Phase::Broken(Arc::clone(&error));
            }
        }
        for pending in owed.failed.pending.into_iter().chain(owed.behind) {
            pending.refuse(|| broken(&error));
        }
        for cell in lock(&self.inner.attempts).values() {
            cell.cancel();
        }
        self.inner.turned.notify_waiters();
        self.inner.wake_all();
    }

    fn set_aside(&self, failed: Promised) -> Owed {
        let mut live = lock(&self.inner.live);
        live.phase = Phase::Recovering;
        let mut owed = Owed {
            failed,
            behind: Vec::new(),
            dispatch: Dispatch::Held,
            committed: None,
            calls: CallsOut::new(),
            prices: BTreeMap::new(),
        };
        if let Some(mut sequencer) = live.sequencer.take() {
            owed.behind = sequencer.owed();
            owed.dispatch = sequencer.workspace().dispatch;
            owed.calls.clone_from(&sequencer.workspace().calls_out);
            owed.prices = sequencer.workspace().prices.known.clone();
        }
        owed
    }

    /// The store refuses: hosts are told so, attempts wait. True where the engine was stopped.
    fn go_down(&self, cause: &Arc<Error>, owed: &mut Owed) -> bool {
        {
            let mut live = lock(&self.inner.live);
            if matches!(live.phase, Phase::Stopped) {
                drop(live);
                refuse_all(std::mem::take(&mut owed.failed));
                return true;
            }
            live.phase = Phase::Down(Arc::clone(cause));
        }
        self.inner.turned.notify_waiters();
        if read_only::is_for_good(cause) {
            self.inner.stop_attempts();
            read_only::refuse(&mut owed.failed.pending, cause);
            read_only::refuse(&mut owed.behind, cause);
        }
        let known = owed.committed.is_some() || owed.failed.next_seq == 0;
        refuse_hosts(&mut owed.failed.pending, cause, known);
        refuse_hosts(&mut owed.behind, cause, true);
        false
    }

    async fn reopen(&mut self, owed: &mut Owed) -> Result<()> {
        let found = self.inner.log.acquire().await?;
        let last = owed.failed.next_seq;
        let committed = *owed
            .committed
            .get_or_insert(last > 0 && found.head.next_seq >= last);
        if committed {
            owed.failed.pending.drain(..).for_each(Pending::answer);
        }
        self.take_up(&found, owed.prices.clone()).await?;
        if let Some(sequencer) = lock(&self.inner.live).sequencer.as_mut() {
            sequencer.recall_calls(std::mem::take(&mut owed.calls));
        }
        let epoch = found.lease.epoch;
        let mut pending = std::mem::take(&mut owed.failed.pending);
        pending.append(&mut owed.behind);
        for one in pending {
            self.inner.decide_again(one, epoch).await;
        }
        self.inner.go_up();
        let again = match owed.dispatch {
            Dispatch::Held => None,
            Dispatch::On => Some(Request::StartDispatch),
            Dispatch::Draining => Some(Request::Drain),
        };
        if let Some(request) = again {
            self.inner.tell(Actor::System, request);
        }
        self.inner.turned.notify_waiters();
        // Whoever waits for a run may have waited for a commit that is lost.
        self.inner.wake_all();
        Ok(())
    }

    /// Builds a sequencer on what was found, and takes up every run that needs attention.
    pub(super) async fn take_up(
        &mut self,
        found: &Recovered,
        known: BTreeMap<Digest, Arc<PriceTable>>,
    ) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        let priced = inner.prices_at_open(found, known).await?;
        let (mut sequencer, scribe) = recover(
            found,
            priced,
            &inner.entropy,
            inner.instant(),
            inner.auth_method,
        )?;
        if let Some(head) = sequencer.policy_head() {
            let place = PartRef {
                seq: head.seq,
                part: 0,
            };
            sequencer.adopt_policy(&inner.log.read_part(place).await?)?;
        }
        for (agent, version) in inner.agents.all() {
            sequencer.register(agent, version);
        }
        self.scribe = scribe;
        self.lease = found.lease;
        {
            let mut live = lock(&inner.live);
            inner.tell_acting(&mut sequencer);
            live.sequencer = Some(sequencer);
        }
        let alive = inner.alive();
        let mut after = None;
        loop {
            let runs = inner.log.runs_in_need(after, PAGE).await?;
            let recover = |run| inner.recover_run(run, found.lease.epoch, &alive);
            inner.page_in_each(&runs, recover).await?;
            self.commit_quietly().await?;
            after = runs.last().copied();
            if runs.len() < PAGE {
                break;
            }
        }
        self.offers.add(inner.agents.all().into_keys().collect());
        self.parked_due = self.next_parked().await?;
        inner.turned.notify_waiters();
        Ok(())
    }

    /// Commits what recovery decided; a failure of it is a failure of the recovery.
    async fn commit_quietly(&mut self) -> Result<()> {
        let closed = match lock(&self.inner.live).sequencer.as_mut() {
            Some(sequencer) => {
                // What was decided before the contradiction is no whole decision: none of it is
                // written.
                if let Some(defect) = sequencer.defect() {
                    return Err(contradiction(defect));
                }
                sequencer.close_batch()?
            }
            None => None,
        };
        let Some((closed, promised)) = closed else {
            return Ok(());
        };
        self.commit(closed, promised)
            .await
            .map_err(|(error, promised)| {
                for pending in promised.pending {
                    pending.refuse(|| Error::new(error.kind(), error.message()));
                }
                error
            })
    }
}

/// Hosts are told at once; what attempts report is kept until the store is back.
fn refuse_hosts(list: &mut Vec<Pending>, cause: &Arc<Error>, known: bool) {
    let (attempts, hosts): (_, Vec<Pending>) = std::mem::take(list)
        .into_iter()
        .partition(|pending| matches!(pending.command.request, Request::Attempt(..)));
    *list = attempts;
    let mut message = cause.message().to_owned();
    if !known {
        message += "; whether the command was written is not known: look before it is given again";
    }
    for pending in hosts {
        pending.refuse(|| {
            let error = Error::new(cause.kind(), message.clone());
            match cause.detail() {
                Some(detail) => error.with_detail(detail.clone()),
                None => error,
            }
        });
    }
}

/// The attempts that are still alive here, by run.
type Alive = BTreeMap<RunId, Vec<Arc<AttemptCell>>>;

impl Inner {
    fn alive(&self) -> Alive {
        let mut alive = Alive::new();
        for ((run, ..), cell) in lock(&self.attempts).iter() {
            alive.entry(*run).or_default().push(Arc::clone(cell));
        }
        alive
    }

    /// The state is back: commands are taken again.
    pub(super) fn go_up(&self) {
        let mut live = lock(&self.live);
        // A shutdown that came meanwhile stays one.
        if !matches!(live.phase, Phase::Stopped) {
            live.phase = Phase::Up;
        }
        drop(live);
        for (actor, request) in std::mem::take(&mut *lock(&self.untold)) {
            let command = self.readdress(self.command(actor, request));
            self.tell_command(&command);
        }
        for run in self.sessions_let_go() {
            self.tell(Actor::System, Request::CloseSession(run));
        }
    }

    /// The sessions whose handles are gone and that have not ended; those that have are forgotten.
    fn sessions_let_go(&self) -> Vec<RunId> {
        let attempts = lock(&self.attempts);
        let let_go = attempts.iter().filter(|(_, cell)| cell.is_let_go());
        let mut open: Vec<RunId> = let_go.map(|((run, ..), _)| *run).collect();
        drop(attempts);
        let live = lock(&self.live);
        let runs = live.sequencer.as_ref().map(|s| &s.workspace().runs);
        open.retain(|run| {
            let found = runs.and_then(|runs| runs.get(run));
            found.is_some_and(|resident| !resident.run.status.is_terminal())
        });
        drop(live);
        lock(&self.attempts).retain(|(run, ..), cell| !cell.is_let_go() || open.contains(run));
        open
    }

    /// Takes a run up: what is still alive here is adopted, the rest is in doubt.
    fn recover_run(&self, run: RunId, epoch: u64, alive: &Alive) {
        let cells = alive.get(&run).map_or(&[][..], Vec::as_slice);
        let alive: Vec<(StepKey, u32)> = cells
            .iter()
            .map(|cell| (cell.key().1, cell.key().2))
            .collect();
        let command = self.command(Actor::System, Request::Recover(run, alive));
        let instant = self.instant();
        let mut live = lock(&self.live);
        let Some(sequencer) = live.sequencer.as_mut() else {
            return;
        };
        sequencer.submit(&command, instant, None);
        let runs = &sequencer.workspace().runs;
        let is_session = runs.get(&run).is_some_and(|r| r.run.workflow().is_none());
        for cell in cells {
            let step = sequencer
                .workspace()
                .runs
                .get(&run)
                .and_then(|r| r.run.step(&cell.key().1));
            let adopted = step.is_some_and(|s| s.live == Some(epoch) && s.attempt == cell.key().2);
            if adopted {
                cell.adopt(epoch);
                if cell.is_elsewhere() && is_session {
                    sequencer.lend(run);
                }
                // The commit that was to end it in time may be the one that failed.
                sequencer.keep_deadline(cell.token(), cell.deadline());
            } else {
                cell.cancel();
            }
        }
    }

    /// Decides a command again whose events did not reach the log.
    async fn decide_again(&self, pending: Pending, epoch: u64) {
        let gone = pending.reply.as_ref();
        let gone = gone.is_some_and(|(slot, _)| slot.is_closed());
        // Nothing is held for a call that nobody waits for any more.
        if gone && reserves(&pending.command) {
            return;
        }
        let id = CommandId::from_bytes(self.new_id());
        let command = again(&pending.command, id, epoch);
        if let Some(run) = command.request.run_id()
            && let Err(error) = self.page_in(run).await
        {
            tracing::debug!(%run, %error, "a run that a command is for could not be read");
        }
        let wants = {
            let live = lock(&self.live);
            let sequencer = live.sequencer.as_ref();
            sequencer.and_then(|sequencer| sequencer.wants_content(&command.request))
        };
        if let Some(run) = wants
            && let Err(error) = self.restore(run).await
        {
            tracing::debug!(%run, %error, "the content of a run could not be read");
        }
        let instant = self.instant();
        let mut live = lock(&self.live);
        let Some(sequencer) = live.sequencer.as_mut() else {
            return;
        };
        let missing = command
            .request
            .run_id()
            .is_some_and(|run| !sequencer.workspace().runs.contains_key(&run));
        match pending.reply {
            None if missing => {}
            None => drop(sequencer.submit(&command, instant, None)),
            Some((slot, _)) if missing => {
                let run = command.request.run_id().unwrap_or(RunId::ZERO);
                let _ = slot.send(Err(Error::not_found("run", run)));
            }
            Some((slot, _)) => {
                let (inner_slot, mut answer) = tokio::sync::oneshot::channel();
                match sequencer.submit(&command, instant, Some(inner_slot)) {
                    Submitted::Now(reply) => drop(slot.send(reply)),
                    Submitted::Later => {
                        // The answer comes with the next commit; a small task carries it over.
                        self.spawner.spawn_driver(Box::pin(async move {
                            if let Ok(reply) = (&mut answer).await {
                                let _ = slot.send(reply);
                            }
                        }));
                    }
                }
            }
        }
    }
}

fn reserves(command: &Command) -> bool {
    let Request::Attempt(_, request) = &command.request else {
        return false;
    };
    matches!(request, AttemptRequest::ReserveCall(_))
}

/// The same command under the epoch that adopted its attempt. It gets an id of its own: one that
/// waits for its turn has written already that it does.
fn again(command: &Command, id: CommandId, epoch: u64) -> Arc<Command> {
    let mut command = Command {
        id,
        ..command.clone()
    };
    if let Request::Attempt(token, _) = &mut command.request {
        token.epoch = epoch;
    }
    Arc::new(command)
}

/// A scribe that writes nothing: stands in until the log was read.
pub(super) fn idle_scribe(inner: &Inner) -> Scribe {
    Scribe::new(crate::id::WorkspaceId::NIL, Arc::clone(&inner.entropy))
}
