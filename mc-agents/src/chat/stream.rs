//! An answer that comes as events, in each format.
//!
//! Usage stands in the last chunk that has one, in the event that ends the response, or in
//! `message_start`, completed by `message_delta`. Wishes come in pieces, by their place.

use mc_core::engine::ProviderError;
use mc_core::resilience::OutputBegun;
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::failure::broken_off;
use super::talk::Wish;
use super::usage;
use super::whole::{
    anthropic_stop, anthropic_wish, chat_message, chat_stop, list, response, response_wish, text,
};
use super::wire::{Api, charged_tier};

/// A stream, as far as it has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Streaming {
    pub(super) answer: Answer,
    /// Wishes under way, by the place that the provider gives them.
    open: Vec<(u64, Wish)>,
    /// Thoughts under way, by their place, in the provider's form.
    thoughts: Vec<(u64, Value)>,
    /// What the provider said of usage, one message over the other.
    usage: Map<String, Value>,
}

impl Streaming {
    /// The answer, once the stream has ended; none where that was too early.
    pub(super) fn end(self) -> Option<Answer> {
        let mut answer = self.answer;
        if answer.wishes.is_empty() {
            answer.wishes = self.open.into_iter().map(|(_, wish)| wish).collect();
        }
        if answer.thinking.is_empty() {
            let thoughts = self.thoughts.into_iter();
            answer.thinking = thoughts.map(|(_, thought)| thought).collect();
        }
        answer.over.then_some(answer)
    }

    /// Takes an event.
    ///
    /// # Errors
    /// The provider's own error, which may come after a success has begun.
    pub(super) fn event(&mut self, api: Api, event: &Value) -> Result<(), ProviderError> {
        let kind = event["type"].as_str().unwrap_or_default();
        if event["error"].is_object() {
            return Err(self.broken_off(&event["error"]));
        }
        if kind == "error" {
            // Its own type says nothing of the error.
            let error = json!({"code": event["code"], "message": event["message"]});
            return Err(self.broken_off(&error));
        }
        match api {
            Api::OpenaiChat => self.chat(event),
            Api::OpenaiResponses => return self.response(kind, event),
            Api::Anthropic => self.anthropic(kind, event),
        }
        Ok(())
    }

    /// The stream's end as `data: [DONE]` says it.
    pub(super) const fn done(&mut self, api: Api) {
        match api {
            Api::OpenaiChat => self.answer.over = true,
            Api::OpenaiResponses | Api::Anthropic => {}
        }
    }

    fn broken_off(&self, error: &Value) -> ProviderError {
        let begun = if self.answer.has_begun() {
            OutputBegun::Yes
        } else {
            OutputBegun::No
        };
        broken_off(error, begun)
    }

    /// Notes that output has begun, where an event says so.
    fn begins(&mut self, so: bool) {
        self.answer.begun |= so;
    }

    fn chat(&mut self, event: &Value) {
        self.begins(!list(&event["choices"]).is_empty() || is_billed(&event["usage"]));
        let answer = &mut self.answer;
        note_model(&event["model"], answer);
        if let Some(tier) = charged_tier(&event["service_tier"]) {
            answer.tier = Some(tier);
        }
        if event["usage"].is_object() {
            answer.usage = usage::openai_chat(&event["usage"]);
        }
        let choice = &event["choices"][0];
        chat_message(&choice["delta"], answer);
        chat_stop(&choice["finish_reason"], answer);
        for piece in list(&choice["delta"]["tool_calls"]) {
            let named = piece["id"].as_str().is_some_and(|id| !id.is_empty());
            let last = self.open.last().map(|(place, _)| *place);
            let place = match (piece["index"].as_u64(), last) {
                (Some(place), _) => place,
                // Some say no place: an id begins another, anything else goes on.
                (None, Some(last)) if named => last.saturating_add(1),
                (None, last) => last.unwrap_or_default(),
            };
            let function = &piece["function"];
            let pieces = [&piece["id"], &function["name"], &function["arguments"]];
            self.wish(place, pieces);
        }
    }

    /// Takes a piece of a wish: its id, its name, and some of its arguments.
    fn wish(&mut self, place: u64, pieces: [&Value; 3]) {
        let known = self.open.iter().position(|(one, _)| *one == place);
        let at = known.unwrap_or_else(|| {
            self.open.push((place, Wish::default()));
            self.open.len() - 1
        });
        let Some((_, wish)) = self.open.get_mut(at) else {
            return;
        };
        let fields = [&mut wish.id, &mut wish.name, &mut wish.arguments];
        for (number, (field, piece)) in fields.into_iter().zip(pieces).enumerate() {
            let Some(piece) = piece.as_str() else {
                continue;
            };
            // Only arguments grow; some say the rest again with every piece.
            if number == 2 || field.is_empty() {
                field.push_str(piece);
                self.answer.note(piece);
            }
        }
    }

    fn response(&mut self, kind: &str, event: &Value) -> Result<(), ProviderError> {
        let made = &event["response"];
        let item = kind.starts_with("response.output_item.");
        self.begins(item || !list(&made["output"]).is_empty() || is_billed(&made["usage"]));
        let answer = &mut self.answer;
        match kind {
            "response.output_text.delta" | "response.refusal.delta" => answer.say(&event["delta"]),
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                answer.think(&event["delta"]);
            }
            "response.function_call_arguments.delta" => {
                answer.note(event["delta"].as_str().unwrap_or_default());
            }
            "response.output_item.done" if event["item"]["type"] == "function_call" => {
                let place = event["output_index"].as_u64().unwrap_or_default();
                let wish = response_wish(&event["item"]);
                answer.note(&wish.name);
                self.open.push((place, wish));
            }
            "response.completed" | "response.incomplete" => self.respond(&event["response"]),
            "response.failed" => return Err(self.broken_off(&event["response"]["error"])),
            _ => {}
        }
        Ok(())
    }

    /// The end has all of it once more.
    fn respond(&mut self, body: &Value) {
        let answer = &mut self.answer;
        let mut whole = Answer {
            model: text(&body["model"]),
            over: true,
            ..Answer::default()
        };
        response(body, &mut whole);
        if whole.text.is_empty() {
            whole.text = std::mem::take(&mut answer.text);
        }
        if whole.reasoning.is_empty() {
            whole.reasoning = std::mem::take(&mut answer.reasoning);
        }
        whole.begun = answer.begun;
        // What was reported already is not reported again.
        whole.bytes = whole.bytes.max(answer.bytes);
        whole.fresh = std::mem::take(&mut answer.fresh);
        *answer = whole;
    }

    fn anthropic(&mut self, kind: &str, event: &Value) {
        let said = match kind {
            "message_start" => &event["message"]["usage"],
            "message_delta" => &event["usage"],
            _ => &Value::Null,
        };
        self.begins(kind.starts_with("content_block_") || is_billed(said));
        if let Some(fields) = said.as_object() {
            // Counts of a later message are sums and stand for those before.
            let known = fields.iter().filter(|(_, value)| !value.is_null());
            let known = known.map(|(key, value)| (key.clone(), value.clone()));
            self.usage.extend(known);
        }
        let place = event["index"].as_u64().unwrap_or_default();
        match kind {
            "message_start" => note_model(&event["message"]["model"], &mut self.answer),
            "content_block_start" => self.anthropic_block(place, &event["content_block"]),
            "content_block_delta" => self.anthropic_piece(place, &event["delta"]),
            "message_delta" => {
                let answer = &mut self.answer;
                anthropic_stop(&event["delta"]["stop_reason"], answer);
                // Only now has it said what was written.
                let said = event["usage"].is_object();
                let usage = said.then(|| usage::anthropic(&Value::Object(self.usage.clone())));
                answer.usage = usage.flatten();
                let tier = self.usage.get("service_tier").unwrap_or(&Value::Null);
                answer.tier = charged_tier(tier);
            }
            "message_stop" => self.answer.over = true,
            _ => {}
        }
    }

    fn anthropic_block(&mut self, place: u64, block: &Value) {
        match block["type"].as_str() {
            Some("tool_use") => {
                let wish = anthropic_wish(block);
                self.answer.note(&wish.name);
                self.answer.note(&wish.arguments);
                self.open.push((place, wish));
            }
            Some("thinking" | "redacted_thinking") => self.thoughts.push((place, block.clone())),
            Some(_) | None => {}
        }
    }

    fn anthropic_piece(&mut self, place: u64, delta: &Value) {
        self.answer.say(&delta["text"]);
        self.answer.think(&delta["thinking"]);
        if delta["partial_json"].is_string() {
            self.wish(place, [&Value::Null, &Value::Null, &delta["partial_json"]]);
        }
        let thought = self.thoughts.iter_mut().find(|(one, _)| *one == place);
        let Some((_, thought)) = thought else {
            return;
        };
        for key in ["thinking", "signature"] {
            if let Some(piece) = delta[key].as_str() {
                let before = thought[key].as_str().unwrap_or_default();
                thought[key] = format!("{before}{piece}").into();
            }
        }
    }
}

/// Whether usage, in any format, has output in it.
fn is_billed(usage: &Value) -> bool {
    let counts = [&usage["completion_tokens"], &usage["output_tokens"]];
    counts
        .iter()
        .any(|count| count.as_u64().is_some_and(|count| count > 0))
}

fn note_model(model: &Value, answer: &mut Answer) {
    if answer.model.is_none() {
        answer.model = text(model);
    }
}

#[cfg(test)]
mod tests {
    use mc_core::resilience::CallFailure;

    use super::*;

    fn stream(api: Api, events: &[Value]) -> Answer {
        let mut state = Streaming::default();
        for event in events {
            state.event(api, event).unwrap();
        }
        state.answer.over = true;
        state.end().unwrap()
    }

    fn delta(piece: &Value) -> Value {
        json!({"choices": [{"delta": {"tool_calls": [piece]}}]})
    }

    #[test]
    fn wishes_in_pieces_are_put_together_by_their_place() {
        let answer = stream(
            Api::OpenaiChat,
            &[
                delta(&json!({"index": 0, "id": "x", "function": {"name": "f", "arguments": ""}})),
                delta(&json!({"index": 1, "id": "y", "function": {"name": "g", "arguments": "{"}})),
                delta(&json!({"index": 0, "function": {"arguments": "{\"a\""}})),
                delta(&json!({"index": 1, "id": "y", "function": {"arguments": "}"}})),
                delta(&json!({"index": 0, "function": {"arguments": ":1}"}})),
            ],
        );
        let wishes: Vec<(&str, &str, &str)> = answer
            .wishes
            .iter()
            .map(|one| (&*one.id, &*one.name, &*one.arguments))
            .collect();
        assert_eq!(wishes, [("x", "f", "{\"a\":1}"), ("y", "g", "{}")]);
    }

    #[test]
    fn wishes_without_a_place_begin_with_an_id() {
        let answer = stream(
            Api::OpenaiChat,
            &[
                delta(&json!({"id": "x", "function": {"name": "f", "arguments": "{"}})),
                delta(&json!({"function": {"arguments": "}"}})),
                delta(&json!({"id": "y", "function": {"name": "g", "arguments": "{}"}})),
            ],
        );
        let ids: Vec<&str> = answer.wishes.iter().map(|one| &*one.id).collect();
        assert_eq!(ids, ["x", "y"]);
        assert_eq!(answer.wishes[0].arguments, "{}");
    }

    #[test]
    fn a_thought_is_kept_with_its_signature_to_be_sent_back() {
        let piece =
            |delta: Value| json!({"type": "content_block_delta", "index": 0, "delta": delta});
        let answer = stream(
            Api::Anthropic,
            &[
                json!({"type": "content_block_start", "index": 0,
                       "content_block": {"type": "thinking", "thinking": ""}}),
                piece(json!({"type": "thinking_delta", "thinking": "h"})),
                piece(json!({"type": "thinking_delta", "thinking": "m"})),
                piece(json!({"type": "signature_delta", "signature": "s"})),
            ],
        );
        let thought = json!({"type": "thinking", "thinking": "hm", "signature": "s"});
        assert_eq!(answer.thinking, [thought]);
        assert_eq!(answer.reasoning, "hm");
    }

    #[test]
    fn an_error_event_is_known_by_its_code() {
        let mut state = Streaming::default();
        let error = json!({"type": "error", "code": "rate_limit_exceeded", "message": "slow"});
        let failed = state.event(Api::OpenaiResponses, &error).unwrap_err();
        assert_eq!(failed.failure.code(), "status_429");
    }

    /// Whether output had begun when the stream broke off after these events.
    fn had_begun(api: Api, events: &[Value]) -> bool {
        let mut state = Streaming::default();
        for event in events {
            state.event(api, event).unwrap();
        }
        let error = json!({"error": {"code": "rate_limit_exceeded", "message": "slow"}});
        begun(&state.event(api, &error).unwrap_err())
    }

    fn begun(error: &ProviderError) -> bool {
        matches!(
            error.failure,
            CallFailure::Status {
                output_begun: OutputBegun::Yes,
                ..
            }
        )
    }

    #[test]
    fn what_has_begun_without_a_text_has_begun() {
        let block = |block: Value| json!({"type": "content_block_start", "content_block": block});
        let thought = block(json!({"type": "redacted_thinking", "data": "x"}));
        let empty = block(json!({"type": "text", "text": ""}));
        let start = |output: u64| json!({"type": "message_start", "message": {"usage": {"output_tokens": output}}});
        let item = json!({"type": "response.output_item.added", "item": {"type": "reasoning", "summary": []}});
        let made = json!({"type": "response.created", "response": {"output": []}});
        let first = json!({"choices": [{"delta": {"role": "assistant", "content": ""}}]});
        let used = json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}});
        for (api, event, so) in [
            (Api::Anthropic, thought, true),
            (Api::Anthropic, empty, true),
            (Api::Anthropic, start(2), true),
            (Api::Anthropic, start(0), false),
            (Api::OpenaiResponses, item, true),
            (Api::OpenaiResponses, made, false),
            (Api::OpenaiChat, first, true),
            (Api::OpenaiChat, used, true),
            (Api::OpenaiChat, json!({"choices": []}), false),
        ] {
            assert_eq!(had_begun(api, std::slice::from_ref(&event)), so, "{event}");
        }
    }

    #[test]
    fn a_failed_response_that_was_billed_has_begun() {
        let failed = |usage: Value| {
            let error = json!({"code": "rate_limit_exceeded", "message": "slow"});
            let response = json!({"error": error, "usage": usage, "output": []});
            let event = json!({"type": "response.failed", "response": response});
            Streaming::default()
                .event(Api::OpenaiResponses, &event)
                .unwrap_err()
        };
        assert!(begun(&failed(
            json!({"input_tokens": 9, "output_tokens": 4})
        )));
        assert!(!begun(&failed(Value::Null)));
    }
}
