//! Random logs for the tests of this module: what a writer would have stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{
    Blobs, Frontier, Line, NoBlobs, Opening, RunFacts, Sealer, part_commitment, run_genesis,
};
use crate::audit::export::EventLine;
use crate::event::{MediaType, Part, PartContent, Record};
use crate::id::{
    Actor, AgentName, AuthMethod, CommandId, Digest, OperatorName, RunId, WorkspaceId,
};
use crate::time::Timestamp;

/// A small generator of numbers: the same log for the same seed.
/// **Source:** `SplitMix64` by Steele, Lea and Flood, 2014.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.roll().to_le_bytes()[0])
    }
}

/// A log and all that is stored beside it.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub(super) workspace: WorkspaceId,
    pub(super) records: Vec<Record>,
    pub(super) blobs: BTreeMap<Digest, Arc<[u8]>>,
    pub(super) tiles: Vec<Digest>,
    pub(super) frontier: Frontier,
    /// By run: the hash of its last event and its next `run_seq`.
    pub(super) heads: BTreeMap<RunId, (Digest, u64)>,
    pub(super) headers: Vec<Vec<u8>>,
}

impl Blobs for Log {
    fn blob(&self, _run: RunId, digest: &Digest) -> Option<Arc<[u8]>> {
        self.blobs.get(digest).cloned()
    }
}

impl Log {
    /// A log of `len` events in a few runs.
    pub(super) fn random(seed: u64, len: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut log = Self {
            workspace: WorkspaceId::from_bytes(dice.bytes()),
            records: Vec::new(),
            blobs: BTreeMap::new(),
            tiles: Vec::new(),
            frontier: Frontier::new(),
            heads: BTreeMap::new(),
            headers: Vec::new(),
        };
        let mut runs: Vec<RunId> = (0..4).map(|_| RunId::from_bytes(dice.bytes())).collect();
        runs.push(RunId::ZERO);
        let mut sealed = Vec::new();
        for seq in 0..len {
            let run = runs[usize::try_from(dice.below(5)).unwrap()];
            let run = if sealed.contains(&run) {
                RunId::ZERO
            } else {
                run
            };
            let mut record = log.next_record(&mut dice, seq, run);
            if run != RunId::ZERO && record.run_seq > 3 && dice.below(12) == 0 {
                log.make_seal(&mut record);
                sealed.push(run);
            }
            log.append(record);
        }
        log
    }

    fn next_record(&mut self, dice: &mut Dice, seq: u64, run_id: RunId) -> Record {
        let last = self.records.last();
        let ts = last.map_or(1_700_000_000_000_000, |last| last.ts.as_unix_us());
        let same_command = dice.below(3) > 0;
        let cmd_id = last.map(|last| last.cmd_id).filter(|_| same_command);
        let run_seq = self.heads.get(&run_id).map_or(0, |head| head.1);
        let kind = if run_seq == 0 {
            "run.created"
        } else {
            "step.dispatched"
        };
        Record {
            seq,
            run_id,
            run_seq,
            epoch: 1 + seq / 100,
            ts: Timestamp::from_unix_us(ts + i64::try_from(dice.below(3) * 1000).unwrap()),
            kind: Arc::from(kind),
            actor: actor(dice),
            auth_method: [AuthMethod::Library, AuthMethod::Cli][usize::from(dice.below(5) == 0)],
            schema_ver: 1,
            cmd_id: cmd_id.unwrap_or_else(|| CommandId::from_bytes(dice.bytes())),
            facts: facts(dice, run_seq),
            parts: (0..dice.below(4)).map(|_| self.part(dice)).collect(),
        }
    }

    fn part(&mut self, dice: &mut Dice) -> Part {
        let salt = dice.bytes();
        let media_type = [MediaType::Json, MediaType::Text, MediaType::Octets];
        let media_type = media_type[usize::try_from(dice.below(3)).unwrap()];
        let length = usize::try_from(dice.below(40)).unwrap();
        let bytes: Arc<[u8]> = (0..length).map(|_| dice.bytes::<1>()[0]).collect();
        let (salt, content) = match dice.below(4) {
            0 => {
                let digest = Digest::of(&[&bytes]);
                self.blobs.insert(digest, Arc::clone(&bytes));
                (salt, PartContent::Blob(digest))
            }
            1 => (
                [0; 16],
                PartContent::Erased(part_commitment(&salt, media_type, &bytes)),
            ),
            _ => (salt, PartContent::Inline(Arc::clone(&bytes))),
        };
        Part {
            salt,
            len: u64::try_from(length).unwrap(),
            media_type,
            content,
        }
    }

    fn make_seal(&self, record: &mut Record) {
        let (last, count) = self.heads[&record.run_id];
        record.kind = Arc::from("run.sealed");
        record.facts = Arc::from(format!(
            r#"{{"event_count":{count},"last_event_hash":"{last}"}}"#
        ));
    }

    /// Hashes a record and keeps what a writer keeps.
    pub(super) fn append(&mut self, record: Record) {
        let genesis = || {
            let definition = RunFacts::read(&record.facts).unwrap().definition_hash;
            (run_genesis(record.run_id, definition.as_ref()), 0)
        };
        let (prev, _) = self
            .heads
            .get(&record.run_id)
            .copied()
            .unwrap_or_else(genesis);
        let mut sealer = Sealer::new(self.workspace);
        let hash = sealer.seal(&record, &prev, self).unwrap();
        self.headers.push(sealer.header().to_vec());
        if let Some((_, root)) = self.frontier.push(hash) {
            self.tiles.push(root);
        }
        self.heads
            .insert(record.run_id, (hash, record.run_seq.wrapping_add(1)));
        self.records.push(record);
    }

    /// The whole log as export lines.
    pub(super) fn export(&self) -> Vec<Vec<u8>> {
        let opening = Line::Opening(Opening {
            workspace: self.workspace,
            run: None,
            public_key: None,
        });
        let mut lines = vec![opening.to_bytes()];
        for (record, header) in self.records.iter().zip(&self.headers) {
            let line = EventLine::of(record, header, self).unwrap();
            lines.push(Line::Event(line).to_bytes());
        }
        lines.push(Line::Tree(self.frontier.clone()).to_bytes());
        lines
    }

    /// One run as export lines.
    pub(super) fn export_run(&self, run: RunId) -> Vec<Vec<u8>> {
        let opening = Line::Opening(Opening {
            workspace: self.workspace,
            run: Some(run),
            public_key: None,
        });
        let mut lines = vec![opening.to_bytes()];
        let all = self.records.iter().zip(&self.headers);
        for (record, header) in all.filter(|(record, _)| record.run_id == run) {
            let line = EventLine::of(record, header, self).unwrap();
            lines.push(Line::Event(line).to_bytes());
        }
        lines
    }
}

fn actor(dice: &mut Dice) -> Actor {
    match dice.below(4) {
        0 => Actor::Operator(OperatorName::new("R. Sch\u{fc}tz").unwrap()),
        1 => Actor::Agent(AgentName::new("researcher").unwrap()),
        _ => Actor::System,
    }
}

fn facts(dice: &mut Dice, run_seq: u64) -> Arc<str> {
    let cost = dice.below(1_000_000);
    if run_seq == 0 {
        let definition = Digest::from_bytes(dice.bytes());
        return Arc::from(format!(
            r#"{{"definition_hash":"{definition}","cost":{cost}}}"#
        ));
    }
    Arc::from(format!(r#"{{"step":"draft","cost_nano_usd":{cost}}}"#))
}

/// The header of one record of a log.
pub(super) fn header_of(log: &Log, index: usize) -> Vec<u8> {
    log.headers[index].clone()
}

/// A plain record without parts, for tests that need only one.
pub(super) fn plain_record() -> Record {
    let mut record = Log::random(1, 1).records.remove(0);
    record.parts.clear();
    assert!(
        Sealer::new(WorkspaceId::NIL)
            .seal(&record, &Digest::ZERO, &NoBlobs)
            .is_ok()
    );
    record
}
