//! What lets a run go on that stands still, as far as this command line or its host can.

use mc_core::event::BlockReason;
use mc_core::event::run::PauseReason;
use mc_core::event::step::{HALTED, WaitingFor};
use mc_core::id::{Opaque, StepKey};
use mc_core::policy::PriceAge;
use mc_core::run::{Block, Step};

use crate::steps::View;
use crate::text::{quoted, shortened};

/// The code of a block that waits for a price.
pub(crate) const UNKNOWN_MODEL: &str = "unknown_model";

impl View<'_> {
    /// What has to be done, by whom, for what stands still.
    pub(crate) fn waits(&self) -> Vec<String> {
        let own = |why: &&PauseReason| !matches!(why, PauseReason::Outer { .. });
        let paused = self.run.paused.iter().filter(own);
        let mut lines: Vec<String> = paused.map(|why| self.paused(why)).collect();
        for (key, step) in &self.run.steps {
            let path = self.run.path_of(key);
            if let Some(block) = &step.block {
                let code = match (block.code.as_str(), self.message(key)) {
                    ("", None) => String::new(),
                    ("", Some(said)) => format!(" ({})", shortened(said)),
                    (code, _) => format!(" ({code})"),
                };
                let next = self.unblocks(key, block);
                lines.push(format!(
                    "{path} is blocked by {}{code}: {next}",
                    block.reason
                ));
            }
            if step.composing().is_some() {
                lines.extend(self.nested(key).iter().flat_map(View::waits));
            }
        }
        lines
    }

    /// The store, as a shell takes it.
    fn store(&self) -> String {
        quoted(&self.db.display().to_string())
    }

    /// The command that ends the run.
    fn abort(&self) -> String {
        let db = self.store();
        format!("`mission-control abort {} --db {db}`", self.run.run_id)
    }

    /// The command that lets the run go on.
    fn resume(&self) -> String {
        let db = quoted(&self.db.display().to_string());
        format!("`mission-control resume run:{} --db {db}`", self.run.run_id)
    }

    /// The command that lets a step try afresh.
    fn unblock(&self, key: &StepKey) -> String {
        let db = self.store();
        let step = quoted(&key.to_string());
        format!(
            "`mission-control unblock {} {step} --db {db}`",
            self.run.run_id
        )
    }

    /// The command that brings what a step waits for.
    fn signal(&self, key: &StepKey) -> String {
        let db = self.store();
        let name = self.run.step(key).and_then(awaited);
        let name = name.map_or_else(|| "NAME".to_owned(), |name| quoted(name.as_str()));
        format!(
            "`mission-control signal {} {name} JSON --db {db}`",
            self.run.run_id
        )
    }

    fn paused(&self, why: &PauseReason) -> String {
        let abort = self.abort();
        let of = if self.run.outer().is_some() {
            format!("nested run {}: ", self.run.run_id)
        } else {
            String::new()
        };
        let told = match why {
            PauseReason::Operator => format!(
                "the run is paused by an operator: {} lets it go on, or end it with {abort}",
                self.resume()
            ),
            PauseReason::Halt { .. } => format!(
                "the run is halted by an operator: {} lets it go on, or end it with {abort}",
                self.resume()
            ),
            PauseReason::Budget { account } => format!(
                "the run is paused by the budget of {account}: {}",
                more_room(&quoted(&account.to_string()), &self.store(), &abort)
            ),
            PauseReason::StepFailed { step } => {
                let said = self.message(step).map(shortened);
                let said = said.map_or_else(String::new, |said| format!(" ({said})"));
                format!(
                    "the run is paused because {step} failed{said}: {} lets it go on, or end it with {abort}",
                    self.resume()
                )
            }
            PauseReason::Outer { run } => {
                format!("the run is paused with run {run}, and goes on with it")
            }
        };
        of + &told
    }

    /// What clears a block.
    fn unblocks(&self, key: &StepKey, block: &Block) -> String {
        let (abort, db) = (self.abort(), self.store());
        match block.reason {
            BlockReason::Approval => format!(
                "`mission-control approvals --db {db}` shows what is asked, `approve` or `reject` decides it; or end the run with {abort}"
            ),
            BlockReason::Budget if block.code == "only_doubt" => format!(
                "settle what is in doubt with `mission-control reconcile --run {} --db {db}`, or end it with {abort}",
                self.run.run_id
            ),
            BlockReason::Budget => more_room("ACCOUNT", &db, &abort),
            BlockReason::Guardrail if block.code == UNKNOWN_MODEL => format!(
                "{} has no price: its host has to add a price (docs/prices.md); recorded calls can name a model of `mission-control prices list recorded/`; end this run with {abort}",
                self.model(key)
            ),
            BlockReason::Guardrail if block.code == PriceAge::RULE => format!(
                "the price of {} is older than its host allows: its host has to load newer prices (docs/prices.md), then {} lets it try afresh; or end this run with {abort}",
                self.model(key),
                self.unblock(key)
            ),
            BlockReason::Guardrail => format!(
                "{} lets it try afresh, or end it with {abort}",
                self.unblock(key)
            ),
            BlockReason::Circuit => {
                "nothing to do: it goes on when the provider answers again".to_owned()
            }
            BlockReason::InDoubt => {
                let attempt = self.run.step(key).map_or(1, |step| step.attempt);
                format!(
                    "find out whether it happened, and say so with `mission-control resolve {} {key} --attempt {attempt} --db {db}`; or end it with {abort}",
                    self.run.run_id
                )
            }
            BlockReason::Signal => {
                let signal = self.signal(key);
                format!("{signal} lets it go on, or end it with {abort}")
            }
            BlockReason::AgentUnavailable if block.code == HALTED => {
                let db = quoted(&self.db.display().to_string());
                format!(
                    "it is halted: `mission-control resume agent:{} --db {db}` lets it go on, or `resume workspace` where all is halted; then run again, or end it with {abort}",
                    self.agent(key)
                )
            }
            BlockReason::AgentUnavailable => format!(
                "add agent `{}` to the agents file and run again, or end it with {abort}",
                self.agent(key)
            ),
        }
    }

    /// The model that a step asked for, or that its estimate names.
    fn model(&self, key: &StepKey) -> String {
        let asked = self
            .progress
            .reasons()
            .unpriced(key)
            .map(ToString::to_string);
        let estimated = || {
            let step = self.definition?.step(key.name())?;
            Some(step.estimate.as_ref()?.model.to_string())
        };
        let model = asked.or_else(estimated);
        model.map_or_else(
            || "its model".to_owned(),
            |model| format!("model `{model}`"),
        )
    }
}

/// The name of the signal that a step waits for.
pub(crate) fn awaited(step: &Step) -> Option<&Opaque> {
    match &step.suspension.as_ref()?.waiting_for {
        WaitingFor::Signal { name } => Some(name),
        WaitingFor::Time { .. } | WaitingFor::Approval { .. } => None,
    }
}

fn more_room(account: &str, db: &str, abort: &str) -> String {
    format!(
        "give it more with `mission-control budgets top-up {account} --usd USD --db {db}`, or end it with {abort} and run again with a larger budget"
    )
}
