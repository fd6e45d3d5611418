//! Paging: a run that only waits is a row; it comes into memory before a command reaches it.

use std::sync::Arc;

use super::inner::{Inner, lock};
use crate::error::{Error, Result};
use crate::id::RunId;
use crate::run::Run;
use crate::sequencer::{Loaded, Resident, Wanted};

impl Inner {
    /// Brings a run into memory, and with it those that are nested in it or around it and not sealed:
    /// what is decided for one of them may reach into the others.
    ///
    /// # Errors
    /// `NotFound` where there is no such run, `Corrupt` where its row cannot be read.
    pub(super) async fn page_in(&self, run_id: RunId) -> Result<()> {
        loop {
            let before = self.age();
            let family = self.load_family(run_id).await?;
            let mut live = lock(&self.live);
            let Some(sequencer) = live.sequencer.as_mut() else {
                return Ok(());
            };
            // Another may have brought it in, changed it and let it go since the row was read.
            let same = before.filter(|(epoch, _)| *epoch == sequencer.workspace().epoch);
            let fresh = |run: RunId| {
                let left =
                    same.is_none_or(|(_, departures)| sequencer.has_left_since(run, departures));
                !left || sequencer.workspace().runs.contains_key(&run)
            };
            if family.iter().all(|resident| fresh(resident.run.run_id)) {
                return sequencer.page_in(family);
            }
        }
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
