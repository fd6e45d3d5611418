//! Progress: what each event of a run means for whoever watches it, as a line a step.

use std::collections::BTreeMap;

use mc_core::budget::{Amount, Limit};
use mc_core::error::Result;
use mc_core::event::{Record, StepStatus};
use mc_core::id::{RunId, StepKey};
use mc_core::insight::RunFold;
use mc_core::money::NanoUsd;
use mc_core::ports::EventLog;
use mc_core::run::{Run, read_event};
use mc_core::time::Timestamp;
use serde_json::{Value, json};

use crate::reasons::{self, Reasons};
use crate::spend;
use crate::text::shortened;

/// What each step spent.
pub(crate) type StepCosts = BTreeMap<StepKey, Amount>;

/// A run that is followed.
#[derive(Debug)]
pub(crate) struct Progress {
    run_id: RunId,
    fold: RunFold,
    costs: StepCosts,
    reasons: Reasons,
    next: u64,
}

/// What is shown of a step after an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepLine {
    at: Timestamp,
    pub(crate) step: StepKey,
    /// The step with the composed steps around it.
    pub(crate) path: String,
    pub(crate) status: StepStatus,
    attempt: u32,
    tokens: u64,
    cost: NanoUsd,
    pub(crate) spent: Amount,
    pub(crate) limit: Limit,
    note: String,
    message: Option<String>,
}

impl Progress {
    /// Follows a run from its first event.
    pub(crate) fn new(run_id: RunId) -> Self {
        Self {
            run_id,
            fold: RunFold::new(),
            costs: StepCosts::new(),
            reasons: Reasons::default(),
            next: 0,
        }
    }

    /// The place of the next event.
    pub(crate) const fn next_run_seq(&self) -> u64 {
        self.next
    }

    /// The run so far.
    pub(crate) fn run(&self) -> Option<&Run> {
        self.fold.run(self.run_id)
    }

    /// What its steps spent so far.
    pub(crate) const fn costs(&self) -> &StepCosts {
        &self.costs
    }

    /// Why its steps failed, and what was refused.
    pub(crate) const fn reasons(&self) -> &Reasons {
        &self.reasons
    }

    /// Takes the next event of a log; gives a line where it moves a step.
    ///
    /// # Errors
    /// `Corrupt` where the event does not follow from those before it, `Unavailable`.
    pub(crate) async fn take(
        &mut self,
        log: &dyn EventLog,
        record: &Record,
    ) -> Result<Option<StepLine>> {
        if record.run_seq < self.next {
            return Ok(None);
        }
        self.next = record.run_seq + 1;
        for spent in self.fold.take(record)? {
            let sum = self.costs.entry(spent.step).or_default();
            *sum = sum.saturating_add(&spent.amount);
        }
        let message = reasons::message(log, record).await?;
        self.reasons.take(&read_event(record)?, message.clone());
        Ok(self.line(record, message.as_deref()))
    }

    fn line(&self, record: &Record, message: Option<&str>) -> Option<StepLine> {
        let shown = SHOWN.contains(&&*record.kind);
        let facts: Value = serde_json::from_str(&record.facts).ok().filter(|_| shown)?;
        let key: StepKey = facts["step"].as_str()?.parse().ok()?;
        let run = self.run()?;
        let step = run.step(&key);
        let cost = self.costs.get(&key).copied().unwrap_or_default();
        Some(StepLine {
            at: record.ts,
            status: run.step_status(&key),
            attempt: step.map_or(0, |step| step.attempt),
            tokens: cost.input_tokens.saturating_add(cost.output_tokens),
            cost: cost.money,
            spent: run.spent(),
            limit: *run.account().limit(),
            note: note(&record.kind, &facts, message),
            message: message.map(str::to_owned),
            path: key.to_string(),
            step: key,
        })
    }
}

/// The events that move a step, or make it wait.
const SHOWN: &[&str] = &[
    "step.dispatched",
    "step.expanded",
    "step.composed",
    "step.completed",
    "attempt.failed",
    "attempt.abandoned",
    "attempt.interrupted",
    "step.suspended",
    "step.blocked",
    "step.unblocked",
    "step.failed",
    "step.skipped",
    "step.cancelled",
    "model_call.throttled",
    "model_call.denied",
];

fn note(kind: &str, facts: &Value, message: Option<&str>) -> String {
    let said = message.map_or_else(String::new, |message| format!(": {}", shortened(message)));
    let text = |key: &str| facts[key].as_str().unwrap_or_default().to_owned();
    let at = |key: &str| {
        let us = facts[key].as_i64();
        us.map(|us| format!(", again at {}", clock(Timestamp::from_unix_us(us))))
            .unwrap_or_default()
    };
    match kind {
        "step.dispatched" => text("agent"),
        "step.expanded" => format!("{} items", facts["count"]),
        "step.composed" => format!(
            "uses {}@{}, run {}",
            text("workflow"),
            facts["version"],
            text("run")
        ),
        "attempt.failed" => format!("{}{said}{}", text("code"), at("retry_at")),
        "attempt.abandoned" => format!("{}{}", text("reason"), at("retry_at")),
        "step.blocked" => format!("{} {}", text("reason"), text("code"))
            .trim_end()
            .to_owned(),
        "step.failed" | "model_call.denied" => format!("{}{said}", text("code")),
        "step.skipped" => text("reason"),
        "model_call.throttled" => {
            format!(
                "provider refused with {}{}",
                facts["status"],
                at("retry_at")
            )
        }
        _ => String::new(),
    }
}

/// The time of the day in UTC.
fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(11..19).unwrap_or(&text).to_owned()
}

impl StepLine {
    /// The run's spend against its budget.
    pub(crate) fn spend(&self) -> String {
        format!("run {}", spend::told(&self.spent, &self.limit))
    }

    /// What is said of the step, without time and spend.
    pub(crate) fn state(&self) -> String {
        let note = if self.note.is_empty() {
            String::new()
        } else {
            format!("  {}", self.note)
        };
        format!(
            "{:<14} {:<9}  attempt {}  {:>6} tokens  {:>9} USD{note}",
            self.path,
            self.status.as_str(),
            self.attempt,
            self.tokens,
            self.cost.to_string(),
        )
    }

    /// One plain line.
    pub(crate) fn text(&self) -> String {
        format!("{}  {}  [{}]", clock(self.at), self.state(), self.spend())
    }

    /// The line for programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "at": self.at.to_string(), "step": self.step, "path": self.path, "status": self.status,
            "attempt": self.attempt, "tokens": self.tokens, "cost_usd": self.cost.to_string(),
            "run_spent_usd": self.spent.money.to_string(),
            "run_limit_usd": self.limit.money.map(|limit| limit.to_string()),
            "run_spent": self.spent, "run_limit": self.limit,
            "note": self.note, "message": self.message,
        })
    }
}
