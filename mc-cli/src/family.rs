//! A run with those that are nested in it, followed event by event.

use std::collections::{BTreeMap, BTreeSet};

use mc_core::budget::{Account, AccountId, Amount};
use mc_core::error::Result;
use mc_core::event::{EventKind, Record};
use mc_core::id::{RunId, StepKey};
use mc_core::ports::EventLog;
use mc_core::run::{Run, accounts_with_nested, read_event};

use crate::progress::{Progress, StepLine};
use crate::store::Reader;

/// A run and those nested in it.
#[derive(Debug)]
pub(crate) struct Family {
    top: RunId,
    members: BTreeMap<RunId, Progress>,
}

impl Family {
    /// Follows a run from its first event.
    pub(crate) fn new(top: RunId) -> Self {
        let members = BTreeMap::from([(top, Progress::new(top))]);
        Self { top, members }
    }

    /// Reads everything that a log has of a run and those nested in it.
    pub(crate) async fn read(log: &dyn EventLog, top: RunId) -> Result<Self> {
        let mut family = Self::new(top);
        family.catch_up(log).await?;
        Ok(family)
    }

    /// Takes what the log has beyond what was taken; gives a line for each event that moves a step.
    pub(crate) async fn catch_up(&mut self, log: &dyn EventLog) -> Result<Vec<StepLine>> {
        let (mut lines, mut done) = (Vec::new(), BTreeSet::new());
        while let Some(run) = self
            .members
            .keys()
            .find(|run| !done.contains(*run))
            .copied()
        {
            done.insert(run);
            let mut reader = Reader::new(log, Some(run));
            loop {
                let page = reader.page().await?;
                if page.is_empty() {
                    break;
                }
                for record in &page {
                    lines.extend(self.take(log, record).await?);
                }
            }
        }
        Ok(lines)
    }

    /// Takes the next event of one of the runs; gives a line where it moves a step.
    pub(crate) async fn take(
        &mut self,
        log: &dyn EventLog,
        record: &Record,
    ) -> Result<Option<StepLine>> {
        let Some(progress) = self.members.get_mut(&record.run_id) else {
            return Ok(None);
        };
        let line = progress.take(log, record).await?;
        let path = |step: &StepKey| progress.run().map(|run| run.path_of(step));
        let path = line.as_ref().and_then(|line| path(&line.step));
        if let EventKind::StepComposed(facts) = read_event(record)? {
            let nested = facts.run;
            self.members
                .entry(nested)
                .or_insert_with(|| Progress::new(nested));
        }
        Ok(line.map(|mut line| {
            if let Some(path) = path {
                line.path = path;
            }
            line.spent = self.spent();
            if let Some(run) = self.top().run() {
                line.limit = *run.account().limit();
            }
            line
        }))
    }

    /// The outermost run.
    #[expect(
        clippy::indexing_slicing,
        reason = "it is put there when the family is made"
    )]
    pub(crate) fn top(&self) -> &Progress {
        &self.members[&self.top]
    }

    /// What was settled in all of them.
    pub(crate) fn spent(&self) -> Amount {
        let runs = self.members.values().filter_map(Progress::run);
        runs.fold(Amount::ZERO, |sum, run| sum.saturating_add(&run.spent()))
    }

    /// The runs that were nested for a step, the first one first.
    pub(crate) fn nested_for<'a>(
        &'a self,
        run: &Run,
        step: &StepKey,
    ) -> Vec<(&'a Run, &'a Progress)> {
        let mut nested: Vec<(&Run, &Progress)> = run
            .nested
            .iter()
            .filter(|(_, nested)| nested.step == *step)
            .filter_map(|(id, _)| {
                let progress = self.members.get(id)?;
                Some((progress.run()?, progress))
            })
            .collect();
        nested.sort_by_key(|(run, _)| (run.started_at, run.run_id));
        nested
    }

    /// What was spent for a step of a run in all that is nested there.
    pub(crate) fn cost_of(&self, run: &Run, step: &StepKey) -> Amount {
        let within = |one: &&Progress| {
            let nested = one.run().map(|one| &one.created.nested_in);
            let mut places = nested.into_iter().flatten();
            places.any(|place| place.run == run.run_id && place.step == *step)
        };
        let costs = self
            .members
            .values()
            .filter(within)
            .flat_map(|one| one.costs().values());
        costs.fold(Amount::ZERO, |sum, one| sum.saturating_add(one))
    }

    /// A run's accounts with everything that is nested in it.
    pub(crate) fn accounts(&self, run: &Run) -> BTreeMap<AccountId, Account> {
        let of = |nested: RunId| {
            let nested = self.members.get(&nested)?.run()?;
            let own = AccountId::Run(nested.run_id);
            let summed = self.accounts(nested).remove(&own);
            Some(summed.unwrap_or_else(|| nested.account()))
        };
        accounts_with_nested(run, &of).unwrap_or_else(|_| run.accounts.clone())
    }
}
