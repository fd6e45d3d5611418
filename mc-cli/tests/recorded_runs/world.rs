//! A rehearsal on a file of its own, and its log to look at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mc_cli::rehearse::{RehearseOptions, Report, Summary, UnknownIds, rehearse};
use mission_control::core::event::EventKind;
use mission_control::core::ports::EventLog;
use mission_control::core::run::read_event;
use mission_control::store::{RedbOptions, Threads};
use mission_control::{Record, RunId};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct World {
    dir: Option<TempDir>,
    pub(crate) db: PathBuf,
    pub(crate) summary: Summary,
    pub(crate) line: Value,
    pub(crate) events: Vec<(Record, EventKind)>,
    pub(crate) log: Arc<dyn EventLog>,
}

pub(crate) fn options(file: &Path, db: &Path) -> RehearseOptions {
    RehearseOptions {
        report: Report::Json,
        operator: "ann".to_owned(),
        seed: Some(7),
        ..RehearseOptions::new(file, db)
    }
}

pub(crate) fn all_models(file: &Path, db: &Path) -> RehearseOptions {
    RehearseOptions {
        unknown_ids: UnknownIds::ListAsFree,
        ..options(file, db)
    }
}

/// A directory for a store: in memory where there is one, for a rehearsal syncs ten thousand times
/// and nothing here is about the disk.
pub(crate) fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory).unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// Rehearses on a new file.
pub(crate) fn fresh(file: &Path, make: impl Fn(&Path, &Path) -> RehearseOptions) -> World {
    let dir = directory();
    let db = dir.path().join("r.redb");
    World {
        dir: Some(dir),
        ..at(&make(file, &db))
    }
}

/// Rehearses, and reads the log.
pub(crate) fn at(options: &RehearseOptions) -> World {
    let mut out = Vec::new();
    let began = std::time::Instant::now();
    let summary = rehearse(options, &mut out).unwrap();
    let took = began.elapsed();
    let text = String::from_utf8(out).unwrap();
    let size = std::fs::metadata(&options.db).unwrap().len();
    eprintln!("{} in {took:?}, file of {size} bytes", text.trim());
    let file = RedbOptions {
        threads: Threads::Inline,
        ..RedbOptions::default()
    };
    let log: Arc<dyn EventLog> = Arc::new(file.open_read_only(&options.db).unwrap());
    World {
        dir: None,
        db: options.db.clone(),
        summary,
        line: serde_json::from_str(text.lines().last().unwrap()).unwrap(),
        events: events(log.as_ref()),
        log,
    }
}

fn events(log: &dyn EventLog) -> Vec<(Record, EventKind)> {
    let records = now(log.read_workspace(0, 1_000_000)).unwrap();
    records
        .into_iter()
        .map(|record| {
            let kind = read_event(&record).unwrap();
            (record, kind)
        })
        .collect()
}

/// An inline log is ready at once.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

impl World {
    /// Closes the log; the store stays for as long as the directory.
    pub(crate) fn close(self) -> Option<TempDir> {
        self.dir
    }

    /// The recorded run of each run.
    pub(crate) fn recorded(&self) -> BTreeMap<RunId, String> {
        let created = self.events.iter().filter_map(|(record, kind)| match kind {
            EventKind::RunCreated(facts) => {
                let key = facts.idempotency_key.as_ref().unwrap().as_str();
                Some((
                    record.run_id,
                    key.strip_prefix("rehearse/").unwrap().to_owned(),
                ))
            }
            _ => None,
        });
        created.collect()
    }

    pub(crate) fn count(&self, name: &str) -> usize {
        self.events
            .iter()
            .filter(|(_, kind)| kind.name() == name)
            .count()
    }
}
