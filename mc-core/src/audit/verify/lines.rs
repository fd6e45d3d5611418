//! Checking an event of an export: its header is there, and with it the link to the event before.

use super::verdict::Place;
use super::{Chain, Scope, Stand, Verifier};
use crate::audit::chain::{SEALED, SealFacts};
use crate::audit::commit::{content_commitment, event_hash, facts_hash, part_commitment};
use crate::audit::export::{EventLine, LinePart};
use crate::audit::header::{Header, read_header};
use crate::audit::reason::Reason;
use crate::id::Digest;

impl Verifier {
    /// Takes the next event of an export.
    pub fn line(&mut self, line: &EventLine) {
        self.verdict.linked();
        let Some(header) = read_header(&line.header) else {
            let seq = match self.scope {
                Scope::Workspace => self.next_seq,
                Scope::Run(_) => line.seq,
            };
            self.verdict.fail(seq, Reason::Header);
            return self.skip(seq);
        };
        let stand = Stand {
            place: Place {
                seq: self.said_seq(line.seq, &header),
                run: header.run_id,
            },
            run_seq: header.run_seq,
            epoch: header.epoch,
            ts: header.ts,
        };
        self.copied(stand.place.seq, line, &header);
        self.order(stand);
        self.facts(stand.place.seq, &line.facts);
        self.hashes(stand.place.seq, line, &header);
        let before = self.prev(stand, &line.facts);
        self.check_link(before, stand, (&header, &line.facts));
        let leaf = event_hash(&line.header);
        if let Some(seal) = self.link(stand, (header.kind, &line.facts), leaf)
            && seal.last_event_hash != header.prev_run_hash
        {
            self.verdict.fail(stand.place.seq, Reason::Seal);
        }
    }

    /// Goes on behind the event `seq`, which cannot be read.
    pub(super) fn skip(&mut self, seq: u64) {
        self.next_seq = seq.saturating_add(1);
        // The tree keeps its shape, so that what follows is not found to be cut off.
        self.frontier.push(Digest::ZERO);
    }

    /// Where a line and its header differ, the number that can stand here names the place.
    fn said_seq(&self, line_seq: u64, header: &Header<'_>) -> u64 {
        let fits = |seq: u64| match self.scope {
            Scope::Workspace => seq == self.next_seq,
            Scope::Run(_) => seq >= self.next_seq,
        };
        if fits(line_seq) { line_seq } else { header.seq }
    }

    fn copied(&mut self, seq: u64, line: &EventLine, header: &Header<'_>) {
        let same = line.seq == header.seq
            && line.run_seq == header.run_seq
            && line.kind == header.kind
            && line.parts.len() == usize::from(header.parts);
        if !same {
            self.verdict.fail(seq, Reason::Line);
        }
        if header.workspace_id != self.workspace {
            self.verdict.fail(seq, Reason::Workspace);
        }
    }

    fn hashes(&mut self, seq: u64, line: &EventLine, header: &Header<'_>) {
        let length = usize::try_from(header.facts_len);
        if length != Ok(line.facts.len()) || facts_hash(line.facts.as_bytes()) != header.facts_hash
        {
            self.verdict.fail(seq, Reason::FactsHash);
        }
        let commitments = line.parts.iter().map(|part| match part {
            LinePart::Kept {
                salt,
                media_type,
                bytes,
            } => part_commitment(salt, *media_type, bytes),
            LinePart::Erased { commitment, .. } => *commitment,
        });
        if content_commitment(commitments) != header.content_commit {
            return self.verdict.fail(seq, Reason::PartCommitment);
        }
        for part in &line.parts {
            match part {
                LinePart::Kept { .. } => self.report.parts_verified += 1,
                LinePart::Erased { .. } => self.report.redacted += 1,
            }
        }
    }

    /// Where an event does not link to the one before it, one of the two was changed: a seal tells
    /// which, otherwise the next event does.
    fn check_link(
        &mut self,
        before: (Digest, Option<Chain>),
        at: Stand,
        said: (&Header<'_>, &str),
    ) {
        let (prev, known) = before;
        let (header, facts) = said;
        let seq = at.place.seq;
        let holds = prev == header.prev_run_hash;
        let Some(chain) = known else {
            if !holds {
                self.verdict.fail(seq, Reason::RunChain);
            }
            return;
        };
        let pair = (chain.last_seq, seq);
        if header.run_seq != chain.next {
            // Events are missing in between, which is another fault.
            return;
        }
        self.verdict.link(header.run_id, pair, holds);
        let seals = !holds && header.kind == SEALED;
        if let Some(seal) = seals.then(|| SealFacts::read(facts)).flatten() {
            self.verdict.link(
                header.run_id,
                pair,
                seal.last_event_hash == header.prev_run_hash,
            );
        }
    }
}
