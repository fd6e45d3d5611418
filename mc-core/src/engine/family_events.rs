//! The events of a run and of those nested in it, as they become durable.

use std::collections::VecDeque;
use std::sync::Arc;

use super::events::{RunEvents, RunNews};
use super::inner::Inner;
use crate::error::Result;
use crate::event::{EventKind, Record};
use crate::id::RunId;
use crate::run::read_event;

/// Events of a run that are read from the log at a time.
const PAGE: usize = 256;

/// A run's events with those of runs nested in it, at any depth; those of one commit in their order.
/// Ends behind the seal of the outermost that is the last of its events by then.
#[derive(Debug)]
pub struct FamilyEvents {
    inner: Arc<Inner>,
    /// Hears when any of them has moved.
    outermost: RunEvents,
    members: Vec<Member>,
    ready: VecDeque<Record>,
}

#[derive(Debug)]
struct Member {
    run: RunId,
    next: u64,
    sealed: bool,
}

impl FamilyEvents {
    pub(super) fn new(inner: Arc<Inner>, run: RunId) -> Self {
        let outermost = RunEvents::new(Arc::clone(&inner), run, 0);
        let mut this = Self {
            inner,
            outermost,
            members: Vec::new(),
            ready: VecDeque::new(),
        };
        this.add(run);
        this
    }

    fn add(&mut self, run: RunId) {
        self.members.push(Member {
            run,
            next: 0,
            sealed: false,
        });
    }

    /// The next event, once it is durable; none behind the seal of the outermost run.
    ///
    /// # Errors
    /// `NotFound` without such a run, `Unavailable` where the engine was shut down.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<RunNews>> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Ok(Some(RunNews::Event(Box::new(record))));
            }
            if self.read().await? {
                continue;
            }
            // The outermost run is sealed behind those nested in it.
            if self.members.iter().all(|member| member.sealed) {
                return Ok(None);
            }
            if let Some(news) = self.outermost.wait_open().await? {
                return Ok(Some(news));
            }
        }
    }

    /// Reads what is durable by now. False where that is nothing new.
    async fn read(&mut self) -> Result<bool> {
        let mut at = 0;
        let mut read = Vec::new();
        while let Some(member) = self.members.get(at) {
            let mut page = Vec::new();
            // The outermost may have been redriven, and goes on behind its seal then.
            if !member.sealed || at == 0 {
                let (run, next) = (member.run, member.next);
                page = self.inner.log.read_run(run, next, PAGE).await?;
            }
            let mut nested = Vec::new();
            for record in &page {
                if let EventKind::StepComposed(facts) = read_event(record)? {
                    nested.push(facts.run);
                }
            }
            read.push(page);
            at += 1;
            // Taken over only once nothing is waited for any more, so that nothing is lost.
            if at == self.members.len() {
                return Ok(self.take(read, nested));
            }
            if !nested.is_empty() {
                return Ok(self.take(read, nested));
            }
        }
        Ok(false)
    }

    /// Takes over pages of the first members.
    fn take(&mut self, pages: Vec<Vec<Record>>, nested: Vec<RunId>) -> bool {
        for (member, page) in self.members.iter_mut().zip(&pages) {
            if let Some(last) = page.last() {
                member.next = last.run_seq + 1;
                member.sealed = &*last.kind == "run.sealed";
            }
        }
        let mut all: Vec<Record> = pages.into_iter().flatten().collect();
        all.sort_by_key(|record| record.seq);
        let any = !all.is_empty();
        self.ready.extend(all);
        for run in nested {
            self.add(run);
        }
        any
    }
}
