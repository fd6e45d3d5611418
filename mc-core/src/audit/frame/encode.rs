//! Packing records into a frame.

use std::collections::BTreeMap;

use super::{
    ACTOR, AUTH, BLOB, COMMAND, Common, EPOCH, ERASED, INLINE, PARTS, RUN, RUN_SEQ, TS, VERSION_1,
    auth_code, media_code, put_chunk,
};
use crate::audit::wire::{put_counted, put_varint, zigzag};
use crate::event::{Part, PartContent, Record};
use crate::id::{Actor, CommandId, RunId};

/// Packs the records of one commit; the first one's `seq` is the frame's key, and the others must
/// follow it densely. No records make no bytes.
///
/// An inline part's length is taken from its bytes; an erased part's salt is not kept.
pub fn encode(records: &[Record]) -> Vec<u8> {
    let Some(first) = records.first() else {
        return Vec::new();
    };
    let mut encoder = Encoder {
        runs: Table::default(),
        kinds: Table::default(),
        actors: Table::default(),
        next_run_seq: Vec::new(),
        first_run_seq: Vec::new(),
        common: Common::before_first(first.epoch, first.ts.as_unix_us()),
    };
    let mut events = Vec::with_capacity(records.len() * 192);
    let mut scratch = Vec::with_capacity(512);
    for record in records {
        scratch.clear();
        encoder.put(&mut scratch, record);
        put_chunk(&mut events, &scratch);
    }
    let head = encoder.head(records.len(), first);
    let mut out = Vec::with_capacity(1 + head.len() + 10 + events.len());
    out.push(VERSION_1);
    put_chunk(&mut out, &head);
    out.extend_from_slice(&events);
    out
}

/// Values in the order of their first use.
struct Table<K> {
    places: BTreeMap<K, usize>,
    order: Vec<K>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self {
            places: BTreeMap::new(),
            order: Vec::new(),
        }
    }
}

impl<K: Ord + Copy> Table<K> {
    fn place(&mut self, value: K) -> usize {
        let next = self.order.len();
        let place = *self.places.entry(value).or_insert(next);
        if place == next {
            self.order.push(value);
        }
        place
    }
}

struct Encoder<'r> {
    runs: Table<RunId>,
    kinds: Table<&'r str>,
    actors: Table<&'r Actor>,
    next_run_seq: Vec<u64>,
    first_run_seq: Vec<u64>,
    common: Common<&'r Actor, CommandId>,
}

impl<'r> Encoder<'r> {
    fn head(&self, count: usize, first: &Record) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + 20 * self.runs.order.len());
        put_count(&mut out, count);
        put_varint(&mut out, first.epoch);
        put_varint(&mut out, zigzag(first.ts.as_unix_us()));
        put_count(&mut out, self.runs.order.len());
        for (run, run_seq) in self.runs.order.iter().zip(&self.first_run_seq) {
            out.extend_from_slice(run.as_bytes());
            put_varint(&mut out, *run_seq);
        }
        put_count(&mut out, self.kinds.order.len());
        for kind in &self.kinds.order {
            put_counted(&mut out, kind.as_bytes());
        }
        put_count(&mut out, self.actors.order.len());
        for actor in &self.actors.order {
            put_counted(&mut out, actor.to_string().as_bytes());
        }
        out
    }

    fn put(&mut self, out: &mut Vec<u8>, record: &'r Record) {
        let flags_at = out.len();
        out.push(0);
        let mut flags = self.put_place(out, record);
        let kind = self.kinds.place(&record.kind);
        put_count(out, kind);
        flags |= self.put_cause(out, record);
        flags |= self.put_when(out, record);
        if self.common.command != Some(record.cmd_id) {
            out.extend_from_slice(record.cmd_id.as_bytes());
            self.common.command = Some(record.cmd_id);
            flags |= COMMAND;
        }
        put_counted(out, record.facts.as_bytes());
        if !record.parts.is_empty() {
            put_count(out, record.parts.len());
            for part in &record.parts {
                put_part(out, part);
            }
            flags |= PARTS;
        }
        out[flags_at] = flags;
    }

    fn put_place(&mut self, out: &mut Vec<u8>, record: &Record) -> u8 {
        let mut flags = 0;
        let run = self.runs.place(record.run_id);
        if run == self.next_run_seq.len() {
            self.next_run_seq.push(record.run_seq);
            self.first_run_seq.push(record.run_seq);
        }
        if self.common.run != run {
            put_count(out, run);
            self.common.run = run;
            flags |= RUN;
        }
        if self.next_run_seq[run] != record.run_seq {
            put_varint(out, record.run_seq);
            flags |= RUN_SEQ;
        }
        self.next_run_seq[run] = record.run_seq.wrapping_add(1);
        flags
    }

    fn put_cause(&mut self, out: &mut Vec<u8>, record: &'r Record) -> u8 {
        let mut flags = 0;
        if self.common.actor != Some(&record.actor) {
            let actor = self.actors.place(&record.actor);
            put_count(out, actor);
            self.common.actor = Some(&record.actor);
            flags |= ACTOR;
        }
        let auth = (record.auth_method, record.schema_ver);
        if self.common.auth != auth {
            out.push(auth_code(auth.0));
            put_varint(out, u64::from(auth.1));
            self.common.auth = auth;
            flags |= AUTH;
        }
        flags
    }

    fn put_when(&mut self, out: &mut Vec<u8>, record: &Record) -> u8 {
        let mut flags = 0;
        if self.common.epoch != record.epoch {
            put_varint(out, record.epoch);
            self.common.epoch = record.epoch;
            flags |= EPOCH;
        }
        let ts = record.ts.as_unix_us();
        if self.common.ts != ts {
            put_varint(out, zigzag(ts.wrapping_sub(self.common.ts)));
            self.common.ts = ts;
            flags |= TS;
        }
        flags
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    put_varint(out, u64::try_from(count).unwrap_or(u64::MAX));
}

fn put_part(out: &mut Vec<u8>, part: &Part) {
    let form = media_code(part.media_type) << 2;
    match &part.content {
        PartContent::Inline(bytes) => {
            out.push(form | INLINE);
            out.extend_from_slice(&part.salt);
            put_counted(out, bytes);
        }
        PartContent::Blob(digest) => {
            out.push(form | BLOB);
            out.extend_from_slice(&part.salt);
            put_varint(out, part.len);
            out.extend_from_slice(digest.as_bytes());
        }
        PartContent::Erased(commitment) => {
            out.push(form | ERASED);
            put_varint(out, part.len);
            out.extend_from_slice(commitment.as_bytes());
        }
    }
}
