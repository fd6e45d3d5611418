//! The header: the bytes of an event that are hashed.
//!
//! One event has one header and one header has one spelling; the layout with its offsets is in
//! `docs/event-log.md`. Facts and content stand beside it, behind their hashes. Read `commit` next.

use super::commit::SealFault;
use super::wire::Reader;
use crate::error::{Error, Result};
use crate::event::Record;
use crate::id::{Actor, AuthMethod, CommandId, Digest, RunId, WorkspaceId};
use crate::time::Timestamp;

const DOMAIN: &[u8; 12] = b"mc-event/v1\n";

/// What a header says, beside what its record has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links<'a> {
    /// The log's workspace.
    pub(super) workspace: WorkspaceId,
    /// The hash of the event before it in its run, or the run's genesis.
    pub(super) prev_run_hash: &'a Digest,
    /// The hash over the commitments of its parts.
    pub(super) content_commit: &'a Digest,
    /// The hash of its facts.
    pub(super) facts_hash: &'a Digest,
}

/// Appends a record's header.
pub(super) fn write_header(
    out: &mut Vec<u8>,
    record: &Record,
    links: Links<'_>,
) -> std::result::Result<(), SealFault> {
    out.extend_from_slice(DOMAIN);
    out.extend_from_slice(links.workspace.as_bytes());
    out.extend_from_slice(&record.seq.to_be_bytes());
    out.extend_from_slice(record.run_id.as_bytes());
    out.extend_from_slice(&record.run_seq.to_be_bytes());
    out.extend_from_slice(links.prev_run_hash.as_bytes());
    out.extend_from_slice(&record.epoch.to_be_bytes());
    out.extend_from_slice(&record.ts.as_unix_us().to_be_bytes());
    put_lp(out, &record.kind, "")?;
    match &record.actor {
        Actor::Operator(name) => put_lp(out, "operator:", name.as_str())?,
        Actor::Agent(name) => put_lp(out, "agent:", name.as_str())?,
        Actor::System => put_lp(out, "system", "")?,
    }
    put_lp(out, record.auth_method.as_str(), "")?;
    out.extend_from_slice(&record.schema_ver.to_be_bytes());
    out.extend_from_slice(record.cmd_id.as_bytes());
    let facts_len = u32::try_from(record.facts.len()).map_err(|_| SealFault::TooLong("facts"))?;
    out.extend_from_slice(&facts_len.to_be_bytes());
    out.extend_from_slice(links.facts_hash.as_bytes());
    let parts = u16::try_from(record.parts.len()).map_err(|_| SealFault::TooLong("parts"))?;
    out.extend_from_slice(&parts.to_be_bytes());
    out.extend_from_slice(links.content_commit.as_bytes());
    Ok(())
}

fn put_lp(out: &mut Vec<u8>, head: &str, tail: &str) -> std::result::Result<(), SealFault> {
    let length = u16::try_from(head.len() + tail.len()).map_err(|_| SealFault::TooLong("text"))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(tail.as_bytes());
    Ok(())
}

/// A header, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The log's workspace.
    pub workspace_id: WorkspaceId,
    /// Place in the workspace; the leaf's index.
    pub seq: u64,
    /// The run, or [`RunId::ZERO`].
    pub run_id: RunId,
    /// Place in the run.
    pub run_seq: u64,
    /// The hash of the event before it in its run, or the run's genesis.
    pub prev_run_hash: Digest,
    /// The owner's epoch.
    pub epoch: u64,
    /// When it was decided.
    pub ts: Timestamp,
    /// The event's type.
    pub kind: &'a str,
    /// Who caused it.
    pub actor: Actor,
    /// How that was known.
    pub auth_method: AuthMethod,
    /// The version of the facts' shape.
    pub schema_ver: u16,
    /// The command that caused it.
    pub cmd_id: CommandId,
    /// The length of the facts, in bytes.
    pub facts_len: u32,
    /// The hash of the facts.
    pub facts_hash: Digest,
    /// The number of parts.
    pub parts: u16,
    /// The hash over the commitments of its parts; zeros without parts.
    pub content_commit: Digest,
}

/// Reads a header; every byte must have its meaning.
///
/// # Errors
/// `Corrupt` with the reason `header`: another domain, cut short, bytes left over, text that is not
/// UTF-8, an actor or auth method that does not exist, a commitment without parts.
pub fn decode_header(bytes: &[u8]) -> Result<Header<'_>> {
    read_header(bytes).ok_or_else(|| Error::corrupt("header", None))
}

pub(super) fn read_header(bytes: &[u8]) -> Option<Header<'_>> {
    let mut reader = Reader::new(bytes);
    if reader.take(DOMAIN.len())? != DOMAIN {
        return None;
    }
    let header = Header {
        workspace_id: WorkspaceId::from_bytes(reader.array()?),
        seq: reader.u64()?,
        run_id: RunId::from_bytes(reader.array()?),
        run_seq: reader.u64()?,
        prev_run_hash: Digest::from_bytes(reader.array()?),
        epoch: reader.u64()?,
        ts: Timestamp::from_unix_us(i64::from_be_bytes(reader.array()?)),
        kind: text(&mut reader)?,
        actor: text(&mut reader)?.parse().ok()?,
        auth_method: text(&mut reader)?.parse().ok()?,
        schema_ver: reader.u16()?,
        cmd_id: CommandId::from_bytes(reader.array()?),
        facts_len: reader.u32()?,
        facts_hash: Digest::from_bytes(reader.array()?),
        parts: reader.u16()?,
        content_commit: Digest::from_bytes(reader.array()?),
    };
    let content_fits = header.parts > 0 || header.content_commit == Digest::ZERO;
    (reader.is_empty() && content_fits).then_some(header)
}

fn text<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    std::str::from_utf8(reader.lp()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{Log, header_of};
    use super::*;

    #[test]
    fn a_header_reads_back_what_its_record_says() {
        let log = Log::random(7, 40);
        for (index, record) in log.records.iter().enumerate() {
            let bytes = header_of(&log, index);
            let header = decode_header(&bytes).unwrap();
            assert_eq!((header.seq, header.run_id), (record.seq, record.run_id));
            assert_eq!((header.kind, &header.actor), (&*record.kind, &record.actor));
            assert_eq!((header.ts, header.epoch), (record.ts, record.epoch));
            assert_eq!(header.cmd_id, record.cmd_id);
            assert_eq!(usize::from(header.parts), record.parts.len());
            assert_eq!(
                usize::try_from(header.facts_len).unwrap(),
                record.facts.len()
            );
        }
    }

    #[test]
    fn a_header_with_a_byte_less_or_more_is_refused() {
        let bytes = header_of(&Log::random(7, 3), 2);
        for cut in 0..bytes.len() {
            assert!(decode_header(&bytes[..cut]).is_err(), "{cut}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(decode_header(&longer).is_err());
    }

    #[test]
    fn a_commitment_without_parts_is_refused() {
        let log = Log::random(7, 40);
        let plain = log
            .records
            .iter()
            .position(|record| record.parts.is_empty())
            .unwrap();
        let mut bytes = header_of(&log, plain);
        *bytes.last_mut().unwrap() = 1;
        assert!(decode_header(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut tagged = DOMAIN.to_vec();
            tagged.extend_from_slice(&bytes);
            let _ = decode_header(&bytes);
            let _ = decode_header(&tagged);
        }
    }
}
