//! Sessions: a host that only wants its calls guarded, without a workflow.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use super::attempt::AttemptCell;
use super::call_error::{CallError, ProviderError};
use super::calls::{Admission, Caller, ModelAnswer, ModelRequest, refused};
use super::inner::{Inner, Phase, lock};
use super::options::{agent_version, labels, tags};
use super::outgoing::Outgoing;
use crate::error::{Error, Result};
use crate::event::run::RunBudget;
use crate::id::{Actor, AgentName, ApprovalId, RunId};
use crate::sequencer::decide::session::session_step;
use crate::sequencer::{OpenSession, Patience, Request, Token};

/// How a session is opened.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// The version of the agent, of 1 to 64 bytes; none for that of the agent of this name that is
    /// registered here, if one is.
    pub agent_version: Option<String>,
    /// The session's own budget.
    pub budget: Option<RunBudget>,
    /// Searchable labels.
    pub labels: BTreeMap<String, String>,
    /// Tags, at most 8: its money counts in the account `tag:NAME` of each.
    pub tags: Vec<String>,
}

/// A session: calls of one agent under its budgets, for as long as this handle lives.
///
/// It takes money in blocks that are durable before a call goes out; what is left goes back when
/// the handle is dropped. If the process dies, the open block is in doubt.
#[derive(Debug)]
pub struct Session {
    caller: Caller,
    run_id: RunId,
}

impl Inner {
    pub(super) async fn open_session(
        self: &Arc<Self>,
        agent: &str,
        options: SessionOptions,
    ) -> Result<Session> {
        let agent = AgentName::new(agent).map_err(|fault| Error::invalid("agent", fault))?;
        let run_id = RunId::from_bytes(self.new_id());
        let step = session_step()?;
        let version = options.agent_version.as_deref().map(agent_version);
        let request = Request::OpenSession(OpenSession {
            run_id,
            agent: agent.clone(),
            agent_version: version.transpose()?,
            budget: options.budget,
            policy: self.settings.run_policy.clone(),
            labels: labels(&options.labels)?,
            tags: tags(&options.tags)?,
        });
        let actor = Actor::Agent(agent);
        refused(self.submit(actor.clone(), request).await?)?;
        let epoch = self.epoch();
        if self.joined().is_some() {
            lock(&self.blocks).insert(run_id, Arc::default());
        }
        let cell = Arc::new(AttemptCell::new(
            &Token {
                epoch,
                run_id,
                step,
                attempt: 1,
            },
            None,
        ));
        lock(&self.attempts).insert(cell.key(), Arc::clone(&cell));
        Ok(Session {
            caller: Caller {
                inner: Arc::clone(self),
                cell,
                actor,
            },
            run_id,
        })
    }
}

impl Inner {
    /// The epoch of the process that owns the log.
    pub(super) fn epoch(&self) -> u64 {
        let live = lock(&self.live);
        match (&live.phase, &live.sequencer) {
            (Phase::Joined(owner), _) => owner.port.terms().epoch,
            (_, Some(sequencer)) => sequencer.workspace().epoch,
            (_, None) => 0,
        }
    }
}

impl Session {
    /// The session's run.
    pub const fn id(&self) -> RunId {
        self.run_id
    }

    /// Makes a model call: held before it goes out, settled when it is answered. Where a person has to
    /// approve it, it waits for the decision.
    ///
    /// # Errors
    /// A [`CallError`].
    pub async fn model_call<F, Fut>(
        &self,
        request: &ModelRequest,
        send: F,
    ) -> std::result::Result<ModelAnswer, CallError>
    where
        F: Fn(Option<u64>) -> Fut + Send,
        Fut: Future<Output = std::result::Result<ModelAnswer, ProviderError>> + Send,
    {
        let send = move |out: Outgoing| send(out.max_output_tokens());
        let asked = (request, Patience::Waits);
        self.caller.model_call(asked, send).await
    }

    /// As [`model_call`](Self::model_call), without waiting for a person: `CallError::NeedsApproval`
    /// names the request. The same call, asked for again in this session once that is decided, goes out
    /// or is denied.
    ///
    /// # Errors
    /// A [`CallError`].
    pub async fn try_model_call<F, Fut>(
        &self,
        request: &ModelRequest,
        send: F,
    ) -> std::result::Result<ModelAnswer, CallError>
    where
        F: Fn(Option<u64>) -> Fut + Send,
        Fut: Future<Output = std::result::Result<ModelAnswer, ProviderError>> + Send,
    {
        let send = move |out: Outgoing| send(out.max_output_tokens());
        let asked = (request, Patience::TellsOnly);
        self.caller.model_call(asked, send).await
    }

    /// Returns once a request of this session is decided, or has ended unused.
    ///
    /// # Errors
    /// `Cancelled` where the session has ended, `Unavailable` once the engine goes down.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn decided(&self, approval: ApprovalId) -> Result<()> {
        self.caller.decided(approval).await
    }

    /// Reserves a model call and leaves sending and settling to the caller. It waits for no person:
    /// see [`Admission::NeedsApproval`] and [`decided`](Self::decided).
    ///
    /// # Errors
    /// `Cancelled` where the session has ended, `Unavailable` while the store refuses.
    pub async fn reserve(&self, request: &ModelRequest) -> Result<Admission> {
        self.caller.reserve(request).await
    }

    /// Ends the session and waits until that is durable.
    ///
    /// # Errors
    /// `Unavailable` while the store refuses.
    pub async fn close(self) -> Result<()> {
        let request = Request::CloseSession(self.run_id);
        self.caller
            .inner
            .submit(self.caller.actor.clone(), request)
            .await
            .map(drop)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Caller { inner, cell, actor } = &self.caller;
        // Until its end is durable a restart takes the session over, so that it still ends as it did
        // here and not as one whose host was lost. Elsewhere that is its owner's to do.
        let is_joined = inner.joined().is_some();
        let mut attempts = lock(&inner.attempts);
        cell.let_go();
        if cell.is_cancelled() || is_joined {
            attempts.remove(&cell.key());
        }
        drop(attempts);
        lock(&inner.blocks).remove(&self.run_id);
        inner.turned.notify_waiters();
        inner.tell(actor.clone(), Request::CloseSession(self.run_id));
    }
}
