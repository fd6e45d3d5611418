//! Tools that a scripted model wants called, in the three formats: whole, and in pieces of a stream.

use serde_json::{Value, json};

use super::script::{Completion, ToolCall};

/// The two halves of arguments, as a stream has them.
fn halves(call: &ToolCall) -> [String; 2] {
    let letters: Vec<char> = call.arguments.chars().collect();
    let (first, second) = letters.split_at(letters.len() / 2);
    [first.iter().collect(), second.iter().collect()]
}

/// An entry of `tool_calls`.
pub(super) fn chat_call(call: &ToolCall) -> Value {
    json!({"id": call.id, "type": "function",
           "function": {"name": call.name, "arguments": call.arguments}})
}

/// The pieces of chat completions: the names of all first, then the arguments in turns, as parallel
/// calls may come.
pub(super) fn chat_pieces(answer: &Completion) -> Vec<Value> {
    let wishes = answer.wishes();
    let begins = wishes.iter().enumerate().map(|(at, call)| {
        json!({"tool_calls": [{"index": at, "id": call.id, "type": "function",
               "function": {"name": call.name, "arguments": ""}}]})
    });
    let piece = |half: usize| {
        wishes.iter().enumerate().map(move |(at, call)| {
            let piece = halves(call).into_iter().nth(half).unwrap_or_default();
            json!({"tool_calls": [{"index": at, "function": {"arguments": piece}}]})
        })
    };
    begins.chain(piece(0)).chain(piece(1)).collect()
}

/// An item of a response.
pub(super) fn response_item(call: &ToolCall) -> Value {
    json!({"type": "function_call", "id": format!("fc_{}", call.id), "call_id": call.id,
           "name": call.name, "arguments": call.arguments, "status": "completed"})
}

/// The events of a response.
pub(super) fn response_events(answer: &Completion) -> Vec<Value> {
    let mut events = Vec::new();
    for (at, call) in answer.wishes().iter().enumerate() {
        let place = at + 1;
        let mut begun = response_item(call);
        begun["arguments"] = "".into();
        events.push(
            json!({"type": "response.output_item.added", "output_index": place,
                           "item": begun}),
        );
        for piece in halves(call) {
            events.push(json!({"type": "response.function_call_arguments.delta",
                               "output_index": place, "delta": piece}));
        }
        events.push(
            json!({"type": "response.output_item.done", "output_index": place,
                           "item": response_item(call)}),
        );
    }
    events
}

/// A block of a message.
pub(super) fn anthropic_block(call: &ToolCall) -> Value {
    let input: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}));
    json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input})
}

/// The events of blocks, from a place on.
pub(super) fn anthropic_events(answer: &Completion, from: usize) -> Vec<Value> {
    let mut events = Vec::new();
    for (at, call) in answer.wishes().iter().enumerate() {
        let place = from + at;
        events.push(
            json!({"type": "content_block_start", "index": place, "content_block":
            {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}}),
        );
        for piece in halves(call) {
            events.push(json!({"type": "content_block_delta", "index": place,
                "delta": {"type": "input_json_delta", "partial_json": piece}}));
        }
        events.push(json!({"type": "content_block_stop", "index": place}));
    }
    events
}
