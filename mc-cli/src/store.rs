//! Opening the store: to look at it without the engine, or with the engine to change it.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use mc_core::error::{Error, Result};
use mc_core::event::Record;
use mc_core::id::{AuthMethod, Digest, RunId};
use mc_core::ports::{EventLog, EventQuery, MAX_PAGE, RunQuery, RunRow};
use mc_core::workflow::Definition;
use mission_control::{Builder, MissionControl, Settings};
use serde_json::Value;

use crate::args::Common;
use crate::failure::Failure;

/// How long the engine's threads may take to let go of the log.
const MAX_CLOSE: Duration = Duration::from_secs(5);

/// Events that are read at a time.
pub(crate) const PAGE: usize = 1_000;

/// A log that is open to read.
#[derive(Debug)]
pub(crate) struct Look(mc_link::Looked);

impl Deref for Look {
    type Target = dyn EventLog;

    fn deref(&self) -> &Self::Target {
        &**self.0.log()
    }
}

impl Look {
    /// The process that has the store and answers; none where the file itself is read.
    pub(crate) const fn owner(&self) -> Option<u32> {
        self.0.owner()
    }
}

/// Opens the log to read; nothing in the file changes. Where another process has it, that is asked.
pub(crate) async fn look(common: &Common) -> std::result::Result<Look, Failure> {
    let looked = mc_link::look(&common.db).await;
    looked
        .map(Look)
        .map_err(|error| Failure::store(error, &common.db))
}

/// Follows the store: hears of what moves in it, and never keeps others from owning it.
pub(crate) async fn follow(common: &Common) -> std::result::Result<mc_link::Following, Failure> {
    let following = mc_link::follow(&common.db).await;
    following.map_err(|error| Failure::store(error, &common.db))
}

/// How an engine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// Its time was left to it.
    InOrder,
    /// Somebody could not wait.
    AtOnce,
}

/// The engine over the store.
#[derive(Debug)]
pub(crate) struct Opened {
    /// What drives it.
    pub(crate) control: MissionControl,
}

impl Opened {
    /// Opens the engine, or joins the process that has the store; nothing is dispatched by that.
    pub(crate) async fn open(
        common: &Common,
        settings: Settings,
    ) -> std::result::Result<Self, Failure> {
        let builder = Builder::new()
            .with_settings(settings)
            .with_auth_method(AuthMethod::Cli);
        let opened = builder.open(&common.db).await;
        let control = opened.map_err(|error| Failure::store(error, &common.db))?;
        Ok(Self { control })
    }

    /// Ends the engine and frees the file. What is out when `grace` has passed is in doubt then.
    pub(crate) async fn close(self, grace: Duration) -> Result<()> {
        let stopped = self.control.shutdown(grace).await;
        self.free().await;
        stopped
    }

    /// Ends the engine as [`Self::close`] does, and at once when `hurried` is done before that; the
    /// file is not free yet.
    pub(crate) async fn stop(
        &self,
        grace: Duration,
        hurried: impl Future<Output = ()>,
    ) -> Result<Stopped> {
        tokio::select! {
            stopped = self.control.shutdown(grace) => stopped.map(|()| Stopped::InOrder),
            () = hurried => {
                self.control.shutdown(Duration::ZERO).await?;
                Ok(Stopped::AtOnce)
            }
        }
    }

    /// Frees the file, once the engine has ended.
    pub(crate) async fn free(self) {
        let log = Arc::clone(self.control.log());
        drop(self.control);
        // The engine's threads let go of the log on their own; whoever is last frees the file, and
        // that has to be here, so that the next command can open it.
        let freed = async {
            while Arc::strong_count(&log) > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let _ = tokio::time::timeout(MAX_CLOSE, freed).await;
    }
}

/// The run of an id, or of the beginning of one.
pub(crate) async fn find_run(log: &dyn EventLog, text: &str) -> Result<RunId> {
    if let Ok(run_id) = text.parse::<RunId>() {
        return Ok(run_id);
    }
    let hex = |c: char| c.is_ascii_hexdigit() || c == '-';
    if text.is_empty() || !text.chars().all(hex) {
        return Err(Error::invalid(
            "run",
            "a run is named by its id or the beginning of it",
        ));
    }
    let wanted = text.to_ascii_lowercase();
    let mut found = Vec::new();
    let mut query = RunQuery {
        limit: MAX_PAGE,
        ..RunQuery::default()
    };
    loop {
        let page = log.query_runs(query.clone()).await?;
        let ids = page.items.iter().map(|summary| summary.run_id);
        found.extend(ids.filter(|id| id.to_string().starts_with(&wanted)));
        if found.len() > 1 {
            let rule = format!("several runs begin with `{wanted}`; give more of the id");
            return Err(Error::invalid("run", rule));
        }
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    found.pop().ok_or_else(|| Error::not_found("run", text))
}

/// A run's row.
pub(crate) async fn run_row(log: &dyn EventLog, run_id: RunId) -> Result<RunRow> {
    let row = log.run_row(run_id).await?;
    row.ok_or_else(|| Error::not_found("run", run_id))
}

/// Reads events page by page: of one run, or of the whole workspace.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    log: &'a dyn EventLog,
    run: Option<RunId>,
    next: u64,
    /// Events from this number of the workspace on are left out.
    end: u64,
}

impl<'a> Reader<'a> {
    /// From the first event on.
    pub(crate) const fn new(log: &'a dyn EventLog, run: Option<RunId>) -> Self {
        Self::until(log, run, u64::MAX)
    }

    /// From the first event on, up to and without an event of the workspace.
    pub(crate) const fn until(log: &'a dyn EventLog, run: Option<RunId>, end: u64) -> Self {
        Self {
            log,
            run,
            next: 0,
            end,
        }
    }

    /// The next events; none at the end.
    pub(crate) async fn page(&mut self) -> Result<Vec<Record>> {
        let mut page = match self.run {
            Some(run) => self.log.read_run(run, self.next, PAGE).await?,
            None => self.log.read_workspace(self.next, PAGE).await?,
        };
        page.retain(|record| record.seq < self.end);
        if let Some(last) = page.last() {
            let place = if self.run.is_some() {
                last.run_seq
            } else {
                last.seq
            };
            self.next = place.saturating_add(1);
        }
        Ok(page)
    }
}

/// The definition of a hash, from the event that published it; none for a session.
pub(crate) async fn definition(log: &dyn EventLog, hash: Digest) -> Result<Option<Definition>> {
    let mut query = EventQuery {
        kind: Some("workflow.published".into()),
        limit: MAX_PAGE,
        ..EventQuery::default()
    };
    loop {
        let page = log.query_events(query.clone()).await?;
        for record in &page.items {
            let facts: Value = serde_json::from_str(&record.facts).unwrap_or_default();
            if facts["definition_hash"] == hash.to_string() {
                let part = mc_core::event::PartRef {
                    seq: record.seq,
                    part: 0,
                };
                let bytes = log.read_part(part).await?;
                return Definition::from_canonical(&bytes).map(Some);
            }
        }
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return Ok(None),
        }
    }
}
