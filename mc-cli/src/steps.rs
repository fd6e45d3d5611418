//! A run for people: its head, its steps, its accounts, and what unblocks what stands still.

use std::collections::BTreeMap;

use mc_core::budget::{Account, AccountId, Amount, Limit};
use mc_core::event::run::{AbortReason, PauseReason};
use mc_core::event::{BlockReason, StepStatus};
use mc_core::id::StepKey;
use mc_core::run::{End, Run, Step};
use mc_core::workflow::Definition;
use serde_json::{Value, json};

use crate::table::{Align, Table};

/// What each step spent.
pub(crate) type StepCosts = BTreeMap<StepKey, Amount>;

/// A run with what is known around it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    /// The run.
    pub(crate) run: &'a Run,
    /// Its definition, where it has one.
    pub(crate) definition: Option<&'a Definition>,
    /// What its steps spent.
    pub(crate) costs: &'a StepCosts,
}

impl View<'_> {
    /// The whole view as text.
    pub(crate) fn text(&self) -> String {
        let mut parts = vec![self.head(), self.steps().render(), self.accounts().render()];
        let waits = self.waits();
        if !waits.is_empty() {
            parts.push(waits.join("\n"));
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

    fn agent(&self, key: &StepKey) -> String {
        let begun = self.run.step(key).and_then(|step| step.agent.clone());
        let defined = || {
            let step = self.definition?.step(key.name())?;
            Some(step.agent.clone())
        };
        begun
            .or_else(defined)
            .map_or("-".to_owned(), |agent| agent.to_string())
    }

    fn steps(&self) -> Table {
        let mut table = Table::new(&[
            ("step", Align::Left),
            ("status", Align::Left),
            ("attempt", Align::Right),
            ("agent", Align::Left),
            ("input", Align::Right),
            ("output", Align::Right),
            ("cost usd", Align::Right),
            ("note", Align::Left),
        ]);
        for key in self.keys() {
            let cost = self.costs.get(&key).copied().unwrap_or_default();
            let step = self.run.step(&key);
            table.row([
                key.to_string(),
                self.run.step_status(&key).to_string(),
                step.map_or(0, |step| step.attempt).to_string(),
                self.agent(&key),
                cost.input_tokens.to_string(),
                cost.output_tokens.to_string(),
                cost.money.to_string(),
                step.map(note).unwrap_or_default(),
            ]);
        }
        table
    }

    fn accounts(&self) -> Table {
        let mut table = Table::new(&[
            ("account", Align::Left),
            ("limit usd", Align::Right),
            ("spent", Align::Right),
            ("reserved", Align::Right),
            ("in doubt", Align::Right),
            ("calls", Align::Right),
        ]);
        for (name, account) in self.own_accounts() {
            table.row([
                name,
                account
                    .limit()
                    .money
                    .map_or("-".to_owned(), |usd| usd.to_string()),
                account.spent().money.to_string(),
                account.reserved().money.to_string(),
                account.in_doubt().money.to_string(),
                account.spent().calls.to_string(),
            ]);
        }
        table
    }

    /// The run's accounts, the run's own first, without the run's id in their names.
    fn own_accounts(&self) -> Vec<(String, Account)> {
        let mut all = vec![("run".to_owned(), self.run.account())];
        for (id, account) in &self.run.accounts {
            if let AccountId::Step(_, step) = id {
                all.push((format!("step:{step}"), account.clone()));
            }
        }
        all
    }

    /// What has to be done, by whom, for what stands still.
    pub(crate) fn waits(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.run.paused.iter().map(paused_text).collect();
        for (key, step) in &self.run.steps {
            if let Some(block) = &step.block {
                let code = if block.code.is_empty() {
                    String::new()
                } else {
                    format!(" ({})", block.code)
                };
                let agent = self.agent(key);
                let next = unblocks(block.reason, &agent);
                lines.push(format!(
                    "{key} is blocked by {}{code}: {next}",
                    block.reason
                ));
            }
        }
        lines
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
            "started_at": self.run.started_at.to_string(),
            "ended_at": self.run.ended_at.map(|at| at.to_string()),
            "started_by": self.run.started_by,
            "events": self.run.events,
            "labels": self.run.created.labels,
            "steps": steps,
            "accounts": accounts,
            "waits": self.waits(),
        })
    }

    fn step_json(&self, key: &StepKey) -> Value {
        let step = self.run.step(key);
        let cost = self.costs.get(key).copied().unwrap_or_default();
        json!({
            "step": key,
            "status": self.run.step_status(key),
            "attempt": step.map_or(0, |step| step.attempt),
            "agent": self.agent(key),
            "input_tokens": cost.input_tokens,
            "output_tokens": cost.output_tokens,
            "cost_usd": cost.money.to_string(),
            "blocked": step.and_then(|step| step.block.as_ref()),
            "code": step.map(|step| step.code.as_str()).filter(|code| !code.is_empty()),
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

/// What a table says of a step beside its numbers.
fn note(step: &Step) -> String {
    if let Some(block) = &step.block {
        return format!("{} {}", block.reason, block.code)
            .trim_end()
            .to_owned();
    }
    if let Some(items) = &step.expansion {
        return format!("{} of {} items", items.ended, items.count);
    }
    if let (Some(at), StepStatus::Waiting) = (step.wake_at, step.status.0) {
        return format!("{} again at {at}", step.code)
            .trim_start()
            .to_owned();
    }
    let failed = step.status.0 == StepStatus::Failed;
    if failed {
        step.code.clone()
    } else {
        String::new()
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
    }
}

fn paused_text(reason: &PauseReason) -> String {
    match reason {
        PauseReason::Operator => {
            "the run is paused by an operator: its host lets it go on with `run.resume`".to_owned()
        }
        PauseReason::Budget { account } => format!(
            "the run is paused by the budget of {account}: its host gives more with `control.set_limit`"
        ),
        PauseReason::StepFailed { step } => format!(
            "the run is paused because {step} failed: its host lets it go on with `run.resume`"
        ),
    }
}

/// What clears a block.
fn unblocks(reason: BlockReason, agent: &str) -> String {
    match reason {
        BlockReason::Approval => "a person has to approve it, or `mission-control abort RUN`".to_owned(),
        BlockReason::Budget => {
            "its host gives more with `control.set_limit` or settles doubts with `run.reconcile`"
                .to_owned()
        }
        BlockReason::Guardrail => "its host lets it try afresh with `run.unblock`".to_owned(),
        BlockReason::Circuit => "nothing to do: it goes on when the provider answers again".to_owned(),
        BlockReason::InDoubt => {
            "find out whether it happened, then abort the run or settle its doubts with `run.reconcile`"
                .to_owned()
        }
        BlockReason::Signal => "its host sends the signal with `run.signal`".to_owned(),
        BlockReason::AgentUnavailable => {
            format!("register agent `{agent}`: add it to the agents file and run again")
        }
    }
}
