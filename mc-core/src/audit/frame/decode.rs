//! Reading a frame: strictly, without panics, and without believing a length.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{
    ACTOR, AUTH, AUTH_METHODS, BLOB, COMMAND, Common, EPOCH, ERASED, INLINE, MEDIA_TYPES, PARTS,
    RUN, RUN_SEQ, TS, VERSION_1,
};
use crate::audit::crc::crc32c;
use crate::audit::reason::{Fault, Reason};
use crate::audit::wire::{Reader, length, unzigzag};
use crate::error::Result;
use crate::event::{Part, PartContent, Record};
use crate::id::{Actor, AuthMethod, CommandId, Digest, RunId};
use crate::time::Timestamp;

// Room that is made before anything was read; more is made as events really come.
const FIRST_ROOM: usize = 256;

/// Unpacks a frame whose key is `first_seq`.
///
/// # Errors
/// `Corrupt` with the first sequence number that cannot be read and a reason: `frame_version`,
/// `frame_length`, `frame_check`, `frame_table`, `frame_record`.
pub fn decode(first_seq: u64, frame: &[u8]) -> Result<Vec<Record>> {
    read(first_seq, frame).map_err(Into::into)
}

fn read(first_seq: u64, frame: &[u8]) -> std::result::Result<Vec<Record>, Fault> {
    let at_head = |reason| Fault::new(first_seq, reason);
    let Some((&VERSION_1, rest)) = frame.split_first() else {
        return Err(at_head(Reason::FrameVersion));
    };
    let mut reader = Reader::new(rest);
    let head = chunk(&mut reader).map_err(at_head)?;
    let mut decoder = Decoder::read(head).ok_or(at_head(Reason::FrameTable))?;
    let mut records = Vec::with_capacity(FIRST_ROOM.min(decoder.count));
    let mut seq = first_seq;
    for _ in 0..decoder.count {
        let fault = |reason| Fault::new(seq, reason);
        let bytes = chunk(&mut reader).map_err(fault)?;
        let record = decoder
            .record(seq, bytes)
            .ok_or(fault(Reason::FrameRecord))?;
        records.push(record);
        seq = seq.checked_add(1).ok_or(fault(Reason::FrameRecord))?;
    }
    if !reader.is_empty() {
        return Err(Fault::new(seq, Reason::FrameLength));
    }
    if !decoder.all_used() {
        return Err(at_head(Reason::FrameTable));
    }
    Ok(records)
}

fn chunk<'a>(reader: &mut Reader<'a>) -> std::result::Result<&'a [u8], Reason> {
    let bytes = reader.counted().ok_or(Reason::FrameLength)?;
    let check = reader.u32().ok_or(Reason::FrameLength)?;
    if crc32c(bytes) == check {
        Ok(bytes)
    } else {
        Err(Reason::FrameCheck)
    }
}

/// A table whose entries must be used first in their order.
struct Table<T> {
    entries: Vec<T>,
    used: usize,
}

impl<T: Clone> Table<T> {
    fn new(entries: Vec<T>) -> Self {
        Self { entries, used: 0 }
    }

    fn entry(&mut self, place: usize) -> Option<T> {
        if place > self.used {
            return None;
        }
        let entry = self.entries.get(place)?.clone();
        if place == self.used {
            self.used += 1;
        }
        Some(entry)
    }

    fn all_used(&self) -> bool {
        self.used == self.entries.len()
    }
}

struct Decoder {
    count: usize,
    runs: Table<RunId>,
    next_run_seq: Vec<u64>,
    kinds: Table<Arc<str>>,
    actors: Table<Actor>,
    common: Common<usize, CommandId>,
}

impl Decoder {
    fn read(head: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(head);
        let count = usize::try_from(reader.varint()?).ok()?;
        let epoch = reader.varint()?;
        let ts = unzigzag(reader.varint()?);
        let (mut runs, mut next_run_seq) = (Vec::new(), Vec::new());
        for _ in 0..reader.varint()? {
            runs.push(RunId::from_bytes(reader.array()?));
            next_run_seq.push(reader.varint()?);
        }
        let kinds = texts(&mut reader)?;
        let actors = texts(&mut reader)?
            .into_iter()
            .map(|text| text.parse().ok())
            .collect::<Option<Vec<_>>>()?;
        let sound = count > 0 && reader.is_empty() && distinct(&runs) && distinct(&kinds);
        (sound && distinct(&actors)).then(|| Self {
            count,
            runs: Table::new(runs),
            next_run_seq,
            kinds: Table::new(kinds.into_iter().map(Arc::from).collect()),
            actors: Table::new(actors),
            common: Common::before_first(epoch, ts),
        })
    }

    fn all_used(&self) -> bool {
        self.runs.all_used() && self.kinds.all_used() && self.actors.all_used()
    }

    fn record(&mut self, seq: u64, bytes: &[u8]) -> Option<Record> {
        let mut reader = Reader::new(bytes);
        let flags = reader.byte()?;
        let (run_id, run_seq) = self.place(&mut reader, flags)?;
        let kind = self.kinds.entry(index(&mut reader)?)?;
        let actor = self.cause(&mut reader, flags)?;
        self.when(&mut reader, flags)?;
        let cmd_id = self.command(&mut reader, flags)?;
        let facts = std::str::from_utf8(reader.counted()?).ok()?;
        let parts = if flags & PARTS == 0 {
            Vec::new()
        } else {
            parts(&mut reader)?
        };
        let (auth_method, schema_ver) = self.common.auth;
        reader.is_empty().then(|| Record {
            seq,
            run_id,
            run_seq,
            epoch: self.common.epoch,
            ts: Timestamp::from_unix_us(self.common.ts),
            kind,
            actor,
            auth_method,
            schema_ver,
            cmd_id,
            facts: Arc::from(facts),
            parts,
        })
    }

    fn place(&mut self, reader: &mut Reader<'_>, flags: u8) -> Option<(RunId, u64)> {
        if flags & RUN != 0 {
            change(&mut self.common.run, index(reader)?)?;
        }
        let run_id = self.runs.entry(self.common.run)?;
        let next = self.next_run_seq.get_mut(self.common.run)?;
        if flags & RUN_SEQ != 0 {
            change(next, reader.varint()?)?;
        }
        let run_seq = *next;
        *next = run_seq.wrapping_add(1);
        Some((run_id, run_seq))
    }

    fn cause(&mut self, reader: &mut Reader<'_>, flags: u8) -> Option<Actor> {
        if flags & ACTOR != 0 {
            change(&mut self.common.actor, Some(index(reader)?))?;
        }
        let actor = self.actors.entry(self.common.actor?)?;
        if flags & AUTH != 0 {
            let method = auth_method(reader.byte()?)?;
            let schema_ver = u16::try_from(reader.varint()?).ok()?;
            change(&mut self.common.auth, (method, schema_ver))?;
        }
        Some(actor)
    }

    fn when(&mut self, reader: &mut Reader<'_>, flags: u8) -> Option<()> {
        if flags & EPOCH != 0 {
            change(&mut self.common.epoch, reader.varint()?)?;
        }
        if flags & TS != 0 {
            let ts = self.common.ts.wrapping_add(unzigzag(reader.varint()?));
            change(&mut self.common.ts, ts)?;
        }
        Some(())
    }

    fn command(&mut self, reader: &mut Reader<'_>, flags: u8) -> Option<CommandId> {
        if flags & COMMAND != 0 {
            let command = CommandId::from_bytes(reader.array()?);
            change(&mut self.common.command, Some(command))?;
        }
        self.common.command
    }
}

/// Takes a new value; a "change" to the same value would be a second spelling.
fn change<T: PartialEq>(place: &mut T, value: T) -> Option<()> {
    if *place == value {
        return None;
    }
    *place = value;
    Some(())
}

fn index(reader: &mut Reader<'_>) -> Option<usize> {
    usize::try_from(reader.varint()?).ok()
}

fn auth_method(code: u8) -> Option<AuthMethod> {
    AUTH_METHODS.get(usize::from(code)).copied()
}

fn texts<'a>(reader: &mut Reader<'a>) -> Option<Vec<&'a str>> {
    let mut texts = Vec::new();
    for _ in 0..reader.varint()? {
        texts.push(std::str::from_utf8(reader.counted()?).ok()?);
    }
    Some(texts)
}

fn distinct<T: Ord>(values: &[T]) -> bool {
    values.iter().collect::<BTreeSet<_>>().len() == values.len()
}

fn parts(reader: &mut Reader<'_>) -> Option<Vec<Part>> {
    let count = reader.varint()?;
    if count == 0 {
        return None;
    }
    let mut parts = Vec::new();
    for _ in 0..count {
        parts.push(part(reader)?);
    }
    Some(parts)
}

fn part(reader: &mut Reader<'_>) -> Option<Part> {
    let tag = reader.byte()?;
    let media_type = *MEDIA_TYPES.get(usize::from(tag >> 2))?;
    match tag & 3 {
        INLINE => {
            let salt = reader.array()?;
            let bytes = reader.counted()?;
            Some(Part {
                salt,
                len: length(bytes),
                media_type,
                content: PartContent::Inline(Arc::from(bytes)),
            })
        }
        BLOB => Some(Part {
            salt: reader.array()?,
            len: reader.varint()?,
            media_type,
            content: PartContent::Blob(Digest::from_bytes(reader.array()?)),
        }),
        ERASED => Some(Part {
            salt: [0; 16],
            len: reader.varint()?,
            media_type,
            content: PartContent::Erased(Digest::from_bytes(reader.array()?)),
        }),
        _ => None,
    }
}
