//! Costs by agent, model, workflow, day or step: sums of what the log says was spent.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::fold::{RunFold, Spent};
use crate::budget::Amount;
use crate::error::Result;
use crate::event::Record;
use crate::id::{AgentName, ModelId, WorkflowName};

/// What costs are summed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CostBy {
    /// The agent in whose name it was spent.
    Agent,
    /// The model that answered.
    Model,
    /// The workflow; sessions together.
    Workflow,
    /// The day in UTC on which it was settled, `2026-11-20`.
    Day,
    /// The step of a workflow, `research-to-qa/draft`; items of a fan-out together.
    Step,
}

/// One sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostRow {
    /// What it is the sum of.
    pub key: String,
    /// The sum.
    pub amount: Amount,
}

/// Sums, and the sum of all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostTable {
    /// Dearest first; days in order of time.
    pub rows: Vec<CostRow>,
    /// The sum of the rows.
    pub total: Amount,
}

/// Sums while records go by.
#[derive(Clone, Debug)]
pub struct Costs {
    by: CostBy,
    fold: RunFold,
    sums: BTreeMap<String, Amount>,
    total: Amount,
}

impl Costs {
    /// Sums that are all zero.
    pub fn new(by: CostBy) -> Self {
        Self {
            by,
            fold: RunFold::new(),
            sums: BTreeMap::new(),
            total: Amount::ZERO,
        }
    }

    /// Takes the next record of its run, from the run's first on.
    ///
    /// # Errors
    /// `Corrupt` where a record does not follow from those before it.
    pub fn take(&mut self, record: &Record) -> Result<()> {
        for spent in self.fold.take(record)? {
            let sum = self.sums.entry(self.by.key(&spent)).or_default();
            *sum = sum.saturating_add(&spent.amount);
            self.total = self.total.saturating_add(&spent.amount);
        }
        self.fold.forget_sealed(record.run_id);
        Ok(())
    }

    /// The table.
    pub fn finish(self) -> CostTable {
        let rows = self.sums.into_iter();
        let mut rows: Vec<CostRow> = rows.map(|(key, amount)| CostRow { key, amount }).collect();
        if self.by != CostBy::Day {
            // The sort keeps the order of names where costs are the same.
            rows.sort_by_key(|row| Reverse(row.amount.money));
        }
        CostTable {
            rows,
            total: self.total,
        }
    }
}

impl CostTable {
    /// The costs of records: of whole runs, each from its first event on.
    ///
    /// # Errors
    /// `Corrupt` where a record does not follow from those before it.
    pub fn by<'a>(by: CostBy, records: impl IntoIterator<Item = &'a Record>) -> Result<Self> {
        let mut costs = Costs::new(by);
        for record in records {
            costs.take(record)?;
        }
        Ok(costs.finish())
    }
}

impl CostBy {
    fn key(self, spent: &Spent) -> String {
        let text = |name: Option<&str>, none: &str| name.unwrap_or(none).to_owned();
        let workflow = || {
            text(
                spent.workflow.as_ref().map(WorkflowName::as_str),
                "(session)",
            )
        };
        match self {
            Self::Agent => text(spent.agent.as_ref().map(AgentName::as_str), "(unknown)"),
            Self::Model => text(spent.model.as_ref().map(ModelId::as_str), "(unknown)"),
            Self::Workflow => workflow(),
            Self::Day => {
                let time = spent.ts.to_string();
                time.split_once('T')
                    .map_or(time.as_str(), |(day, _)| day)
                    .to_owned()
            }
            Self::Step => format!("{}/{}", workflow(), spent.step.name()),
        }
    }
}
