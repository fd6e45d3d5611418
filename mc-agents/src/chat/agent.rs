//! The agent itself: asks, waits, and cuts its call once the attempt is to stop.

use std::time::Duration;

use async_trait::async_trait;
use mc_core::engine::{
    AgentError, AgentExecutor, ModelAnswer, ModelRequest, ProviderError, StepContext, StepOutcome,
};
use mc_core::error::{Error, ErrorKind, Result};
use mc_core::id::{AgentVersion, ModelId};
use mc_core::json;
use mc_core::resilience::CallFailure;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, Url};
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::sse::Lines;
use super::wire::{Api, Asked, Delivery, Streaming};
use crate::endpoint::{Endpoint, Head, Secret};
use crate::runtime;

/// The version of Anthropic's format that is spoken.
const ANTHROPIC_VERSION: &str = "2023-06-01";
/// Bytes of text that are shown as one token while a stream runs; what counts is what is settled.
const BYTES_A_TOKEN: usize = 4;

/// What a chat agent is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatSpec {
    /// The format.
    pub api: Api,
    /// The address before the format's own path: `https://api.openai.com/v1`.
    pub base_url: Url,
    /// The model as `provider/id`; the provider is asked for `id`.
    pub model: ModelId,
    /// The key, if the provider wants one.
    pub key: Option<Secret>,
    /// What the model is told first.
    pub system: Option<String>,
    /// The most output tokens of an answer.
    pub max_output_tokens: u64,
    /// What chat completions call that limit.
    pub limit_field: String,
    /// How the answer comes.
    pub delivery: Delivery,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// An agent that asks a model.
#[derive(Clone, Debug)]
pub struct ChatAgent {
    spec: ChatSpec,
    endpoint: Endpoint,
    version: Option<AgentVersion>,
}

/// The least output limit, in tokens, that is of use where there is no room for the spec's own.
const LEAST_OUTPUT: u64 = 256;

impl ChatAgent {
    /// An agent that asks the model.
    ///
    /// # Errors
    /// `Unavailable` where no client can be made here, `InvalidInput` for a key that is none.
    pub fn new(spec: ChatSpec, version: Option<AgentVersion>) -> Result<Self> {
        let mut headers = HeaderMap::new();
        let header = |key: &Secret, before| {
            key.header(before)
                .map_err(|rule| Error::invalid("key", rule))
        };
        match (spec.api, &spec.key) {
            (Api::Anthropic, key) => {
                let name = HeaderName::from_static("anthropic-version");
                headers.insert(name, HeaderValue::from_static(ANTHROPIC_VERSION));
                if let Some(key) = key {
                    headers.insert(HeaderName::from_static("x-api-key"), header(key, "")?);
                }
            }
            (Api::OpenaiChat | Api::OpenaiResponses, Some(key)) => {
                headers.insert(AUTHORIZATION, header(key, "Bearer ")?);
            }
            (Api::OpenaiChat | Api::OpenaiResponses, None) => {}
        }
        let mut url = spec.base_url.clone();
        let path = format!("{}/{}", url.path().trim_end_matches('/'), spec.api.path());
        url.set_path(&path);
        let endpoint = Endpoint::new(url, headers, spec.key.clone(), spec.timeout);
        let endpoint = endpoint.map_err(|rule| Error::new(ErrorKind::Unavailable, rule))?;
        Ok(Self {
            spec,
            endpoint,
            version,
        })
    }

    fn request(&self, prompt: &str) -> ModelRequest {
        let system = self.spec.system.iter();
        let system = system.map(|text| json!({"role": "system", "content": text}));
        let user = json!({"role": "user", "content": prompt});
        ModelRequest {
            messages: system.chain([user]).collect(),
            parameters: json!({"api": self.spec.api.path()}),
            ..ModelRequest::text(self.spec.model.clone(), "")
        }
        .max_output_tokens(self.spec.max_output_tokens)
        .min_output_tokens(self.spec.max_output_tokens.min(LEAST_OUTPUT))
    }

    /// Sends the call, and cuts it once the attempt is to stop.
    async fn send(
        &self,
        ctx: &StepContext,
        prompt: &str,
        most: Option<u64>,
    ) -> std::result::Result<ModelAnswer, ProviderError> {
        let model = self.spec.model.as_str();
        let provider = self.spec.model.provider();
        let id = model
            .strip_prefix(provider)
            .and_then(|rest| rest.strip_prefix('/'));
        let limit = self.spec.max_output_tokens;
        let asked = Asked {
            model: id.unwrap_or(model),
            system: self.spec.system.as_deref(),
            prompt,
            max_output_tokens: most.map_or(limit, |most| most.min(limit)),
            limit_field: &self.spec.limit_field,
            delivery: self.spec.delivery,
        };
        let body = json::canonical(&self.spec.api.body(&asked));
        let cut = || {
            // A stream that we cut is charged in full: what was written is billed.
            let failure = match self.spec.delivery {
                Delivery::Stream => CallFailure::Cut,
                Delivery::Whole => CallFailure::Abandoned,
            };
            ProviderError::new(failure, "it was cut: its attempt is to stop")
        };
        let answer = async {
            let mut response = self.endpoint.post(body, HeaderMap::new()).await?;
            let head = Head::of(&response);
            if !head.status.is_success() {
                // Why it was refused is worth having; that it was does not depend on it.
                let body = self.endpoint.bytes(&mut response).await.unwrap_or_default();
                return Err(self.endpoint.refusal(&head, &body));
            }
            match self.spec.delivery {
                Delivery::Whole => self.whole(&mut response).await,
                Delivery::Stream => self.stream(ctx, &mut response).await,
            }
        };
        let answer = tokio::select! {
            biased;
            () = ctx.cancelled() => Err(cut()),
            answer = answer => answer,
        };
        Ok(answer?.into_model_answer(provider))
    }

    /// The error without the key.
    fn hidden(&self, mut error: ProviderError) -> ProviderError {
        error.message = self.endpoint.hide(&error.message);
        error
    }

    async fn whole(&self, response: &mut Response) -> std::result::Result<Answer, ProviderError> {
        let body = self.endpoint.bytes(response).await?;
        let body = json::parse(&body).map_err(|error| {
            let message = format!("the answer cannot be read: {error}");
            ProviderError::new(CallFailure::UsageMissing, message)
        })?;
        self.spec
            .api
            .whole(&body)
            .map_err(|error| self.hidden(error))
    }

    async fn stream(
        &self,
        ctx: &StepContext,
        response: &mut Response,
    ) -> std::result::Result<Answer, ProviderError> {
        let api = self.spec.api;
        let (mut lines, mut state) = (Lines::default(), Streaming::default());
        let broken = |message: &str| ProviderError::new(CallFailure::Reset, message);
        while let Some(chunk) = self.endpoint.chunk(response).await? {
            for data in lines.take(&chunk).map_err(broken)? {
                if data == b"[DONE]" {
                    api.done(&mut state.answer);
                    continue;
                }
                let event: Value = serde_json::from_slice(&data)
                    .map_err(|_| broken("an event of the stream is no JSON"))?;
                let taken = api.event(&event, &mut state);
                taken.map_err(|error| self.hidden(error))?;
            }
            let written = state.answer.text.len() + state.answer.reasoning.len();
            let tokens = u64::try_from(written.div_ceil(BYTES_A_TOKEN)).unwrap_or(u64::MAX);
            ctx.progress(0, tokens);
        }
        if !state.answer.over {
            return Err(broken("the stream ended before the answer did"));
        }
        Ok(state.answer)
    }
}

/// What the model is asked: a text as it is, the text under `prompt`, or the input as JSON.
fn prompt(input: &Value) -> String {
    let text = input.as_str().or_else(|| match input.as_object() {
        Some(fields) if fields.len() == 1 => fields.get("prompt").and_then(Value::as_str),
        Some(_) | None => None,
    });
    text.map_or_else(|| input.to_string(), str::to_owned)
}

#[async_trait]
impl AgentExecutor for ChatAgent {
    fn version(&self) -> Option<&str> {
        self.version.as_ref().map(AgentVersion::as_str)
    }

    async fn execute(
        &self,
        ctx: StepContext,
        input: Value,
    ) -> std::result::Result<StepOutcome, AgentError> {
        runtime::required()?;
        let prompt = prompt(&input);
        let request = self.request(&prompt);
        let (ctx, prompt) = (&ctx, prompt.as_str());
        let answer = ctx
            .model_call(&request, |most| self.send(ctx, prompt, most))
            .await?;
        answer::outcome(&answer.output)
    }
}
