//! Model calls: reserve, go out, settle; the same for attempts and sessions.
//!
//! Admission is a value. [`Permit`] is what a host holds while its call is out: it ends it with
//! `settle` or `fail`; one that is dropped leaves its money in doubt, never refunded.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::attempt::AttemptCell;
use super::block::Block;
use super::call_error::{CallError, ProviderError};
use super::content;
use super::in_time::Looks;
use super::inner::{Inner, lock};
use super::outgoing::Outgoing;
use super::receipt::Receipt;
use crate::error::{Error, ErrorKind, Result};
use crate::event::PartRef;
use crate::id::{Actor, AgentName, ApprovalId, Digest, ModelId, Region};
use crate::json;
use crate::pricing::{CallTerms, ServiceTier, TierChoice, Unit};
use crate::resilience::CallFailure;
use crate::sequencer::decide::session::most_messages;
use crate::sequencer::{
    AttemptRequest, CallEnd, CallReply, Drawn, FailCall, JournalPlace, Observed, Patience,
    PricedBy, Reply, Request, ReserveCall, TokenBound,
};
use crate::time::{Timestamp, as_ms};
use crate::usage::{Usage, UsageEntry};

/// A model call that a host wants to make.
#[derive(Clone, Debug)]
pub struct ModelRequest {
    /// The model as `provider/id`.
    pub model: ModelId,
    /// The conversation; each message is a part of the log of its own.
    pub messages: Vec<Value>,
    /// Other parameters that make the call what it is; part of its digest.
    pub parameters: Value,
    /// What it can use at most.
    pub bound: TokenBound,
    /// The terms that select its prices: service tier, region, caps of the provider's own tools.
    pub terms: CallTerms,
    /// In whose name it goes, where that is not the step's agent.
    pub agent: Option<AgentName>,
}

impl ModelRequest {
    /// A request with one text message.
    pub fn text(model: ModelId, prompt: &str) -> Self {
        Self {
            model,
            messages: vec![json!({"role": "user", "content": prompt})],
            parameters: Value::Null,
            bound: TokenBound::default(),
            terms: CallTerms::default(),
            agent: None,
        }
    }

    /// Sets the output limit that is sent with the request.
    #[must_use]
    pub fn max_output_tokens(mut self, tokens: u64) -> Self {
        self.bound.max_output_tokens = Some(tokens);
        self
    }

    /// Lets the call go out with a smaller output limit where there is no room for the one it asks
    /// for, but with no less than this.
    #[must_use]
    pub const fn min_output_tokens(mut self, tokens: u64) -> Self {
        self.bound.min_output_tokens = Some(tokens);
        self
    }

    /// Sets the most input tokens that it can use.
    #[must_use]
    pub fn input_tokens(mut self, tokens: u64) -> Self {
        self.bound.input_tokens = Some(tokens);
        self
    }

    /// Names the service tier that is asked of the provider; a batch is cheaper than the list price,
    /// for example, and priority dearer. [`TierChoice::Auto`] leaves it to the provider: held is what
    /// the dearest tier would cost, spent what [`ModelAnswer::service_tier`] names.
    ///
    /// A tier that the model has no price for is refused when the call is reserved.
    #[must_use]
    pub const fn service_tier(mut self, tier: TierChoice) -> Self {
        self.terms.service_tier = tier;
        self
    }

    /// Binds the call to a region of processing, for which the model may have an uplift.
    ///
    /// A region that the model's row does not name, where it names others, is refused when the call
    /// is reserved.
    #[must_use]
    pub fn region(mut self, region: Region) -> Self {
        self.terms.region = Some(region);
        self
    }

    /// Caps how often one of the provider's own tools may be used, e.g. [`Unit::WebSearch`]; the
    /// same cap has to be sent with the request. All of it is held.
    ///
    /// A tool that the model has no price for is refused when the call is reserved.
    #[must_use]
    pub fn cap(mut self, unit: Unit, most: u64) -> Self {
        self.terms.units.insert(unit, most);
        self
    }

    /// The bytes of all that is sent, as JSON: at least those of the text. A count that was stated
    /// stands instead.
    fn rendered_bytes(&self) -> Option<u64> {
        if self.bound.input_tokens.is_some() {
            return None;
        }
        let messages = self.messages.iter().map(|one| json::canonical(one).len());
        let bytes = messages.sum::<usize>() + json::canonical(&self.parameters).len();
        u64::try_from(bytes).ok()
    }

    /// What is asked for, without its place.
    pub(super) fn digest(&self) -> Digest {
        self.at(0, Patience::TellsOnly).place.request
    }

    /// The call at a place in the journal.
    pub(super) fn at(&self, ordinal: u32, patience: Patience) -> ReserveCall {
        let mut call = ReserveCall {
            place: JournalPlace {
                ordinal,
                request: Digest::ZERO,
            },
            agent: self.agent.clone(),
            model: self.model.clone(),
            bound: self.bound,
            terms: self.terms.clone(),
            messages: self.messages.clone(),
            rendered_bytes: self.rendered_bytes(),
            parameters: self.parameters.clone(),
            patience,
        };
        call.place.request = json::digest(&call.whole());
        call
    }
}

/// What a model answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelAnswer {
    /// The completion.
    pub output: Value,
    /// The reasoning, where the model gave one.
    pub reasoning: Option<Value>,
    /// What it used; none where the provider did not say: then all that was held is spent.
    pub usage: Option<Usage>,
    /// The model that answered, where it names itself.
    pub model: Option<ModelId>,
    /// The service tier that the provider says it charged; none for the one that was asked for, or
    /// the dearest where that was left to the provider.
    pub service_tier: Option<ServiceTier>,
    /// What it used call by call, where it stands for several that somebody else has made: each is
    /// priced by itself, and `usage` is their sum.
    pub entries: Vec<UsageEntry>,
    /// How long it took; none to take the time between permit and settlement.
    pub latency: Option<Duration>,
}

impl ModelAnswer {
    /// A text answer with its usage.
    pub fn text(text: &str, usage: Usage) -> Self {
        Self {
            output: Value::from(text),
            usage: Some(usage),
            ..Self::default()
        }
    }
}

/// What came of a reservation.
#[derive(Debug)]
pub enum Admission {
    /// It may go out.
    Allowed(Permit),
    /// It may go out with a smaller output limit than it asked for: [`Permit::max_output_tokens`].
    Clamped(Permit),
    /// An earlier attempt was answered: this is the answer, nothing is sent or charged.
    Answered(ModelAnswer),
    /// A person has to approve it first: the request. Asked for again once that is decided, the same
    /// call goes out, or is denied.
    NeedsApproval(ApprovalId),
    /// It may not go out; every account or rule is named.
    Denied(Arc<Error>),
}

/// Whether a call has been out before, under the same place in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// It has not.
    First,
    /// It has, and the provider refused it: the owner of the log has something to say on it.
    Again,
}

/// Where calls are made from: an attempt, or a session.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) inner: Arc<Inner>,
    pub(super) cell: Arc<AttemptCell>,
    pub(super) actor: Actor,
}

/// A model call that may go out.
///
/// Dropping it without an outcome leaves its money in doubt.
#[must_use = "a permit that is dropped leaves its money in doubt"]
#[derive(Debug)]
pub struct Permit {
    pub(super) caller: Caller,
    ordinal: u32,
    model: ModelId,
    terms: CallTerms,
    since: Duration,
    max_output_tokens: Option<u64>,
    by: PricedBy,
    pub(super) looks: Looks,
    suggests: Option<ModelId>,
    open: bool,
}

impl Caller {
    pub(super) async fn attempt(&self, request: AttemptRequest) -> Result<Reply> {
        let request = Request::Attempt(self.cell.token(), request);
        self.inner.submit(self.actor.clone(), request).await
    }

    /// Reserves a call, without waiting for a person.
    pub(super) async fn reserve(&self, request: &ModelRequest) -> Result<Admission> {
        let ordinal = self.place_of(request)?;
        let how = (Pass::First, Patience::TellsOnly);
        self.reserve_at((ordinal, how), request).await
    }

    /// The place in the journal of a call: the next one, or that at which a person was asked of the
    /// same call.
    ///
    /// # Errors
    /// `InvalidInput` for content that cannot be kept.
    fn place_of(&self, request: &ModelRequest) -> Result<u32> {
        content::check_call(request)?;
        most_messages(&request.messages)?;
        let digest = || request.digest();
        let asked = self.cell.asked_at(digest);
        Ok(asked.unwrap_or_else(|| self.cell.next_ordinal()))
    }

    /// Reserves a call at a place in the journal, however long that has to wait.
    pub(super) async fn reserve_at(
        &self,
        (ordinal, (pass, patience)): (u32, (Pass, Patience)),
        request: &ModelRequest,
    ) -> Result<Admission> {
        let call = Arc::new(request.at(ordinal, patience));
        if pass == Pass::First
            && let Some(admission) = self.draw(request, &call)
        {
            return Ok(admission);
        }
        loop {
            if let Some(block) = self.block() {
                block.ask(ordinal);
            }
            let reply = self
                .attempt(AttemptRequest::ReserveCall(Arc::clone(&call)))
                .await?;
            let Reply::Call(reply) = reply else {
                return Err(unexpected(&reply));
            };
            match reply {
                CallReply::Allowed {
                    max_output_tokens,
                    by,
                    looks,
                    suggests,
                } => {
                    let allowed = (max_output_tokens, by, looks);
                    let permit = self.permit(ordinal, request, allowed);
                    return Ok(Admission::Allowed(permit.suggesting(suggests)));
                }
                CallReply::Clamped {
                    max_output_tokens,
                    by,
                    looks,
                    suggests,
                } => {
                    let allowed = (Some(max_output_tokens), by, looks);
                    let permit = self.permit(ordinal, request, allowed);
                    return Ok(Admission::Clamped(permit.suggesting(suggests)));
                }
                CallReply::Answered { seq } => {
                    return Ok(Admission::Answered(self.answer_at(seq).await?));
                }
                CallReply::WaitUntil(at) => self.wait_until(at).await?,
                CallReply::Again => {}
                CallReply::NeedsApproval(id) => match patience {
                    Patience::Waits => self.decided(id).await?,
                    Patience::TellsOnly => {
                        self.cell.note_asked(call.place);
                        return Ok(Admission::NeedsApproval(id));
                    }
                },
                CallReply::Denied(error) => return Ok(Admission::Denied(error)),
                CallReply::Reported { .. } => return Err(unexpected(&Reply::Call(reply))),
            }
        }
    }

    /// The block of the owner's that this process has in hand, if it has.
    fn block(&self) -> Option<Arc<Block>> {
        let session = self.cell.token().run_id;
        lock(&self.inner.blocks).get(&session).cloned()
    }

    /// Admits a call inside the block that this process has in hand, without asking the owner.
    fn draw(&self, request: &ModelRequest, call: &Arc<ReserveCall>) -> Option<Admission> {
        let owner = self.inner.joined()?;
        if self.inner.spawner.is_inherited() {
            return None;
        }
        let block = self.block()?;
        let ordinal = call.place.ordinal;
        let at = self.inner.time().0;
        let (amount, max_output) = owner.prices.bound(call, at)?;
        let price_version = owner.prices.version();
        let drawn = Drawn {
            amount,
            price_version,
        };
        let drawn = AttemptRequest::DrawCall(Arc::clone(call), drawn);
        let drawn = Request::Attempt(self.cell.token(), drawn);
        let drawn = self.inner.command(self.actor.clone(), drawn);
        let tell = || owner.port.tell(drawn);
        if self.cell.is_cancelled() || !block.draw((ordinal, amount), price_version, tell) {
            return None;
        }
        let by = PricedBy {
            version: price_version,
            at,
        };
        // Where a policy has rules, nothing is drawn.
        let permit = self.permit(ordinal, request, (Some(max_output), by, Vec::new()));
        let asked = call.bound.max_output_tokens;
        Some(match asked.filter(|asked| max_output < *asked) {
            Some(_) => Admission::Clamped(permit),
            None => Admission::Allowed(permit),
        })
    }

    pub(super) fn permit(
        &self,
        ordinal: u32,
        request: &ModelRequest,
        (max_output_tokens, by, after_ms): (Option<u64>, PricedBy, Vec<u64>),
    ) -> Permit {
        let since = self.inner.clock.monotonic();
        Permit {
            caller: self.clone(),
            ordinal,
            model: request.model.clone(),
            terms: request.terms.clone(),
            since,
            max_output_tokens,
            by,
            looks: Looks { since, after_ms },
            suggests: None,
            open: true,
        }
    }

    pub(super) async fn answer_at(&self, seq: u64) -> Result<ModelAnswer> {
        let output = self.inner.read_value(PartRef { seq, part: 0 }).await?;
        let reasoning = self.inner.read_value(PartRef { seq, part: 1 }).await.ok();
        let record = self.inner.log.read_workspace(seq, 1).await?;
        let kind = record.first().map(crate::run::read_event).transpose()?;
        let Some(crate::event::EventKind::ModelCallSettled(facts)) = kind else {
            return Err(Error::corrupt("journal", Some(seq)));
        };
        Ok(ModelAnswer {
            output,
            reasoning,
            usage: Some(facts.usage),
            model: Some(facts.served.unwrap_or(facts.model)),
            service_tier: facts.service_tier,
            entries: facts.entries,
            latency: Some(Duration::from_millis(facts.latency_ms)),
        })
    }

    /// Sleeps until a wall-clock time, or until the attempt is to stop.
    async fn wait_until(&self, at: Timestamp) -> Result<()> {
        let deadline = self.inner.deadline(at);
        tokio::select! {
            biased;
            () = self.cell.cancelled() => {
                Err(Error::new(ErrorKind::Cancelled, "this attempt's token was revoked"))
            }
            () = self.inner.clock.sleep_until(deadline) => Ok(()),
        }
    }

    /// Makes a call: waits for admission, sends, and sends again while the provider refuses.
    pub(super) async fn model_call<F, Fut>(
        &self,
        (request, patience): (&ModelRequest, Patience),
        send: F,
    ) -> std::result::Result<ModelAnswer, CallError>
    where
        F: Fn(Outgoing) -> Fut + Send,
        Fut: Future<Output = std::result::Result<ModelAnswer, ProviderError>> + Send,
    {
        let ordinal = self.place_of(request).map_err(CallError::Engine)?;
        let mut pass = Pass::First;
        loop {
            let permit = match self
                .reserve_at((ordinal, (pass, patience)), request)
                .await
                .map_err(CallError::Engine)?
            {
                Admission::Allowed(permit) | Admission::Clamped(permit) => permit,
                Admission::Answered(answer) => return Ok(answer),
                Admission::NeedsApproval(id) => return Err(CallError::NeedsApproval(id)),
                Admission::Denied(error) => return Err(CallError::Denied(error)),
            };
            let out = permit.outgoing();
            match self.in_time(&permit.looks, &out, send(out.clone())).await {
                Ok(answer) => {
                    if let Err(error) = permit.settle(&answer).await {
                        content::drop_answer(answer);
                        return Err(CallError::Engine(error));
                    }
                    return Ok(answer);
                }
                Err(error) => {
                    let ended = permit.fail(&error).await;
                    // What wanted it cut may have ended all that was there to be failed.
                    if out.is_cut() {
                        return Err(out.failed(error));
                    }
                    match ended.map_err(CallError::Engine)? {
                        CallEnd::Throttled(at) => {
                            pass = Pass::Again;
                            self.wait_until(at).await.map_err(CallError::Engine)?;
                        }
                        CallEnd::Released
                        | CallEnd::GaveUp
                        | CallEnd::Settled
                        | CallEnd::InDoubt => return Err(out.failed(error)),
                    }
                }
            }
        }
    }
}

impl Permit {
    /// What settles the call, also once its attempt has ended.
    pub(super) fn receipt(&self) -> Receipt {
        Receipt {
            attempt: self.caller.cell.token().attempt,
            ordinal: self.ordinal,
            model: self.model.clone(),
            terms: self.terms.clone(),
            by: self.by,
        }
    }

    /// Ask the provider for at most so many output tokens.
    pub const fn max_output_tokens(&self) -> Option<u64> {
        self.max_output_tokens
    }

    /// The model that the budget suggests for further calls, once a threshold was reached that names
    /// one. It holds nothing up: this call may go out as it is.
    pub const fn suggested_model(&self) -> Option<&ModelId> {
        self.suggests.as_ref()
    }

    fn suggesting(mut self, suggests: Option<ModelId>) -> Self {
        self.suggests = suggests;
        self
    }

    /// Ends the call with its answer: what it cost is spent in full.
    ///
    /// # Errors
    /// `PolicyDenied` for an answer that a rule forbids, which is paid for; `InvalidInput` for usage
    /// that has no price, or for an answer that cannot be kept (nested
    /// deeper than 64, larger than 64 MiB), which is paid for all the same; `Unavailable` while the
    /// store refuses.
    pub async fn settle(mut self, answer: &ModelAnswer) -> Result<()> {
        self.open = false;
        let took = self
            .caller
            .inner
            .clock
            .monotonic()
            .saturating_sub(self.since);
        // An answer that cannot be kept is paid for all the same; it is no answer to anybody.
        let (settle, kept) = self.receipt().settlement(answer, as_ms(took));
        let request = AttemptRequest::SettleCall(Arc::new(settle));
        let reply = self.caller.attempt(request).await?;
        kept?;
        refused(reply)
    }

    /// The call as its sender sees it.
    pub(super) fn outgoing(&self) -> Outgoing {
        Outgoing {
            caller: self.caller.clone(),
            ordinal: self.ordinal,
            terms: self.terms.clone(),
            max_output_tokens: self.max_output_tokens,
            suggests: self.suggests.clone(),
            cut: Arc::default(),
            reported: Arc::default(),
        }
    }

    /// Reports how far the answer of a stream has come: so many output tokens, and the text since
    /// the last report where rules are to see it. An error of the kind `PolicyDenied` names the rule
    /// that wants the stream cut: stop reading, and [`fail`](Self::fail) the permit.
    ///
    /// # Errors
    /// `PolicyDenied`; `Cancelled` where the attempt is to stop.
    pub async fn progress(&self, output_tokens: u64, text: Option<&str>) -> Result<()> {
        self.outgoing().progress(output_tokens, text).await
    }

    /// Ends the call with a failure: what happened decides what becomes of the money.
    ///
    /// # Errors
    /// `InvalidTransition` where the call has ended, `Unavailable` while the store refuses.
    pub async fn fail(mut self, error: &ProviderError) -> Result<CallEnd> {
        self.open = false;
        let request = AttemptRequest::FailCall(Box::new(FailCall {
            ordinal: self.ordinal,
            failure: error.failure,
            retry_after_ms: error.retry_after.map(as_ms),
            observed: error.observed.as_deref().map(|usage| Observed {
                model: self.model.clone(),
                usage: *usage,
                terms: self.terms.clone(),
            }),
            by: self.by,
            message: error.message.as_str().into(),
        }));
        let reply = self.caller.attempt(request).await?;
        let Reply::CallEnded(end) = reply else {
            return Err(unexpected(&reply));
        };
        Ok(end)
    }
}

/// The error of what does not count, or may not go on.
pub(super) fn refused(reply: Reply) -> Result<()> {
    let Reply::Refused(error) = reply else {
        return Ok(());
    };
    Err(super::tools::again(&error))
}

/// The sequencer answered something else than was asked for.
pub(super) fn unexpected(reply: &Reply) -> Error {
    Error::internal(format!("the sequencer answered {reply:?}"))
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let request = AttemptRequest::FailCall(Box::new(FailCall {
            ordinal: self.ordinal,
            failure: CallFailure::Abandoned,
            retry_after_ms: None,
            observed: None,
            by: self.by,
            message: "the permit was dropped without an outcome".into(),
        }));
        let request = Request::Attempt(self.caller.cell.token(), request);
        self.caller.inner.tell(self.caller.actor.clone(), request);
    }
}
