//! Export lines: a log as JSON Lines, for auditors.
//!
//! Every line has one spelling: what was read is written again and must give the same bytes, so no
//! byte of an export is without meaning. The first line names format, workspace and run; an event
//! is a line, and a line with the tree's frontier ends an export of a whole workspace.
//! What is *not* here: checking (`verify_export`) and signatures.

use std::borrow::Cow;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::Deserialize;

use super::commit::{Blobs, SealFault};
use super::tree::Frontier;
use crate::error::{Error, Result};
use crate::event::{MediaType, PartContent, Record};
use crate::id::{Digest, RunId, WorkspaceId};

const FORMAT: &str = "mc-export/v1";

/// The first line of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The run, if this is the export of one run.
    pub run: Option<RunId>,
    /// The key that checkpoints are signed with, in its text form.
    pub public_key: Option<String>,
}

/// One part of an event's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinePart {
    /// A part with its bytes.
    Kept {
        /// The salt of its commitment.
        salt: [u8; 16],
        /// The form of the bytes.
        media_type: MediaType,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A part whose bytes and salt were erased.
    Erased {
        /// The form that the bytes had.
        media_type: MediaType,
        /// The commitment that is left.
        commitment: Digest,
    },
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLine {
    /// Place in the workspace, as in the header.
    pub seq: u64,
    /// Place in the run, as in the header.
    pub run_seq: u64,
    /// The type, as in the header.
    pub kind: String,
    /// The hashed bytes.
    pub header: Vec<u8>,
    /// The facts as they are stored.
    pub facts: String,
    /// The content.
    pub parts: Vec<LinePart>,
}

/// One line of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The first line.
    Opening(Opening),
    /// An event.
    Event(EventLine),
    /// The tree over all events above: the end of a workspace's export.
    Tree(Frontier),
}

impl EventLine {
    /// The line of a record with its header.
    ///
    /// # Errors
    /// [`SealFault::Missing`] where a blob is not found.
    pub fn of(
        record: &Record,
        header: &[u8],
        blobs: &dyn Blobs,
    ) -> std::result::Result<Self, SealFault> {
        let mut parts = Vec::with_capacity(record.parts.len());
        for (index, part) in record.parts.iter().enumerate() {
            let media_type = part.media_type;
            let kept = |bytes: &[u8]| LinePart::Kept {
                salt: part.salt,
                media_type,
                bytes: bytes.to_vec(),
            };
            parts.push(match &part.content {
                PartContent::Inline(bytes) => kept(bytes),
                PartContent::Blob(digest) => {
                    let bytes = blobs.blob(record.run_id, digest);
                    kept(&bytes.ok_or(SealFault::Missing(index))?)
                }
                PartContent::Erased(commitment) => LinePart::Erased {
                    media_type,
                    commitment: *commitment,
                },
            });
        }
        Ok(Self {
            seq: record.seq,
            run_seq: record.run_seq,
            kind: record.kind.as_ref().to_owned(),
            header: header.to_vec(),
            facts: record.facts.as_ref().to_owned(),
            parts,
        })
    }
}

impl Line {
    /// The line without its line feed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        self.write(&mut out);
        out
    }

    /// Appends the line without its line feed.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Opening(opening) => write_opening(out, opening),
            Self::Event(event) => write_event(out, event),
            Self::Tree(frontier) => write_tree(out, frontier),
        }
    }
}

fn write_opening(out: &mut Vec<u8>, opening: &Opening) {
    put(out, r#"{"format":"mc-export/v1","workspace":""#);
    put(out, &opening.workspace.to_string());
    put(out, r#"","run":"#);
    match opening.run {
        Some(run) => put_text(out, &run.to_string()),
        None => put(out, "null"),
    }
    put(out, r#","public_key":"#);
    match &opening.public_key {
        Some(key) => put_text(out, key),
        None => put(out, "null"),
    }
    put(out, "}");
}

fn write_event(out: &mut Vec<u8>, event: &EventLine) {
    put(out, r#"{"seq":"#);
    put(out, &event.seq.to_string());
    put(out, r#","run_seq":"#);
    put(out, &event.run_seq.to_string());
    put(out, r#","type":"#);
    put_text(out, &event.kind);
    put(out, r#","header":"#);
    put_base64(out, &event.header);
    put(out, r#","facts":"#);
    put_text(out, &event.facts);
    put(out, r#","parts":["#);
    for (index, part) in event.parts.iter().enumerate() {
        if index > 0 {
            put(out, ",");
        }
        write_part(out, part);
    }
    put(out, "]}");
}

fn write_part(out: &mut Vec<u8>, part: &LinePart) {
    match part {
        LinePart::Kept {
            salt,
            media_type,
            bytes,
        } => {
            put(out, r#"{"salt":"#);
            put_base64(out, salt);
            put(out, r#","media_type":"#);
            put_text(out, media_type.as_str());
            put(out, r#","bytes":"#);
            put_base64(out, bytes);
        }
        LinePart::Erased {
            media_type,
            commitment,
        } => {
            put(out, r#"{"salt":null,"media_type":"#);
            put_text(out, media_type.as_str());
            put(out, r#","bytes":null,"commitment":"#);
            put_base64(out, commitment.as_bytes());
        }
    }
    put(out, "}");
}

fn write_tree(out: &mut Vec<u8>, frontier: &Frontier) {
    put(out, r#"{"tree_size":"#);
    put(out, &frontier.size().to_string());
    put(out, r#","frontier":["#);
    for (index, node) in frontier.nodes().iter().enumerate() {
        if index > 0 {
            put(out, ",");
        }
        put_base64(out, node.as_bytes());
    }
    put(out, "]}");
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    out.push(b'"');
    if text.bytes().all(plain) {
        put(out, text);
    } else {
        escape(out, text);
    }
    out.push(b'"');
}

/// Escapes only what JSON demands: quote, backslash and control characters.
fn escape(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for byte in text.bytes() {
        match byte {
            b'"' => put(out, "\\\""),
            b'\\' => put(out, "\\\\"),
            b'\n' => put(out, "\\n"),
            b'\r' => put(out, "\\r"),
            b'\t' => put(out, "\\t"),
            0..0x20 => {
                put(out, "\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
            _ => out.push(byte),
        }
    }
}

fn put_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
    // The room is exactly what the encoding takes.
    let written = BASE64_STANDARD
        .encode_slice(bytes, &mut out[start..])
        .unwrap_or_default();
    out.truncate(start + written);
    out.push(b'"');
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireOpening {
    format: String,
    workspace: WorkspaceId,
    run: Option<RunId>,
    public_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireEvent<'a> {
    seq: u64,
    run_seq: u64,
    #[serde(rename = "type")]
    kind: String,
    header: &'a str,
    facts: Cow<'a, str>,
    #[serde(borrow)]
    parts: Vec<WirePart<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WirePart<'a> {
    salt: Option<&'a str>,
    media_type: &'a str,
    bytes: Option<&'a str>,
    #[serde(default)]
    commitment: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireTree<'a> {
    tree_size: u64,
    #[serde(borrow)]
    frontier: Vec<&'a str>,
}

/// Reads one line, without its line feed.
///
/// # Errors
/// `Corrupt` with the reason `line` where it is no line of this format, or spelled in another way
/// than [`Line::write`] spells it.
pub fn parse_line(bytes: &[u8]) -> Result<Line> {
    read_line(bytes)
        .filter(|line| line.to_bytes() == bytes)
        .ok_or_else(|| Error::corrupt("line", None))
}

fn read_line(bytes: &[u8]) -> Option<Line> {
    if bytes.starts_with(br#"{"seq":"#) {
        return event(serde_json::from_slice(bytes).ok()?).map(Line::Event);
    }
    if bytes.starts_with(br#"{"tree_size":"#) {
        return tree(&serde_json::from_slice(bytes).ok()?).map(Line::Tree);
    }
    let wire: WireOpening = serde_json::from_slice(bytes).ok()?;
    (wire.format == FORMAT).then_some(Line::Opening(Opening {
        workspace: wire.workspace,
        run: wire.run,
        public_key: wire.public_key,
    }))
}

fn event(wire: WireEvent<'_>) -> Option<EventLine> {
    Some(EventLine {
        seq: wire.seq,
        run_seq: wire.run_seq,
        kind: wire.kind,
        header: BASE64_STANDARD.decode(wire.header).ok()?,
        facts: wire.facts.into_owned(),
        parts: wire.parts.iter().map(part).collect::<Option<_>>()?,
    })
}

fn part(wire: &WirePart<'_>) -> Option<LinePart> {
    let media_type = MediaType::parse(wire.media_type)?;
    match (wire.salt, wire.bytes, wire.commitment) {
        (Some(salt), Some(bytes), None) => Some(LinePart::Kept {
            salt: exactly(salt)?,
            media_type,
            bytes: BASE64_STANDARD.decode(bytes).ok()?,
        }),
        (None, None, Some(commitment)) => Some(LinePart::Erased {
            media_type,
            commitment: Digest::from_bytes(exactly(commitment)?),
        }),
        _ => None,
    }
}

fn tree(wire: &WireTree<'_>) -> Option<Frontier> {
    let node = |text: &&str| exactly(text).map(Digest::from_bytes);
    let nodes = wire.frontier.iter().map(node).collect::<Option<_>>()?;
    Frontier::from_nodes(wire.tree_size, nodes)
}

fn exactly<const N: usize>(text: &str) -> Option<[u8; N]> {
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::Log;
    use super::*;

    #[test]
    fn another_spelling_of_a_line_is_refused() {
        let line = String::from_utf8(Log::random(5, 1).export().remove(1)).unwrap();
        assert!(parse_line(line.as_bytes()).is_ok());
        for (from, to) in [
            ("{\"seq\":0", "{\"seq\": 0"),
            ("{\"seq\":0", "{\"seq\":00"),
            ("\"run_seq\":0", "\"run_seq\":0.0"),
            ("run.created", "run.\\u0063reated"),
            ("]}", "]} "),
            ("]}", "],\"more\":1}"),
            ("]}", "]}\n"),
        ] {
            let other = line.replacen(from, to, 1);
            assert_ne!(other, line, "{from}");
            assert!(parse_line(other.as_bytes()).is_err(), "{to}");
        }
    }

    #[test]
    fn text_is_escaped_only_where_json_demands_it() {
        let text: String = (0..0x80_u8)
            .map(char::from)
            .chain("\u{e4}\u{2028}/".chars())
            .collect();
        let mut out = Vec::new();
        put_text(&mut out, &text);
        let read: String = serde_json::from_slice(&out).unwrap();
        assert_eq!(read, text);
        assert!(out.ends_with("\u{7f}\u{e4}\u{2028}/\"".as_bytes()));
    }

    proptest! {
        #[test]
        fn every_line_comes_back_as_it_was(seed: u64, len in 1_u64..30) {
            for bytes in Log::random(seed, len).export() {
                prop_assert_eq!(parse_line(&bytes).unwrap().to_bytes(), bytes);
            }
        }

        #[test]
        fn arbitrary_lines_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse_line(&bytes).is_err());
            let tagged = [&b"{\"seq\":"[..], &bytes].concat();
            prop_assert!(parse_line(&tagged).is_err());
        }
    }
}
