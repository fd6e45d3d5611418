//! Decisions: events, effects and a reply, as values.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::command::PricedBy;
use super::token::Token;
use crate::error::Error;
use crate::event::step::WaitingFor;
use crate::event::{EventKind, MediaType, PartRef};
use crate::id::{
    AgentName, AgentVersion, ApprovalId, Digest, ModelId, Opaque, RunId, StepKey, WorkflowName,
};
use crate::json;
use crate::policy::RiskTier;
use crate::time::Timestamp;

/// A part of an event that is not written yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPart {
    /// The form of the bytes.
    pub media_type: MediaType,
    /// The bytes.
    pub bytes: Arc<[u8]>,
    /// The value that they spell, where the run needs it in memory.
    pub value: Option<Arc<Value>>,
}

/// The longest text of a message.
const MAX_TEXT_BYTES: usize = 64 * 1024;

impl NewPart {
    /// A JSON value in its canonical spelling.
    pub fn json(value: &Value) -> Self {
        let bytes = json::canonical(value).into();
        Self {
            media_type: MediaType::Json,
            bytes,
            value: None,
        }
    }

    /// A JSON value that the run needs in memory.
    pub fn kept(value: &Arc<Value>) -> Self {
        Self {
            value: Some(Arc::clone(value)),
            ..Self::json(value)
        }
    }

    /// A text.
    ///
    /// It is for people to read: what is longer than 64 KiB is cut.
    pub fn text(text: &str) -> Self {
        let mut end = text.len().min(MAX_TEXT_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let kept = text.get(..end).unwrap_or_default();
        Self {
            media_type: MediaType::Text,
            bytes: kept.as_bytes().into(),
            value: None,
        }
    }

    /// Bytes of no known form.
    pub const fn octets(bytes: Arc<[u8]>) -> Self {
        Self {
            media_type: MediaType::Octets,
            bytes,
            value: None,
        }
    }
}

/// An event that has no place yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The run, or [`RunId::ZERO`].
    pub run_id: RunId,
    /// What it says.
    pub kind: EventKind,
    /// Its content.
    pub parts: Vec<NewPart>,
}

impl NewEvent {
    /// An event without content.
    pub fn new(run_id: RunId, kind: impl Into<EventKind>) -> Self {
        Self {
            run_id,
            kind: kind.into(),
            parts: Vec::new(),
        }
    }

    /// Adds a part.
    #[must_use]
    pub fn with(mut self, part: NewPart) -> Self {
        self.parts.push(part);
        self
    }
}

/// An attempt that is to be started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttemptOrder {
    /// Its token.
    pub token: Token,
    /// The agent that gets it.
    pub agent: AgentName,
    /// The version of it that the dispatch names.
    pub agent_version: Option<AgentVersion>,
    /// The bound input.
    pub input: Arc<Value>,
    /// The same for every attempt of this intent.
    pub effect_key: Digest,
    /// The tier.
    pub risk: RiskTier,
    /// The tools that it may use, and no others; any where its step names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<BTreeSet<Opaque>>,
    /// The longest that it may take.
    pub timeout: Option<std::time::Duration>,
    /// After when no call of it goes out any more, as the policy in force says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_deadline: Option<Timestamp>,
    /// What an earlier attempt suspended with, and where the signal stands that it waited for.
    pub suspended: Option<(WaitingFor, PartRef, Option<PartRef>)>,
}

/// A step in doubt about which its agent is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProbeOrder {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step: StepKey,
    /// The attempt that is in doubt.
    pub attempt: u32,
    /// The agent.
    pub agent: AgentName,
    /// The intent.
    pub effect_key: Digest,
    /// Where the bound input stands.
    pub input: PartRef,
}

/// What the world is to be told once the events are durable.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Start an attempt.
    Start(Box<AttemptOrder>),
    /// Revoke a token and ask its attempt to stop.
    Cancel(Token),
    /// Let the joined process that has a session ask for every call.
    Recall(RunId),
    /// Let runs go on that wait for these agents, wherever they are.
    Offer(Vec<AgentName>),
    /// Ask an agent what became of a step in doubt.
    Probe(Box<ProbeOrder>),
}

/// What the asker is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is done.
    Done,
    /// The version that was stored or found.
    Published {
        /// The workflow.
        workflow: WorkflowName,
        /// The version.
        version: u32,
        /// The hash of the definition.
        hash: Digest,
    },
    /// The policy that is in force.
    Policy {
        /// Its version.
        version: u32,
        /// Its hash.
        hash: Digest,
    },
    /// The version of the prices in force.
    Prices(Digest),
    /// The run that was started, or that the key had started before.
    Run(RunId),
    /// What came of a reservation.
    Call(CallReply),
    /// What came of a tool call that wanted to go out.
    Tool(ToolReply),
    /// Where a value stands that is known already; none where it is to be computed.
    Once(Option<PartRef>),
    /// What became of a call that failed.
    CallEnded(CallEnd),
    /// It is refused, and that is written down.
    Refused(Arc<Error>),
}

/// What came of a model call that wants to go out: the admission value.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallReply {
    /// It may go out.
    Allowed {
        /// Ask for at most so many output tokens.
        max_output_tokens: Option<u64>,
        /// The prices that it was reserved by; it is settled by the same.
        by: PricedBy,
        /// After how many milliseconds it is looked at if it is still out, in order.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        looks: Vec<u64>,
        /// The model that an account's threshold suggests instead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        suggests: Option<ModelId>,
    },
    /// It may go out with a smaller output limit than it asked for.
    Clamped {
        /// Ask for at most so many output tokens.
        max_output_tokens: u64,
        /// As of what is allowed.
        by: PricedBy,
        /// As of what is allowed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        looks: Vec<u64>,
        /// As of what is allowed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        suggests: Option<ModelId>,
    },
    /// It was answered before: the answer, and the reasoning if there is one, stand there.
    Answered {
        /// The event `model_call.settled`.
        seq: u64,
    },
    /// Ask again at this time: the provider refused, or a breaker is open.
    WaitUntil(Timestamp),
    /// Ask again now: what it waited for has changed.
    Again,
    /// A person has to approve first: the request.
    NeedsApproval(ApprovalId),
    /// It was made already, and is written down: settle it.
    Reported {
        /// The prices that it is settled by.
        by: PricedBy,
        /// Why it would not have been let out.
        refused: Option<Arc<Error>>,
    },
    /// It may not go out.
    Denied(Arc<Error>),
}

/// What came of a tool call that wants to go out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolReply {
    /// It may go out; after so many milliseconds it is looked at if it is still out, in order.
    Allowed(Vec<u64>),
    /// It was answered before: the result stands there.
    Answered(PartRef),
    /// It is not made, and counts as answered with `{"dry_run":true}`.
    DryRun,
    /// A person has to approve first: the request.
    NeedsApproval(ApprovalId),
    /// It may not go out.
    Denied(Arc<Error>),
}

/// What became of a model call that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallEnd {
    /// Nothing was billed: the error goes to the agent.
    Released,
    /// The provider refused: ask again at this time.
    Throttled(Timestamp),
    /// The provider refused for longer than the policy waits.
    GaveUp,
    /// What was held is spent: the call was billed and what it used is not known.
    Settled,
    /// Whether it was billed is not known.
    InDoubt,
}

/// What a command leads to.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The events, in order.
    pub events: Vec<NewEvent>,
    /// What follows once they are durable.
    pub effects: Vec<Effect>,
    /// What the asker is told.
    pub answer: Answer,
}

/// When the asker is told.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Once the events are durable.
    Durable(Reply),
    /// At once: it lies inside a hold that is durable, or only reads.
    Now(Reply),
    /// Later, by another command: it waits for its turn.
    Queued(Wait),
}

/// What a model call waits for.
#[derive(Clone, Debug)]
pub enum Wait {
    /// Its turn in contended accounts.
    Budget {
        /// The accounts.
        path: crate::budget::Path,
        /// What it asks for.
        amount: crate::budget::Amount,
        /// Its whole worst case: more than `amount` where its step holds a part already.
        whole: crate::budget::Amount,
    },
    /// Its turn in rates.
    Turn {
        /// The rates that hold it back.
        of: BTreeSet<crate::policy::RateOf>,
        /// When it is asked again; none where that depends on other calls alone.
        until: Option<Timestamp>,
    },
    /// The outcome of the one call that a half-open breaker let through.
    Circuit,
}

impl Decision {
    /// No events, and a reply at once.
    pub const fn now(reply: Reply) -> Self {
        Self {
            events: Vec::new(),
            effects: Vec::new(),
            answer: Answer::Now(reply),
        }
    }

    /// Events, and a reply once they are durable.
    pub const fn durable(events: Vec<NewEvent>, reply: Reply) -> Self {
        Self {
            events,
            effects: Vec::new(),
            answer: Answer::Durable(reply),
        }
    }

    /// Events and nothing to say.
    pub const fn events(events: Vec<NewEvent>) -> Self {
        Self::durable(events, Reply::Done)
    }

    /// Adds an effect.
    #[must_use]
    pub fn and(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }
}
