//! Builders: valid records, rows and batches, with no more said than a test is about.

use std::collections::BTreeMap;
use std::sync::Arc;

use mc_core::budget::Limit;
use mc_core::event::{MAX_INLINE_PART_BYTES, MediaType, Part, PartContent, Record};
use mc_core::id::{
    Actor, AgentName, AuthMethod, CommandId, Digest, RunId, WorkflowName, WorkspaceId,
};
use mc_core::money::NanoUsd;
use mc_core::ports::{Batch, Blob, Head, RunNeeds, RunRow, RunSummary, WorkspaceRow};
use mc_core::run::RunStatus;
use mc_core::time::Timestamp;

/// When the first run starts: 2026-01-01.
const START_MS: u64 = 1_767_225_600_000;
/// The leaves of a tile.
const TILE: u64 = 256;

/// The n-th run: a `UUIDv7` of n milliseconds after the first.
pub fn run_id(n: u64) -> RunId {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&(START_MS + n).to_be_bytes()[2..]);
    bytes[6] = 0x70;
    bytes[8] = 0x80;
    bytes[9..].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[1..]);
    RunId::from_bytes(bytes)
}

/// When a run started, by its id.
fn started_at(run: RunId) -> Timestamp {
    let mut ms = [0; 8];
    ms[2..].copy_from_slice(&run.as_bytes()[..6]);
    let ms = i64::try_from(u64::from_be_bytes(ms)).unwrap_or_default();
    Timestamp::from_unix_us(ms.saturating_mul(1_000))
}

/// The row that a run's events make, for stores that are compared with their log: state and chain
/// head are a hash over the events, needs and status follow from their number.
pub fn folded_row(run: RunId, events: &[Record]) -> RunRow {
    let fold = events.iter().fold(Digest::ZERO, |before, event| {
        let place = [event.seq.to_be_bytes(), event.run_seq.to_be_bytes()].concat();
        Digest::of(&[before.as_bytes(), &place, event.facts.as_bytes()])
    });
    let count = events.len();
    let agents: Vec<AgentName> = AgentName::new("writer").into_iter().collect();
    let last = events.last().map_or(Timestamp::EPOCH, |event| event.ts);
    RunRow {
        summary: RunSummary {
            run_id: run,
            workflow: WorkflowName::new("research").ok(),
            version: 1,
            agents: agents.clone(),
            status: RunStatus::ALL[count % RunStatus::ALL.len()],
            paused: false,
            sealed: false,
            labels: Vec::new(),
            started_at: started_at(run),
            ended_at: None,
            spent: NanoUsd::from_nano(i64::try_from(count).unwrap_or_default()),
            held: NanoUsd::ZERO,
            spent_nested: NanoUsd::ZERO,
            outer: None,
            limit: Limit::default(),
            note: Arc::from(""),
        },
        state: Arc::from(&fold.as_bytes()[..]),
        chain_head: fold,
        next_run_seq: count as u64,
        needs: RunNeeds {
            attention: count % 2 == 1,
            due: (count % 3 == 1).then_some(last),
            agents: if count % 4 == 1 { agents } else { Vec::new() },
        },
    }
}

/// Writes batches one after another, as a sequencer would: dense, in time, run by run.
#[derive(Clone, Debug)]
pub struct Story {
    epoch: u64,
    ts: Timestamp,
    next_seq: u64,
    run_seqs: BTreeMap<RunId, u64>,
    batch: Batch,
}

impl Default for Story {
    fn default() -> Self {
        Self::new()
    }
}

impl Story {
    /// Begins an empty log.
    pub fn new() -> Self {
        Self {
            epoch: 1,
            ts: started_at(run_id(0)),
            next_seq: 0,
            run_seqs: BTreeMap::new(),
            batch: empty_batch(0),
        }
    }

    /// Goes on at a head, in its epoch, with the events that are there.
    pub fn resume(head: Head, events: &[Record]) -> Self {
        let mut story = Self::new();
        story.epoch = head.epoch;
        story.next_seq = head.next_seq;
        story.batch = empty_batch(head.next_seq);
        for event in events {
            story.ts = story.ts.max(event.ts);
            story.run_seqs.insert(event.run_id, event.run_seq + 1);
        }
        story
    }

    /// Where the next event goes.
    pub const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Lets the next events happen at a time, which may not be before the last.
    pub fn at(&mut self, ts: Timestamp) -> &mut Self {
        self.ts = self.ts.max(ts);
        self
    }

    /// Adds an event, by the system; what it gives back may be changed.
    pub fn event(&mut self, run: RunId, kind: &str) -> &mut Record {
        let run_seq = self.run_seqs.entry(run).or_default();
        let record = Record {
            seq: self.next_seq,
            run_id: run,
            run_seq: *run_seq,
            epoch: self.epoch,
            ts: self.ts,
            kind: Arc::from(kind),
            actor: Actor::System,
            auth_method: AuthMethod::Library,
            schema_ver: 1,
            cmd_id: CommandId::from_bytes(*run_id(self.next_seq).as_bytes()),
            facts: Arc::from(format!("{{\"n\":{}}}", self.next_seq)),
            parts: Vec::new(),
        };
        *run_seq += 1;
        self.next_seq += 1;
        if self.next_seq.is_multiple_of(TILE) {
            let tile = self.next_seq / TILE - 1;
            let root = Digest::of(&[b"tile", &tile.to_be_bytes()]);
            self.batch.tiles.push((tile, root));
        }
        let at = self.batch.records.len();
        self.batch.records.push(record);
        &mut self.batch.records[at]
    }

    /// Adds a part to the last event: in the frame if it is small, else as a blob of the run's own
    /// family.
    pub fn part(&mut self, bytes: &[u8]) -> &mut Self {
        let family = self
            .batch
            .records
            .last()
            .map_or(RunId::ZERO, |record| record.run_id);
        let bytes: Arc<[u8]> = Arc::from(bytes);
        let content = if bytes.len() <= MAX_INLINE_PART_BYTES {
            PartContent::Inline(Arc::clone(&bytes))
        } else {
            let digest = Digest::of(&[&bytes]);
            self.batch.blobs.push(Blob {
                family,
                digest,
                bytes: Arc::clone(&bytes),
            });
            PartContent::Blob(digest)
        };
        let part = Part {
            salt: [7; 16],
            len: bytes.len() as u64,
            media_type: MediaType::Octets,
            content,
        };
        if let Some(record) = self.batch.records.last_mut() {
            record.parts.push(part);
        }
        self
    }

    /// Adds a run's row.
    pub fn row(&mut self, row: RunRow) -> &mut Self {
        self.batch.runs.push(row);
        self
    }

    /// The batch so far, to be changed in ways that have no builder.
    pub const fn open_batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    /// Ends the batch and begins the next.
    pub fn batch(&mut self) -> Batch {
        let mut batch = std::mem::replace(&mut self.batch, empty_batch(self.next_seq));
        batch.workspace = workspace(self.next_seq);
        batch
    }
}

fn empty_batch(next_seq: u64) -> Batch {
    Batch {
        records: Vec::new(),
        blobs: Vec::new(),
        runs: Vec::new(),
        accounts: Vec::new(),
        workflows: Vec::new(),
        keys: Vec::new(),
        tiles: Vec::new(),
        workspace: workspace(next_seq),
    }
}

/// The workspace's row behind so many events.
fn workspace(next_seq: u64) -> WorkspaceRow {
    let count = next_seq.to_be_bytes();
    WorkspaceRow {
        workspace_id: WorkspaceId::from_bytes([9; 16]),
        state: Arc::from(&count[..]),
        frontier: Arc::from(&[count, count].concat()[..]),
        chain_head: Digest::of(&[&count]),
        next_run_seq: next_seq,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_start() {
        assert!((0..1_000).is_sorted_by_key(run_id));
    }

    #[test]
    fn a_story_is_dense_in_the_workspace_and_in_each_run() {
        let mut story = Story::new();
        for n in [1, 2, 1] {
            story.event(run_id(n), "run.started");
        }
        let first = story.batch();
        story.event(run_id(1), "run.completed");
        let second = story.batch();
        let places = |batch: &Batch| -> Vec<(u64, u64)> {
            batch.records.iter().map(|r| (r.seq, r.run_seq)).collect()
        };
        assert_eq!(places(&first), [(0, 0), (1, 0), (2, 1)]);
        assert_eq!(places(&second), [(3, 2)]);
    }

    #[test]
    fn large_parts_are_blobs() {
        let mut story = Story::new();
        story.event(run_id(1), "step.completed");
        story.part(&[1; 256]).part(&[2; 257]);
        let batch = story.batch();
        assert_eq!((batch.records[0].parts.len(), batch.blobs.len()), (2, 1));
    }
}
