//! What is watched: all that happens, or a run with those nested in it, in the order in which it happened.

use std::collections::VecDeque;

use mc_core::error::Result;
use mc_core::event::{EventKind, Record};
use mc_core::id::RunId;
use mc_core::ports::EventLog;
use mc_core::run::read_event;
use mc_link::Moved;

use crate::store::PAGE;

/// What is watched, and how far it was told.
pub(super) enum Watched {
    /// Everything, from this event on.
    All(u64),
    /// A run, and those nested in it.
    Family(Vec<Member>),
}

/// A run of a family.
pub(super) struct Member {
    run: RunId,
    /// The first of its events that was not read yet.
    next: u64,
    /// What was read and not told.
    ready: VecDeque<Record>,
    /// Whether there may be more to read than that.
    more: bool,
    sealed: bool,
}

impl Member {
    const fn of(run: RunId) -> Self {
        Self {
            run,
            next: 0,
            ready: VecDeque::new(),
            more: true,
            sealed: false,
        }
    }

    async fn read(&mut self, log: &dyn EventLog) -> Result<()> {
        if self.sealed || !self.ready.is_empty() {
            return Ok(());
        }
        self.ready = log.read_run(self.run, self.next, PAGE).await?.into();
        self.more = self.ready.len() >= PAGE;
        let last = self.ready.back();
        self.next = last.map_or(self.next, |last| last.run_seq.saturating_add(1));
        Ok(())
    }
}

impl Watched {
    /// A run, from its first event.
    pub(super) fn run(run: RunId) -> Self {
        Self::Family(vec![Member::of(run)])
    }

    /// The events that were not told yet, as many as their order is known of; none where there is nothing
    /// new.
    pub(super) async fn page(&mut self, log: &dyn EventLog) -> Result<Vec<Record>> {
        match self {
            Self::All(next) => log.read_workspace(*next, PAGE).await,
            Self::Family(members) => {
                for member in members.iter_mut() {
                    member.read(log).await?;
                }
                in_order(members)
            }
        }
    }

    /// An event was told. True where it was the last that can come.
    pub(super) fn told(&mut self, record: &Record) -> Result<bool> {
        let members = match self {
            Self::All(next) => {
                *next = record.seq.saturating_add(1);
                return Ok(false);
            }
            Self::Family(members) => members,
        };
        let sealed = &*record.kind == "run.sealed";
        let outermost = members.first().map(|member| member.run);
        if let Some(member) = members.iter_mut().find(|one| one.run == record.run_id) {
            member.ready.pop_front();
            member.sealed = sealed;
        }
        members.extend(composed(record)?.map(Member::of));
        // Those nested in it are sealed before it.
        Ok(sealed && outermost == Some(record.run_id))
    }

    /// Whether something of it has moved.
    pub(super) fn is_meant(&self, moved: &Moved) -> bool {
        match (moved, self) {
            (Moved::Anything, _) | (_, Self::All(_)) => true,
            (Moved::Runs(runs), Self::Family(members)) => {
                members.iter().any(|member| runs.contains(&member.run))
            }
        }
    }
}

/// What was read of a family, the first that happened first: up to where more has to be read.
fn in_order(members: &[Member]) -> Result<Vec<Record>> {
    let mut heads = vec![0; members.len()];
    let mut page = Vec::new();
    while page.len() < PAGE {
        let read = |(at, member): (&usize, &Member)| member.ready.get(*at).is_none() && member.more;
        if heads.iter().zip(members).any(read) {
            break;
        }
        let first = { heads.iter_mut().zip(members) }
            .filter_map(|(at, member)| Some((member.ready.get(*at)?, at)))
            .min_by_key(|(record, _)| record.seq);
        let Some((record, at)) = first else { break };
        *at += 1;
        page.push(record.clone());
        // Its events come next.
        if composed(record)?.is_some() {
            break;
        }
    }
    Ok(page)
}

/// The run that an event nests in its own.
fn composed(record: &Record) -> Result<Option<RunId>> {
    if &*record.kind != "step.composed" {
        return Ok(None);
    }
    if let EventKind::StepComposed(facts) = read_event(record)? {
        return Ok(Some(facts.run));
    }
    Ok(None)
}
