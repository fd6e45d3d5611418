//! Checking a log: everything that can be checked without a key.
//!
//! A [`Verifier`] is fed in order of `seq` with records or with export lines, and with what is
//! stored beside them: tile roots, chain heads, the frontier. It does not stop at a fault; the
//! report names the first place that a fault may concern. What each check proves is told in
//! `docs/event-log.md`. Read `lines` for export lines and `verdict` for how a place is found.
//! Signatures, rollback and the replay of state are checked elsewhere.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::IgnoredAny;

use super::chain::{REDRIVEN, RunFacts, SEALED, SealFacts};
use super::commit::{Blobs, SealFault, Sealer, run_genesis};
use super::reason::{Fault, Reason};
use super::tree::{Frontier, TILE_LEAVES, TreeHead};
use crate::event::{PartContent, Record};
use crate::id::{Digest, RunId, WorkspaceId};
use crate::time::Timestamp;

mod export;
mod lines;
mod verdict;

#[cfg(test)]
mod export_tests;
#[cfg(test)]
mod tests;

pub use export::ExportVerifier;
use verdict::{Place, Verdict};

/// What is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every event of a workspace.
    Workspace,
    /// The events of one run; there is no tree then.
    Run(RunId),
}

/// What was verified, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it is about.
    pub scope: Scope,
    /// Events seen.
    pub events: u64,
    /// Runs seen, without run zero.
    pub runs: u64,
    /// Runs whose evidence does not end with a seal.
    pub unsealed: u64,
    /// Parts whose bytes fit their commitment.
    pub parts_verified: u64,
    /// Parts of which only the commitment is left.
    pub redacted: u64,
    /// Tiles whose root was the stored one.
    pub tiles_verified: u64,
    /// Whether the end was the stored one, so that nothing is cut off: the frontier of a
    /// workspace, the seal of a run.
    pub end_verified: bool,
    /// The tree over all events; none for one run.
    pub tree: Option<TreeHead>,
    /// The first place that a fault may concern; none if everything fits.
    pub first_bad: Option<Fault>,
}

/// What is known of a run while its events go by.
#[derive(Clone, Copy, Debug)]
struct Chain {
    next: u64,
    head: Digest,
    last_seq: u64,
    sealed: bool,
    row_seen: bool,
}

/// Checks a log.
#[derive(Debug)]
pub struct Verifier {
    workspace: WorkspaceId,
    scope: Scope,
    sealer: Sealer,
    next_seq: u64,
    last: Option<(Place, Timestamp, u64)>,
    runs: BTreeMap<RunId, Chain>,
    frontier: Frontier,
    trail: Vec<Place>,
    done: Option<(u64, Digest, Vec<Place>)>,
    verdict: Verdict,
    report: Report,
}

/// The order of one event.
#[derive(Clone, Copy)]
struct Stand {
    place: Place,
    run_seq: u64,
    epoch: u64,
    ts: Timestamp,
}

impl Verifier {
    /// A verifier that has seen nothing.
    pub fn new(workspace: WorkspaceId, scope: Scope) -> Self {
        Self {
            workspace,
            scope,
            sealer: Sealer::new(workspace),
            next_seq: 0,
            last: None,
            runs: BTreeMap::new(),
            frontier: Frontier::new(),
            trail: Vec::new(),
            done: None,
            verdict: Verdict::default(),
            report: Report {
                scope,
                events: 0,
                runs: 0,
                unsealed: 0,
                parts_verified: 0,
                redacted: 0,
                tiles_verified: 0,
                end_verified: false,
                tree: None,
                first_bad: None,
            },
        }
    }

    /// The sequence number that the next event of a workspace must have.
    pub const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The tree over the events so far.
    pub const fn tree(&self) -> &Frontier {
        &self.frontier
    }

    /// Notes a place that could not be read: the error of `frame::decode`, or a missing frame.
    pub fn damaged(&mut self, fault: Fault) {
        self.verdict.fail(fault.seq, fault.reason);
    }

    /// Takes the next record.
    pub fn record(&mut self, record: &Record, blobs: &dyn Blobs) {
        let stand = Stand {
            place: Place {
                seq: record.seq,
                run: record.run_id,
            },
            run_seq: record.run_seq,
            epoch: record.epoch,
            ts: record.ts,
        };
        self.order(stand);
        self.facts(record.seq, &record.facts);
        let (prev, _) = self.prev(stand, &record.facts);
        let leaf = self.leaf_of(record, &prev, blobs);
        if let Some(seal) = self.link(stand, (&record.kind, &record.facts), leaf)
            && seal.last_event_hash != prev
        {
            // Any event of the run may be the changed one.
            self.verdict.wrong_head(stand.place, Reason::Seal);
        }
    }

    fn leaf_of(&mut self, record: &Record, prev: &Digest, blobs: &dyn Blobs) -> Digest {
        let checked = CheckedBlobs {
            blobs,
            altered: Cell::new(false),
        };
        let leaf = self.sealer.seal(record, prev, &checked);
        let reason = match leaf {
            Ok(_) if !checked.altered.get() => None,
            Ok(_) | Err(SealFault::Length(_)) => Some(Reason::PartCommitment),
            Err(SealFault::Missing(_)) => Some(Reason::PartMissing),
            Err(SealFault::TooLong(_)) => Some(Reason::LeafHash),
        };
        match reason {
            Some(reason) => self.verdict.fail(record.seq, reason),
            None => self.count_parts(record),
        }
        // Without its bytes an event has no hash; what follows cannot fit then, nor need it.
        leaf.unwrap_or(Digest::ZERO)
    }

    fn count_parts(&mut self, record: &Record) {
        for part in &record.parts {
            match part.content {
                PartContent::Inline(_) | PartContent::Blob(_) => self.report.parts_verified += 1,
                PartContent::Erased(_) => self.report.redacted += 1,
            }
        }
    }

    fn order(&mut self, at: Stand) {
        let Place { seq, run } = at.place;
        match self.scope {
            Scope::Workspace if seq != self.next_seq => {
                self.verdict.fail(seq.min(self.next_seq), Reason::DenseSeq);
            }
            Scope::Run(_) if seq < self.next_seq => self.verdict.fail(seq, Reason::DenseSeq),
            Scope::Run(only) if run != only => self.verdict.fail(seq, Reason::Workspace),
            Scope::Workspace | Scope::Run(_) => {}
        }
        if let Some((before, ts, epoch)) = self.last {
            if at.ts < ts {
                self.verdict.goes_back(before, at.place, Reason::TsOrder);
            }
            if at.epoch < epoch {
                self.verdict.goes_back(before, at.place, Reason::EpochOrder);
            }
        }
        self.last = Some((at.place, at.ts, at.epoch));
        self.next_seq = seq.saturating_add(1);
        self.report.events += 1;
    }

    fn facts(&mut self, seq: u64, facts: &str) {
        let object = facts.starts_with('{') && facts.ends_with('}');
        if !object || serde_json::from_str::<IgnoredAny>(facts).is_err() {
            self.verdict.fail(seq, Reason::FactsJson);
        }
    }

    /// The hash that an event must link to, and the run's chain where it has begun.
    fn prev(&mut self, at: Stand, facts: &str) -> (Digest, Option<Chain>) {
        if let Some(chain) = self.runs.get(&at.place.run) {
            return (chain.head, Some(*chain));
        }
        if at.place.run == RunId::ZERO {
            return (Digest::ZERO, None);
        }
        let Some(facts) = RunFacts::read(facts) else {
            self.verdict.fail(at.place.seq, Reason::FactsJson);
            return (Digest::ZERO, None);
        };
        (
            run_genesis(at.place.run, facts.definition_hash.as_ref()),
            None,
        )
    }

    /// Adds an event to its run's chain and to the tree; the result is the seal, if it is one.
    fn link(&mut self, at: Stand, said: (&str, &str), leaf: Digest) -> Option<SealFacts> {
        let Place { seq, run } = at.place;
        let (kind, facts) = said;
        let chain = self.runs.entry(run).or_insert(Chain {
            next: 0,
            head: Digest::ZERO,
            last_seq: seq,
            sealed: false,
            row_seen: false,
        });
        if at.run_seq != chain.next {
            self.verdict.fail(seq, Reason::RunSeq);
        }
        let seals = kind == SEALED && run != RunId::ZERO;
        let seal = seals.then(|| SealFacts::read(facts)).flatten();
        let counts = seal.is_some_and(|seal| seal.event_count == at.run_seq);
        let reopens = kind == REDRIVEN && run != RunId::ZERO;
        if (chain.sealed && !reopens) || seals && !counts {
            self.verdict.fail(seq, Reason::Seal);
        }
        chain.sealed = seals || (chain.sealed && !reopens);
        chain.next = at.run_seq.saturating_add(1);
        chain.head = leaf;
        chain.last_seq = seq;
        if self.scope == Scope::Workspace {
            self.grow(at.place, leaf);
        }
        seal
    }

    fn grow(&mut self, place: Place, leaf: Digest) {
        self.trail.push(place);
        if let Some((tile, root)) = self.frontier.push(leaf) {
            let room = self.done.take().map_or_else(Vec::new, |(_, _, mut old)| {
                old.clear();
                old
            });
            let trail = std::mem::replace(&mut self.trail, room);
            self.done = Some((tile, root, trail));
        }
    }

    /// The tile that the last event completed, for [`Verifier::tile_root`].
    pub fn completed_tile(&self) -> Option<u64> {
        let (tile, _, _) = self.done.as_ref()?;
        self.frontier
            .size()
            .is_multiple_of(TILE_LEAVES)
            .then_some(*tile)
    }

    /// Compares the tile completed last with the root that is stored for it.
    pub fn tile_root(&mut self, stored: Option<&Digest>) {
        let Some((tile, root, trail)) = &self.done else {
            return;
        };
        if stored == Some(root) {
            self.report.tiles_verified += 1;
        } else {
            let first = tile * TILE_LEAVES;
            self.verdict
                .within((first, first + TILE_LEAVES), Reason::TileRoot, trail);
        }
    }

    /// Compares a run's chain with what is stored of its end; after the run's last event.
    ///
    /// Once it was called for one run it must be called for all, run zero included.
    pub fn chain_head(&mut self, run: RunId, head: &Digest, next_run_seq: u64) {
        self.verdict.rows_known();
        match self.runs.get_mut(&run) {
            Some(chain) => {
                chain.row_seen = true;
                if chain.head != *head || chain.next != next_run_seq {
                    let seq = chain.last_seq;
                    self.verdict
                        .wrong_head(Place { seq, run }, Reason::ChainHead);
                }
            }
            None if next_run_seq == 0 => {}
            None => {
                let seq = self.next_seq;
                self.verdict
                    .wrong_head(Place { seq, run }, Reason::ChainHead);
            }
        }
    }

    /// Compares the tree over the events so far with a stored frontier.
    pub fn frontier(&mut self, stored: &Frontier) {
        let size = self.frontier.size();
        if stored.size() > size {
            self.verdict.fail(size, Reason::Truncated);
        } else if stored.size() < size {
            self.verdict.fail(stored.size(), Reason::Frontier);
        } else if let Some(leaves) = self.frontier.first_difference(stored) {
            self.verdict.within(leaves, Reason::Frontier, &self.trail);
        } else {
            self.report.end_verified = true;
        }
    }

    /// Ends the checks.
    pub fn finish(mut self) -> Report {
        let real = |run: &RunId| *run != RunId::ZERO;
        let sealed = self.runs.values().filter(|chain| chain.sealed).count();
        let runs = self.runs.keys().filter(|run| real(run)).count();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        self.report.runs = count(runs);
        self.report.unsealed = count(runs - sealed);
        match self.scope {
            Scope::Workspace => self.report.tree = Some(self.frontier.head()),
            Scope::Run(_) => self.report.end_verified = sealed > 0,
        }
        for (run, chain) in &self.runs {
            let seq = chain.last_seq;
            self.verdict
                .run_ends(Place { seq, run: *run }, chain.row_seen);
        }
        self.report.first_bad = self.verdict.finish();
        self.report
    }
}

/// Looks blobs up and notes those that are not what their digest says.
struct CheckedBlobs<'a> {
    blobs: &'a dyn Blobs,
    altered: Cell<bool>,
}

impl Blobs for CheckedBlobs<'_> {
    fn blob(&self, run: RunId, digest: &Digest) -> Option<Arc<[u8]>> {
        let bytes = self.blobs.blob(run, digest)?;
        if Digest::of(&[&bytes]) != *digest {
            self.altered.set(true);
        }
        Some(bytes)
    }
}
