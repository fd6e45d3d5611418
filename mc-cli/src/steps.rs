//! A run for people and programs: its head, its steps, its accounts, and why it stopped.
//!
//! What unblocks what stands still is in `waits`.

use std::path::Path;

use mc_core::budget::{Account, AccountId, Amount, Dimension, Limit};
use mc_core::event::run::{AbortReason, PauseReason};
use mc_core::event::{BlockReason, StepStatus};
use mc_core::id::StepKey;
use mc_core::run::{End, Run, Step};
use mc_core::workflow::{Definition, Work};
use serde_json::{Value, json};

use crate::family::Family;
use crate::progress::Progress;
use crate::reasons::Refused;
use crate::refusals::refused;
use crate::spend::{self, limit_of, shown};
use crate::table::{Align, Table};
use crate::text::shortened;
use crate::waits::UNKNOWN_MODEL;

/// A run with what is known around it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    /// The run.
    pub(crate) run: &'a Run,
    /// Its definition, where it has one.
    pub(crate) definition: Option<&'a Definition>,
    /// What its events say of costs and reasons.
    pub(crate) progress: &'a Progress,
    /// The runs nested in it, where they were read.
    pub(crate) family: Option<&'a Family>,
    /// The store that it is in.
    pub(crate) db: &'a Path,
}

impl View<'_> {
    /// The views of the runs that were nested for a step.
    pub(crate) fn nested(&self, key: &StepKey) -> Vec<Self> {
        let found = self.family.map(|family| family.nested_for(self.run, key));
        let found: Vec<(&Run, &Progress)> = found.unwrap_or_default();
        let view = |(run, progress)| View {
            run,
            definition: None,
            progress,
            ..*self
        };
        found.into_iter().map(view).collect()
    }

    /// What a step cost with what is nested for it.
    fn cost(&self, key: &StepKey) -> Amount {
        let own = self.progress.costs().get(key).copied().unwrap_or_default();
        let nested = self.family.map(|family| family.cost_of(self.run, key));
        own.saturating_add(&nested.unwrap_or_default())
    }
}

impl View<'_> {
    /// The whole view as text.
    pub(crate) fn text(&self) -> String {
        let mut parts = vec![self.head(), self.steps().render(), self.accounts().render()];
        let why: Vec<String> = self.refusal().into_iter().chain(self.waits()).collect();
        if !why.is_empty() {
            parts.push(why.join("\n"));
        }
        parts.join("\n\n")
    }

    fn head(&self) -> String {
        let run = self.run;
        let what = run
            .workflow()
            .map_or("session".to_owned(), |(name, version)| {
                format!("{name} version {version}")
            });
        let sealed = if run.sealed { ", sealed" } else { "" };
        let mut lines = vec![
            format!("run      {}", run.run_id),
            format!("of       {what}"),
            format!("status   {}{sealed}", status_text(run)),
            format!("started  {} by {}", run.started_at, run.started_by),
        ];
        if let Some(at) = run.ended_at {
            lines.push(format!("ended    {at}"));
        }
        if let Some(outer) = run.outer() {
            let (outer, step) = (outer.run, &outer.step);
            lines.push(format!("nested   in {step} of run {outer}"));
        }
        lines.push(format!("events   {}", run.events));
        lines.join("\n")
    }

    fn keys(&self) -> Vec<StepKey> {
        let mut keys: Vec<StepKey> = self.run.steps.keys().cloned().collect();
        let defined = self.definition.into_iter().flat_map(|d| d.steps().keys());
        keys.extend(defined.map(StepKey::of));
        // Items by number, not by text.
        keys.sort_by(|a, b| (a.name(), a.index()).cmp(&(b.name(), b.index())));
        keys.dedup();
        keys
    }

    pub(crate) fn agent(&self, key: &StepKey) -> String {
        let begun = self.run.step(key).and_then(|step| step.agent.clone());
        let defined = || {
            let step = self.definition?.step(key.name())?;
            Some(match &step.work {
                Work::Agent(agent) => agent.to_string(),
                Work::Uses(uses) => format!("uses {uses}"),
            })
        };
        let nested = || {
            let nested = self.nested(key);
            let (name, version) = nested.last()?.run.workflow()?;
            Some(format!("uses {name}@{version}"))
        };
        let begun = begun.map(|agent| agent.to_string());
        begun
            .or_else(defined)
            .or_else(nested)
            .unwrap_or_else(|| "-".to_owned())
    }

    fn agent_and_version(&self, key: &StepKey) -> String {
        let agent = self.agent(key);
        let step = self.run.step(key);
        match step.and_then(|step| step.agent_version.as_ref()) {
            Some(version) => format!("{agent} {version}"),
            None => agent,
        }
    }

    fn steps(&self) -> Table {
        let mut table = Table::new(&[
            ("step", Align::Left),
            ("status", Align::Left),
            ("attempt", Align::Right),
            ("agent", Align::Left),
            ("calls", Align::Right),
            ("input", Align::Right),
            ("output", Align::Right),
            ("cost usd", Align::Right),
            ("note", Align::Left),
        ]);
        self.rows(&mut table);
        table
    }

    /// A row a step, and behind a composed one those of its nested runs.
    fn rows(&self, table: &mut Table) {
        for key in self.keys() {
            let cost = self.cost(&key);
            let step = self.run.step(&key);
            table.row([
                self.run.path_of(&key),
                self.run.step_status(&key).to_string(),
                step.map_or(0, |step| step.attempt).to_string(),
                self.agent_and_version(&key),
                cost.calls.to_string(),
                cost.input_tokens.to_string(),
                cost.output_tokens.to_string(),
                cost.money.to_string(),
                step.map(|step| self.note(&key, step)).unwrap_or_default(),
            ]);
            for nested in self.nested(&key) {
                nested.rows(table);
            }
        }
    }

    /// Money of each account, and whatever else of it is limited.
    fn accounts(&self) -> Table {
        let mut table = Table::new(&[
            ("account", Align::Left),
            ("counts", Align::Left),
            ("limit", Align::Right),
            ("spent", Align::Right),
            ("reserved", Align::Right),
            ("in doubt", Align::Right),
        ]);
        for (name, account) in self.own_accounts() {
            for dimension in Dimension::ALL {
                let limit = limit_of(account.limit(), dimension);
                if limit.is_none() && dimension != Dimension::Money {
                    continue;
                }
                table.row([
                    name.clone(),
                    spend::unit(dimension).to_owned(),
                    limit.map_or("-".to_owned(), |limit| shown(dimension, limit)),
                    shown(dimension, account.spent().of(dimension)),
                    shown(dimension, account.reserved().of(dimension)),
                    shown(dimension, account.in_doubt().of(dimension)),
                ]);
            }
        }
        table
    }

    /// The run's accounts, the run's own first, without the run's id in their names.
    fn own_accounts(&self) -> Vec<(String, Account)> {
        let accounts = self.family.map(|family| family.accounts(self.run));
        let mut accounts = accounts.unwrap_or_else(|| self.run.accounts.clone());
        let own = accounts.remove(&AccountId::Run(self.run.run_id));
        let mut all = vec![("run".to_owned(), own.unwrap_or_default())];
        for (id, account) in accounts {
            if let AccountId::Step(_, step) = id {
                all.push((format!("step:{step}"), account));
            }
        }
        all
    }

    /// What a budget refused, where that is why the run ended or stands still.
    pub(crate) fn refused(&self) -> Option<&Refused> {
        let by_budget = |step: &Step| {
            let block = step.block.as_ref();
            block.is_some_and(|block| block.reason == BlockReason::Budget)
        };
        let ended = matches!(
            self.run.end,
            Some(End::Aborted {
                reason: AbortReason::Budget { .. }
            })
        );
        let paused = matches!(self.run.paused, Some(PauseReason::Budget { .. }));
        let stopped = ended || paused || self.run.steps.values().any(by_budget);
        self.progress.reasons().refused().filter(|_| stopped)
    }

    /// What stopped the run in lines: who asked, and each account with its columns at that moment;
    /// or the model without a price.
    pub(crate) fn refusal(&self) -> Vec<String> {
        let Some(refused) = self.refused() else {
            return self.unpriced();
        };
        let model = refused.model.as_ref();
        let asked = model.map_or_else(String::new, |model| format!(" for {model}"));
        let head = format!("{} was refused{asked} by its budget:", refused.step);
        let accounts = refused
            .accounts
            .iter()
            .map(|account| format!("  {account}"));
        std::iter::once(head).chain(accounts).collect()
    }

    /// Models without a price, where they ended the run.
    fn unpriced(&self) -> Vec<String> {
        let by_policy = matches!(
            &self.run.end,
            Some(End::Aborted {
                reason: AbortReason::Policy { code }
            }) if code == UNKNOWN_MODEL
        );
        let all = self.progress.reasons().all_unpriced();
        let lines = all.filter(|_| by_policy).map(|(step, model)| {
            format!("{step} asked for model `{model}`, which has no price: add a price for it (docs/prices.md)")
        });
        lines.collect()
    }

    /// What a step's last failure said, whole; the item that failed speaks for its `for_each`.
    pub(crate) fn message(&self, key: &StepKey) -> Option<&str> {
        let reasons = self.progress.reasons();
        let failed = self.run.step_status(key) == StepStatus::Failed;
        let of_items = || {
            let items = failed && key.index().is_none();
            items.then(|| reasons.message_of_an_item(key)).flatten()
        };
        of_items().or_else(|| reasons.message(key))
    }

    /// What a table says of a step beside its numbers.
    fn note(&self, key: &StepKey, step: &Step) -> String {
        if let Some(block) = &step.block {
            return format!("{} {}", block.reason, block.code)
                .trim_end()
                .to_owned();
        }
        let failure = match self.message(key).map(shortened) {
            Some(said) if !step.code.is_empty() => format!("{}: {said}", step.code),
            Some(said) => said,
            None => step.code.clone(),
        };
        let nested = step.nested.map(|run| format!("run {run}"));
        let failure = match (step.status.0, step.wake_at) {
            (StepStatus::Waiting, Some(at)) => format!("again at {at} {failure}"),
            // Waiting, it is paused behind a failure, or next in a queue.
            (StepStatus::Failed | StepStatus::Waiting, _) => failure,
            (
                StepStatus::Running
                | StepStatus::Blocked
                | StepStatus::Completed
                | StepStatus::Skipped
                | StepStatus::Cancelled,
                _,
            ) => String::new(),
        };
        let waits = refused(step).map(|call| call.told());
        let items = step.expansion.as_ref();
        let items = items.map(|items| format!("{} of {} items", items.ended, items.count));
        let parts = items
            .into_iter()
            .chain(nested)
            .chain(waits)
            .chain([failure.trim_end().to_owned()]);
        let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
        parts.join(", ")
    }

    /// The view for programs.
    pub(crate) fn json(&self) -> Value {
        let steps: Vec<Value> = self.keys().iter().map(|key| self.step_json(key)).collect();
        let accounts: serde_json::Map<String, Value> = self
            .own_accounts()
            .into_iter()
            .map(|(name, account)| (name, account_json(&account)))
            .collect();
        let workflow = self.run.workflow();
        json!({
            "run_id": self.run.run_id,
            "workflow": workflow.map(|(name, _)| name.as_str()),
            "version": workflow.map(|(_, version)| version),
            "status": self.run.status,
            "paused": self.run.paused,
            "end": self.run.end,
            "sealed": self.run.sealed,
            "nested_in": self.run.outer(),
            "started_at": self.run.started_at.to_string(),
            "ended_at": self.run.ended_at.map(|at| at.to_string()),
            "started_by": self.run.started_by,
            "events": self.run.events,
            "labels": self.run.created.labels,
            "tags": self.run.created.tags,
            "steps": steps,
            "accounts": accounts,
            "refused": self.refused(),
            "waits": self.waits(),
        })
    }

    fn step_json(&self, key: &StepKey) -> Value {
        let step = self.run.step(key);
        let cost = self.cost(key);
        let nested: Vec<Value> = self.nested(key).iter().map(View::json).collect();
        json!({
            "step": key,
            "path": self.run.path_of(key),
            "nested": nested,
            "status": self.run.step_status(key),
            "attempt": step.map_or(0, |step| step.attempt),
            "agent": self.agent(key),
            "agent_version": step.and_then(|step| step.agent_version.as_ref()),
            "calls": cost.calls,
            "input_tokens": cost.input_tokens,
            "output_tokens": cost.output_tokens,
            "cost_usd": cost.money.to_string(),
            "blocked": step.and_then(|step| step.block.as_ref()),
            "code": step.map(|step| step.code.as_str()).filter(|code| !code.is_empty()),
            "message": self.message(key),
            "refused": step.and_then(refused).map(|call| call.json()),
        })
    }
}

fn account_json(account: &Account) -> Value {
    json!({
        "limit": limit_json(account.limit()),
        "spent": account.spent(),
        "reserved": account.reserved(),
        "in_doubt": account.in_doubt(),
    })
}

fn limit_json(limit: &Limit) -> Value {
    if limit.is_none() {
        Value::Null
    } else {
        json!(limit)
    }
}

/// A run's status with its reason, e.g. `aborted (budget of run)`.
pub(crate) fn status_text(run: &Run) -> String {
    match &run.end {
        Some(End::Failed { step, code }) => format!("failed ({step}: {code})"),
        Some(End::Aborted { reason }) => format!("aborted ({})", abort_text(reason)),
        Some(End::Completed) => "completed".to_owned(),
        None if run.paused.is_some() => format!("{}, paused", run.status),
        None => run.status.to_string(),
    }
}

/// Why a run was aborted.
pub(crate) fn abort_text(reason: &AbortReason) -> String {
    match reason {
        AbortReason::Operator => "operator".to_owned(),
        AbortReason::Budget { account } => format!("budget of {account}"),
        AbortReason::Policy { code } => format!("policy {code}"),
        AbortReason::HostLost => "host lost".to_owned(),
        AbortReason::Outer { run } => format!("with run {run}"),
    }
}
