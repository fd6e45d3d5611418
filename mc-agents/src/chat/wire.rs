//! The formats of the providers: what is sent. What comes back is in `whole` and `stream`.
//!
//! | format | sent to | tools are |
//! |---|---|---|
//! | `openai_chat` | `BASE/chat/completions` | `tool_calls`, answered by messages of the role `tool` |
//! | `openai_responses` | `BASE/responses` | items `function_call` and `function_call_output` |
//! | `anthropic` | `BASE/messages` | blocks `tool_use` and `tool_result` |
//!
//! The messages of a conversation are in `talk`.

use mc_core::pricing::{ServiceTier, TierChoice};
use serde_json::{Value, json};

use super::tools::ToolSpec;

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

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) model: &'a str,
    pub(super) system: Option<&'a str>,
    /// The conversation, in the form of the format.
    pub(super) messages: &'a [Value],
    /// The tools, in the form of the format.
    pub(super) tools: &'a [Value],
    pub(super) max_output_tokens: u64,
    /// The name of the output limit in chat completions.
    pub(super) limit_field: &'a str,
    /// The service tier, in the words of the format.
    pub(super) service_tier: Option<&'a str>,
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

    /// How a choice of service tiers is asked for; none where the format cannot.
    pub(crate) const fn tier(self, choice: TierChoice) -> Option<&'static str> {
        match (self, choice) {
            (_, TierChoice::Auto) => Some("auto"),
            (Self::Anthropic, TierChoice::Exactly(ServiceTier::Standard)) => Some("standard_only"),
            (Self::OpenaiChat | Self::OpenaiResponses, TierChoice::Exactly(tier)) => match tier {
                ServiceTier::Standard => Some("default"),
                ServiceTier::Flex => Some("flex"),
                ServiceTier::Priority => Some("priority"),
                // Batches are files, not calls.
                ServiceTier::Batch => None,
            },
            (
                Self::Anthropic,
                TierChoice::Exactly(ServiceTier::Flex | ServiceTier::Priority | ServiceTier::Batch),
            ) => None,
        }
    }

    /// A tool, as a request offers it.
    pub(super) fn tool(self, tool: &ToolSpec) -> Value {
        let (name, about, schema) = (&tool.name, &tool.description, &tool.parameters);
        match self {
            Self::OpenaiChat => json!({
                "type": "function",
                "function": {"name": name, "description": about, "parameters": schema},
            }),
            // Strict would refuse most schemas; arguments are held against the schema here.
            Self::OpenaiResponses => json!({
                "type": "function", "name": name, "description": about, "parameters": schema,
                "strict": false,
            }),
            Self::Anthropic => json!({
                "name": name, "description": about, "input_schema": schema,
            }),
        }
    }

    /// The body of a request.
    pub(super) fn body(self, asked: &Asked<'_>) -> Value {
        let mut body = json!({"model": asked.model});
        match self {
            Self::OpenaiChat => {
                let system = asked
                    .system
                    .map(|text| json!({"role": "system", "content": text}));
                let messages = system.into_iter().chain(asked.messages.iter().cloned());
                body["messages"] = messages.collect();
                body[asked.limit_field] = asked.max_output_tokens.into();
                if asked.delivery == Delivery::Stream {
                    body["stream_options"] = json!({"include_usage": true});
                }
            }
            Self::OpenaiResponses => {
                body["input"] = asked.messages.into();
                body["store"] = false.into();
                body["max_output_tokens"] = asked.max_output_tokens.into();
                if let Some(text) = asked.system {
                    body["instructions"] = text.into();
                }
            }
            Self::Anthropic => {
                body["messages"] = asked.messages.into();
                body["max_tokens"] = asked.max_output_tokens.into();
                if let Some(text) = asked.system {
                    body["system"] = text.into();
                }
            }
        }
        if !asked.tools.is_empty() {
            body["tools"] = asked.tools.into();
        }
        if let Some(tier) = asked.service_tier {
            body["service_tier"] = tier.into();
        }
        body["stream"] = (asked.delivery == Delivery::Stream).into();
        body
    }
}

/// The service tier that an answer says was charged. One that has a name which is not known here
/// counts as the dearest there is, so that nothing is settled for less than what may have been billed.
pub(super) fn charged_tier(said: &Value) -> Option<ServiceTier> {
    match said.as_str()? {
        "default" | "standard" | "on_demand" => Some(ServiceTier::Standard),
        "flex" => Some(ServiceTier::Flex),
        "batch" => Some(ServiceTier::Batch),
        // It repeats what was asked for and says nothing of what came of it.
        "" | "auto" => None,
        _ => Some(ServiceTier::Priority),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_asked_for_in_the_words_of_its_format_or_not_at_all() {
        let tier = |api: Api, text: &str| api.tier(text.parse().unwrap());
        for (text, openai, anthropic) in [
            ("auto", Some("auto"), Some("auto")),
            ("standard", Some("default"), Some("standard_only")),
            ("flex", Some("flex"), None),
            ("priority", Some("priority"), None),
            ("batch", None, None),
        ] {
            assert_eq!(tier(Api::OpenaiChat, text), openai);
            assert_eq!(tier(Api::OpenaiResponses, text), openai);
            assert_eq!(tier(Api::Anthropic, text), anthropic);
        }
    }

    #[test]
    fn a_tier_of_an_unknown_name_is_charged_as_the_dearest() {
        let of = |text: &str| charged_tier(&text.into());
        assert_eq!(of("default"), Some(ServiceTier::Standard));
        assert_eq!(of("scale"), Some(ServiceTier::Priority));
        assert_eq!((of("auto"), charged_tier(&Value::Null)), (None, None));
    }
}
