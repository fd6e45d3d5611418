//! The one public error, its kinds and its typed detail.
//!
//! [`ErrorKind`] says what the caller should do; [`Detail`] is data for machines, so that no one
//! parses messages. A refusal by policy during a run is *not* an error: it is an admission value,
//! an event and a state. Small internal errors become this one in their own module.
//! Read `json` next.

mod wire;

use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::money::NanoUsd;

/// A word of the program's own.
type Word = &'static str;

/// A result with the public [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $code:literal, retry: $retry:literal;)*) => {
        /// What went wrong, told by what the caller should do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[$doc])* $kind,)*
        }

        impl ErrorKind {
            /// Every kind, in the order of the table in `docs/errors`.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// The kind's stable name on the wire.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$kind => $code,)*
                }
            }

            /// Whether the same call may succeed later without a change by the caller.
            pub const fn is_retryable(self) -> bool {
                match self {
                    $(Self::$kind => $retry,)*
                }
            }
        }
    };
}

kinds! {
    /// The call's values are wrong: change them as the violations say.
    InvalidInput = "invalid_input", retry: false;
    /// The definition has problems: mend all that are listed and publish again.
    InvalidWorkflow = "invalid_workflow", retry: false;
    /// There is no such thing: check the id or name.
    NotFound = "not_found", retry: false;
    /// The name or id is taken: choose another, or use the existing one.
    AlreadyExists = "already_exists", retry: false;
    /// The thing is in a state that does not allow this: look at its state first.
    InvalidTransition = "invalid_transition", retry: false;
    /// Somebody else was first: read again, then decide again.
    Conflict = "conflict", retry: true;
    /// A rule forbids it: change the request or the policy.
    PolicyDenied = "policy_denied", retry: false;
    /// It can never fit the named accounts: ask for less or raise a limit.
    BudgetExceeded = "budget_exceeded", retry: false;
    /// A person has to decide first: see the named request.
    ApprovalRequired = "approval_required", retry: false;
    /// The approval does not cover this: ask again.
    ApprovalInvalid = "approval_invalid", retry: false;
    /// The agent's own code failed: see its message.
    AgentFailed = "agent_failed", retry: false;
    /// It took longer than allowed: try again or allow more time.
    Timeout = "timeout", retry: true;
    /// The caller or an operator ended it: nothing to do.
    Cancelled = "cancelled", retry: false;
    /// The store or the engine cannot take it now: mend what the message names, then try again.
    Unavailable = "unavailable", retry: true;
    /// The provider or a limit asks to slow down: wait for the time given.
    RateLimited = "rate_limited", retry: true;
    /// Stored data is not what was written: keep the file, verify it, restore a backup.
    Corrupt = "corrupt", retry: false;
    /// A defect of Mission Control: report it with the message.
    Internal = "internal", retry: false;
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// One wrong value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The place: a JSON pointer, or a field's name. Empty for the whole value.
    pub path: String,
    /// The rule that it breaks, as a sentence without a full stop.
    pub rule: String,
}

impl Violation {
    /// Puts a place and a rule together.
    pub fn new(path: impl Into<String>, rule: impl fmt::Display) -> Self {
        Self {
            path: path.into(),
            rule: rule.to_string(),
        }
    }
}

/// One problem of a workflow's definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum WorkflowProblem {
    /// Steps need each other in a circle.
    Cycle {
        /// The circle, its first step repeated at the end: `a, b, c, a`.
        path: Vec<String>,
    },
    /// A step's agent is not registered here.
    UnknownAgent {
        /// The step.
        step: String,
        /// The agent's name.
        agent: String,
    },
    /// A step is named that does not exist.
    UnknownStep {
        /// The place: a JSON pointer into the definition.
        at: String,
        /// The name that was not found.
        step: String,
    },
    /// An input is named that the input schema does not declare.
    UnknownInput {
        /// The place: a JSON pointer into the definition.
        at: String,
        /// The input's name.
        input: String,
    },
    /// A step can never run.
    Unreachable {
        /// The step.
        step: String,
        /// Why, as a sentence without a full stop.
        reason: String,
    },
    /// An expression does not parse or refers to what it may not see.
    Expression {
        /// The place: a JSON pointer into the definition.
        at: String,
        /// The reason, with the column.
        reason: String,
    },
    /// A schema is not a valid schema, or refers outside itself.
    Schema {
        /// The place: a JSON pointer into the definition.
        at: String,
        /// The reason.
        reason: String,
    },
    /// A value has the wrong form, is missing, unknown, or given twice.
    Form {
        /// The place: a JSON pointer into the definition.
        at: String,
        /// The rule that it breaks.
        rule: String,
    },
    /// A limit is passed.
    Limit {
        /// The limit's name, as in the documentation.
        name: String,
        /// Its value.
        max: u64,
        /// The place: a JSON pointer into the definition.
        at: String,
    },
    /// A feature that this version does not have.
    NotAvailable {
        /// The place: a JSON pointer into the definition.
        at: String,
        /// The feature.
        feature: String,
    },
}

impl fmt::Display for WorkflowProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cycle { path } => write!(f, "cycle: {}", path.join(" -> ")),
            Self::UnknownAgent { step, agent } => {
                write!(f, "step `{step}`: agent `{agent}` is not registered")
            }
            Self::UnknownStep { at, step } => write!(f, "{at}: there is no step `{step}`"),
            Self::UnknownInput { at, input } => {
                write!(f, "{at}: the input schema declares no `{input}`")
            }
            Self::Unreachable { step, reason } => {
                write!(f, "step `{step}` can never run: {reason}")
            }
            Self::Expression { at, reason } | Self::Schema { at, reason } => {
                write!(f, "{at}: {reason}")
            }
            Self::Form { at, rule } => write!(f, "{at}: {rule}"),
            Self::Limit { name, max, at } => write!(f, "{at}: more than {max} {name}"),
            Self::NotAvailable { at, feature } => {
                write!(f, "{at}: `{feature}` is not available in this version")
            }
        }
    }
}

/// One account that refused, with its columns at that moment.
///
/// # Units
/// Money in nano-USD; other dimensions in tokens or calls, told by `dimension`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailingAccount {
    /// The account, e.g. `agent:researcher`.
    pub account: String,
    /// `money`, `input_tokens`, `output_tokens` or `calls`.
    pub dimension: String,
    /// Its limit.
    pub limit: i64,
    /// What was settled.
    pub spent: i64,
    /// What open holds have.
    pub reserved: i64,
    /// What holds in doubt have.
    pub in_doubt: i64,
    /// What was asked for.
    pub requested: i64,
    /// When the window ends, Unix microseconds; none for a lifetime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<i64>,
}

impl fmt::Display for FailingAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: i64| {
            if self.dimension == "money" {
                format!("{} USD", NanoUsd::from_nano(value))
            } else {
                value.to_string()
            }
        };
        write!(
            f,
            "{} ({}): limit {}, spent {}, reserved {}, in doubt {}, requested {}, {}",
            self.account,
            self.dimension,
            show(self.limit),
            show(self.spent),
            show(self.reserved),
            show(self.in_doubt),
            show(self.requested),
            if self.resets_at.is_some() {
                "resets with its window"
            } else {
                "never resets"
            }
        )
    }
}

/// Why an approval, or a word about it, does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalFault {
    /// Somebody has decided it already.
    #[error("it is decided already")]
    Decided,
    /// It was used already.
    #[error("it was used already, and can be used once")]
    Used,
    /// Its time is over.
    #[error("its time is over")]
    Expired,
    /// An operator took it back.
    #[error("an operator took it back")]
    Revoked,
    /// A person rejected it.
    #[error("a person rejected it")]
    Rejected,
    /// Other parameters are to be used than were shown.
    #[error("other parameters are to be used than were shown")]
    ParamsChanged,
    /// The policy in force is tighter than the one that it was asked under.
    #[error("the policy is tighter now; it is asked anew")]
    PolicyChanged,
    /// It would cost more than was shown.
    #[error("it would cost more than was shown; it is asked anew")]
    OverMaximumCost,
    /// Its step or its run has ended.
    #[error("its step has ended")]
    StepEnded,
    /// Whoever started the run may not approve this tier.
    #[error("whoever started the run may not approve it: another operator has to")]
    FourEyes,
    /// Whoever asks may not approve.
    #[error("whoever asks may not approve")]
    Requester,
    /// The policy names who may decide, and this operator is not among them.
    #[error("the policy does not name this operator among those who decide")]
    NotAnOperator,
    /// It has not been given, so that it cannot be taken back.
    #[error("it has not been given; reject it instead")]
    Pending,
}

/// Typed data of an error, for machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Detail {
    /// Every wrong value.
    Violations(Vec<Violation>),
    /// Every problem of a definition.
    Workflow(Vec<WorkflowProblem>),
    /// What is missing, or already there.
    Thing {
        /// The kind of thing: `run`, `workflow`, `step`.
        #[serde(deserialize_with = "wire::word")]
        what: Word,
        /// Its id or name.
        id: String,
    },
    /// A transition that the table does not have.
    Transition {
        /// The state.
        from: String,
        /// What was tried.
        trigger: String,
        /// What the state allows.
        allowed: Vec<String>,
    },
    /// The store has a newer owner.
    StaleEpoch {
        /// The epoch of the caller.
        held: u64,
        /// The epoch in force.
        current: u64,
    },
    /// The idempotency key belongs to another request.
    KeyReused {
        /// The key.
        key: String,
        /// The run that it started.
        run_id: String,
    },
    /// The outcome is not known until somebody resolves it.
    InDoubt {
        /// The run.
        run_id: String,
        /// The step.
        step: String,
    },
    /// The rule that forbids.
    Rule {
        /// The rule's id.
        rule: String,
        /// What it judged.
        subject: String,
    },
    /// An operator halted it.
    Halted {
        /// What is halted: `workspace`, `agent:NAME` or `run:ID`.
        scope: String,
    },
    /// A price that nobody has checked for too long.
    StalePrice {
        /// The model that was asked.
        model: String,
        /// The price table's version.
        price_version: String,
        /// When its price was read, RFC 3339.
        checked_at: String,
        /// The largest age that is allowed, in milliseconds.
        max_age_ms: u64,
    },
    /// Every account that refused.
    Accounts(Vec<FailingAccount>),
    /// What the agent said.
    Agent {
        /// The agent's name.
        agent: String,
        /// The attempt, from 1.
        attempt: u32,
        /// Whether the agent said that another attempt may help.
        agent_retryable: bool,
    },
    /// An output that is not what the step promised.
    InvalidOutput(Vec<Violation>),
    /// When to try again.
    RetryAfter {
        /// Milliseconds from now.
        retry_after_ms: u64,
    },
    /// The disk is full.
    StorageFull,
    /// The store takes no writes.
    ReadOnly,
    /// Another handle has the file.
    AlreadyOpen {
        /// The process that has it, where that is known.
        pid: Option<u32>,
    },
    /// The handle was inherited over a fork.
    ForkedHandle,
    /// The file is not one of ours.
    ForeignFile,
    /// The file was written by a newer version.
    NewerFormat {
        /// The file's format.
        found: u32,
        /// The newest format that this version reads.
        supported: u32,
    },
    /// A damaged place in the log.
    Damaged {
        /// The first sequence number that is not as written, where that is known.
        seq: Option<u64>,
        /// A short reason code, e.g. `facts_hash`.
        #[serde(deserialize_with = "wire::word")]
        reason: Word,
    },
    /// The attempt has ended already.
    AlreadyCompleted,
    /// What a person is asked, and has not decided.
    ApprovalRequest {
        /// The request's id, as `approve` takes it.
        request_id: String,
    },
    /// Why an approval, or a word about it, does not count.
    Approval {
        /// The reason.
        reason: ApprovalFault,
    },
    /// A limit of the documentation is passed.
    Limit {
        /// The limit's name.
        #[serde(deserialize_with = "wire::word")]
        name: Word,
        /// Its value.
        max: u64,
    },
}

/// The error of every public call.
///
/// `Display` is one line; `Debug` shows context, detail and source on lines of their own.
pub struct Error {
    kind: ErrorKind,
    message: String,
    detail: Option<Box<Detail>>,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error of a kind with a message: lower case, no full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            detail: None,
            context: Vec::new(),
            source: None,
        }
    }

    /// Adds typed detail.
    #[must_use]
    pub fn with_detail(mut self, detail: Detail) -> Self {
        self.detail = Some(Box::new(detail));
        self
    }

    /// Adds a name and a value that help to find the place.
    #[must_use]
    pub fn with_context(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.context.push((name, value.to_string()));
        self
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// One wrong value.
    pub fn invalid(path: impl Into<String>, rule: impl fmt::Display) -> Self {
        let violation = Violation::new(path, rule);
        let message = match violation.path.as_str() {
            "" => violation.rule.clone(),
            path => format!("{path}: {}", violation.rule),
        };
        Self::new(ErrorKind::InvalidInput, message).with_detail(Detail::Violations(vec![violation]))
    }

    /// Something that is not there.
    pub fn not_found(what: &'static str, id: impl fmt::Display) -> Self {
        let id = id.to_string();
        Self::new(ErrorKind::NotFound, format!("there is no {what} `{id}`"))
            .with_detail(Detail::Thing { what, id })
    }

    /// A damaged place in the log.
    pub fn corrupt(reason: &'static str, seq: Option<u64>) -> Self {
        Self::new(ErrorKind::Corrupt, format!("the log is damaged: {reason}"))
            .with_detail(Detail::Damaged { seq, reason })
    }

    /// A defect of this software.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// What the caller should do.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The kind's stable name on the wire.
    pub const fn code(&self) -> &'static str {
        self.kind.code()
    }

    /// The message alone, without context.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same call may succeed later. An agent's failure says so itself.
    pub fn is_retryable(&self) -> bool {
        match self.detail() {
            Some(Detail::Agent {
                agent_retryable, ..
            }) => *agent_retryable,
            _ => self.kind.is_retryable(),
        }
    }

    /// Typed data for machines.
    pub fn detail(&self) -> Option<&Detail> {
        self.detail.as_deref()
    }

    /// Names and values that help to find the place.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.context
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)?;
        for (index, (name, value)) in self.context.iter().enumerate() {
            let lead = if index == 0 { "; " } else { ", " };
            write!(f, "{lead}{name}=`{value}`")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)?;
        for (name, value) in &self.context {
            write!(f, "\n  {name}: {value}")?;
        }
        if let Some(detail) = &self.detail {
            write!(f, "\n  detail: {detail:?}")?;
        }
        if let Some(source) = &self.source {
            write!(f, "\n  source: {source}")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_one_line_and_debug_shows_all() {
        let error = Error::new(ErrorKind::Unavailable, "the disk is full")
            .with_context("path", "agents.redb")
            .with_detail(Detail::StorageFull)
            .with_source(std::io::Error::other("os error 28"));
        assert_eq!(
            error.to_string(),
            "unavailable: the disk is full; path=`agents.redb`"
        );
        assert_eq!(
            format!("{error:?}"),
            "unavailable: the disk is full\n  path: agents.redb\n  detail: StorageFull\n  \
             source: os error 28"
        );
    }

    #[test]
    fn codes_are_unique_snake_case() {
        let mut codes: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
        assert!(
            codes
                .iter()
                .all(|c| c.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        );
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
    }

    #[test]
    fn an_agents_failure_says_itself_whether_a_retry_may_help() {
        let detail = |agent_retryable| Detail::Agent {
            agent: "writer".into(),
            attempt: 1,
            agent_retryable,
        };
        let error = |yes| Error::new(ErrorKind::AgentFailed, "no").with_detail(detail(yes));
        assert!(error(true).is_retryable() && !error(false).is_retryable());
    }
}
