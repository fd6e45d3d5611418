//! What the server is to answer, as plain data: built here, or read as JSON.
//!
//! `{"answers":[{"completion":{"text":"hi"}},{"failure":{"status":429}}],"default":{..}}`.
//! What is *not* here: how an answer looks on the wire (`wire`).

use std::collections::VecDeque;

use mc_core::usage::Usage;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The answers, one a request, in order; then the default, again and again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Script {
    /// The queue.
    pub answers: VecDeque<Answer>,
    /// What follows once the queue is empty; none for status 500.
    pub default: Option<Answer>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A model's answer, in the format of whichever path was asked.
    Completion(Box<Completion>),
    /// An error, in the provider's shape.
    Failure(Failure),
    /// Any JSON body, on any path.
    Json(Json),
}

/// A model's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Completion {
    /// The text.
    pub text: String,
    /// What it thought, if it says so.
    pub reasoning: Option<String>,
    /// What it used.
    pub usage: Usage,
    /// Where it says so.
    pub usage_in: UsageIn,
    /// Why it stopped.
    pub stop: Stop,
    /// The tools that it wants called, all in one answer; then that is why it stopped.
    pub tool_calls: Vec<ToolCall>,
    /// The service tier that it says it charged.
    pub service_tier: Option<String>,
    /// The model that it names; none for the one that was asked for.
    pub model: Option<String>,
    /// In how many pieces a stream has the text; at least 1.
    pub pieces: usize,
    /// Milliseconds before the first byte.
    pub delay_ms: u64,
    /// Milliseconds before each piece after the first.
    pub piece_delay_ms: u64,
    /// What goes wrong on the way.
    pub fault: Fault,
}

/// A tool that a model wants called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// What the provider calls it.
    pub id: String,
    /// The tool.
    pub name: String,
    /// Its arguments, as the model wrote them: JSON, or not. Messages have no way to say what is no
    /// object whole; there only a stream has it as it stands.
    pub arguments: String,
}

/// Where a stream has its usage. A whole body has it unless it is `nowhere`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageIn {
    /// As the provider documents it: for chat completions in a chunk of its own, if asked for.
    #[default]
    Documented,
    /// For chat completions, in the chunk of the last piece of text; elsewhere as documented.
    LastPiece,
    /// Nowhere.
    Nowhere,
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// It was done.
    #[default]
    End,
    /// The output limit was reached.
    Length,
    /// It refused.
    Refusal,
    /// It wants a tool called.
    ToolCall,
}

/// What goes wrong while an answer is on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The connection breaks after so many pieces.
    CutAfter(usize),
    /// Nothing more comes after so many pieces; the connection stays open.
    StallAfter(usize),
    /// An error event comes after so many pieces, and ends the stream.
    ErrorAfter(usize),
}

/// A refusal or an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The status.
    pub status: u16,
    /// The header `retry-after`, as it stands.
    #[serde(default)]
    pub retry_after: Option<String>,
    /// The message.
    #[serde(default)]
    pub message: String,
}

/// A JSON body with its status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Json {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Value,
}

impl Default for Completion {
    fn default() -> Self {
        Self {
            text: "ok".to_owned(),
            reasoning: None,
            usage: Usage::text(1, 1),
            usage_in: UsageIn::default(),
            stop: Stop::default(),
            tool_calls: Vec::new(),
            service_tier: None,
            model: None,
            pieces: 4,
            delay_ms: 0,
            piece_delay_ms: 0,
            fault: Fault::default(),
        }
    }
}

impl Completion {
    /// A text, and what it used.
    pub fn text(text: &str, usage: Usage) -> Self {
        Self {
            text: text.to_owned(),
            usage,
            ..Self::default()
        }
    }
}

impl Completion {
    /// A wish to have a tool called, and what it used.
    pub fn calls(tool: &str, arguments: &Value, usage: Usage) -> Self {
        Self::text("", usage).and_calls("call_1", tool, &arguments.to_string())
    }

    /// One more wish.
    #[must_use]
    pub fn and_calls(mut self, id: &str, tool: &str, arguments: &str) -> Self {
        self.tool_calls.push(ToolCall {
            id: id.to_owned(),
            name: tool.to_owned(),
            arguments: arguments.to_owned(),
        });
        self
    }

    /// Why it stopped.
    pub(super) const fn stopped(&self) -> Stop {
        if self.tool_calls.is_empty() {
            self.stop
        } else {
            Stop::ToolCall
        }
    }

    /// The wishes; one that stands for any, where it stopped for one and names none.
    pub(super) fn wishes(&self) -> Vec<ToolCall> {
        if self.tool_calls.is_empty() && self.stop == Stop::ToolCall {
            return vec![ToolCall {
                id: "call_1".to_owned(),
                name: "look_up".to_owned(),
                arguments: "{}".to_owned(),
            }];
        }
        self.tool_calls.clone()
    }
}

impl From<Completion> for Answer {
    fn from(completion: Completion) -> Self {
        Self::Completion(Box::new(completion))
    }
}

impl Answer {
    /// A text, and what it used.
    pub fn text(text: &str, usage: Usage) -> Self {
        Completion::text(text, usage).into()
    }

    /// An error with a status.
    pub fn status(status: u16) -> Self {
        Self::Failure(Failure {
            status,
            retry_after: None,
            message: format!("scripted status {status}"),
        })
    }

    /// A 429 with a wish to wait, as the header has it.
    pub fn too_many(retry_after: &str) -> Self {
        Self::Failure(Failure {
            status: 429,
            retry_after: Some(retry_after.to_owned()),
            message: "slow down".to_owned(),
        })
    }

    /// A JSON body.
    pub fn json(status: u16, body: Value) -> Self {
        Self::Json(Json { status, body })
    }
}

impl Script {
    /// Nothing in the queue; each answer is this one.
    pub fn always(answer: impl Into<Answer>) -> Self {
        Self {
            answers: VecDeque::new(),
            default: Some(answer.into()),
        }
    }

    /// Puts an answer at the end of the queue.
    #[must_use]
    pub fn then(mut self, answer: impl Into<Answer>) -> Self {
        self.answers.push_back(answer.into());
        self
    }

    /// The next answer.
    pub(super) fn next(&mut self) -> Answer {
        let next = self.answers.pop_front().or_else(|| self.default.clone());
        next.unwrap_or_else(|| Answer::status(500))
    }
}
