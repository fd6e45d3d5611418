//! What is halted: who halted it, why, since when, and the command that lets it go on.
//!
//! That something is halted stands in a row; who did it and why only in the event, which is looked up
//! once, from the end of the log.

use mc_core::engine::halts;
use mc_core::error::Result;
use mc_core::event::run::PauseReason;
use mc_core::event::{EventKind, Record};
use mc_core::id::{Actor, AgentName, RunId};
use mc_core::ports::EventLog;
use mc_core::run::read_event;
use mc_core::sequencer::HaltScope;
use mc_core::time::Timestamp;

use super::rows::moment;
use crate::reasons::first_part;
use crate::text::{exposed, quoted};

/// Events that are looked at together.
const PAGE: u64 = 64;

/// A halt in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HaltLine {
    pub(crate) scope: HaltScope,
    /// When what was out has to be gone.
    pub(crate) until: Timestamp,
    pub(crate) by: String,
    pub(crate) since: Option<Timestamp>,
    pub(crate) reason: String,
}

impl HaltLine {
    /// What is halted, by whom, since when and why.
    pub(crate) fn told(&self) -> String {
        let since = self.since.map(|at| format!(" since {}", moment(at)));
        let why = if self.reason.is_empty() {
            String::new()
        } else {
            format!(": {}", self.reason)
        };
        let (scope, since) = (&self.scope, since.unwrap_or_default());
        format!("HALTED {scope} by {}{since}{why}", self.by)
    }

    /// The command that lets it go on.
    pub(crate) fn resumed_by(&self, store: &str) -> String {
        let (scope, db) = (&self.scope, quoted(store));
        format!("  mission-control resume {scope} --db {db}")
    }
}

/// Every halt of the workspace and of agents; those that are known already are not read again.
pub(super) async fn shared(log: &dyn EventLog, known: &[HaltLine]) -> Result<Vec<HaltLine>> {
    let mut lines = Vec::new();
    let halts = halts(log).await?;
    // Read behind them, so that it knows all that they are made of.
    let end = log.workspace_row().await?.map_or(0, |row| row.next_run_seq);
    for halt in halts {
        lines.push(line(log, halt, (known, end)).await?);
    }
    Ok(lines)
}

/// The halt of a run that has so many events.
pub(super) async fn of_run(
    log: &dyn EventLog,
    (run, until): (RunId, Timestamp),
    (known, end): (&[HaltLine], u64),
) -> Result<HaltLine> {
    line(log, (HaltScope::Run(run), until), (known, end)).await
}

async fn line(
    log: &dyn EventLog,
    (scope, until): (HaltScope, Timestamp),
    (known, end): (&[HaltLine], u64),
) -> Result<HaltLine> {
    let same = |line: &&HaltLine| line.scope == scope && line.until == until;
    if let Some(line) = known.iter().find(same) {
        return Ok(line.clone());
    }
    let placed = placed(log, (&scope, until), end).await?;
    let reason = match &placed {
        Some(record) => first_part(log, record).await?,
        None => None,
    };
    let by = placed.as_ref().map(|record| match &record.actor {
        Actor::Operator(name) => exposed(name.as_str().as_bytes()),
        Actor::Agent(_) | Actor::System => record.actor.to_string(),
    });
    Ok(HaltLine {
        scope,
        until,
        by: by.unwrap_or_else(|| "somebody".to_owned()),
        since: placed.map(|record| record.ts),
        reason: reason.map_or_else(String::new, |reason| exposed(reason.as_bytes())),
    })
}

/// The event that put a halt into force: the last one of its kind.
async fn placed(
    log: &dyn EventLog,
    (scope, until): (&HaltScope, Timestamp),
    mut end: u64,
) -> Result<Option<Record>> {
    let run = match scope {
        HaltScope::Run(run) => *run,
        HaltScope::Workspace | HaltScope::Agent(_) => RunId::ZERO,
    };
    while end > 0 {
        let begin = end.saturating_sub(PAGE);
        let limit = usize::try_from(end - begin).unwrap_or(usize::MAX);
        let page = log.read_run(run, begin, limit).await?;
        for record in page.into_iter().rev() {
            if halts_it(&record, scope, until)? {
                return Ok(Some(record));
            }
        }
        end = begin;
    }
    Ok(None)
}

fn halts_it(record: &Record, scope: &HaltScope, until: Timestamp) -> Result<bool> {
    if !["halt.placed", "run.paused"].contains(&&*record.kind) {
        return Ok(false);
    }
    let event = read_event(record)?;
    let reason = PauseReason::Halt { until };
    Ok(match scope {
        HaltScope::Run(_) => {
            matches!(event, EventKind::RunPaused(facts) if facts.reason == reason)
        }
        HaltScope::Workspace | HaltScope::Agent(_) => {
            let of = |agent: Option<&AgentName>| HaltScope::of_agent(agent) == *scope;
            matches!(event, EventKind::HaltPlaced(facts) if facts.until == until && of(facts.agent.as_ref()))
        }
    })
}
