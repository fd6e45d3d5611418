//! The http agent: asks a remote agent, which answers at once or later with a signal.
//!
//! It is sent the JSON of `exchange`, with the effect key as `idempotency-key`: the same for every
//! attempt, so that a remote agent that keeps to it does its work once. `202 {"status":"pending"}`
//! suspends the step until the run is signalled under the name that was asked for, or its answer is
//! brought to `callback_url`, with the same JSON that an answer at once would have had. Until then what was held is in doubt.

use std::time::Duration;

use async_trait::async_trait;
use mc_core::engine::{
    AgentError, AgentExecutor, CallError, ProviderError, StepContext, StepOutcome,
};
use mc_core::error::{Error, ErrorKind, Result};
use mc_core::event::step::WaitingFor;
use mc_core::id::{AgentVersion, Opaque};
use mc_core::json;
use mc_core::resilience::CallFailure;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};
use serde_json::{Value, json};

use crate::callback::{Callback, reply_signal};
use crate::endpoint::{Authority, Endpoint, Gone, Head, Reaching, Secret};
use crate::exchange::{INVALID_OUTPUT, Reply, ask};
use crate::hiding::Secrets;
use crate::runtime;
use crate::spending::{Later, ModelBound, Opening, Spending, settle_later, suspended};

/// What an http agent is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSpec {
    /// Where it is asked.
    pub url: Url,
    /// The authority of its certificate, where that is none of the operating system's.
    pub authority: Option<Authority>,
    /// The key, if it wants one.
    pub key: Option<Secret>,
    /// How long an answer may take, the word that it comes later too.
    pub timeout: Duration,
    /// The models that it may call by itself.
    pub models: Vec<ModelBound>,
    /// Where it may answer later, beside the signal.
    pub callback: Option<Callback>,
}

/// An agent somewhere else.
#[derive(Clone, Debug)]
pub struct HttpAgent {
    endpoint: Endpoint,
    models: Vec<ModelBound>,
    callback: Option<Callback>,
    version: Option<AgentVersion>,
}

impl HttpAgent {
    /// An agent that is asked there.
    ///
    /// # Errors
    /// `Unavailable` where no client can be made here, `InvalidInput` for a key that is none.
    pub fn new(spec: HttpSpec, version: Option<AgentVersion>) -> Result<Self> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &spec.key {
            let header = key.header("Bearer ");
            let header = header.map_err(|rule| Error::invalid("key", rule))?;
            headers.insert(AUTHORIZATION, header);
        }
        let how = Reaching {
            key: spec.key.as_ref(),
            authority: spec.authority.as_ref(),
            timeout: spec.timeout,
        };
        let endpoint = Endpoint::new(spec.url, headers, how);
        Ok(Self {
            endpoint: endpoint.map_err(|rule| Error::new(ErrorKind::Unavailable, rule))?,
            models: spec.models,
            callback: spec.callback,
            version,
        })
    }

    /// Sends it and waits for the whole answer, or until the attempt is to stop.
    async fn send(
        &self,
        ctx: &StepContext,
        asked: &Value,
    ) -> std::result::Result<(Head, Vec<u8>), ProviderError> {
        let mut headers = HeaderMap::new();
        if let Ok(key) = HeaderValue::from_str(&ctx.effect_key().to_string()) {
            headers.insert(HeaderName::from_static("idempotency-key"), key);
        }
        let gone = Gone::default();
        let answer = async {
            let posted = self.endpoint.post(json::canonical(asked), headers, &gone);
            let mut response = posted.await?;
            let head = Head::of(&response);
            Ok((head, self.endpoint.bytes(&mut response).await?))
        };
        tokio::select! {
            biased;
            () = ctx.cancelled() => {
                let failure = if gone.is_out() { CallFailure::Abandoned } else { CallFailure::NotSent };
                let message = "it was given up: its attempt is to stop";
                Err(ProviderError::new(failure, message))
            }
            answer = answer => answer,
        }
    }

    /// What an answer at once comes to.
    async fn answered(
        &self,
        ctx: &StepContext,
        spending: Spending,
        (head, body): (Head, &[u8]),
    ) -> std::result::Result<StepOutcome, AgentError> {
        let reply = Reply::parse(body).map(|reply| reply.without(self.endpoint.secrets()));
        if head.status.is_success() {
            return match reply {
                Ok(reply) => {
                    spending.settle(ctx, &reply).await?;
                    reply.into_outcome()
                }
                Err(fault) => {
                    let fault = self.endpoint.hide(&fault);
                    let message = format!("the agent's answer: {fault}");
                    let error = ProviderError::new(CallFailure::Crashed, message.as_str());
                    spending.fail(&error).await?;
                    Err(AgentError::with_code(INVALID_OUTPUT, message))
                }
            };
        }
        // With a status that refuses, only an error counts, and what it says was used.
        let refusal = self.endpoint.refusal(&head, body);
        match reply.ok().filter(|reply| !reply.is_output()) {
            Some(reply) if reply.usage.is_some() => {
                spending.settle(ctx, &reply).await?;
                reply.into_outcome()
            }
            Some(reply) => {
                spending.fail(&refusal).await?;
                reply.into_outcome()
            }
            None => {
                spending.fail(&refusal).await?;
                Err(CallError::Provider(refusal).into())
            }
        }
    }
}

fn is_pending(head: &Head, body: &[u8]) -> bool {
    let pending = json!({"status": "pending"});
    head.status == StatusCode::ACCEPTED && json::parse(body).is_ok_and(|body| body == pending)
}

/// Suspends the step; what was held stays in doubt until the answer says what it used.
async fn suspend(
    ctx: &StepContext,
    spending: Spending,
) -> std::result::Result<StepOutcome, AgentError> {
    let later = spending.later(ctx).await?;
    let name = Opaque::new(&reply_signal(ctx.effect_key()));
    let name = name.map_err(|fault| AgentError::new(fault.to_string()))?;
    Ok(StepOutcome::Suspend {
        checkpoint: json!({ "later": later }),
        waiting_for: WaitingFor::Signal { name },
    })
}

/// What a later answer comes to.
async fn resume(
    ctx: &StepContext,
    (checkpoint, answer): (&Value, &Value),
    secrets: &Secrets,
) -> std::result::Result<StepOutcome, AgentError> {
    let reply = Reply::of(answer.clone()).map(|reply| reply.without(secrets));
    let reply = reply.map_err(|fault| {
        let message = format!("the signal with the agent's answer: {fault}");
        AgentError::with_code(INVALID_OUTPUT, message)
    })?;
    if let Some(used) = &reply.usage {
        let later: Vec<Later> =
            serde_json::from_value(checkpoint["later"].clone()).unwrap_or_default();
        settle_later(ctx, &later, (used, &reply.whole)).await?;
    }
    reply.into_outcome()
}

#[async_trait]
impl AgentExecutor for HttpAgent {
    fn version(&self) -> Option<&str> {
        self.version.as_ref().map(AgentVersion::as_str)
    }

    async fn execute(
        &self,
        ctx: StepContext,
        input: Value,
    ) -> std::result::Result<StepOutcome, AgentError> {
        // Without a checkpoint it had asked nobody yet: a person has decided on what it may use.
        if let Some((checkpoint, Some(answer))) = ctx.resumed()
            && !checkpoint.is_null()
        {
            return resume(&ctx, (checkpoint, answer), self.endpoint.secrets()).await;
        }
        runtime::required()?;
        let spending = match Spending::open(&ctx, &self.models, &input).await? {
            Opening::Open(spending) => spending,
            Opening::Answered(reply) => return reply.into_outcome(),
            Opening::Waits(id) => return Ok(suspended(id)),
        };
        let mut asked = ask(&ctx, &input, &spending.admitted());
        asked["reply_signal"] = reply_signal(ctx.effect_key()).into();
        let place = self.callback.as_ref();
        if let Some(url) = place.and_then(|place| place.url(ctx.run_id(), ctx.effect_key())) {
            asked["callback_url"] = url.into();
        }
        match self.send(&ctx, &asked).await {
            Ok((head, body)) if is_pending(&head, &body) => suspend(&ctx, spending).await,
            Ok((head, body)) => self.answered(&ctx, spending, (head, &body)).await,
            Err(error) => {
                let given_up = ctx.is_cancelled();
                spending.fail(&error).await?;
                if given_up {
                    let code = ErrorKind::Cancelled.code();
                    return Err(AgentError::with_code(code, error.message));
                }
                Err(CallError::Provider(error).into())
            }
        }
    }
}
