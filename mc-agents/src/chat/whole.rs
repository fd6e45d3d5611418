//! An answer that comes at once, in each format. Usage becomes disjoint classes in `usage`.

use mc_core::engine::ProviderError;
use mc_core::json;
use mc_core::resilience::OutputBegun;
use serde_json::Value;

use super::answer::{Answer, Stop};
use super::failure::broken_off;
use super::talk::Wish;
use super::usage;
use super::wire::{Api, charged_tier};

/// Reads a whole answer.
///
/// # Errors
/// The provider's own error under a status of success.
pub(super) fn read(api: Api, body: &Value) -> Result<Answer, ProviderError> {
    if body["error"].is_object() {
        return Err(broken_off(&body["error"], begun(body)));
    }
    let mut answer = Answer {
        model: text(&body["model"]),
        tier: charged_tier(&body["service_tier"]),
        over: true,
        ..Answer::default()
    };
    match api {
        Api::OpenaiChat => {
            let choice = &body["choices"][0];
            chat_message(&choice["message"], &mut answer);
            for call in list(&choice["message"]["tool_calls"]) {
                answer.wishes.push(chat_wish(call));
            }
            chat_stop(&choice["finish_reason"], &mut answer);
            answer.usage = usage::openai_chat(&body["usage"]);
        }
        Api::OpenaiResponses => response(body, &mut answer),
        Api::Anthropic => {
            for block in list(&body["content"]) {
                anthropic_block(block, &mut answer);
            }
            anthropic_stop(&body["stop_reason"], &mut answer);
            answer.tier = charged_tier(&body["usage"]["service_tier"]);
            answer.usage = usage::anthropic(&body["usage"]);
        }
    }
    Ok(answer)
}

/// Whether output had begun: an error may stand beside what was made until then.
fn begun(body: &Value) -> OutputBegun {
    let made = ["choices", "output", "content"].map(|key| &body[key]);
    if body["usage"].is_object() || made.iter().any(|made| !list(made).is_empty()) {
        OutputBegun::Yes
    } else {
        OutputBegun::No
    }
}

/// A message of chat completions, or a piece of one, without its wishes.
pub(super) fn chat_message(message: &Value, answer: &mut Answer) {
    answer.say(&message["content"]);
    for key in ["reasoning_content", "reasoning"] {
        answer.think(&message[key]);
    }
    if message["refusal"].is_string() {
        answer.say(&message["refusal"]);
        answer.stops(Stop::Refusal);
    }
    if !list(&message["tool_calls"]).is_empty() {
        answer.stops(Stop::ToolCall);
    }
}

fn chat_wish(call: &Value) -> Wish {
    let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Wish {
        id: of(&call["id"]),
        name: of(&call["function"]["name"]),
        arguments: of(&call["function"]["arguments"]),
    }
}

pub(super) fn chat_stop(reason: &Value, answer: &mut Answer) {
    let Some(reason) = reason.as_str() else {
        return;
    };
    answer.stops(match reason {
        "length" => Stop::Length,
        "content_filter" => Stop::Refusal,
        "tool_calls" | "function_call" => Stop::ToolCall,
        _ => Stop::End,
    });
}

/// A response, which the event that ends a stream has too.
pub(super) fn response(body: &Value, answer: &mut Answer) {
    for item in list(&body["output"]) {
        response_item(item, answer);
    }
    answer.stops(match body["incomplete_details"]["reason"].as_str() {
        Some("max_output_tokens") => Stop::Length,
        Some("content_filter") => Stop::Refusal,
        Some(_) | None => Stop::End,
    });
    answer.tier = charged_tier(&body["service_tier"]);
    answer.usage = usage::openai_responses(&body["usage"]);
}

fn response_item(item: &Value, answer: &mut Answer) {
    match item["type"].as_str() {
        Some("message") => {
            for part in list(&item["content"]) {
                answer.say(&part["text"]);
                if part["refusal"].is_string() {
                    answer.say(&part["refusal"]);
                    answer.stops(Stop::Refusal);
                }
            }
        }
        Some("reasoning") => {
            for part in list(&item["summary"]) {
                answer.think(&part["text"]);
            }
        }
        Some("function_call") => {
            answer.stops(Stop::ToolCall);
            answer.wishes.push(response_wish(item));
        }
        Some(kind) if kind.ends_with("_call") => answer.stops(Stop::ToolCall),
        Some(_) | None => {}
    }
}

pub(super) fn response_wish(item: &Value) -> Wish {
    let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Wish {
        id: of(&item["call_id"]),
        name: of(&item["name"]),
        arguments: of(&item["arguments"]),
    }
}

fn anthropic_block(block: &Value, answer: &mut Answer) {
    answer.say(&block["text"]);
    answer.think(&block["thinking"]);
    match block["type"].as_str() {
        Some("tool_use") => answer.wishes.push(anthropic_wish(block)),
        Some("thinking" | "redacted_thinking") => answer.thinking.push(block.clone()),
        Some(_) | None => {}
    }
}

pub(super) fn anthropic_wish(block: &Value) -> Wish {
    let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let input = &block["input"];
    let arguments = match input.as_object() {
        // The beginning of a stream has none yet.
        None => String::new(),
        Some(fields) if fields.is_empty() => String::new(),
        Some(_) => String::from_utf8(json::canonical(input)).unwrap_or_default(),
    };
    Wish {
        id: of(&block["id"]),
        name: of(&block["name"]),
        arguments,
    }
}

pub(super) fn anthropic_stop(reason: &Value, answer: &mut Answer) {
    let Some(reason) = reason.as_str() else {
        return;
    };
    answer.stops(match reason {
        "max_tokens" | "model_context_window_exceeded" => Stop::Length,
        "refusal" => Stop::Refusal,
        "tool_use" | "pause_turn" => Stop::ToolCall,
        _ => Stop::End,
    });
}

pub(super) fn text(value: &Value) -> Option<String> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use mc_core::resilience::CallFailure;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_beside_what_was_made_is_not_one_before_it() {
        let error = json!({"code": "rate_limit_exceeded", "message": "slow"});
        for (more, begun) in [
            (json!({}), OutputBegun::No),
            (json!({"choices": [], "usage": null}), OutputBegun::No),
            (
                json!({"choices": [{"message": {"content": "half"}}]}),
                OutputBegun::Yes,
            ),
            (json!({"output": [{"type": "reasoning"}]}), OutputBegun::Yes),
            (
                json!({"content": [{"type": "text", "text": "half"}]}),
                OutputBegun::Yes,
            ),
            (json!({"usage": {"prompt_tokens": 1}}), OutputBegun::Yes),
        ] {
            let mut body = more.clone();
            body["error"] = error.clone();
            for api in [Api::OpenaiChat, Api::OpenaiResponses, Api::Anthropic] {
                let failure = read(api, &body).unwrap_err().failure;
                let (code, output_begun) = (429, begun);
                assert_eq!(
                    failure,
                    CallFailure::Status { code, output_begun },
                    "{more}"
                );
            }
        }
    }
}
