//! Hashes over facts, content and events, and the sealer that puts them together.
//!
//! A part's commitment needs its bytes: inline ones are in the record, those of blobs come through
//! [`Blobs`], and an erased part has only its commitment left. Read `tree` next.

use std::fmt;
use std::sync::Arc;

use super::header::{Links, write_header};
use crate::error::Error;
use crate::event::{MediaType, Part, PartContent, Record};
use crate::id::{Digest, RunId, WorkspaceId};

/// Finds the bytes of large parts.
pub trait Blobs {
    /// The bytes of the blob `digest` that an event of `run` refers to; none where it is gone.
    fn blob(&self, run: RunId, digest: &Digest) -> Option<Arc<[u8]>>;
}

/// Finds nothing: for records without blobs.
#[derive(Clone, Copy, Debug)]
pub struct NoBlobs;

impl Blobs for NoBlobs {
    fn blob(&self, _run: RunId, _digest: &Digest) -> Option<Arc<[u8]>> {
        None
    }
}

impl<F: Fn(RunId, &Digest) -> Option<Arc<[u8]>>> Blobs for F {
    fn blob(&self, run: RunId, digest: &Digest) -> Option<Arc<[u8]>> {
        self(run, digest)
    }
}

/// Why an event cannot be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealFault {
    /// A field is longer than the header allows.
    #[error("the {0} of an event are longer than its header allows")]
    TooLong(&'static str),
    /// A blob's bytes were not found.
    #[error("the bytes of part {0} are missing")]
    Missing(usize),
    /// A part's bytes are not as many as it says.
    #[error("part {0} has another length than it says")]
    Length(usize),
}

impl From<SealFault> for Error {
    fn from(fault: SealFault) -> Self {
        Self::internal("an event cannot be hashed").with_source(fault)
    }
}

/// The hash of an event's facts, exactly as they are stored.
pub fn facts_hash(facts: &[u8]) -> Digest {
    Digest::of(&[b"mc-facts/v1\n", facts])
}

/// The commitment to one part: it tells nothing of the bytes without the salt.
pub fn part_commitment(salt: &[u8; 16], media_type: MediaType, bytes: &[u8]) -> Digest {
    let text = media_type.as_str();
    // The three texts are shorter than 64 KiB.
    let text_len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    Digest::of(&[
        b"mc-part/v1\n",
        salt,
        &super::wire::length(bytes).to_be_bytes(),
        &text_len.to_be_bytes(),
        text.as_bytes(),
        bytes,
    ])
}

/// The hash over the commitments of all parts; zeros where there are none.
pub fn content_commitment(parts: impl IntoIterator<Item = Digest>) -> Digest {
    let mut parts = parts.into_iter().peekable();
    if parts.peek().is_none() {
        return Digest::ZERO;
    }
    Digest::of_digests(b"mc-content/v1\n", parts)
}

/// The hash of an event: of its header, as a leaf of the tree.
pub fn event_hash(header: &[u8]) -> Digest {
    Digest::of(&[&[0], header])
}

/// What the first event of a run has as its previous hash: zeros for run zero and for a session,
/// which have no definition.
pub fn run_genesis(run: RunId, definition_hash: Option<&Digest>) -> Digest {
    match definition_hash {
        Some(definition) if run != RunId::ZERO => {
            Digest::of(&[b"mc-run/v1\n", run.as_bytes(), definition.as_bytes()])
        }
        Some(_) | None => Digest::ZERO,
    }
}

/// Hashes records one after the other into one buffer.
pub struct Sealer {
    workspace: WorkspaceId,
    // The leaf's domain byte stands before the header, so that one pass hashes both.
    leaf: Vec<u8>,
}

impl Sealer {
    /// A sealer for the events of a workspace.
    pub fn new(workspace: WorkspaceId) -> Self {
        Self {
            workspace,
            leaf: Vec::with_capacity(512),
        }
    }

    /// Hashes a record behind `prev`, the hash of the event before it in its run or the run's
    /// genesis. The result is the run's new chain head and the tree's next leaf.
    ///
    /// # Errors
    /// A [`SealFault`]: a blob that is not found, a wrong length, a field too long for the header.
    pub fn seal(
        &mut self,
        record: &Record,
        prev: &Digest,
        blobs: &dyn Blobs,
    ) -> Result<Digest, SealFault> {
        let content_commit = content_of(record, blobs)?;
        self.leaf.clear();
        self.leaf.push(0);
        let links = Links {
            workspace: self.workspace,
            prev_run_hash: prev,
            content_commit: &content_commit,
            facts_hash: &facts_hash(record.facts.as_bytes()),
        };
        write_header(&mut self.leaf, record, links)?;
        Ok(Digest::of(&[&self.leaf]))
    }

    /// The header of the record that was sealed last; empty before the first.
    pub fn header(&self) -> &[u8] {
        self.leaf.get(1..).unwrap_or_default()
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("workspace", &self.workspace)
            .finish_non_exhaustive()
    }
}

fn content_of(record: &Record, blobs: &dyn Blobs) -> Result<Digest, SealFault> {
    let commitment = |(index, part): (usize, &Part)| match &part.content {
        PartContent::Erased(commitment) => Ok(*commitment),
        PartContent::Inline(bytes) => committed(index, part, bytes),
        PartContent::Blob(digest) => {
            let bytes = blobs.blob(record.run_id, digest);
            committed(index, part, &bytes.ok_or(SealFault::Missing(index))?)
        }
    };
    let parts = record.parts.iter().enumerate().map(commitment);
    Ok(content_commitment(parts.collect::<Result<Vec<_>, _>>()?))
}

fn committed(index: usize, part: &Part, bytes: &[u8]) -> Result<Digest, SealFault> {
    if super::wire::length(bytes) != part.len {
        return Err(SealFault::Length(index));
    }
    Ok(part_commitment(&part.salt, part.media_type, bytes))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Log;
    use super::*;

    fn with_a_part() -> Record {
        let records = Log::random(3, 60).records;
        let inline = |part: &Part| matches!(part.content, PartContent::Inline(_));
        let all_inline = |r: &Record| !r.parts.is_empty() && r.parts.iter().all(inline);
        records.into_iter().find(all_inline).unwrap()
    }

    fn sealed(record: &Record) -> Result<Digest, SealFault> {
        let found = |_: RunId, _: &Digest| None;
        Sealer::new(WorkspaceId::NIL).seal(record, &Digest::ZERO, &found)
    }

    #[test]
    fn erasing_a_part_leaves_the_hash_as_it_was() {
        let mut record = with_a_part();
        let before = sealed(&record).unwrap();
        for part in &mut record.parts {
            if let PartContent::Inline(bytes) = &part.content {
                let commitment = part_commitment(&part.salt, part.media_type, bytes);
                part.content = PartContent::Erased(commitment);
                part.salt = [0; 16];
            }
        }
        assert_eq!(sealed(&record), Ok(before));
    }

    #[test]
    fn a_part_with_another_salt_has_another_commitment() {
        let mut record = with_a_part();
        let before = sealed(&record).unwrap();
        record.parts[0].salt[0] ^= 1;
        assert_ne!(sealed(&record), Ok(before));
    }

    #[test]
    fn what_does_not_fit_the_header_is_refused() {
        let mut record = with_a_part();
        record.parts.clear();
        record.kind = Arc::from("x".repeat(65_536));
        assert_eq!(sealed(&record), Err(SealFault::TooLong("text")));
    }

    #[test]
    fn a_missing_blob_and_a_wrong_length_are_refused() {
        let mut record = with_a_part();
        record.parts[0].len += 1;
        assert_eq!(sealed(&record), Err(SealFault::Length(0)));
        record.parts[0].content = PartContent::Blob(Digest::ZERO);
        assert_eq!(sealed(&record), Err(SealFault::Missing(0)));
        let error = Error::from(SealFault::Missing(0));
        assert_eq!(error.kind(), crate::error::ErrorKind::Internal);
    }

    #[test]
    fn only_a_run_with_a_definition_has_a_genesis() {
        let run = RunId::from_bytes([1; 16]);
        let definition = Digest::of(&[b"a definition"]);
        assert_eq!(run_genesis(run, None), Digest::ZERO);
        assert_eq!(run_genesis(RunId::ZERO, Some(&definition)), Digest::ZERO);
        assert_ne!(run_genesis(run, Some(&definition)), Digest::ZERO);
    }
}
