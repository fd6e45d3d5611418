//! What was said so far: the wishes of the model, and what became of them, in each provider's form.
//!
//! All of it is in every request, so that what is held for a call covers it. It is made of the answers
//! as they stand in the log and of nothing else: an attempt that comes again says the same.

use mc_core::json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::Stop;
use super::wire::Api;

/// A model's wish to have a tool called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wish {
    /// What the provider calls it.
    pub(super) id: String,
    /// The tool.
    pub(super) name: String,
    /// Its arguments, as the model wrote them.
    pub(super) arguments: String,
}

impl Wish {
    /// The arguments, where they are a JSON object; none at all are an empty one.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub(super) fn parameters(&self) -> Result<Value, String> {
        if self.arguments.trim().is_empty() {
            return Ok(Map::new().into());
        }
        let value = json::parse(self.arguments.as_bytes()).map_err(|fault| fault.to_string())?;
        if value.is_object() {
            Ok(value)
        } else {
            Err("they are no object".to_owned())
        }
    }

    /// The arguments as they are said back to a provider, which reads them.
    fn said(&self) -> Value {
        self.parameters().unwrap_or_else(|_| Map::new().into())
    }
}

/// How a tool's call ended, for the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fared {
    /// It has a result.
    Well,
    /// It has an error.
    Badly,
}

/// What a wish came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) text: String,
    pub(super) fared: Fared,
}

impl Told {
    /// An error, in words.
    pub(super) fn error(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            fared: Fared::Badly,
        }
    }

    /// The text for a provider that has no field for an error.
    fn plain(&self) -> String {
        match self.fared {
            Fared::Well => self.text.clone(),
            Fared::Badly => json!({"error": self.text}).to_string(),
        }
    }
}

/// An answer that wants tools called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    text: String,
    pub(super) wishes: Vec<Wish>,
    thinking: Vec<Value>,
}

impl Said {
    /// The answer as it stands in the log; none where it wants no tool. A wish without an id gets
    /// one that is the same whenever the answer is read.
    pub(super) fn read(answer: &Value, turn: usize) -> Option<Self> {
        if answer["stop"] != Stop::ToolCall.code() {
            return None;
        }
        let mut wishes: Vec<Wish> = serde_json::from_value(answer["tool_calls"].clone()).ok()?;
        if wishes.is_empty() {
            return None;
        }
        for (at, wish) in wishes.iter_mut().enumerate() {
            if wish.id.is_empty() {
                wish.id = format!("call_{turn}_{at}");
            }
        }
        Some(Self {
            text: answer["text"].as_str().unwrap_or_default().to_owned(),
            wishes,
            thinking: answer["thinking"].as_array().cloned().unwrap_or_default(),
        })
    }
}

/// The messages of an answer and of what became of its wishes, in the form of a provider.
pub(super) fn messages(api: Api, said: &Said, told: &[Told]) -> Vec<Value> {
    let results = || said.wishes.iter().zip(told);
    match api {
        Api::OpenaiChat => {
            let calls: Vec<Value> = said.wishes.iter().map(chat_call).collect();
            let text = (!said.text.is_empty()).then_some(said.text.as_str());
            let answer = json!({"role": "assistant", "content": text, "tool_calls": calls});
            let results = results().map(|(wish, told)| {
                json!({"role": "tool", "tool_call_id": wish.id, "content": told.plain()})
            });
            std::iter::once(answer).chain(results).collect()
        }
        Api::OpenaiResponses => {
            let text =
                (!said.text.is_empty()).then(|| json!({"role": "assistant", "content": said.text}));
            let calls = said.wishes.iter().map(|wish| {
                json!({
                    "type": "function_call", "call_id": wish.id, "name": wish.name,
                    "arguments": wish.said().to_string(),
                })
            });
            let results = results().map(|(wish, told)| {
                json!({
                    "type": "function_call_output", "call_id": wish.id, "output": told.plain(),
                })
            });
            text.into_iter().chain(calls).chain(results).collect()
        }
        Api::Anthropic => {
            // An empty text is no block.
            let text = (!said.text.is_empty()).then(|| json!({"type": "text", "text": said.text}));
            let calls = said.wishes.iter().map(|wish| {
                json!({
                    "type": "tool_use", "id": wish.id, "name": wish.name, "input": wish.said(),
                })
            });
            let thinking = said.thinking.iter().cloned();
            let blocks: Vec<Value> = thinking.chain(text).chain(calls).collect();
            let results: Vec<Value> = results().map(anthropic_result).collect();
            vec![
                json!({"role": "assistant", "content": blocks}),
                json!({"role": "user", "content": results}),
            ]
        }
    }
}

fn chat_call(wish: &Wish) -> Value {
    json!({
        "id": wish.id, "type": "function",
        "function": {"name": wish.name, "arguments": wish.said().to_string()},
    })
}

fn anthropic_result((wish, told): (&Wish, &Told)) -> Value {
    let mut result = json!({"type": "tool_result", "tool_use_id": wish.id, "content": told.text});
    if told.fared == Fared::Badly {
        result["is_error"] = true.into();
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(arguments: &str) -> Wish {
        Wish {
            id: "c".to_owned(),
            name: "n".to_owned(),
            arguments: arguments.to_owned(),
        }
    }

    #[test]
    fn arguments_are_an_object_and_none_are_an_empty_one() {
        assert_eq!(wish("").parameters(), Ok(json!({})));
        assert_eq!(wish("{\"a\":1}").parameters(), Ok(json!({"a": 1})));
        for bad in ["[]", "1", "{", "{\"a\":1,\"a\":2}"] {
            assert!(wish(bad).parameters().is_err(), "{bad}");
            assert_eq!(wish(bad).said(), json!({}));
        }
    }

    #[test]
    fn a_wish_without_an_id_gets_the_same_one_each_time() {
        let answer = json!({"text": "", "stop": "tool_call", "tool_calls": [
            {"id": "", "name": "a", "arguments": ""}, {"id": "x", "name": "b", "arguments": ""},
        ]});
        let ids = |turn| {
            let said = Said::read(&answer, turn).unwrap();
            said.wishes
                .into_iter()
                .map(|wish| wish.id)
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(2), ["call_2_0", "x"]);
        assert_eq!(ids(2), ids(2));
        assert_eq!(Said::read(&json!("done"), 0), None);
    }

    #[test]
    fn results_stand_beside_their_calls_in_each_form() {
        let answer = json!({"text": "so", "stop": "tool_call", "thinking": [{"type": "thinking"}],
            "tool_calls": [{"id": "c", "name": "n", "arguments": "{}"}]});
        let said = Said::read(&answer, 0).unwrap();
        let told = [Told::error("no")];
        let of = |api| Value::from(messages(api, &said, &told));
        let chat = of(Api::OpenaiChat);
        assert_eq!(
            chat[1],
            json!({"role": "tool", "tool_call_id": "c", "content": "{\"error\":\"no\"}"})
        );
        let response = of(Api::OpenaiResponses);
        assert_eq!(
            (&response[1]["call_id"], &response[2]["call_id"]),
            (&json!("c"), &json!("c"))
        );
        let message = of(Api::Anthropic);
        assert_eq!(message[0]["content"][0]["type"], "thinking");
        assert_eq!(message[0]["content"][2]["input"], json!({}));
        assert_eq!(message[1]["content"][0]["is_error"], true);
    }
}
