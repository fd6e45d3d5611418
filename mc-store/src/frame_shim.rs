//! A private packing of records until `mc_core::audit::frame` is here.

use std::sync::Arc;

use mc_core::error::{Error, Result};
use mc_core::event::{MediaType, Part, PartContent, Record};
use mc_core::id::{Actor, CommandId, Digest, RunId};
use mc_core::time::Timestamp;

use crate::bytes::{Malformed, Reader, Writer};

pub(crate) fn encode(records: &[Record]) -> Vec<u8> {
    let mut out = Writer::default();
    out.number(records.len() as u64);
    for record in records {
        out.raw(record.run_id.as_bytes());
        out.number(record.run_seq);
        out.number(record.epoch);
        out.signed(record.ts.as_unix_us());
        out.text(&record.kind);
        out.text(&record.actor.to_string());
        out.text(record.auth_method.as_str());
        out.number(u64::from(record.schema_ver));
        out.raw(record.cmd_id.as_bytes());
        out.text(&record.facts);
        out.number(record.parts.len() as u64);
        for part in &record.parts {
            out.raw(&part.salt);
            out.number(part.len);
            out.text(part.media_type.as_str());
            match &part.content {
                PartContent::Inline(bytes) => {
                    out.number(0);
                    out.bytes(bytes);
                }
                PartContent::Blob(digest) => {
                    out.number(1);
                    out.raw(digest.as_bytes());
                }
                PartContent::Erased(digest) => {
                    out.number(2);
                    out.raw(digest.as_bytes());
                }
            }
        }
    }
    out.finish()
}

pub(crate) fn decode(first_seq: u64, bytes: &[u8]) -> Result<Vec<Record>> {
    let mut row = Reader::new(bytes);
    let mut seq = first_seq;
    let records = row.list(|row| {
        let record = record(row, seq)?;
        seq += 1;
        Ok(record)
    });
    match (records, row.end()) {
        (Ok(records), Ok(())) => Ok(records),
        _ => Err(Error::corrupt("frame", Some(first_seq))),
    }
}

fn record(row: &mut Reader<'_>, seq: u64) -> Result<Record, Malformed> {
    Ok(Record {
        seq,
        run_id: RunId::from_bytes(row.array()?),
        run_seq: row.number()?,
        epoch: row.number()?,
        ts: Timestamp::from_unix_us(row.signed()?),
        kind: Arc::from(row.text()?),
        actor: Actor::try_from(row.text()?.to_owned()).map_err(|_| Malformed)?,
        auth_method: row.text()?.parse().map_err(|_| Malformed)?,
        schema_ver: u16::try_from(row.number()?).map_err(|_| Malformed)?,
        cmd_id: CommandId::from_bytes(row.array()?),
        facts: Arc::from(row.text()?),
        parts: row.list(part)?,
    })
}

fn part(row: &mut Reader<'_>) -> Result<Part, Malformed> {
    Ok(Part {
        salt: row.array()?,
        len: row.number()?,
        media_type: MediaType::parse(row.text()?).ok_or(Malformed)?,
        content: match row.number()? {
            0 => PartContent::Inline(Arc::from(row.bytes()?)),
            1 => PartContent::Blob(Digest::from_bytes(row.array()?)),
            2 => PartContent::Erased(Digest::from_bytes(row.array()?)),
            _ => return Err(Malformed),
        },
    })
}
