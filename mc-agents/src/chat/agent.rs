//! The agent itself: asks, has tools called, and asks again until the model is done.

use std::time::Duration;

use async_trait::async_trait;
use mc_core::engine::{
    AgentError, AgentExecutor, CallError, ModelRequest, StepContext, StepOutcome,
};
use mc_core::error::{Error, ErrorKind, Result};
use mc_core::event::MAX_PART_BYTES;
use mc_core::id::{AgentVersion, ApprovalId, ModelId};
use mc_core::pricing::TierChoice;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::answer;
use super::call::{Call, Sent};
use super::talk::{Said, messages};
use super::tools::{Fulfilled, ToolSpec, Tools, suspended};
use super::wire::{Api, Delivery};
use crate::endpoint::{Authority, Endpoint, Reaching, Secret};
use crate::runtime;

/// The version of Anthropic's format that is spoken.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// The most bytes of an answer: what the log can keep of it.
pub const MAX_ANSWER_BYTES: usize = MAX_PART_BYTES;

/// What a chat agent is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatSpec {
    /// The format.
    pub api: Api,
    /// The address before the format's own path: `https://api.openai.com/v1`.
    pub base_url: Url,
    /// The authority of its certificate, where that is none of the operating system's.
    pub authority: Option<Authority>,
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
    /// The service tier that is asked for; none to ask for none and hold the list price.
    pub service_tier: Option<TierChoice>,
    /// How the answer comes.
    pub delivery: Delivery,
    /// How long an answer may take.
    pub timeout: Duration,
    /// The most bytes of an answer, text and all; at most [`MAX_ANSWER_BYTES`].
    pub max_answer: usize,
    /// The tools that the model may want called.
    pub tools: Vec<ToolSpec>,
    /// How often the model is asked within an attempt at most.
    pub max_turns: u32,
}

/// An agent that asks a model.
#[derive(Clone, Debug)]
pub struct ChatAgent {
    spec: ChatSpec,
    endpoint: Endpoint,
    tools: Tools,
    version: Option<AgentVersion>,
}

/// What came of asking the model once.
enum Turn {
    /// Its answer.
    Answered(Value),
    /// A person has to approve the call first.
    Waits(ApprovalId),
}

/// The least output limit, in tokens, that is of use where there is no room for the spec's own.
const LEAST_OUTPUT: u64 = 256;

impl ChatAgent {
    /// An agent that asks the model.
    ///
    /// # Errors
    /// `Unavailable` where no client can be made here, `InvalidInput` for a key that is none and for
    /// parameters of a tool that are no schema.
    pub fn new(spec: ChatSpec, version: Option<AgentVersion>) -> Result<Self> {
        let headers = headers(&spec)?;
        let mut url = spec.base_url.clone();
        let path = format!("{}/{}", url.path().trim_end_matches('/'), spec.api.path());
        url.set_path(&path);
        let how = Reaching {
            key: spec.key.as_ref(),
            authority: spec.authority.as_ref(),
            timeout: spec.timeout,
        };
        let endpoint = Endpoint::new(url, headers, how);
        let endpoint = endpoint.map_err(|rule| Error::new(ErrorKind::Unavailable, rule))?;
        Ok(Self {
            tools: Tools::new(&spec.tools)?,
            spec,
            endpoint,
            version,
        })
    }

    /// What is asked and held: the whole conversation, and the tools that are sent with it.
    fn request(&self, talk: &[Value], offered: &[Value]) -> ModelRequest {
        let system = self.spec.system.iter();
        let system = system.map(|text| json!({"role": "system", "content": text}));
        let mut parameters = json!({"api": self.spec.api.path()});
        if !offered.is_empty() {
            parameters["tools"] = offered.into();
        }
        let request = ModelRequest {
            messages: system.chain(talk.iter().cloned()).collect(),
            parameters,
            ..ModelRequest::text(self.spec.model.clone(), "")
        };
        request
            .max_output_tokens(self.spec.max_output_tokens)
            .min_output_tokens(self.spec.max_output_tokens.min(LEAST_OUTPUT))
            .service_tier(self.spec.service_tier.unwrap_or_default())
    }

    /// Asks once. `known` is the answer that an earlier attempt of the same intent was given here.
    async fn ask(
        &self,
        ctx: &StepContext,
        talk: &[Value],
        known: Option<&Value>,
    ) -> std::result::Result<Turn, AgentError> {
        let sent = Sent::default();
        // One that the step does not name would only be denied.
        let offered = self.spec.tools.iter();
        let offered = offered.filter(|tool| ctx.may_call(&tool.name));
        let offered: Vec<Value> = offered.map(|tool| self.spec.api.tool(tool)).collect();
        let call = Call {
            spec: &self.spec,
            endpoint: &self.endpoint,
            ctx,
            messages: talk,
            tools: &offered,
            sent: &sent,
        };
        let request = self.request(talk, &offered);
        let asking = ctx.try_model_stream(&request, |out| call.send(out));
        let answer = Box::pin(asking).await;
        if let Err(CallError::NeedsApproval(id)) = answer {
            return Ok(Turn::Waits(id));
        }
        let answer = answer.map_err(|error| {
            let large = sent.was_too_large() && matches!(error, CallError::Provider(_));
            let failed = AgentError::from(error);
            if large {
                AgentError::with_code("answer_too_large", failed.message()).fatal()
            } else {
                failed
            }
        })?;
        // What comes from the log may have been redacted, and what was said is said again as it was.
        match known.filter(|_| sent.is_from_the_journal()) {
            Some(known) => Ok(Turn::Answered(known.clone())),
            None => Ok(Turn::Answered(answer.output)),
        }
    }
}

fn headers(spec: &ChatSpec) -> Result<HeaderMap> {
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
    Ok(headers)
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
        let mut talk = vec![json!({"role": "user", "content": prompt(&input)})];
        let mut answers: Vec<Value> = Vec::new();
        let known = ctx.resumed().map(|(checkpoint, _)| &checkpoint["answers"]);
        loop {
            let turn = answers.len();
            let known = known.and_then(|answers| answers.get(turn));
            let answer = match self.ask(&ctx, &talk, known).await? {
                Turn::Answered(answer) => answer,
                Turn::Waits(id) => return Ok(suspended(id, &answers)),
            };
            let said = Said::read(&answer, turn).filter(|_| !self.tools.is_empty());
            let Some(said) = said else {
                return answer::outcome(&answer);
            };
            answers.push(answer);
            if u32::try_from(answers.len()).is_ok_and(|asked| asked >= self.spec.max_turns) {
                let most = self.spec.max_turns;
                let message = format!("after {most} turns (max_turns) the model still wants tools");
                return Err(AgentError::with_code("max_turns", message).fatal());
            }
            match self.tools.fulfil((&ctx, turn), &said.wishes).await? {
                Fulfilled::Told(told) => talk.extend(messages(self.spec.api, &said, &told)),
                Fulfilled::Waits(id) => return Ok(suspended(id, &answers)),
            }
        }
    }
}
