//! `verify`: every check that needs no key, over the store or over an export.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::sync::Arc;

use mc_core::audit::{ExportVerifier, Fault, Frontier, Reason, Report, Scope, Verifier};
use mc_core::error::{Error, ErrorKind, Result};
use mc_core::event::{PartContent, PartRef, Record};
use mc_core::id::{Digest, RunId};
use mc_core::ports::{EventLog, MAX_PAGE, RunQuery, WorkspaceRow};
use serde_json::json;

use super::Done;
use crate::args::{Common, VerifyArgs};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::store::{self, Reader};

/// The bytes of large parts by run and digest.
pub(super) type PartBytes = BTreeMap<(RunId, Digest), Arc<[u8]>>;

pub(super) async fn execute(common: &Common, args: &VerifyArgs, console: &mut Console<'_>) -> Done {
    let report = match &args.export {
        Some(path) => export(path)?,
        None => store(common).await?,
    };
    tell(&report, common, console)
}

fn tell(report: &Report, common: &Common, console: &mut Console<'_>) -> Done {
    let verdict = verdict(report);
    if common.json {
        console.json(&json!({
            "events": report.events, "runs": report.runs, "unsealed": report.unsealed,
            "parts_verified": report.parts_verified, "redacted": report.redacted,
            "tiles_verified": report.tiles_verified, "end_verified": report.end_verified,
            "tree_size": report.tree.as_ref().map(|tree| tree.size),
            "tree_root": report.tree.as_ref().map(|tree| tree.root),
            "first_bad": report.first_bad.map(|fault| {
                json!({"seq": fault.seq, "reason": fault.reason.as_str()})
            }),
            "verdict": verdict,
        }))?;
    } else {
        console.line(counts(report))?;
        console.line(&verdict)?;
    }
    Ok(match report.first_bad {
        Some(_) => Exit::Negative,
        None => Exit::Done,
    })
}

fn counts(report: &Report) -> String {
    let mut lines = vec![
        format!(
            "verified  {} events, {} parts, {} tiles",
            report.events, report.parts_verified, report.tiles_verified
        ),
        format!("redacted  {} parts", report.redacted),
        format!("unsealed  {} of {} runs", report.unsealed, report.runs),
    ];
    if let Some(tree) = &report.tree {
        lines.push(format!("root      {} of {} events", tree.root, tree.size));
    }
    lines.join("\n")
}

fn verdict(report: &Report) -> String {
    match (&report.first_bad, report.end_verified) {
        (Some(fault), _) => format!(
            "tampered: first bad seq {}, reason {}",
            fault.seq, fault.reason
        ),
        (None, true) => "chain verified, no checkpoint yet".to_owned(),
        (None, false) => {
            "chain verified as far as it goes, no seal and no checkpoint yet".to_owned()
        }
    }
}

async fn store(common: &Common) -> std::result::Result<Report, Failure> {
    let log = store::look(common).await?;
    let row = log
        .workspace_row()
        .await
        .map_err(|error| unreadable(error, common))?;
    let row = row.ok_or_else(|| {
        let error = Error::new(ErrorKind::NotFound, "the store has no events yet");
        Failure::store(error, &common.db).with_next("start a run first: `mission-control run`")
    })?;
    let mut verifier = Verifier::new(row.workspace_id, Scope::Workspace);
    let store = Store {
        log: &*log,
        row: &row,
        is_moving: log.owner().is_some(),
    };
    match store.check(&mut verifier).await {
        Ok(()) => {}
        Err(error) => match Fault::from_error(&error) {
            Some(fault) => verifier.damaged(fault),
            None => return Err(unreadable(error, common)),
        },
    }
    Ok(verifier.finish())
}

/// A place that cannot be read and has no sequence number.
fn unreadable(error: Error, common: &Common) -> Failure {
    Failure::store(error, &common.db).with_next("keep the file and restore a backup")
}

/// A store that is verified as far as its workspace's row goes.
struct Store<'a> {
    log: &'a dyn EventLog,
    row: &'a WorkspaceRow,
    /// Another process writes on meanwhile.
    is_moving: bool,
}

impl Store<'_> {
    async fn check(&self, verifier: &mut Verifier) -> Result<()> {
        let frontier = Frontier::decode(&self.row.frontier);
        let end = match &frontier {
            Ok(frontier) if self.is_moving => frontier.size(),
            Ok(_) | Err(_) => u64::MAX,
        };
        let mut reader = Reader::until(self.log, None, end);
        let mut lengths: BTreeMap<RunId, u64> = BTreeMap::new();
        loop {
            let page = reader.page().await?;
            if page.is_empty() {
                break;
            }
            for record in &page {
                lengths.insert(record.run_id, record.run_seq.saturating_add(1));
                let parts = parts(self.log, record).await?;
                verifier.record(record, &|run: RunId, digest: &Digest| {
                    parts.get(&(run, *digest)).cloned()
                });
                if let Some(tile) = verifier.completed_tile() {
                    let root = self.log.tile_root(tile).await?;
                    verifier.tile_root(root.as_ref());
                }
            }
        }
        self.ends(&lengths, verifier).await?;
        match frontier {
            Ok(frontier) => verifier.frontier(&frontier),
            Err(_) => verifier.damaged(Fault::new(verifier.next_seq(), Reason::Frontier)),
        }
        Ok(())
    }

    /// Compares the end of each chain with its row. Where the store moves, a run may have gone on
    /// since its events were read: such a row is of a later end than was verified.
    async fn ends(&self, lengths: &BTreeMap<RunId, u64>, verifier: &mut Verifier) -> Result<()> {
        let row = self.row;
        verifier.chain_head(RunId::ZERO, &row.chain_head, row.next_run_seq);
        let mut query = RunQuery {
            limit: MAX_PAGE,
            ..RunQuery::default()
        };
        loop {
            let page = self.log.query_runs(query.clone()).await?;
            for summary in &page.items {
                let id = summary.run_id;
                let run = store::run_row(self.log, id).await?;
                let known = lengths.get(&id).copied().unwrap_or(0);
                if !(self.is_moving && run.next_run_seq > known) {
                    verifier.chain_head(id, &run.chain_head, run.next_run_seq);
                }
            }
            match page.next {
                Some(next) => query.cursor = Some(next),
                None => return Ok(()),
            }
        }
    }
}

/// The bytes of a record's large parts. One that is not found is the verifier's to tell.
pub(super) async fn parts(log: &dyn EventLog, record: &Record) -> Result<PartBytes> {
    let mut bytes = PartBytes::new();
    for (part, place) in record.parts.iter().zip(0_u16..) {
        if let PartContent::Blob(digest) = &part.content {
            let place = PartRef {
                seq: record.seq,
                part: place,
            };
            match log.read_part(place).await {
                Ok(found) => {
                    bytes.insert((record.run_id, *digest), found);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::Corrupt => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(bytes)
}

fn export(path: &Path) -> std::result::Result<Report, Failure> {
    let file = File::open(path).map_err(|error| Failure::file(&error, path))?;
    let mut lines = BufReader::new(file).split(b'\n');
    let first = lines
        .next()
        .transpose()
        .map_err(|error| Failure::file(&error, path))?;
    let mut verifier = ExportVerifier::open(&first.unwrap_or_default())
        .map_err(|error| Failure::no_export(error, path))?;
    for line in lines {
        verifier.line(&line.map_err(|error| Failure::file(&error, path))?);
    }
    Ok(verifier.finish())
}
