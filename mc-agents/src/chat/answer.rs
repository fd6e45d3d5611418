//! What an answer comes to, however it arrives: its text, why it ended, and what it used.

use mc_core::engine::{AgentError, ModelAnswer, StepOutcome};
use mc_core::id::ModelId;
use mc_core::json;
use mc_core::pricing::ServiceTier;
use mc_core::usage::Usage;
use serde_json::{Value, json};

use super::talk::Wish;

/// Why a model stopped; where several are said, the last of them counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stop {
    /// It was done.
    End,
    /// It wants a tool called.
    ToolCall,
    /// It would not.
    Refusal,
    /// It reached the output limit.
    Length,
}

impl Stop {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Length => "length",
            Self::Refusal => "refusal",
            Self::ToolCall => "tool_call",
        }
    }
}

/// An answer, as far as it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) reasoning: String,
    /// The tools that it wants called, in order.
    pub(super) wishes: Vec<Wish>,
    /// What it thought in the provider's form, where that has to be sent back with the results.
    pub(super) thinking: Vec<Value>,
    pub(super) stop: Option<Stop>,
    pub(super) usage: Option<Usage>,
    pub(super) model: Option<String>,
    /// The service tier that was charged, where it says so.
    pub(super) tier: Option<ServiceTier>,
    /// Whether the stream has said that it is over.
    pub(super) over: bool,
    /// Whether output has begun, seen or not: thoughts may not be shown.
    pub(super) begun: bool,
    /// The bytes that were written.
    pub(super) bytes: usize,
    /// What was written since the last report.
    pub(super) fresh: String,
}

impl Answer {
    /// Whether anything of it has come.
    pub(super) const fn has_begun(&self) -> bool {
        self.begun || self.bytes > 0
    }

    /// Takes a piece of the text.
    pub(super) fn say(&mut self, piece: &Value) {
        if let Some(piece) = piece.as_str() {
            self.text.push_str(piece);
            self.note(piece);
        }
    }

    /// Takes a piece of the reasoning.
    pub(super) fn think(&mut self, piece: &Value) {
        if let Some(piece) = piece.as_str() {
            self.reasoning.push_str(piece);
            self.note(piece);
        }
    }

    /// Counts what was written, of whatever kind.
    pub(super) fn note(&mut self, piece: &str) {
        self.bytes = self.bytes.saturating_add(piece.len());
        self.fresh.push_str(piece);
    }

    /// Notes why it stopped: what cuts it short counts before a wish, and a wish before an end.
    pub(super) fn stops(&mut self, stop: Stop) {
        self.stop = self.stop.max(Some(stop));
    }

    /// The answer for the log: a plain text where the model was done, else with why it stopped.
    pub(super) fn into_model_answer(self, provider: &str) -> ModelAnswer {
        let stop = self.stop.unwrap_or(Stop::End);
        let output = match stop {
            Stop::End => Value::from(self.text),
            Stop::Length | Stop::Refusal => json!({"text": self.text, "stop": stop.code()}),
            Stop::ToolCall => {
                let mut output = json!({
                    "text": self.text, "stop": stop.code(), "tool_calls": self.wishes,
                });
                if !self.thinking.is_empty() {
                    output["thinking"] = self.thinking.into();
                }
                output
            }
        };
        let model = self.model.map(|id| format!("{provider}/{id}"));
        ModelAnswer {
            output,
            reasoning: (!self.reasoning.is_empty()).then(|| self.reasoning.into()),
            usage: self.usage,
            model: model.and_then(|id| ModelId::new(&id).ok()),
            service_tier: self.tier,
            ..ModelAnswer::default()
        }
    }
}

/// The step's output from the answer as it stands in the log.
///
/// # Errors
/// Where the model refused, or wants a tool called that nobody can call.
pub(super) fn outcome(answer: &Value) -> Result<StepOutcome, AgentError> {
    if let Some(text) = answer.as_str() {
        let object = json::parse(text.as_bytes()).ok().filter(Value::is_object);
        return Ok(object.unwrap_or_else(|| json!({"text": text})).into());
    }
    let (text, stop) = (&answer["text"], answer["stop"].as_str().unwrap_or_default());
    if stop == Stop::Length.code() {
        return Ok(json!({"text": text, "truncated": true}).into());
    }
    let (code, message) = if stop == Stop::Refusal.code() {
        (
            "refused",
            format!("the model refused: {}", text.as_str().unwrap_or_default()),
        )
    } else {
        let message = "the model wants a tool called, and this agent has none that it names";
        (Stop::ToolCall.code(), message.to_owned())
    };
    Err(AgentError::with_code(code, message).fatal())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(text: &str, stop: Stop) -> Result<StepOutcome, AgentError> {
        let answer = Answer {
            text: text.to_owned(),
            stop: Some(stop),
            ..Answer::default()
        };
        outcome(&answer.into_model_answer("p").output)
    }

    #[test]
    fn an_object_is_the_output_and_any_other_text_is_a_text() {
        assert_eq!(answered("{\"a\":1}", Stop::End), Ok(json!({"a": 1}).into()));
        for text in ["hello", "[1]", "{"] {
            assert_eq!(answered(text, Stop::End), Ok(json!({"text": text}).into()));
        }
    }

    #[test]
    fn what_was_cut_at_the_limit_says_so_and_is_never_taken_for_an_object() {
        let cut = json!({"text": "{\"a\":1}", "truncated": true});
        assert_eq!(answered("{\"a\":1}", Stop::Length), Ok(cut.into()));
    }

    #[test]
    fn a_refusal_and_a_wish_that_nobody_can_fulfil_fail_for_good() {
        assert_eq!(answered("no", Stop::Refusal).unwrap_err().code(), "refused");
        assert_eq!(
            answered("", Stop::ToolCall).unwrap_err().code(),
            "tool_call"
        );
    }

    #[test]
    fn what_cuts_an_answer_short_counts_before_its_wishes() {
        let mut answer = Answer::default();
        for (stop, then) in [
            (Stop::ToolCall, Stop::ToolCall),
            (Stop::End, Stop::ToolCall),
            (Stop::Length, Stop::Length),
            (Stop::ToolCall, Stop::Length),
        ] {
            answer.stops(stop);
            assert_eq!(answer.stop, Some(then));
        }
    }
}
