//! A frame: the records of one commit, packed.
//!
//! What the row's key or a neighbour tells is not stored again: `seq`, the workspace, the previous
//! hash, a command, actor, time or epoch that did not change. A frame has one spelling. Each chunk
//! has a checksum, so that damage is found at its event whenever the log is read.
//! The layout is in `docs/event-log.md`. Compression is the store's. Read `export` next.

mod decode;
mod encode;

#[cfg(test)]
mod tests;

pub use decode::decode;
pub use encode::encode;

use super::crc::crc32c;
use super::wire::put_counted;
use crate::event::MediaType;
use crate::id::AuthMethod;

/// The first byte of a frame of version 1.
const VERSION_1: u8 = 0xf1;

// A set bit says that the field stands there; otherwise it is as in the event before.
const RUN: u8 = 1;
const RUN_SEQ: u8 = 2;
const ACTOR: u8 = 4;
const AUTH: u8 = 8;
const EPOCH: u8 = 16;
const TS: u8 = 32;
const COMMAND: u8 = 64;
const PARTS: u8 = 128;

// The storage of a part stands in the low two bits of its tag, its form in the next two.
const INLINE: u8 = 0;
const BLOB: u8 = 1;
const ERASED: u8 = 2;

const MEDIA_TYPES: [MediaType; 3] = [MediaType::Json, MediaType::Text, MediaType::Octets];

const AUTH_METHODS: [AuthMethod; 4] = [
    AuthMethod::Library,
    AuthMethod::Cli,
    AuthMethod::Socket,
    AuthMethod::ApiKey,
];

const fn media_code(form: MediaType) -> u8 {
    match form {
        MediaType::Json => 0,
        MediaType::Text => 1,
        MediaType::Octets => 2,
    }
}

const fn auth_code(method: AuthMethod) -> u8 {
    match method {
        AuthMethod::Library => 0,
        AuthMethod::Cli => 1,
        AuthMethod::Socket => 2,
        AuthMethod::ApiKey => 3,
    }
}

/// What an event has, unless it says otherwise: what the event before it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Common<A, C> {
    run: usize,
    actor: Option<A>,
    auth: (AuthMethod, u16),
    epoch: u64,
    ts: i64,
    command: Option<C>,
}

impl<A, C> Common<A, C> {
    /// Before the first event of a frame.
    const fn before_first(epoch: u64, ts: i64) -> Self {
        Self {
            run: 0,
            actor: None,
            auth: (AuthMethod::Library, 1),
            epoch,
            ts,
            command: None,
        }
    }
}

fn put_chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    put_counted(out, bytes);
    out.extend_from_slice(&crc32c(bytes).to_be_bytes());
}
