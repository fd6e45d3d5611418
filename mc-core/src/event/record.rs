//! A record: one event with its place, exactly what the log keeps of it.
//!
//! What is stored must rebuild the hashed bytes exactly; what follows from a neighbour (workspace,
//! previous hash) is not stored again. Typed events are in `kind`; hashing is in `audit`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{Actor, AuthMethod, CommandId, Digest, RunId};
use crate::time::Timestamp;

/// The largest part that lies in the frame itself, in bytes; larger ones are blobs.
pub const MAX_INLINE_PART_BYTES: usize = 256;

/// The largest part of all, in bytes (64 MiB).
pub const MAX_PART_BYTES: usize = 64 * 1024 * 1024;

/// The form of a part's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaType {
    /// One JSON value in our canonical spelling.
    Json,
    /// UTF-8 text.
    Text,
    /// Bytes of no known form: what an agent gave where JSON was due.
    Octets,
}

impl MediaType {
    /// The text that is hashed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
            Self::Octets => "application/octet-stream",
        }
    }

    /// The form of that text, if it is one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Json, Self::Text, Self::Octets]
            .into_iter()
            .find(|form| form.as_str() == text)
    }
}

/// The bytes of a part, or where they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartContent {
    /// In the frame.
    Inline(#[serde(with = "crate::json::as_base64")] Arc<[u8]>),
    /// In the blob of this SHA-256, kept once per run family.
    Blob(Digest),
    /// Erased; the commitment is all that is left.
    Erased(Digest),
}

/// One part of an event's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Sixteen random bytes that keep the commitment from being guessed; zeros once erased.
    pub salt: [u8; 16],
    /// The length of the bytes.
    pub len: u64,
    /// The form of the bytes.
    pub media_type: MediaType,
    /// The bytes, or where they are.
    pub content: PartContent,
}

/// Where a part is: the event's place in the workspace, and the part's place in the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartRef {
    /// The event's sequence number.
    pub seq: u64,
    /// The part, from 0.
    pub part: u16,
}

/// One event as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Place in the workspace, dense from 0; also the leaf's index in the tree.
    pub seq: u64,
    /// The run, or [`RunId::ZERO`].
    pub run_id: RunId,
    /// Place in the run, dense from 0.
    pub run_seq: u64,
    /// The owner's epoch.
    pub epoch: u64,
    /// When it was decided; never decreases within a workspace.
    pub ts: Timestamp,
    /// The event's type, e.g. `step.dispatched`.
    pub kind: Arc<str>,
    /// Who caused it.
    pub actor: Actor,
    /// How that was known.
    pub auth_method: AuthMethod,
    /// The version of the facts' shape.
    pub schema_ver: u16,
    /// The command that caused it.
    pub cmd_id: CommandId,
    /// The facts: compact JSON, hashed exactly as they stand here.
    pub facts: Arc<str>,
    /// The content.
    pub parts: Vec<Part>,
}
