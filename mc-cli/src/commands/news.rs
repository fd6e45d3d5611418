//! `watch`: a line for each event that a person cares about, as it happens.

use std::io;
use std::sync::Arc;

use mc_core::error::{Error, ErrorKind};
use mc_core::event::Record;
use mc_core::ports::{EventLog, EventQuery};
use mc_link::Following;
use serde_json::Value;

use super::Done;
use super::watched::Watched;
use crate::args::{Common, WatchArgs};
use crate::console::Console;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::moment::in_past;
use crate::news::Told;
use crate::reasons;
use crate::store::{self, find_run, run_row};

/// Events whose first part is what somebody, or something, said about it.
const SPEAKING: &[&str] = &[
    "admission.judged",
    "approval.decided",
    "approval.refused",
    "approval.voided",
    "attempt.failed",
    "budget.frozen",
    "budget.limit_set",
    "budget.reconciled",
    "budget.topped_up",
    "budget.unfrozen",
    "guardrail.judged",
    "halt.lifted",
    "halt.placed",
    "model_call.released",
    "run.aborted",
    "run.paused",
    "run.redriven",
    "run.resumed",
    "step.failed",
    "step.resolved",
    "step.unblocked",
    "tool_call.denied",
    "tool_call.failed",
];

/// Whether more can come.
enum Then {
    More,
    Sealed,
}

/// Why it cannot be told on.
enum Stop {
    Store(Error),
    Output(io::Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

pub(super) async fn execute(common: &Common, args: &WatchArgs, console: &mut Console<'_>) -> Done {
    let following = store::follow(common).await?;
    let mut watched = begin(&following, args).await?;
    loop {
        match tell(&following, &mut watched, (common, console)).await {
            Ok(Then::Sealed) => return Ok(Exit::Done),
            Ok(Then::More) => {}
            // Its owner went away meanwhile: it is read on when somebody comes or goes.
            Err(Stop::Store(error)) if error.kind() == ErrorKind::Unavailable => {}
            Err(Stop::Store(error)) => return Err(error.into()),
            Err(Stop::Output(error)) => return Err(error.into()),
        }
        while !watched.is_meant(&following.moved().await?) {}
    }
}

async fn begin(following: &Following, args: &WatchArgs) -> Result<Watched, Failure> {
    let looked = following.log().await?;
    let log = &**looked.log();
    if let Some(text) = &args.run {
        let run = find_run(log, text).await?;
        run_row(log, run).await?;
        return Ok(Watched::run(run));
    }
    let mut next = log.head().await?.next_seq;
    if let Some(since) = &args.since {
        let query = EventQuery {
            from: Some(in_past("--since", since).map_err(Failure::usage)?),
            limit: 1,
            ..EventQuery::default()
        };
        let first = log.query_events(query).await?.items;
        next = first.first().map_or(next, |record| record.seq);
    }
    Ok(Watched::All(next))
}

/// Tells what is there and was not told yet.
async fn tell(
    following: &Following,
    watched: &mut Watched,
    (common, console): (&Common, &mut Console<'_>),
) -> Result<Then, Stop> {
    loop {
        let page = read(following, watched).await?;
        if page.is_empty() {
            return Ok(Then::More);
        }
        // Nothing is open any more: whoever reads slowly keeps nobody from the file.
        for (record, said) in &page {
            if let Some(told) = Told::of(record, said.as_deref()) {
                if common.json {
                    console.json(&told.json())?;
                } else {
                    console.line(told.text())?;
                }
                console.out.flush()?;
            }
            if watched.told(record)? {
                return Ok(Then::Sealed);
            }
        }
    }
}

/// The events that were not told yet, a page of them, each with what was said in it.
async fn read(
    following: &Following,
    watched: &mut Watched,
) -> Result<Vec<(Record, Option<Arc<str>>)>, Error> {
    let looked = following.log().await?;
    let log = &**looked.log();
    let mut page = Vec::new();
    for record in watched.page(log).await? {
        let said = said(log, &record).await?;
        page.push((record, said));
    }
    Ok(page)
}

/// What an event says in words: its message, or the reason that somebody gave.
async fn said(log: &dyn EventLog, record: &Record) -> Result<Option<Arc<str>>, Error> {
    if !SPEAKING.contains(&&*record.kind) {
        return Ok(None);
    }
    let Some(text) = reasons::first_part(log, record).await? else {
        return Ok(None);
    };
    let given: Value = serde_json::from_str(&text).unwrap_or_default();
    let reason = given["reason"].as_str().or_else(|| given.as_str());
    Ok(Some(reason.map_or(text, Arc::from)))
}
