//! Ids, names and digests: every reference in the system is one of these types.
//!
//! A name is checked where it is made, so code that holds one need not check it again.
//! What is *not* here: how ids come about (the entropy port makes them).
//! Read `time` next.

pub(crate) mod wire;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

mod approval;
mod digest;

pub use approval::{ApprovalId, ApprovalIdFault};
pub use digest::Digest;
use wire::as_text;

/// The longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// The id of all zeros.
            pub const NIL: Self = Self(Uuid::nil());

            /// Wraps the 16 bytes of an id.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes, big-endian, as they stand in the log.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameFault;

            fn from_str(text: &str) -> Result<Self, NameFault> {
                Uuid::try_parse(text).map(Self).map_err(|_| NameFault::NotAUuid)
            }
        }
    };
}

uuid_id!(
    /// One execution of a workflow, or one session. `UUIDv7`, so ids sort by start.
    RunId
);
uuid_id!(
    /// One store's workspace. `UUIDv7`, made at first open.
    WorkspaceId
);
uuid_id!(
    /// One command; all events that it causes carry it.
    CommandId
);

impl RunId {
    /// Run zero: the chain of events that belong to the workspace and to no run.
    pub const ZERO: Self = Self::NIL;
}

/// The longest version of an agent, in bytes.
pub const MAX_VERSION_BYTES: usize = 64;

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// The text is empty.
    #[error("a name may not be empty")]
    Empty,
    /// The text is longer than [`MAX_NAME_BYTES`].
    #[error("a name has at most {MAX_NAME_BYTES} bytes")]
    TooLong,
    /// The text is longer than [`MAX_VERSION_BYTES`].
    #[error("an agent's version has at most {MAX_VERSION_BYTES} bytes")]
    VersionTooLong,
    /// The text breaks the pattern `[a-z0-9][a-z0-9_-]*`.
    #[error("a name is of the form [a-z0-9][a-z0-9_-]*")]
    NotAName,
    /// The text breaks the pattern `[a-z][a-z0-9_]*`.
    #[error("a step's name is of the form [a-z][a-z0-9_]*")]
    NotAStepName,
    /// The text is not `provider/id`.
    #[error("a model is named provider/id")]
    NotAModel,
    /// The text begins or ends with white space, or has characters that nobody sees.
    #[error("white space around a name and characters that cannot be seen are not allowed here")]
    Unseen,
    /// The text has control characters.
    #[error("control characters are not allowed here")]
    Control,
    /// The text is not a UUID.
    #[error("an id is a UUID")]
    NotAUuid,
    /// The text is not 64 hexadecimal digits.
    #[error("a digest is 64 hexadecimal digits")]
    NotADigest,
}

fn length(text: &str) -> Result<(), NameFault> {
    match text.len() {
        0 => Err(NameFault::Empty),
        n if n > MAX_NAME_BYTES => Err(NameFault::TooLong),
        _ => Ok(()),
    }
}

fn plain_name(text: &str) -> Result<(), NameFault> {
    length(text)?;
    let mut bytes = text.bytes();
    let first = bytes
        .next()
        .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let rest =
        bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    if first && rest {
        Ok(())
    } else {
        Err(NameFault::NotAName)
    }
}

fn step_name(text: &str) -> Result<(), NameFault> {
    length(text)?;
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
    let rest = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if first && rest {
        Ok(())
    } else {
        Err(NameFault::NotAStepName)
    }
}

fn model_name(text: &str) -> Result<(), NameFault> {
    length(text)?;
    if text.chars().any(char::is_control) {
        return Err(NameFault::Control);
    }
    match text.split_once('/') {
        Some((provider, id)) if !provider.is_empty() && !id.is_empty() => Ok(()),
        _ => Err(NameFault::NotAModel),
    }
}

fn opaque(text: &str) -> Result<(), NameFault> {
    length(text)?;
    if text.chars().any(char::is_control) {
        Err(NameFault::Control)
    } else {
        Ok(())
    }
}

/// What looks like another name is another name: nothing in it is hidden.
fn person(text: &str) -> Result<(), NameFault> {
    opaque(text)?;
    // Letters of no width and no ink, which are letters all the same.
    let blank = ['\u{115f}', '\u{1160}', '\u{2800}', '\u{3164}', '\u{ffa0}'];
    let plain = |c: char| matches!(c, ' '..='~');
    let seen = |c: char| plain(c) || (c.escape_debug().count() == 1 && !blank.contains(&c));
    if text.trim() == text && text.chars().all(seen) {
        Ok(())
    } else {
        Err(NameFault::Unseen)
    }
}

fn version(text: &str) -> Result<(), NameFault> {
    opaque(text)?;
    if text.len() > MAX_VERSION_BYTES {
        Err(NameFault::VersionTooLong)
    } else {
        Ok(())
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        as_text!($name, |name, serializer| serializer.serialize_str(&name.0));

        impl $name {
            /// Checks and wraps a name.
            ///
            /// # Errors
            /// A [`NameFault`] that says which rule the text breaks.
            pub fn new(text: &str) -> Result<Self, NameFault> {
                $check(text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameFault;

            fn try_from(text: String) -> Result<Self, NameFault> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl FromStr for $name {
            type Err = NameFault;

            fn from_str(text: &str) -> Result<Self, NameFault> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type!(
    /// The name of a workflow: `[a-z0-9][a-z0-9_-]*`.
    WorkflowName, plain_name
);
name_type!(
    /// The name of an agent: `[a-z0-9][a-z0-9_-]*`.
    AgentName, plain_name
);
name_type!(
    /// The key of a label: `[a-z0-9][a-z0-9_-]*`.
    LabelKey, plain_name
);
name_type!(
    /// A tag of a run, for which an account may be kept: `[a-z0-9][a-z0-9_-]*`.
    TagName, plain_name
);
name_type!(
    /// The id of a rule: `[a-z0-9][a-z0-9_-]*`.
    RuleId, plain_name
);
name_type!(
    /// The name of a step in its workflow: `[a-z][a-z0-9_]*` (a hyphen would be a subtraction).
    StepName, step_name
);
name_type!(
    /// A model as `provider/id`, any case, e.g. `openai/gpt-5.4`.
    ModelId, model_name
);
name_type!(
    /// The name of an operator: any text of 1 to 128 bytes that can be seen, with no white space around
    /// it and none but spaces in it.
    OperatorName, person
);
name_type!(
    /// A short opaque text from the host: idempotency key, correlation id, tool name, effect key.
    Opaque, opaque
);

name_type!(
    /// The version of an agent, as its host counts: any text of 1 to 64 bytes without control
    /// characters.
    AgentVersion, version
);

impl OperatorName {
    /// Whether another name reads the same, in whatever case.
    pub fn reads_as(&self, other: &str) -> bool {
        self.0.to_lowercase() == other.to_lowercase()
    }
}

name_type!(
    /// A region of processing, as the price table and the provider call it, e.g. `eu`.
    Region, opaque
);

impl ModelId {
    /// The part before the first slash.
    pub fn provider(&self) -> &str {
        self.0.split_once('/').map_or("", |(provider, _)| provider)
    }
}

/// A step's stable path in its run: `draft`, or `angle[3]` for an item of a `for_each`.
///
/// It is made of the step's name and, for an item, its index; it is never a counter of the run.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepKey(Arc<str>);

as_text!(StepKey, |key, serializer| serializer.serialize_str(&key.0));

impl StepKey {
    /// The key of a plain step.
    pub fn of(name: &StepName) -> Self {
        Self(Arc::clone(&name.0))
    }

    /// The key of item `index` of a `for_each` step.
    pub fn item(name: &StepName, index: u32) -> Self {
        Self(Arc::from(format!("{name}[{index}]")))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The step's name, without the item's index.
    pub fn name(&self) -> &str {
        self.0.split_once('[').map_or(&*self.0, |(name, _)| name)
    }

    /// The item's index, if this is an item of a `for_each`.
    pub fn index(&self) -> Option<u32> {
        let (_, rest) = self.0.split_once('[')?;
        rest.strip_suffix(']')?.parse().ok()
    }
}

impl FromStr for StepKey {
    type Err = NameFault;

    fn from_str(text: &str) -> Result<Self, NameFault> {
        let Some((name, rest)) = text.split_once('[') else {
            return StepName::new(text).map(|name| Self::of(&name));
        };
        let name = StepName::new(name)?;
        let index: u32 = rest
            .strip_suffix(']')
            .and_then(|i| i.parse().ok())
            .ok_or(NameFault::NotAStepName)?;
        let key = Self::item(&name, index);
        // One spelling only: `angle[03]` and `angle[+3]` are not keys.
        if key.as_str() == text {
            Ok(key)
        } else {
            Err(NameFault::NotAStepName)
        }
    }
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    /// A person, by the name under which the host knows them.
    Operator(OperatorName),
    /// An agent.
    Agent(AgentName),
    /// The engine itself: timers, recovery, dispatch.
    System,
}

as_text!(Actor, |actor, serializer| serializer.collect_str(actor));

impl FromStr for Actor {
    type Err = NameFault;

    fn from_str(text: &str) -> Result<Self, NameFault> {
        match text.split_once(':') {
            Some(("operator", name)) => OperatorName::new(name).map(Self::Operator),
            Some(("agent", name)) => AgentName::new(name).map(Self::Agent),
            None if text == "system" => Ok(Self::System),
            _ => Err(NameFault::NotAName),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator(name) => write!(f, "operator:{name}"),
            Self::Agent(name) => write!(f, "agent:{name}"),
            Self::System => f.write_str("system"),
        }
    }
}

/// How the caller of a command was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// A call from the process that links the library.
    Library,
    /// The command line.
    Cli,
    /// A joined process, through the owner's socket.
    Socket,
    /// A key sent with a request.
    ApiKey,
}

impl AuthMethod {
    /// The text that stands in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Library => "library",
            Self::Cli => "cli",
            Self::Socket => "socket",
            Self::ApiKey => "api_key",
        }
    }
}

impl FromStr for AuthMethod {
    type Err = NameFault;

    fn from_str(text: &str) -> Result<Self, NameFault> {
        match text {
            "library" => Ok(Self::Library),
            "cli" => Ok(Self::Cli),
            "socket" => Ok(Self::Socket),
            "api_key" => Ok(Self::ApiKey),
            _ => Err(NameFault::NotAName),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_lower_case_and_starts_with_a_letter_or_digit() {
        for good in ["a", "0", "research-to-qa", "a_b-c9"] {
            assert!(WorkflowName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "-a", "_a", "a b", "a/b", "\u{e4}"] {
            assert!(WorkflowName::new(bad).is_err(), "{bad}");
        }
        assert_eq!(WorkflowName::new(&"a".repeat(129)), Err(NameFault::TooLong));
    }

    #[test]
    fn a_step_name_has_no_hyphen() {
        assert!(StepName::new("angle_2").is_ok());
        assert_eq!(StepName::new("angle-2"), Err(NameFault::NotAStepName));
        assert_eq!(StepName::new("2angle"), Err(NameFault::NotAStepName));
    }

    #[test]
    fn a_step_key_has_one_spelling() {
        let key: StepKey = "angle[3]".parse().unwrap();
        assert_eq!((key.name(), key.index()), ("angle", Some(3)));
        for bad in [
            "angle[03]",
            "angle[+3]",
            "angle[",
            "angle[3",
            "angle[3]x",
            "an-gle[3]",
        ] {
            assert!(bad.parse::<StepKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_digest_reads_only_what_it_writes() {
        let digest = Digest::of(&[b"a", b"bc"]);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(digest, Digest::of(&[b"abc"]));
        assert!(digest.to_string().to_uppercase().parse::<Digest>().is_err());
    }

    #[test]
    fn an_actor_survives_its_text() {
        for text in ["operator:Ann B", "agent:writer", "system"] {
            assert_eq!(text.parse::<Actor>().unwrap().to_string(), text);
        }
        assert!("agent:A".parse::<Actor>().is_err());
    }
}
