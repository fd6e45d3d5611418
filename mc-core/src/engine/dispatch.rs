//! Starting attempts, and what comes back from them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use serde_json::Value;

use super::agent::{AgentError, AgentExecutor, StepOutcome};
use super::attempt::AttemptCell;
use super::calls::Caller;
use super::content;
use super::context::StepContext;
use super::inner::{Inner, lock};
use super::port::AgentHost;
use super::registry::Provider;
use super::status::Counters;
use crate::error::ErrorKind;
use crate::id::{Actor, AgentName, RunId};
use crate::sequencer::{AttemptOrder, AttemptRequest, Request, Token};

impl Inner {
    /// The agent that an attempt goes to.
    pub(super) fn agent_of(&self, order: &AttemptOrder) -> Option<Provider> {
        self.agents.find(&order.agent, order.agent_version.as_ref())
    }

    /// Starts an attempt whose dispatch is durable.
    pub(super) fn start_attempt(self: &Arc<Self>, order: AttemptOrder, provider: Option<Provider>) {
        Counters::add(&self.counters.attempts, 1);
        let agent = match provider {
            Some(Provider::There(host)) => return self.send_attempt(&host, order),
            Some(Provider::Here(agent)) => agent,
            None => return self.not_begun(&order.token, &order.agent),
        };
        let deadline = self.deadline_of(&order);
        let cell = Arc::new(AttemptCell::new(&order.token, deadline));
        lock(&self.attempts).insert(cell.key(), Arc::clone(&cell));
        let inner = Arc::clone(self);
        let handling = self.handling.subscribe();
        self.begins(&cell.key());
        self.spawner.spawn_handler(Box::pin(async move {
            let ended = tokio::select! {
                biased;
                outcome = inner.execute(agent, Arc::clone(&cell), order) => Some(outcome),
                () = inner.lets_go() => None,
            };
            inner.ends(&cell.key());
            // One that is only told to stop because the engine ends has not failed: it stays out, and
            // the next opening finds it as it finds what a crash left.
            let ended = ended.filter(|outcome| outcome.is_ok() || !cell.is_ending());
            let reports = ended.is_some();
            if let Some(outcome) = ended {
                inner.report(&cell, outcome).await;
            }
            lock(&inner.attempts).remove(&cell.key());
            let elsewhere = reports && !inner.drives.load(Ordering::Acquire);
            if elsewhere && let Some(owner) = inner.joined() {
                owner.port.finished(&cell.key());
            }
            inner.turned.notify_waiters();
            inner.has_ended(&cell.key()).await;
            // A shutdown waits for the last one, so that the store is free behind it.
            drop(inner);
            drop(handling);
        }));
    }

    /// Sends an attempt to the joined process that has its agent.
    fn send_attempt(self: &Arc<Self>, host: &Arc<dyn AgentHost>, order: AttemptOrder) {
        let (token, agent) = (order.token.clone(), order.agent.clone());
        let deadline = self.deadline_of(&order);
        let cell = Arc::new(AttemptCell::elsewhere(&token, host, deadline));
        let key = cell.key();
        lock(&self.attempts).insert(key.clone(), cell);
        // It may have gone since its agent was found; whoever finds its attempts then may have been
        // here before this one.
        if !host.order(order) && lock(&self.attempts).remove(&key).is_some() {
            self.not_begun(&token, &agent);
        }
    }

    /// When an attempt that begins now times out.
    fn deadline_of(&self, order: &AttemptOrder) -> Option<Duration> {
        let begun = self.clock.monotonic();
        order.timeout.map(|timeout| begun.saturating_add(timeout))
    }

    /// Nobody began an attempt, because whoever has its agent is gone: its step waits for the agent.
    fn not_begun(&self, token: &Token, agent: &AgentName) {
        let request = Request::Attempt(token.clone(), AttemptRequest::NotBegun);
        self.tell(Actor::System, request);
        // Whoever brought the agent before that was told is not asked again by it.
        if let Some(here) = self.agents.here(agent) {
            self.tell(Actor::System, Request::AgentsAvailable(vec![here]));
        }
        if let Some(owner) = self.joined() {
            let key = (token.run_id, token.step.clone(), token.attempt);
            owner.port.finished(&key);
        }
    }

    async fn execute(
        self: &Arc<Self>,
        agent: Arc<dyn AgentExecutor>,
        cell: Arc<AttemptCell>,
        order: AttemptOrder,
    ) -> Result<StepOutcome, AgentError> {
        if cell.is_cancelled() {
            let message = "it was told to stop before it began";
            return Err(AgentError::with_code(ErrorKind::Cancelled.code(), message));
        }
        let resumed = match &order.suspended {
            None => None,
            Some((_, checkpoint, signal)) => {
                let checkpoint = self.read_value(*checkpoint).await?;
                let signal = match signal {
                    Some(place) => Some(self.read_value(*place).await?),
                    None => None,
                };
                Some(Arc::new((checkpoint, signal)))
            }
        };
        let deadline = cell.deadline();
        let caller = Caller {
            inner: Arc::clone(self),
            cell,
            actor: Actor::Agent(order.agent.clone()),
        };
        let ctx = StepContext {
            caller,
            agent: order.agent,
            effect_key: order.effect_key,
            risk: order.risk,
            tools: order.tools,
            deadline,
            run_deadline: order.run_deadline.map(|at| self.deadline(at)),
            resumed,
        };
        let input = Value::clone(&order.input);
        // A handler that panics harms only its own attempt.
        let handler = async move { agent.execute(ctx, input).await };
        match AssertUnwindSafe(handler).catch_unwind().await {
            Ok(outcome) => outcome,
            Err(payload) => {
                let error = panicked(payload.as_ref());
                forget(payload);
                Err(error)
            }
        }
    }

    /// Tells the sequencer what became of an attempt.
    async fn report(&self, cell: &AttemptCell, outcome: Result<StepOutcome, AgentError>) {
        let request = match outcome.and_then(kept) {
            Ok(StepOutcome::Output(output)) => AttemptRequest::Complete(Arc::new(output.into())),
            Ok(StepOutcome::Suspend {
                checkpoint,
                waiting_for,
            }) => AttemptRequest::Suspend(Arc::new(checkpoint), waiting_for),
            Err(error) if cell.is_cancelled() && error.code() == ErrorKind::Cancelled.code() => {
                AttemptRequest::Ended
            }
            Err(error) => AttemptRequest::Fail(error.into_failure()),
        };
        let token = cell.token();
        let request = Request::Attempt(token.clone(), request);
        self.prepare(&request);
        if let Err(error) = self.submit(Actor::System, request).await {
            tracing::debug!(%token, %error, "an attempt's report was not taken");
        }
    }

    /// Lets the joined process that has a session ask for every call.
    pub(super) fn recall(&self, session: RunId) {
        let attempts = lock(&self.attempts);
        let own = attempts.iter().filter(|((run, ..), _)| *run == session);
        own.for_each(|(_, cell)| cell.recall());
    }

    /// Asks an attempt to stop whose token was revoked.
    pub(super) fn cancel_attempt(&self, token: &Token) {
        let key = (token.run_id, token.step.clone(), token.attempt);
        let mut attempts = lock(&self.attempts);
        if let Some(cell) = attempts.get(&key) {
            cell.cancel();
            if cell.is_let_go() {
                attempts.remove(&key);
                drop(attempts);
                self.turned.notify_waiters();
            }
        }
    }
}

/// An outcome that the log cannot keep fails its attempt; trying again may give another one.
fn kept(outcome: StepOutcome) -> Result<StepOutcome, AgentError> {
    let checked = match outcome {
        StepOutcome::Output(output) => content::checked("output", output).map(StepOutcome::Output),
        StepOutcome::Suspend {
            checkpoint,
            waiting_for,
        } => content::checked("checkpoint", checkpoint).map(|checkpoint| StepOutcome::Suspend {
            checkpoint,
            waiting_for,
        }),
    };
    checked.map_err(|refused| AgentError::with_code("invalid_output", refused.to_string()))
}

/// A payload may panic again when it is dropped, and so may what that panics with.
#[expect(
    clippy::mem_forget,
    reason = "dropping it runs code that has just panicked"
)]
fn forget(payload: Box<dyn std::any::Any + Send>) {
    let is_text = payload.is::<&str>() || payload.is::<String>();
    if !is_text {
        std::mem::forget(payload);
    }
}

fn panicked(payload: &(dyn std::any::Any + Send)) -> AgentError {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a payload that is not text".to_owned());
    AgentError::with_code("internal", format!("the handler panicked: {text}"))
}
