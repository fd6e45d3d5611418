//! The three formats: what a completion looks like, whole and as a stream of events.
//!
//! Shapes as published by the providers, with only the fields that a client reads.

use mc_core::usage::Usage;
use serde_json::{Value, json};

use super::script::{Completion, Fault, Stop, UsageIn};
use super::wishes;

/// Which format a path speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    OpenaiChat,
    OpenaiResponses,
    Anthropic,
}

/// A part of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) text: String,
    /// Whether it has a piece of the text.
    pub(super) is_piece: bool,
}

impl Api {
    /// The format of a path.
    pub(super) fn of(path: &str) -> Option<Self> {
        let ends = |end| path.ends_with(end);
        match () {
            () if ends("/chat/completions") => Some(Self::OpenaiChat),
            () if ends("/responses") => Some(Self::OpenaiResponses),
            () if ends("/messages") => Some(Self::Anthropic),
            () => None,
        }
    }

    /// The body of an error.
    pub(super) fn error(api: Option<Self>, status: u16, message: &str) -> Value {
        let kind = match status {
            429 => "rate_limit_error",
            529 => "overloaded_error",
            400..=499 => "invalid_request_error",
            _ => "api_error",
        };
        let error = json!({"type": kind, "message": message});
        match api {
            Some(Self::Anthropic) => json!({"type": "error", "error": error}),
            Some(Self::OpenaiChat | Self::OpenaiResponses) | None => json!({"error": error}),
        }
    }

    /// The whole answer.
    pub(super) fn whole(self, answer: &Completion, asked: &Value) -> Value {
        let model = model(answer, asked);
        let mut body = match self {
            Self::OpenaiChat => json!({
                "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model,
                "choices": [{"index": 0, "message": chat_message(answer),
                             "finish_reason": chat_stop(answer.stopped())}],
            }),
            Self::OpenaiResponses => response(answer, &model),
            Self::Anthropic => json!({
                "id": "msg_1", "type": "message", "role": "assistant", "model": model,
                "content": anthropic_content(answer),
                "stop_reason": anthropic_stop(answer.stopped()), "stop_sequence": null,
            }),
        };
        if answer.usage_in != UsageIn::Nowhere {
            body["usage"] = self.usage(&answer.usage);
        }
        self.charge(&mut body, answer);
        body
    }

    /// The service tier where the format has it.
    fn charge(self, body: &mut Value, answer: &Completion) {
        let Some(tier) = &answer.service_tier else {
            return;
        };
        match self {
            Self::OpenaiChat | Self::OpenaiResponses => body["service_tier"] = tier.as_str().into(),
            Self::Anthropic if body["usage"].is_object() => {
                body["usage"]["service_tier"] = tier.as_str().into();
            }
            Self::Anthropic => {}
        }
    }

    /// The answer as a stream of events.
    pub(super) fn stream(self, answer: &Completion, asked: &Value) -> Vec<Event> {
        let model = model(answer, asked);
        let events = match self {
            Self::OpenaiChat => self.chat_stream(answer, asked, &model),
            Self::OpenaiResponses => response_stream(answer, &model),
            Self::Anthropic => self.anthropic_stream(answer, &model),
        };
        match answer.fault {
            Fault::ErrorAfter(pieces) => self.broken_off(events, pieces),
            Fault::None | Fault::CutAfter(_) | Fault::StallAfter(_) => events,
        }
    }

    /// The events up to so many pieces, and then an error.
    fn broken_off(self, events: Vec<Event>, pieces: usize) -> Vec<Event> {
        let mut seen = 0;
        let before = events.into_iter().take_while(|event| {
            seen += usize::from(event.is_piece);
            !event.is_piece || seen <= pieces
        });
        let mut kept: Vec<Event> = before.collect();
        let error = match self {
            Self::OpenaiResponses => json!({
                "type": "error", "code": "server_error", "message": "scripted",
            }),
            Self::OpenaiChat | Self::Anthropic => Self::error(Some(self), 529, "scripted"),
        };
        kept.push(match self {
            Self::OpenaiChat => data(&error),
            Self::OpenaiResponses | Self::Anthropic => named(&error),
        });
        kept
    }

    /// Usage as the provider writes it.
    fn usage(self, usage: &Usage) -> Value {
        let (input, output) = (usage.input_tokens(), usage.output_tokens());
        let cached = usage.input_cache_read;
        match self {
            Self::OpenaiChat => json!({
                "prompt_tokens": input, "completion_tokens": output,
                "total_tokens": input.saturating_add(output),
                "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": usage.input_audio},
                "completion_tokens_details": {"reasoning_tokens": usage.output_reasoning,
                                              "audio_tokens": usage.output_audio},
            }),
            Self::OpenaiResponses => json!({
                "input_tokens": input, "output_tokens": output,
                "total_tokens": input.saturating_add(output),
                "input_tokens_details": {"cached_tokens": cached},
                "output_tokens_details": {"reasoning_tokens": usage.output_reasoning},
            }),
            Self::Anthropic => {
                let (short, long) = (usage.input_cache_write_5m, usage.input_cache_write_1h);
                json!({
                    "input_tokens": usage.input_uncached, "output_tokens": output,
                    "cache_read_input_tokens": cached,
                    "cache_creation_input_tokens": short.saturating_add(long),
                    "cache_creation": {"ephemeral_5m_input_tokens": short,
                                       "ephemeral_1h_input_tokens": long},
                })
            }
        }
    }

    fn chat_stream(self, answer: &Completion, asked: &Value, model: &str) -> Vec<Event> {
        let chunk = |delta: Value, stop: Value| {
            let mut chunk = json!({
                "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model,
                "choices": [{"index": 0, "delta": delta, "finish_reason": stop}],
            });
            self.charge(&mut chunk, answer);
            chunk
        };
        let mut events = vec![data(&chunk(
            json!({"role": "assistant", "content": ""}),
            Value::Null,
        ))];
        if let Some(reasoning) = &answer.reasoning {
            let delta = json!({"reasoning_content": reasoning});
            events.push(data(&chunk(delta, Value::Null)));
        }
        let pieces = pieces(answer);
        for (at, piece) in pieces.iter().enumerate() {
            let mut one = chunk(json!({"content": piece}), Value::Null);
            if at + 1 == pieces.len() && answer.usage_in == UsageIn::LastPiece {
                one["usage"] = self.usage(&answer.usage);
            }
            events.push(piece_of(data(&one)));
        }
        for delta in wishes::chat_pieces(answer) {
            events.push(data(&chunk(delta, Value::Null)));
        }
        events.push(data(&chunk(json!({}), chat_stop(answer.stopped()).into())));
        let wanted = asked["stream_options"]["include_usage"] == true;
        if wanted && answer.usage_in == UsageIn::Documented {
            let mut last = chunk(Value::Null, Value::Null);
            last["choices"] = json!([]);
            last["usage"] = self.usage(&answer.usage);
            events.push(data(&last));
        }
        events.push(Event {
            text: "data: [DONE]\n\n".to_owned(),
            is_piece: false,
        });
        events
    }

    fn anthropic_stream(self, answer: &Completion, model: &str) -> Vec<Event> {
        let said = answer.usage_in != UsageIn::Nowhere;
        let mut message = json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": [],
        });
        let mut end = json!({
            "type": "message_delta", "delta": {"stop_reason": anthropic_stop(answer.stopped())},
        });
        if said {
            let usage = self.usage(&answer.usage);
            end["usage"] = json!({"output_tokens": usage["output_tokens"]});
            message["usage"] = usage;
            message["usage"]["output_tokens"] = 1.into();
            self.charge(&mut message, answer);
        }
        let mut events = vec![named(&json!({"type": "message_start", "message": message}))];
        let delta = |at: usize, delta: Value| {
            named(&json!({"type": "content_block_delta", "index": at, "delta": delta}))
        };
        let start = |at: usize, block: Value| {
            named(&json!({"type": "content_block_start", "index": at, "content_block": block}))
        };
        let stop = |at: usize| named(&json!({"type": "content_block_stop", "index": at}));
        let mut at = 0;
        if let Some(thought) = &answer.reasoning {
            events.push(start(at, json!({"type": "thinking", "thinking": ""})));
            events.push(delta(
                at,
                json!({"type": "thinking_delta", "thinking": thought}),
            ));
            events.push(stop(at));
            at += 1;
        }
        events.push(start(at, json!({"type": "text", "text": ""})));
        events.push(named(&json!({"type": "ping"})));
        for piece in pieces(answer) {
            let text = json!({"type": "text_delta", "text": piece});
            events.push(piece_of(delta(at, text)));
        }
        events.push(stop(at));
        for event in wishes::anthropic_events(answer, at + 1) {
            events.push(named(&event));
        }
        events.push(named(&end));
        events.push(named(&json!({"type": "message_stop"})));
        events
    }
}

fn response_stream(answer: &Completion, model: &str) -> Vec<Event> {
    let created = json!({"id": "resp_1", "status": "in_progress", "model": model});
    let mut events = vec![named(
        &json!({"type": "response.created", "response": created}),
    )];
    if let Some(thought) = &answer.reasoning {
        let delta = json!({"type": "response.reasoning_summary_text.delta", "delta": thought});
        events.push(named(&delta));
    }
    for piece in pieces(answer) {
        let delta = json!({"type": "response.output_text.delta", "delta": piece});
        events.push(piece_of(named(&delta)));
    }
    for event in wishes::response_events(answer) {
        events.push(named(&event));
    }
    let mut whole = response(answer, model);
    if answer.usage_in != UsageIn::Nowhere {
        whole["usage"] = Api::OpenaiResponses.usage(&answer.usage);
    }
    Api::OpenaiResponses.charge(&mut whole, answer);
    let kind = if answer.stop == Stop::Length {
        "response.incomplete"
    } else {
        "response.completed"
    };
    events.push(named(&json!({"type": kind, "response": whole})));
    events
}

fn response(answer: &Completion, model: &str) -> Value {
    let mut output = Vec::new();
    if let Some(thought) = &answer.reasoning {
        let summary = [json!({"type": "summary_text", "text": thought})];
        output.push(json!({"type": "reasoning", "summary": summary}));
    }
    let content = match answer.stop {
        Stop::Refusal => json!({"type": "refusal", "refusal": answer.text}),
        Stop::End | Stop::Length | Stop::ToolCall => {
            json!({"type": "output_text", "text": answer.text})
        }
    };
    output.push(json!({"type": "message", "role": "assistant", "content": [content]}));
    output.extend(answer.wishes().iter().map(wishes::response_item));
    let mut body = json!({
        "id": "resp_1", "object": "response", "status": "completed", "model": model, "output": output,
    });
    if answer.stop == Stop::Length {
        body["status"] = "incomplete".into();
        body["incomplete_details"] = json!({"reason": "max_output_tokens"});
    }
    body
}

fn chat_message(answer: &Completion) -> Value {
    let mut message = json!({"role": "assistant", "content": answer.text});
    if let Some(reasoning) = &answer.reasoning {
        message["reasoning_content"] = reasoning.as_str().into();
    }
    let wishes = answer.wishes();
    if !wishes.is_empty() {
        message["tool_calls"] = wishes.iter().map(wishes::chat_call).collect();
    }
    message
}

fn anthropic_content(answer: &Completion) -> Value {
    let mut blocks = Vec::new();
    if let Some(thought) = &answer.reasoning {
        blocks.push(json!({"type": "thinking", "thinking": thought}));
    }
    blocks.push(json!({"type": "text", "text": answer.text}));
    blocks.extend(answer.wishes().iter().map(wishes::anthropic_block));
    blocks.into()
}

const fn chat_stop(stop: Stop) -> &'static str {
    match stop {
        Stop::End => "stop",
        Stop::Length => "length",
        Stop::Refusal => "content_filter",
        Stop::ToolCall => "tool_calls",
    }
}

const fn anthropic_stop(stop: Stop) -> &'static str {
    match stop {
        Stop::End => "end_turn",
        Stop::Length => "max_tokens",
        Stop::Refusal => "refusal",
        Stop::ToolCall => "tool_use",
    }
}

fn model(answer: &Completion, asked: &Value) -> String {
    let named = answer.model.as_deref().or_else(|| asked["model"].as_str());
    named.unwrap_or("unknown").to_owned()
}

/// The text in about equal pieces, cut between characters.
fn pieces(answer: &Completion) -> Vec<String> {
    let letters: Vec<char> = answer.text.chars().collect();
    let size = letters.len().div_ceil(answer.pieces.max(1)).max(1);
    letters
        .chunks(size)
        .map(|piece| piece.iter().collect())
        .collect()
}

fn data(value: &Value) -> Event {
    Event {
        text: format!("data: {value}\n\n"),
        is_piece: false,
    }
}

fn named(value: &Value) -> Event {
    let name = value["type"].as_str().unwrap_or("message");
    Event {
        text: format!("event: {name}\ndata: {value}\n\n"),
        is_piece: false,
    }
}

fn piece_of(event: Event) -> Event {
    Event {
        is_piece: true,
        ..event
    }
}
