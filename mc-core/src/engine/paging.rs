//! Paging: a run that only waits is a row; it comes into memory before a command reaches it.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt as _};

use super::inner::{Inner, lock};
use crate::error::{Error, Result};
use crate::id::RunId;
use crate::run::Run;
use crate::sequencer::{Loaded, Resident, Wanted};

/// How many runs are read ahead of the one that is brought in.
const READ_AHEAD: usize = 16;

/// A run with those that are in memory together with it, as their rows were.
struct Family {
    /// The epoch, and how many runs had left memory, before they were read.
    before: Option<(u64, u64)>,
    runs: Vec<Resident>,
}

impl Inner {
    /// Brings a run into memory, and with it those that are nested in it or around it and not sealed:
    /// what is decided for one of them may reach into the others.
    ///
    /// # Errors
    /// `NotFound` where there is no such run, `Corrupt` where its row cannot be read.
    pub(super) async fn page_in(&self, run_id: RunId) -> Result<()> {
        while !self.bring_in(self.read_family(run_id).await?)? {}
        Ok(())
    }

    /// As [`Inner::page_in`] for one after the other, with something to do for each. It reads ahead, so
    /// that none waits for what the one before it does.
    ///
    /// # Errors
    /// As [`Inner::page_in`].
    pub(super) async fn page_in_each(
        &self,
        runs: &[RunId],
        mut then: impl FnMut(RunId),
    ) -> Result<()> {
        let mut ahead = runs.iter().copied();
        let mut reads: FuturesOrdered<_> = ahead
            .by_ref()
            .take(READ_AHEAD)
            .map(|run| self.read(run))
            .collect();
        while let Some((run, read)) = reads.next().await {
            reads.extend(ahead.next().map(|run| self.read(run)));
            if !self.bring_in(read?)? {
                self.page_in(run).await?;
            }
            then(run);
        }
        Ok(())
    }

    fn read(&self, run: RunId) -> BoxFuture<'_, (RunId, Result<Family>)> {
        Box::pin(async move { (run, self.read_family(run).await) })
    }

    /// Puts what was read into memory; false where it is out of date.
    fn bring_in(&self, read: Family) -> Result<bool> {
        let mut live = lock(&self.live);
        let Some(sequencer) = live.sequencer.as_mut() else {
            return Ok(true);
        };
        // Another may have brought it in, changed it and let it go since the row was read.
        let same = read
            .before
            .filter(|(epoch, _)| *epoch == sequencer.workspace().epoch);
        let fresh = |run: RunId| {
            let left = same.is_none_or(|(_, departures)| sequencer.has_left_since(run, departures));
            !left || sequencer.workspace().runs.contains_key(&run)
        };
        let all_fresh = read.runs.iter().all(|one| fresh(one.run.run_id));
        if all_fresh {
            sequencer.page_in(read.runs)?;
        }
        Ok(all_fresh)
    }

    async fn read_family(&self, run_id: RunId) -> Result<Family> {
        Ok(Family {
            before: self.age(),
            runs: self.load_family(run_id).await?,
        })
    }

    fn age(&self) -> Option<(u64, u64)> {
        let live = lock(&self.live);
        let sequencer = live.sequencer.as_ref()?;
        Some((sequencer.workspace().epoch, sequencer.departures()))
    }

    /// A run with those that are in memory together with it.
    async fn load_family(&self, run_id: RunId) -> Result<Vec<Resident>> {
        let own = self.load(run_id).await?;
        let around = own.run.created.nested_in.last();
        let mut next = match around.filter(|_| !own.run.sealed) {
            Some(outermost) => vec![outermost.run],
            None => own.run.unsealed().collect(),
        };
        let mut family = vec![own];
        while let Some(run) = next.pop() {
            let resident = match family.iter().position(|one| one.run.run_id == run) {
                Some(at) => family.swap_remove(at),
                None => self.load(run).await?,
            };
            next.extend(resident.run.unsealed());
            family.push(resident);
        }
        Ok(family)
    }

    /// A run as its row and the log's content have it.
    pub(super) async fn load(&self, run_id: RunId) -> Result<Resident> {
        let row = self.log.run_row(run_id).await?;
        let row = row.ok_or_else(|| Error::not_found("run", run_id))?;
        let run = Run::decode(&row.state)?;
        let mut loaded = Loaded::default();
        for place in Wanted::of(&run).places() {
            loaded
                .values
                .insert(place, Arc::new(self.read_value(place).await?));
        }
        let workflow = run.created.definition_hash.and_then(|hash| {
            let live = lock(&self.live);
            let sequencer = live.sequencer.as_ref();
            sequencer.and_then(|s| s.workspace().compiled.get(&hash).cloned())
        });
        Resident::load(run, &row, workflow, &loaded)
    }
}
