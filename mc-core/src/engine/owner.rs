//! What a process that owns the log does for those that have joined it.
//!
//! A joined process' commands are decided like those of this one, known by `socket`; its attempts and
//! sessions are live for as long as it is there. When it is gone without a word, what it had out is
//! treated as after a crash, and only that. What is *not* here: how the two talk (`mc-link`).

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::broadcast;

use super::attempt::AttemptCell;
use super::content;
use super::control::MissionControl;
use super::events::News;
use super::guest::Runs;
use super::inner::{Inner, lock};
use super::passage::{self, Passage, Way};
use super::port::{About, AgentHost, Asked, AttemptKey, OwnerTerms, Peek, Peeked, Room, Told};
use super::registry::Provider;
use crate::error::{Error, Result};
use crate::id::{Actor, AuthMethod, Digest, RunId, StepKey};
use crate::ports::EventLog;
use crate::sequencer::decide::session::session_step;
use crate::sequencer::{AttemptRequest, Command, Reply, Request, Token};

/// A process that owns the log, as those that have joined it see it.
#[derive(Clone, Debug)]
pub struct Owner {
    pub(super) inner: Arc<Inner>,
}

/// Notices for one joined process.
#[derive(Debug)]
pub struct OwnerNews {
    notices: broadcast::Receiver<News>,
}

/// What a joined process is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// These runs have moved.
    Moved(Runs),
    /// Any run may have moved; so many notices were left out.
    Missed(u64),
}

/// What a command takes from a session's block, or gives back.
#[derive(Clone, Debug)]
pub struct RoomOf {
    token: Token,
    about: Option<About>,
}

impl MissionControl {
    /// This process as the owner of its log; none while another one owns it.
    pub fn owner(&self) -> Option<Owner> {
        let inner = Arc::clone(&self.inner);
        inner.joined().is_none().then_some(Owner { inner })
    }

    /// Whether another process owns the log, and this one has joined it.
    pub fn is_joined(&self) -> bool {
        self.inner.joined().is_some()
    }
}

impl OwnerNews {
    /// The next notice; none once the engine is gone.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Notice> {
        match self.notices.recv().await {
            Ok(News::Moved(runs)) if runs.is_empty() => Some(Notice::Missed(0)),
            Ok(News::Moved(runs)) => Some(Notice::Moved(runs)),
            Ok(News::Missed(missed)) | Err(broadcast::error::RecvError::Lagged(missed)) => {
                Some(Notice::Missed(missed))
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Owner {
    /// What a process that joins has to know.
    pub fn terms(&self) -> OwnerTerms {
        let settings = &self.inner.settings;
        let prices = self.inner.prices();
        OwnerTerms {
            epoch: self.inner.epoch(),
            price_label: prices.label().to_owned(),
            prices: prices.models().to_vec(),
            unknown_models: settings.unknown_models.clone(),
            price_age: settings.price_age,
        }
    }

    /// The log, to read.
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.inner.log
    }

    /// Notices of what moves from now on.
    pub fn news(&self) -> OwnerNews {
        OwnerNews {
            notices: self.inner.news.subscribe(),
        }
    }

    /// Returns once the engine was shut down.
    pub async fn stopped(&self) {
        self.inner.until_stopped().await;
    }

    /// Decides a command of a joined process.
    ///
    /// Commands are handed over in the order in which this is first polled.
    pub async fn submit(&self, host: Arc<dyn AgentHost>, command: Command, asked: Asked) -> Told {
        let reply = self.decide(&host, command, asked).await;
        Told { reply }
    }

    async fn decide(
        &self,
        host: &Arc<dyn AgentHost>,
        mut command: Command,
        asked: Asked,
    ) -> Result<Reply> {
        let Passage { way, content, .. } = passage::of(&command.request);
        content::check_request(&content)?;
        command.auth_method = AuthMethod::Socket;
        if asked == Asked::Again
            && let Some(reply) = self.inner.asked_before(&command).await?
        {
            return Ok(reply);
        }
        match way {
            Way::Plain => self.hand_over(command).await,
            Way::OwnersOnly => Err(Error::invalid("request", "only the owner itself does this")),
            Way::Agents => self.provide(host, command.request).await,
            Way::Clock => self.confirm_clock(&command.actor).await,
            Way::Attempt => {
                if let Request::Attempt(token, _) = &mut command.request {
                    self.address(host.id(), token);
                }
                self.inner.prepare(&command.request);
                self.hand_over(command).await
            }
            Way::Opens(run) => {
                let reply = self.hand_over(command).await?;
                // One that policy refuses is nobody's.
                if matches!(reply, Reply::Run(_)) {
                    self.opened(host, run).await?;
                }
                Ok(reply)
            }
            Way::Closes(run) => {
                let reply = self.hand_over(command).await?;
                self.closed(host.id(), run)?;
                Ok(reply)
            }
        }
    }

    /// Agents of a joined process get attempts from now on.
    async fn provide(&self, host: &Arc<dyn AgentHost>, request: Request) -> Result<Reply> {
        if let Request::AgentsAvailable(agents) = request {
            for (name, version) in agents {
                let provider = Provider::There(Arc::clone(host));
                self.inner.provide(name, version, provider).await?;
            }
        }
        if !host.is_here() {
            self.withdraw(host.id()).await;
        }
        Ok(Reply::Done)
    }

    async fn confirm_clock(&self, actor: &Actor) -> Result<Reply> {
        let Actor::Operator(by) = actor else {
            return Err(Error::invalid("operator", "a person confirms a clock"));
        };
        let inner = Arc::clone(&self.inner);
        let control = MissionControl { inner };
        control.confirm_clock(by.as_str()).await?;
        Ok(Reply::Done)
    }

    async fn hand_over(&self, command: Command) -> Result<Reply> {
        let command = Arc::new(command);
        self.inner.submit_command(command, Asked::First).await
    }

    /// A token under the epoch that has adopted its attempt meanwhile.
    fn address(&self, host: u64, token: &mut Token) {
        let key = (token.run_id, token.step.clone(), token.attempt);
        let cell = lock(&self.inner.attempts).get(&key).cloned();
        if let Some(cell) = cell.filter(|cell| cell.is_at(host)) {
            *token = cell.token();
        }
    }

    /// A session lives for as long as the process that opened it.
    async fn opened(&self, host: &Arc<dyn AgentHost>, run_id: RunId) -> Result<()> {
        let token = Token {
            epoch: self.inner.epoch(),
            run_id,
            step: session_step()?,
            attempt: 1,
        };
        let cell = Arc::new(AttemptCell::elsewhere(&token, host, None));
        lock(&self.inner.attempts).insert(cell.key(), cell);
        if let Some(sequencer) = lock(&self.inner.live).sequencer.as_mut() {
            sequencer.lend(run_id);
        }
        if !host.is_here() {
            self.lose_attempts(host.id()).await;
        }
        Ok(())
    }

    fn closed(&self, host: u64, run_id: RunId) -> Result<()> {
        let key = (run_id, session_step()?, 1);
        self.finished(host, &key);
        if let Some(sequencer) = lock(&self.inner.live).sequencer.as_mut() {
            sequencer.take_back(run_id);
        }
        Ok(())
    }

    /// The session of whose block a command takes or gives back, if it may be about one.
    pub fn room_of(&self, request: &Request) -> Option<RoomOf> {
        let Request::Attempt(token, request) = request else {
            return None;
        };
        let about = match request {
            AttemptRequest::DrawCall(call, _) => Some(About::Drawn(call.place.ordinal)),
            AttemptRequest::ReserveCall(call) => Some(About::Asked(call.place.ordinal)),
            AttemptRequest::SettleCall(_) | AttemptRequest::FailCall(_) => None,
            AttemptRequest::ReportCall(..)
            | AttemptRequest::Progress(_)
            | AttemptRequest::BeginTool(_)
            | AttemptRequest::EndTool(_)
            | AttemptRequest::LookUpOnce(_)
            | AttemptRequest::RecordOnce(..)
            | AttemptRequest::Decision(_)
            | AttemptRequest::SideEffect(_)
            | AttemptRequest::Complete(_)
            | AttemptRequest::Fail(_)
            | AttemptRequest::Suspend(..)
            | AttemptRequest::NotBegun
            | AttemptRequest::Ended => return None,
        };
        let token = token.clone();
        Some(RoomOf { token, about })
    }

    /// What a joined process may draw of its session now that it is answered so. It has to be told in
    /// the order in which it was asked for here.
    pub fn room(&self, host: u64, of: &RoomOf, told: &Told) -> Room {
        let mut token = of.token.clone();
        self.address(host, &mut token);
        let live = lock(&self.inner.live);
        let sequencer = live.sequencer.as_ref();
        let free = sequencer.map(|one| one.room(&token));
        let prices = sequencer.map(|one| one.workspace().settings.prices.version());
        let price_version = prices.unwrap_or(Digest::ZERO);
        Room {
            session: token.run_id,
            free: free.unwrap_or_default(),
            price_version,
            about: of.about.filter(|about| match about {
                // The call is out, whatever is said here: what it drew stays drawn there.
                About::Drawn(_) => matches!(told.reply, Ok(Reply::Done)),
                About::Asked(_) => true,
            }),
        }
    }

    /// What is in memory.
    pub fn peek(&self, question: &Peek) -> Peeked {
        let inner = &self.inner;
        let workspace = |read: &mut dyn FnMut(&crate::sequencer::Workspace)| {
            if let Some(sequencer) = &lock(&inner.live).sequencer {
                read(sequencer.workspace());
            }
        };
        match question {
            Peek::Account(id) => Peeked::Account(inner.account_here(id).map(Box::new)),
            Peek::Doubts(run, step) => Peeked::Doubts(inner.doubts_here(*run, step.as_ref())),
            Peek::Definition(hash) => {
                let mut found = None;
                workspace(&mut |state| found = state.compiled.get(hash).cloned());
                let text = found.map(|one| one.definition().to_canonical());
                Peeked::Definition(text.and_then(|bytes| String::from_utf8(bytes).ok()))
            }
            Peek::Prices => {
                let bytes = inner.prices().to_canonical().ok();
                Peeked::Prices(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
            }
            Peek::Metrics => Peeked::Metrics(Box::new(inner.metrics())),
            Peek::Halts => Peeked::Halts(inner.halts()),
            Peek::Policy => Peeked::Policy(inner.policy_here()),
        }
    }

    /// The handler of an attempt in a joined process has gone.
    pub fn finished(&self, host: u64, attempt: &AttemptKey) {
        let mut attempts = lock(&self.inner.attempts);
        if attempts.get(attempt).is_some_and(|cell| cell.is_at(host)) {
            attempts.remove(attempt);
        }
        drop(attempts);
        self.acts_no_more(host, attempt);
        self.inner.turned.notify_waiters();
    }

    /// How far an attempt in a joined process has come.
    pub fn progress(&self, host: u64, attempt: &AttemptKey, (input, output): (u64, u64)) {
        let cell = lock(&self.inner.attempts).get(attempt).cloned();
        if let Some(cell) = cell.filter(|cell| cell.is_at(host)) {
            cell.report(input, output);
        }
    }

    /// A joined process gives its agents up: nothing more is dispatched to it.
    pub async fn withdraw(&self, host: u64) {
        let turn = self.inner.agents.turn().await;
        let withdrawn = self.inner.agents.without(host);
        let mut said = Vec::new();
        if !withdrawn.gone.is_empty() {
            said.push(Request::AgentsGone(withdrawn.gone));
        }
        if !withdrawn.left.is_empty() {
            said.push(Request::AgentsAvailable(withdrawn.left));
        }
        for request in said {
            if let Err(error) = self.inner.submit(Actor::System, request).await {
                tracing::warn!(%error, "the agents of a process that left are still counted");
            }
        }
        // What was dispatched before is handed over by now, to it or as what it did not begin.
        self.inner.agents.withdraw(host);
        drop(turn);
    }

    /// A joined process is gone: what it had out is treated as after a crash.
    pub async fn lost(&self, host: u64) {
        self.withdraw(host).await;
        self.lose_attempts(host).await;
        self.lose_handlers(host).await;
    }

    async fn lose_attempts(&self, host: u64) {
        let mut gone: BTreeMap<RunId, Vec<(StepKey, u32)>> = BTreeMap::new();
        lock(&self.inner.attempts).retain(|(run, step, attempt), cell| {
            let lost = cell.is_at(host);
            if lost {
                let attempts = gone.entry(*run).or_default();
                attempts.push((step.clone(), *attempt));
            }
            !lost
        });
        for (run, attempts) in gone {
            let lost = Request::HostLost(run, attempts);
            if let Err(error) = self.inner.submit(Actor::System, lost).await {
                tracing::warn!(%run, %error, "what a lost process had out is still counted as live");
            }
            if let Some(sequencer) = lock(&self.inner.live).sequencer.as_mut() {
                sequencer.take_back(run);
            }
        }
        self.inner.turned.notify_waiters();
    }
}
