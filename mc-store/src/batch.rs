//! How a batch is spelled in the journal: everything that its transaction will write, in one piece.
//!
//! Events are a frame, rows are as in `rows`, with what their keys say in front. The search terms of
//! a run follow from its row and are left out.

use std::sync::Arc;

use mc_core::audit::frame;
use mc_core::id::{Digest, RunId, WorkflowName};
use mc_core::ports::{AccountRow, Batch, Blob, KeyRow, RunRow, WorkflowRow};

use crate::bytes::{Malformed, Reader, Writer};
use crate::rows::{self, RunHead};

/// Writes a batch behind what is in `out`.
pub(crate) fn encode(out: &mut Writer, batch: &Batch) {
    out.number(batch.records.first().map_or(0, |record| record.seq));
    out.bytes(&frame::encode(&batch.records));
    put_all(out, &batch.blobs, |out, blob| {
        out.raw(blob.family.as_bytes());
        out.raw(blob.digest.as_bytes());
        out.bytes(&blob.bytes);
    });
    put_all(out, &batch.runs, put_run);
    put_all(out, &batch.accounts, |out, row| {
        out.text(&row.account);
        out.bytes(&row.state);
    });
    put_all(out, &batch.workflows, |out, row| {
        out.text(row.workflow.as_str());
        out.number(u64::from(row.version));
        out.bytes(&rows::encode_workflow(row));
    });
    put_all(out, &batch.keys, |out, row| {
        out.text(row.workflow.as_str());
        out.text(&row.key);
        out.raw(&rows::encode_key(row));
    });
    put_all(out, &batch.tiles, |out, (tile, root)| {
        out.number(*tile);
        out.raw(root.as_bytes());
    });
    out.bytes(&rows::encode_workspace(&batch.workspace));
}

/// Reads a batch.
pub(crate) fn decode(bytes: &[u8]) -> Result<Batch, Malformed> {
    let mut row = Reader::new(bytes);
    let first_seq = row.number()?;
    let batch = Batch {
        records: match row.bytes()? {
            [] => Vec::new(),
            packed => frame::decode(first_seq, packed).map_err(|_| Malformed)?,
        },
        blobs: row.list(blob)?,
        runs: row.list(run)?,
        accounts: row.list(account)?,
        workflows: row.list(workflow)?,
        keys: row.list(key)?,
        tiles: row.list(|row| Ok((row.number()?, Digest::from_bytes(row.array()?))))?,
        workspace: rows::decode_workspace(row.bytes()?)?,
    };
    row.end()?;
    Ok(batch)
}

fn put_all<T>(out: &mut Writer, items: &[T], mut put: impl FnMut(&mut Writer, &T)) {
    out.number(items.len() as u64);
    for item in items {
        put(out, item);
    }
}

fn put_run(out: &mut Writer, row: &RunRow) {
    let head = RunHead {
        needs: row.needs.clone(),
        terms: Vec::new(),
    };
    out.raw(row.summary.run_id.as_bytes());
    out.bytes(&rows::encode_run(row, &head.encode(), &row.state));
}

fn run(row: &mut Reader<'_>) -> Result<RunRow, Malformed> {
    let run_id = RunId::from_bytes(row.array()?);
    let (decoded, state) = rows::decode_run(run_id, row.bytes()?)?;
    Ok(RunRow {
        state: Arc::from(state),
        ..decoded
    })
}

fn blob(row: &mut Reader<'_>) -> Result<Blob, Malformed> {
    Ok(Blob {
        family: RunId::from_bytes(row.array()?),
        digest: Digest::from_bytes(row.array()?),
        bytes: Arc::from(row.bytes()?),
    })
}

fn account(row: &mut Reader<'_>) -> Result<AccountRow, Malformed> {
    Ok(AccountRow {
        account: Arc::from(row.text()?),
        state: Arc::from(row.bytes()?),
    })
}

fn workflow(row: &mut Reader<'_>) -> Result<WorkflowRow, Malformed> {
    let name = workflow_name(row)?;
    let version = u32::try_from(row.number()?).map_err(|_| Malformed)?;
    rows::decode_workflow((name, version), row.bytes()?)
}

fn key(row: &mut Reader<'_>) -> Result<KeyRow, Malformed> {
    let workflow = workflow_name(row)?;
    let key = Arc::from(row.text()?);
    let (run_id, request) = rows::decode_key(&row.array()?)?;
    Ok(KeyRow {
        workflow,
        key,
        run_id,
        request,
    })
}

fn workflow_name(row: &mut Reader<'_>) -> Result<WorkflowName, Malformed> {
    WorkflowName::new(row.text()?).map_err(|_| Malformed)
}
