//! The formats of the providers: what is sent, and how what comes back becomes an [`Answer`].
//!
//! | format | sent to | usage stands in |
//! |---|---|---|
//! | `openai_chat` | `BASE/chat/completions` | the last chunk that has one |
//! | `openai_responses` | `BASE/responses` | the event that ends the response |
//! | `anthropic` | `BASE/messages` | `message_start`, completed by `message_delta` |
//!
//! Usage becomes disjoint classes in `usage`. Read `answer` next.

use mc_core::engine::ProviderError;
use mc_core::resilience::{CallFailure, OutputBegun};
use serde_json::{Map, Value, json};

use super::answer::{Answer, Stop};
use super::usage;

/// The format that a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `OpenAI` chat completions, and the many that are compatible with them.
    OpenaiChat,
    /// `OpenAI` responses.
    OpenaiResponses,
    /// Anthropic messages.
    Anthropic,
}

/// Whether an answer comes piece by piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// As events, while it is made.
    Stream,
    /// At once, when it is done.
    Whole,
}

/// What is asked, in no provider's words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) model: &'a str,
    pub(super) system: Option<&'a str>,
    pub(super) prompt: &'a str,
    pub(super) max_output_tokens: u64,
    /// The name of the output limit in chat completions.
    pub(super) limit_field: &'a str,
    pub(super) delivery: Delivery,
}

impl Api {
    /// Every format by its name in a file.
    pub(crate) const ALL: &'static [(&'static str, Self)] = &[
        ("openai_chat", Self::OpenaiChat),
        ("openai_responses", Self::OpenaiResponses),
        ("anthropic", Self::Anthropic),
    ];

    /// The format of a name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|(one, _)| *one == name).map(|(_, api)| *api)
    }

    /// What follows the base of the address.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::OpenaiChat => "chat/completions",
            Self::OpenaiResponses => "responses",
            Self::Anthropic => "messages",
        }
    }

    /// The body of a request.
    pub(super) fn body(self, asked: &Asked<'_>) -> Value {
        let user = json!({"role": "user", "content": asked.prompt});
        let mut body = match self {
            Self::OpenaiChat => {
                let system = asked
                    .system
                    .map(|text| json!({"role": "system", "content": text}));
                let messages: Vec<Value> = system.into_iter().chain([user]).collect();
                let mut body = json!({"model": asked.model, "messages": messages});
                body[asked.limit_field] = asked.max_output_tokens.into();
                if asked.delivery == Delivery::Stream {
                    body["stream_options"] = json!({"include_usage": true});
                }
                body
            }
            Self::OpenaiResponses => {
                let mut body = json!({
                    "model": asked.model, "input": [user], "store": false,
                    "max_output_tokens": asked.max_output_tokens,
                });
                if let Some(text) = asked.system {
                    body["instructions"] = text.into();
                }
                body
            }
            Self::Anthropic => {
                let mut body = json!({
                    "model": asked.model, "messages": [user], "max_tokens": asked.max_output_tokens,
                });
                if let Some(text) = asked.system {
                    body["system"] = text.into();
                }
                body
            }
        };
        body["stream"] = (asked.delivery == Delivery::Stream).into();
        body
    }

    /// Reads a whole answer.
    ///
    /// # Errors
    /// The provider's own error under a status of success.
    pub(super) fn whole(self, body: &Value) -> Result<Answer, ProviderError> {
        if body["error"].is_object() {
            return Err(broken_off(&body["error"], &Answer::default()));
        }
        let mut answer = Answer {
            model: text(&body["model"]),
            over: true,
            ..Answer::default()
        };
        match self {
            Self::OpenaiChat => {
                let choice = &body["choices"][0];
                chat_message(&choice["message"], &mut answer);
                chat_stop(&choice["finish_reason"], &mut answer);
                answer.usage = usage::openai_chat(&body["usage"]);
            }
            Self::OpenaiResponses => response(body, &mut answer),
            Self::Anthropic => {
                for block in list(&body["content"]) {
                    answer
                        .text
                        .push_str(block["text"].as_str().unwrap_or_default());
                    answer
                        .reasoning
                        .push_str(block["thinking"].as_str().unwrap_or_default());
                }
                anthropic_stop(&body["stop_reason"], &mut answer);
                answer.usage = usage::anthropic(&body["usage"]);
            }
        }
        Ok(answer)
    }

    /// Takes an event of a stream.
    ///
    /// # Errors
    /// The provider's own error, which may come after a success has begun.
    pub(super) fn event(self, event: &Value, state: &mut Streaming) -> Result<(), ProviderError> {
        let kind = event["type"].as_str().unwrap_or_default();
        if event["error"].is_object() || kind == "error" {
            let error = if event["error"].is_object() {
                &event["error"]
            } else {
                event
            };
            return Err(broken_off(error, &state.answer));
        }
        match self {
            Self::OpenaiChat => chat_event(event, &mut state.answer),
            Self::OpenaiResponses => return response_event(kind, event, &mut state.answer),
            Self::Anthropic => anthropic_event(kind, event, state),
        }
        Ok(())
    }

    /// The stream's end as `data: [DONE]` says it.
    pub(super) const fn done(self, answer: &mut Answer) {
        match self {
            Self::OpenaiChat => answer.over = true,
            Self::OpenaiResponses | Self::Anthropic => {}
        }
    }
}

/// A stream, as far as it has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Streaming {
    pub(super) answer: Answer,
    /// What the provider said of usage, one message over the other.
    usage: Map<String, Value>,
}

/// An error inside a stream, as the status that it would have been.
fn broken_off(error: &Value, answer: &Answer) -> ProviderError {
    let kind = error["type"].as_str().or_else(|| error["code"].as_str());
    let kind = kind.unwrap_or("error");
    let code = match kind {
        "overloaded_error" => 529,
        "rate_limit_error" | "rate_limit_exceeded" => 429,
        _ => 500,
    };
    let output_begun = if answer.has_begun() {
        OutputBegun::Yes
    } else {
        OutputBegun::No
    };
    let said = error["message"].as_str().unwrap_or_default();
    let failure = CallFailure::Status { code, output_begun };
    ProviderError::new(failure, format!("the provider broke off: {kind}: {said}"))
}

fn chat_event(event: &Value, answer: &mut Answer) {
    note_model(&event["model"], answer);
    if event["usage"].is_object() {
        answer.usage = usage::openai_chat(&event["usage"]);
    }
    let choice = &event["choices"][0];
    chat_message(&choice["delta"], answer);
    chat_stop(&choice["finish_reason"], answer);
}

fn chat_message(message: &Value, answer: &mut Answer) {
    answer
        .text
        .push_str(message["content"].as_str().unwrap_or_default());
    for key in ["reasoning_content", "reasoning"] {
        answer
            .reasoning
            .push_str(message[key].as_str().unwrap_or_default());
    }
    if let Some(refusal) = message["refusal"].as_str() {
        answer.text.push_str(refusal);
        answer.stop = Some(Stop::Refusal);
    }
    if !list(&message["tool_calls"]).is_empty() {
        answer.stop = Some(Stop::ToolCall);
    }
}

fn chat_stop(reason: &Value, answer: &mut Answer) {
    let stop = match reason.as_str() {
        Some("length") => Stop::Length,
        Some("content_filter") => Stop::Refusal,
        Some("tool_calls" | "function_call") => Stop::ToolCall,
        Some(_) => Stop::End,
        None => return,
    };
    // A refusal ends with the reason `stop`.
    answer.stop.get_or_insert(stop);
}

fn response_event(kind: &str, event: &Value, answer: &mut Answer) -> Result<(), ProviderError> {
    match kind {
        "response.output_text.delta" | "response.refusal.delta" => {
            answer
                .text
                .push_str(event["delta"].as_str().unwrap_or_default());
        }
        "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
            answer
                .reasoning
                .push_str(event["delta"].as_str().unwrap_or_default());
        }
        "response.completed" | "response.incomplete" => {
            // The end has all of it once more.
            let mut whole = Answer {
                model: text(&event["response"]["model"]),
                over: true,
                ..Answer::default()
            };
            response(&event["response"], &mut whole);
            if whole.text.is_empty() {
                whole.text = std::mem::take(&mut answer.text);
            }
            if whole.reasoning.is_empty() {
                whole.reasoning = std::mem::take(&mut answer.reasoning);
            }
            *answer = whole;
        }
        "response.failed" => return Err(broken_off(&event["response"]["error"], answer)),
        _ => {}
    }
    Ok(())
}

fn response(body: &Value, answer: &mut Answer) {
    for item in list(&body["output"]) {
        match item["type"].as_str() {
            Some("message") => {
                for part in list(&item["content"]) {
                    answer
                        .text
                        .push_str(part["text"].as_str().unwrap_or_default());
                    if let Some(refusal) = part["refusal"].as_str() {
                        answer.text.push_str(refusal);
                        answer.stop = Some(Stop::Refusal);
                    }
                }
            }
            Some("reasoning") => {
                for part in list(&item["summary"]) {
                    answer
                        .reasoning
                        .push_str(part["text"].as_str().unwrap_or_default());
                }
            }
            Some(kind) if kind.ends_with("_call") => answer.stop = Some(Stop::ToolCall),
            Some(_) | None => {}
        }
    }
    let stop = match body["incomplete_details"]["reason"].as_str() {
        Some("max_output_tokens") => Stop::Length,
        Some("content_filter") => Stop::Refusal,
        Some(_) | None => Stop::End,
    };
    answer.stop.get_or_insert(stop);
    answer.usage = usage::openai_responses(&body["usage"]);
}

fn anthropic_event(kind: &str, event: &Value, state: &mut Streaming) {
    let said = match kind {
        "message_start" => &event["message"]["usage"],
        "message_delta" => &event["usage"],
        _ => &Value::Null,
    };
    if let Some(fields) = said.as_object() {
        // Counts of a later message are sums and stand for those before.
        let known = fields.iter().filter(|(_, value)| !value.is_null());
        let known = known.map(|(key, value)| (key.clone(), value.clone()));
        state.usage.extend(known);
    }
    let answer = &mut state.answer;
    match kind {
        "message_start" => note_model(&event["message"]["model"], answer),
        "content_block_delta" => {
            let delta = &event["delta"];
            answer
                .text
                .push_str(delta["text"].as_str().unwrap_or_default());
            answer
                .reasoning
                .push_str(delta["thinking"].as_str().unwrap_or_default());
        }
        "message_delta" => {
            anthropic_stop(&event["delta"]["stop_reason"], answer);
            // Only now has it said what was written.
            let said = event["usage"].is_object();
            let usage = said.then(|| usage::anthropic(&Value::Object(state.usage.clone())));
            answer.usage = usage.flatten();
        }
        "message_stop" => answer.over = true,
        _ => {}
    }
}

fn anthropic_stop(reason: &Value, answer: &mut Answer) {
    let stop = match reason.as_str() {
        Some("max_tokens" | "model_context_window_exceeded") => Stop::Length,
        Some("refusal") => Stop::Refusal,
        Some("tool_use" | "pause_turn") => Stop::ToolCall,
        Some(_) => Stop::End,
        None => return,
    };
    answer.stop = Some(stop);
}

fn note_model(model: &Value, answer: &mut Answer) {
    if answer.model.is_none() {
        answer.model = text(model);
    }
}

fn text(value: &Value) -> Option<String> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
