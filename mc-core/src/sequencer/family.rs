//! Family: runs nested in one another, and the accounts that they share.
//!
//! A run's row is the fold of its own events, so what a nested run holds and spends is not in the rows
//! of the runs around it. The sums are kept here, for every run in memory that has others nested in it:
//! its own columns, what its sealed nested runs came to, and the columns of the others. Those that are
//! not sealed are in memory together, so that nothing in here waits for a disk.

use std::collections::{BTreeMap, BTreeSet};

use super::batch::Placed;
use super::core::Sequencer;
use super::decision::NewEvent;
use super::resident::Resident;
use super::workspace::Workspace;
use crate::budget::{Account, AccountId, post_at};
use crate::error::{Error, Result};
use crate::event::EventKind;
use crate::event::run::{PauseReason, RunPaused, RunResumed};
use crate::id::RunId;
use crate::run::postings::Posting;
use crate::run::{Run, accounts_with_nested};

/// The accounts of runs in memory that have others nested in them.
#[derive(Clone, Debug, Default)]
pub struct Family {
    books: BTreeMap<RunId, BTreeMap<AccountId, Account>>,
}

impl Family {
    /// An account of a run with others nested in it; none for any other.
    pub fn account(&self, id: &AccountId) -> Option<&Account> {
        self.books.get(&id.run()?)?.get(id)
    }

    /// A run has left memory.
    pub(super) fn remove(&mut self, run: RunId) {
        self.books.remove(&run);
    }

    fn post(&mut self, posting: &Posting, seq: u64) -> Result<()> {
        let runs: BTreeSet<RunId> = posting.path.iter().filter_map(AccountId::run).collect();
        for run in runs {
            let Some(books) = self.books.get_mut(&run) else {
                continue;
            };
            post_at(books, &posting.own(run), posting.at, &posting.movement)
                .map_err(|fault| Error::corrupt("ledger", Some(seq)).with_source(fault))?;
        }
        Ok(())
    }
}

/// The runs nested in a run that have not ended, not those nested in them.
pub(super) fn open_children<'a>(workspace: &'a Workspace, run: &Run) -> Vec<&'a Run> {
    let open = |nested: &&Run| !nested.status.is_terminal();
    let all = run.unsealed().filter_map(|id| workspace.runs.get(&id));
    all.map(|resident| &*resident.run).filter(open).collect()
}

/// The runs nested in a run that have not ended, at any depth, each before those nested in it.
pub(super) fn open_in<'a>(workspace: &'a Workspace, run: &Run) -> Vec<&'a Run> {
    let mut all = Vec::new();
    for nested in open_children(workspace, run) {
        all.push(nested);
        all.extend(open_in(workspace, nested));
    }
    all
}

/// The runs that are in memory with a run, itself among them: those around it and in it that are not
/// sealed.
pub(super) fn members(workspace: &Workspace, run: RunId) -> Vec<RunId> {
    let Some(resident) = workspace.runs.get(&run) else {
        return Vec::new();
    };
    let around = &resident.run.created.nested_in;
    let outermost = around.last().filter(|_| !resident.run.sealed);
    let mut all = Vec::new();
    let mut next = vec![outermost.map_or(run, |place| place.run)];
    while let Some(run) = next.pop() {
        if let Some(resident) = workspace.runs.get(&run) {
            next.extend(resident.run.unsealed());
            all.push(run);
        }
    }
    all
}

/// The sums of a run's accounts with what is nested in it; none where nothing ever was.
fn sums(workspace: &Workspace, run: &Run) -> Result<Option<BTreeMap<AccountId, Account>>> {
    if run.nested.is_empty() {
        return Ok(None);
    }
    let of = |nested: RunId| {
        let own = workspace.runs.get(&nested)?.run.account();
        let summed = workspace.family.account(&AccountId::Run(nested));
        Some(summed.cloned().unwrap_or(own))
    };
    accounts_with_nested(run, &of).map(Some)
}

impl Sequencer {
    /// Sums up the accounts of runs that have just come into memory, the innermost first.
    pub(super) fn sum_up(&mut self, runs: &[RunId]) -> Result<()> {
        let known = |run: &RunId| self.workspace.runs.get(run);
        let depth = |resident: &Resident| resident.run.created.nested_in.len();
        let mut runs: Vec<(usize, RunId)> = runs
            .iter()
            .filter_map(|run| Some((depth(known(run)?), *run)))
            .collect();
        runs.sort_unstable();
        for (_, run) in runs.into_iter().rev() {
            let resident = self.workspace.resident(run)?;
            if let Some(books) = sums(&self.workspace, &resident.run)? {
                self.workspace.family.books.insert(run, books);
            }
        }
        Ok(())
    }

    /// A run gets another nested in it: from now on its accounts are summed up.
    fn has_nested(&mut self, run: RunId) -> Result<()> {
        if self.workspace.family.books.contains_key(&run) {
            return Ok(());
        }
        self.sum_up(&[run])
    }

    /// What an event moved counts in the sums too.
    fn post_family(&mut self, postings: &[Posting], seq: u64) -> Result<()> {
        if self.workspace.family.books.is_empty() {
            return Ok(());
        }
        for posting in postings {
            self.workspace.family.post(posting, seq)?;
        }
        Ok(())
    }

    /// What an event is to the runs around its own, and in it.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "other kinds change nothing there"
    )]
    pub(super) fn note_nested(
        &mut self,
        run: RunId,
        kind: &EventKind,
        (postings, seq): (&[Posting], u64),
    ) -> Result<()> {
        match kind {
            EventKind::StepComposed(_) => self.has_nested(run)?,
            // Another run's decision may have caused it; it is followed up like one's own.
            EventKind::RunAborted(_)
            | EventKind::RunPaused(_)
            | EventKind::RunResumed(_)
            | EventKind::StepUnblocked(_) => {
                self.stirred.insert(run);
            }
            _ => {}
        }
        self.post_family(postings, seq)
    }

    /// What follows for the runs nested in one that was paused or goes on: they do the same, but for
    /// those that have a pause of their own.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "other kinds reach into no other run"
    )]
    pub(super) fn nested_follow(&self, placed: Option<&Placed>) -> Vec<NewEvent> {
        let Some((placed, run)) = placed.and_then(|placed| {
            let resident = self.workspace.runs.get(&placed.run_id)?;
            Some((placed, &resident.run))
        }) else {
            return Vec::new();
        };
        let pauses = match placed.kind {
            EventKind::RunPaused(_) => true,
            EventKind::RunResumed(_) => false,
            _ => return Vec::new(),
        };
        let mut events = Vec::new();
        for nested in open_children(&self.workspace, run) {
            match (&nested.paused, pauses) {
                (None | Some(PauseReason::Budget { .. }), true) => {
                    let reason = PauseReason::Outer { run: run.run_id };
                    events.push(NewEvent::new(nested.run_id, RunPaused { reason }));
                }
                (Some(PauseReason::Outer { .. }), false) => {
                    events.push(NewEvent::new(nested.run_id, RunResumed {}));
                }
                (None | Some(_), _) => {}
            }
        }
        events
    }

    /// Tells the run around one that has ended what came of it; that may end a step there.
    pub(super) fn tell_outer(&mut self, run: RunId) -> Result<()> {
        let Some(resident) = self.workspace.runs.get(&run) else {
            return Ok(());
        };
        let Some(outer) = resident.run.outer().map(|place| place.run) else {
            return Ok(());
        };
        let events = super::decide::compose::returned(&self.view(), resident);
        if !events.is_empty() {
            self.stirred.insert(outer);
            self.commit(events)?;
        }
        Ok(())
    }
}
