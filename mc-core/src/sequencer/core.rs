//! The sequencer itself: takes commands one by one, decides, applies, and fills the open batch.
//!
//! It is synchronous and never waits. Order of decision is order of `seq` is order of commit.
//! Replies and effects are handed out by [`Sequencer::committed`], behind the durable head; the one
//! exception is what lies inside a hold that is durable already.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::batch::{OpenBatch, Pending, Slot};
use super::command::{AttemptRequest, Command, Request};
use super::decide::{self, View};
use super::decision::{Answer, Decision, NewEvent, Reply};
use super::departures::Departures;
use super::ended::Ended;
use super::pace::Pace;
use super::token::Token;
use super::windows::Windows;
use super::workspace::{PolicyHead, Workspace};
use crate::budget::{Path, Ticket};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Actor, AgentName, AgentVersion, AuthMethod, CommandId, ModelId, RunId};
use crate::policy::Policy;
use crate::time::Timestamp;

/// The time of a command.
#[derive(Clone, Copy, Debug)]
pub struct Instant {
    /// Wall time.
    pub now: Timestamp,
    /// Monotonic time.
    pub monotonic: Duration,
    /// Chance, drawn for this command.
    pub random: u64,
}

/// What became of a command at once.
#[derive(Debug)]
pub enum Submitted {
    /// The answer.
    Now(Result<Reply>),
    /// The slot gets it.
    Later,
}

/// The one place where order is made.
#[derive(Debug)]
pub struct Sequencer {
    pub(super) workspace: Workspace,
    pub(super) batch: OpenBatch,
    pub(super) next_seq: u64,
    pub(super) next_run_zero: u64,
    pub(super) durable: u64,
    pub(super) last_ts: Timestamp,
    pub(super) slots: BTreeMap<Ticket, (Arc<Command>, Slot)>,
    pub(super) circuit_slots: BTreeMap<ModelId, Vec<(RunId, Arc<Command>, Slot)>>,
    /// What waits in the queue, by run.
    pub(super) waiting_of: BTreeMap<RunId, BTreeSet<Ticket>>,
    /// Runs that something has happened to beside the command's own: what follows there is decided too.
    pub(super) stirred: BTreeSet<RunId>,
    /// Agents of which an abandoned handler has ended.
    pub(super) handlers_ended: BTreeSet<AgentName>,
    /// Runs in memory that have ended.
    pub(super) ended: Ended,
    /// Runs that go on in waves.
    pub(super) pace: Pace,
    /// When dispatch began, if it has.
    pub(super) dispatched_since: Option<Timestamp>,
    /// How often runs left memory.
    pub(super) departures: Departures,
    pub(super) deadlines: BTreeSet<(Duration, Token)>,
    pub(super) freed: Path,
    /// Calls in the queue that their own hold covers by now.
    pub(super) covered: BTreeSet<Ticket>,
    pub(super) wake_all: bool,
    pub(super) circuits_changed: BTreeSet<ModelId>,
    pub(super) windows: Windows,
    /// What waits for a rate.
    pub(super) turn_slots: BTreeMap<Ticket, (Arc<Command>, Slot)>,
    /// Something that rates count has changed.
    pub(super) turns_moved: bool,
    pub(super) group: Group,
    pub(super) evicted: Vec<RunId>,
    /// The defect that was found: nothing more is taken until the state is recovered from the log.
    pub(super) defect: Option<String>,
}

/// Who causes the events of the command under way.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) command: CommandId,
    pub(super) actor: Actor,
    pub(super) auth_method: AuthMethod,
    pub(super) instant: Instant,
}

impl Sequencer {
    /// A sequencer over a state that was read back from the log.
    pub fn new(
        workspace: Workspace,
        next_seq: u64,
        next_run_zero: u64,
        last_ts: Timestamp,
    ) -> Self {
        let windows = Windows::of(&workspace);
        let all: Vec<_> = workspace.accounts.keys().cloned().collect();
        let mut workspace = workspace;
        workspace.note_frozen(&all);
        Self {
            workspace,
            batch: OpenBatch::default(),
            next_seq,
            next_run_zero,
            durable: next_seq,
            last_ts,
            slots: BTreeMap::new(),
            circuit_slots: BTreeMap::new(),
            waiting_of: BTreeMap::new(),
            stirred: BTreeSet::new(),
            handlers_ended: BTreeSet::new(),
            ended: Ended::default(),
            pace: Pace::default(),
            dispatched_since: None,
            departures: Departures::default(),
            deadlines: BTreeSet::new(),
            freed: Path::default(),
            covered: BTreeSet::new(),
            wake_all: false,
            circuits_changed: BTreeSet::new(),
            windows,
            turn_slots: BTreeMap::new(),
            turns_moved: false,
            group: Group {
                command: CommandId::NIL,
                actor: Actor::System,
                auth_method: AuthMethod::Library,
                instant: Instant {
                    now: last_ts,
                    monotonic: Duration::ZERO,
                    random: 0,
                },
            },
            evicted: Vec::new(),
            defect: None,
        }
    }

    /// Writes the first events of an epoch.
    ///
    /// # Errors
    /// Only defects.
    pub(super) fn open(
        &mut self,
        command: CommandId,
        instant: Instant,
        auth_method: AuthMethod,
        events: Vec<NewEvent>,
    ) -> Result<()> {
        self.group.command = command;
        self.group.auth_method = auth_method;
        self.last_ts = self.last_ts.max(instant.now);
        self.group.instant = Instant {
            now: self.last_ts,
            ..instant
        };
        self.commit(events)
    }

    /// The state, to look at.
    pub const fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Changes settings that are no part of the log: which agents are here.
    pub fn register(&mut self, agent: AgentName, version: Option<AgentVersion>) {
        self.workspace.agents.insert(agent, version);
    }

    /// The policy in force, whose content is to be read from the log before anything is decided.
    pub const fn policy_head(&self) -> Option<PolicyHead> {
        self.workspace.shared.policy
    }

    /// Takes the content of the policy in force.
    ///
    /// # Errors
    /// `Corrupt` where it is not the policy that is in force.
    pub fn adopt_policy(&mut self, bytes: &[u8]) -> Result<()> {
        let policy = Policy::from_canonical(bytes)?;
        let head = self.policy_head();
        if head.is_none_or(|head| head.hash != policy.hash()) {
            return Err(Error::corrupt("policy", head.map(|head| head.seq)));
        }
        self.workspace.policy = policy;
        Ok(())
    }

    /// The number behind the last event that was decided.
    pub const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Events below this number are durable.
    pub const fn durable(&self) -> u64 {
        self.durable
    }

    /// Whether an attempt is out and may act.
    pub fn is_live(&self, token: &Token) -> bool {
        self.view().live(token).is_some()
    }

    /// The defect that was found, if one was: the state and a decision contradict each other.
    pub fn defect(&self) -> Option<&str> {
        self.defect.as_deref()
    }

    /// Takes a command. Its run must be in memory.
    pub fn submit(
        &mut self,
        command: &Arc<Command>,
        instant: Instant,
        slot: Option<Slot>,
    ) -> Submitted {
        if self.defect.is_some() {
            return self.answer_late(command, slot, Err(recovering()));
        }
        self.begin(command, instant);
        if let Err(error) = self.open_windows() {
            self.defect = Some(error.to_string());
            return self.answer_late(command, slot, Err(error));
        }
        if let Err(error) = self.give_up(&command.request) {
            self.defect = Some(error.to_string());
            return self.answer_late(command, slot, Err(error));
        }
        let decision = match self.decide(&command.request) {
            Ok(decision) => decision,
            Err(error) => return self.answer_late(command, slot, Err(error)),
        };
        let touched: BTreeSet<RunId> = decision
            .events
            .iter()
            .map(|event| event.run_id)
            .chain(command.request.run_id())
            .collect();
        let (events, effects, answer) = (decision.events, decision.effects, decision.answer);
        let wrote = !events.is_empty();
        let outcome = self.commit(events).and_then(|()| {
            self.batch.effects.extend(effects);
            self.open_windows()?;
            self.follow_up(&command.request, touched)
        });
        if let Err(error) = outcome {
            self.defect = Some(error.to_string());
            return self.answer_late(command, slot, Err(error));
        }
        match answer {
            Answer::Now(reply) => {
                if wrote {
                    self.batch.pending.push(Pending {
                        command: Arc::clone(command),
                        reply: None,
                    });
                }
                Submitted::Now(Ok(reply))
            }
            Answer::Durable(reply) => self.answer_late(command, slot, Ok(reply)),
            Answer::Queued(wait) => self.enqueue(command, wait, slot),
        }
    }

    fn begin(&mut self, command: &Command, mut instant: Instant) {
        // Time in the log never goes back.
        instant.now = instant.now.max(self.last_ts);
        self.last_ts = instant.now;
        self.group = Group {
            command: command.id,
            actor: command.actor.clone(),
            auth_method: command.auth_method,
            instant,
        };
    }

    /// Answers once everything that was decided so far is durable, so that nothing leaves that
    /// depends on what may be lost.
    pub(super) fn answer_late(
        &mut self,
        command: &Arc<Command>,
        slot: Option<Slot>,
        reply: Result<Reply>,
    ) -> Submitted {
        let Some(slot) = slot else {
            if reply.is_ok() {
                self.batch.pending.push(Pending {
                    command: Arc::clone(command),
                    reply: None,
                });
            }
            return Submitted::Later;
        };
        if self.next_seq == self.durable || self.defect.is_some() {
            return Submitted::Now(reply);
        }
        let command = Arc::clone(command);
        self.batch.pending.push(Pending {
            command,
            reply: Some((slot, reply)),
        });
        Submitted::Later
    }

    pub(super) fn view(&self) -> View<'_> {
        View {
            workspace: &self.workspace,
            now: self.group.instant.now,
            random: self.group.instant.random,
            durable: self.durable,
            turn: None,
            in_turn: None,
        }
    }

    fn decide(&self, request: &Request) -> Result<Decision> {
        let view = self.view();
        match request {
            Request::Publish(publish) => decide::publish::publish(&view, publish),
            Request::Activate(activate) => decide::publish::activate(&view, activate),
            Request::PublishPolicy(policy) => decide::policy::publish(&view, policy),
            Request::Start(start) => decide::start::start(&view, start),
            Request::OpenSession(open) => decide::session::open(&view, open),
            Request::CloseSession(run) => decide::session::close(&view, *run),
            Request::Abort(steer) => decide::abort::abort(&view, steer),
            Request::Pause(steer) => decide::control::pause(&view, steer),
            Request::Resume(steer) => decide::control::resume(&view, steer),
            Request::Halt(halt) => decide::halt::halt(&view, halt),
            Request::Lift(lift) => decide::halt::lift(&view, lift),
            Request::Unblock(steer, step) => decide::control::unblock(&view, steer, step),
            Request::Signal(run, name, payload) => {
                decide::signal::signal(&view, *run, name, payload)
            }
            Request::SetLimit(set) => decide::limits::set(&view, set),
            Request::Adjust(adjust) => decide::limits::adjust(&view, adjust),
            Request::ChangePrices(change) => decide::prices::change(&view, change),
            Request::Reconcile(reconcile) => decide::reconcile::reconcile(&view, reconcile),
            Request::DecideApproval(decision) => decide::approve::decide(&view, decision),
            Request::RevokeApproval(word) => decide::approve::revoke(&view, word),
            Request::Resolve(resolve) => decide::resolve::resolve(&view, resolve),
            Request::Redrive(request) => decide::redrive::redrive(&view, request),
            Request::Attempt(token, request) => decide_attempt(&view, token, request),
            Request::Recover(run, alive) => decide::recover::recover(&view, *run, alive),
            Request::ClockJumped { wall, expected } => Ok(clock_jumped(*wall, *expected)),
            Request::ClockConfirmed { wall } => Ok(clock_confirmed(*wall)),
            Request::HostLost(run, gone) => decide::recover::lost(&view, *run, gone),
            Request::AgentsAvailable(_)
            | Request::AgentsGone(_)
            | Request::StartDispatch
            | Request::Drain
            | Request::Tick => Ok(Decision::events(Vec::new())),
        }
    }

    pub(super) fn commit(&mut self, events: Vec<NewEvent>) -> Result<()> {
        for event in events {
            self.place(event)?;
        }
        Ok(())
    }
}

fn decide_attempt(view: &View<'_>, token: &Token, request: &AttemptRequest) -> Result<Decision> {
    match request {
        AttemptRequest::ReserveCall(call) => decide::call_reserve::reserve(view, token, call),
        AttemptRequest::DrawCall(call, drawn) => decide::call_draw::draw(view, token, call, *drawn),
        AttemptRequest::ReportCall(call, answer) => {
            decide::call_report::report(view, token, call, answer)
        }
        AttemptRequest::SettleCall(answer) => decide::call_settle::settle(view, token, answer),
        AttemptRequest::Progress(report) => decide::in_flight::progress(view, token, report),
        AttemptRequest::FailCall(failure) => decide::call_fail::fail(view, token, failure),
        AttemptRequest::BeginTool(tool) => decide::tool::begin(view, token, tool),
        AttemptRequest::EndTool(tool) => decide::tool::end(view, token, tool),
        AttemptRequest::LookUpOnce(place) => decide::once::look_up(view, token, *place),
        AttemptRequest::RecordOnce(place, value) => {
            decide::once::record(view, token, *place, value)
        }
        AttemptRequest::Decision(parts) => decide::record::decision(view, token, parts),
        AttemptRequest::SideEffect(what) => decide::record::side_effect(view, token, what),
        AttemptRequest::Complete(output) => decide::complete::complete(view, token, output),
        AttemptRequest::Fail(failure) => decide::fail::fail(view, token, failure, None),
        AttemptRequest::Suspend(checkpoint, waiting_for) => {
            decide::suspend::suspend(view, token, checkpoint, waiting_for)
        }
        AttemptRequest::NotBegun => decide::fail::not_begun(view, token),
        AttemptRequest::Ended => decide::timeout::ended(view, token),
    }
}

fn clock_jumped(wall: Timestamp, expected: Timestamp) -> Decision {
    let facts = crate::event::workspace::ClockJumped { wall, expected };
    Decision::events(vec![NewEvent::new(RunId::ZERO, facts)])
}

fn clock_confirmed(wall: Timestamp) -> Decision {
    let facts = crate::event::workspace::ClockConfirmed { wall };
    Decision::events(vec![NewEvent::new(RunId::ZERO, facts)])
}

fn recovering() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the engine recovers its state from the log",
    )
}
