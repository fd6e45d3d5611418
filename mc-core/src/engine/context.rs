//! What an attempt gets: its input's surroundings, and the calls that are governed.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use serde_json::{Value, json};

use super::call_error::{CallError, ProviderError};
use super::calls::{Admission, Caller, ModelAnswer, ModelRequest, unexpected};
use super::content;
use super::outgoing::Outgoing;
use crate::budget::Amount;
use crate::error::{Error, Result};
use crate::id::{AgentName, ApprovalId, Digest, Opaque, RunId, StepKey};
use crate::policy::RiskTier;
use crate::run::{CallKind, HoldKey};
use crate::sequencer::{AttemptRequest, JournalPlace, Patience, Reconcile, Reply, Request};

/// The surroundings of one attempt.
#[derive(Clone, Debug)]
pub struct StepContext {
    pub(super) caller: Caller,
    pub(super) agent: AgentName,
    pub(super) effect_key: Digest,
    pub(super) risk: RiskTier,
    pub(super) tools: Option<BTreeSet<Opaque>>,
    pub(super) deadline: Option<std::time::Duration>,
    pub(super) run_deadline: Option<std::time::Duration>,
    pub(super) resumed: Option<Arc<(Value, Option<Value>)>>,
}

impl StepContext {
    /// The run.
    pub fn run_id(&self) -> RunId {
        self.caller.cell.token().run_id
    }

    /// The step.
    pub fn step(&self) -> StepKey {
        self.caller.cell.token().step
    }

    /// The attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.caller.cell.token().attempt
    }

    /// The agent in whose name this attempt acts.
    pub const fn agent(&self) -> &AgentName {
        &self.agent
    }

    /// The same for every attempt of this intent: pass it on as an idempotency key.
    pub const fn effect_key(&self) -> Digest {
        self.effect_key
    }

    /// The tier of the step.
    pub const fn risk(&self) -> RiskTier {
        self.risk
    }

    /// Whether the step lets this tool be called: one that names no tools lets any. What the policy
    /// says of a call is only known once it is asked.
    pub fn may_call(&self, tool: &str) -> bool {
        let named = self.tools.as_ref();
        named.is_none_or(|tools| tools.iter().any(|one| one.as_str() == tool))
    }

    /// The time by which the attempt is abandoned, on the engine's monotonic clock.
    pub const fn deadline(&self) -> Option<std::time::Duration> {
        self.deadline
    }

    /// How long the attempt has left: until its time-out, or until no call of its run goes out any more
    /// (the rule `deadline` of the policy), whichever is first; zero once that is over, none where
    /// nothing ends it.
    pub fn time_left(&self) -> Option<std::time::Duration> {
        let ends = self.deadline.into_iter().chain(self.run_deadline).min()?;
        Some(ends.saturating_sub(self.caller.inner.clock.monotonic()))
    }

    /// What an earlier attempt suspended with, and the signal that it waited for.
    pub fn resumed(&self) -> Option<(&Value, Option<&Value>)> {
        self.resumed
            .as_deref()
            .map(|(checkpoint, signal)| (checkpoint, signal.as_ref()))
    }

    /// Whether the attempt is to stop: it timed out, or its run has ended.
    pub fn is_cancelled(&self) -> bool {
        self.caller.cell.is_cancelled()
    }

    /// Returns once the attempt is to stop.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn cancelled(&self) {
        self.caller.cell.cancelled().await;
    }

    /// Reports how many tokens the attempt has used so far, for whoever watches: see
    /// `RunHandle::progress`. It costs nothing and counts for nothing; report as often as you like.
    pub fn progress(&self, input_tokens: u64, output_tokens: u64) {
        let cell = &self.caller.cell;
        cell.report(input_tokens, output_tokens);
        if let Some(owner) = self.caller.inner.joined() {
            let tokens = (input_tokens, output_tokens);
            owner.port.progress(&cell.key(), tokens);
        }
    }

    /// Sleeps on the engine's clock.
    pub async fn sleep(&self, span: std::time::Duration) {
        let clock = &self.caller.inner.clock;
        clock
            .sleep_until(clock.monotonic().saturating_add(span))
            .await;
    }

    /// Makes a model call: held before it goes out, settled when it is answered, sent again while
    /// the provider refuses. What an earlier attempt was answered comes from the log. Where a person has
    /// to approve it, it waits for the decision; the step's time-out goes on meanwhile.
    ///
    /// `send` gets the most output tokens that may be asked for.
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
    /// names the request. An attempt that answers `Suspend` with
    /// [`WaitingFor::Approval`](crate::event::step::WaitingFor) is entered again with the decision, and
    /// finds the call at the same place of its journal.
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

    /// Reserves a model call and leaves sending and settling to the caller.
    ///
    /// # Errors
    /// `Cancelled` where the token was revoked, `Unavailable` while the store refuses.
    pub async fn reserve(&self, request: &ModelRequest) -> Result<Admission> {
        self.caller.reserve(request).await
    }

    /// Returns once a request of this attempt is decided, or has ended unused.
    ///
    /// # Errors
    /// `Cancelled` where the token was revoked, `Unavailable` once the engine goes down.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn decided(&self, approval: ApprovalId) -> Result<()> {
        self.caller.decided(approval).await
    }

    /// Computes a value once per intent: a later attempt gets the same from the log.
    ///
    /// # Errors
    /// `Cancelled` where the token was revoked.
    pub async fn once<F, Fut>(&self, name: &str, compute: F) -> Result<Value>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Value> + Send,
    {
        let ordinal = self.caller.cell.next_ordinal();
        let place = JournalPlace {
            ordinal,
            request: Digest::of(&[name.as_bytes()]),
        };
        let reply = self
            .caller
            .attempt(AttemptRequest::LookUpOnce(place))
            .await?;
        let Reply::Once(known) = reply else {
            return Err(unexpected(&reply));
        };
        if let Some(place) = known {
            return self.caller.inner.read_value(place).await;
        }
        let value = Arc::new(content::checked("value", compute().await)?);
        self.caller
            .attempt(AttemptRequest::RecordOnce(place, Arc::clone(&value)))
            .await?;
        Ok(Arc::unwrap_or_clone(value))
    }

    /// Writes a decision of the agent down.
    ///
    /// # Errors
    /// `Cancelled` where the token was revoked.
    pub async fn decision(&self, input: Value, reasoning: Value, outcome: Value) -> Result<()> {
        let parts = content::checked_all("decision", [input, reasoning, outcome])?;
        let parts = Arc::new(parts);
        self.caller
            .attempt(AttemptRequest::Decision(parts))
            .await
            .map(drop)
    }

    /// Writes down what the agent changes in the world; durable before it returns.
    ///
    /// # Errors
    /// `Cancelled` where the token was revoked.
    pub async fn side_effect(&self, target: &str, key: &str) -> Result<()> {
        let what = json!({"target": target, "key": key});
        content::check("side_effect", &what)?;
        let what = Arc::new(what);
        self.caller
            .attempt(AttemptRequest::SideEffect(what))
            .await
            .map(drop)
    }

    /// Money of earlier attempts of this step that is in doubt, by hold.
    ///
    /// # Errors
    /// `Unavailable` while it is not known: the log is being taken over.
    pub async fn doubts(&self) -> Result<Vec<(HoldKey, Amount)>> {
        let token = self.caller.cell.token();
        self.caller.inner.doubts(token.run_id, &token.step).await
    }

    /// As [`doubts`](Self::doubts), but only the holds of calls that asked for nothing but what stands in
    /// these requests, the first at the journal's place 0 and so on: what somebody else has sent in the
    /// same step is not among them. A hold of the whole attempt is, where all calls of the step were such.
    ///
    /// # Errors
    /// As [`doubts`](Self::doubts); `Corrupt`.
    pub async fn doubts_of(&self, requests: &[ModelRequest]) -> Result<Vec<(HoldKey, Amount)>> {
        let mut doubts = self.doubts().await?;
        let token = self.caller.cell.token();
        let run = self.caller.inner.durable_run(token.run_id).await?;
        let calls = run.step(&token.step).map(|step| &step.calls);
        let calls = calls.into_iter().flatten();
        let calls = calls.filter(|(_, call)| call.kind == CallKind::Model);
        let made = calls.map(|(at, call)| (*at, call.request));
        let made: BTreeMap<u32, Digest> = made.collect();
        let known = |(at, made): (&u32, &Digest)| {
            let asked = usize::try_from(*at).ok().and_then(|at| requests.get(at));
            asked.is_some_and(|asked| asked.digest() == *made)
        };
        doubts.retain(|(key, _)| match &key.ordinal {
            Some(at) => made.get_key_value(at).is_some_and(known),
            None => !made.is_empty() && made.iter().all(known),
        });
        Ok(doubts)
    }

    /// Settles money of this step that is in doubt with what the agent knows was billed.
    ///
    /// # Errors
    /// `NotFound`, `InvalidTransition` where the hold is not in doubt.
    pub async fn reconcile(&self, hold: &HoldKey, actual: Amount, evidence: &str) -> Result<()> {
        let token = self.caller.cell.token();
        if hold.step != token.step {
            return Err(Error::invalid(
                "hold",
                "an agent reconciles only its own step",
            ));
        }
        let request = Request::Reconcile(Reconcile {
            run_id: token.run_id,
            hold: hold.clone(),
            actual,
            evidence: evidence.into(),
        });
        self.caller
            .inner
            .submit(self.caller.actor.clone(), request)
            .await
            .map(drop)
    }
}
