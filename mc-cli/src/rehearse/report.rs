//! What a rehearsal prints: a line a run and a summary, or one line of JSON.

use std::io::{self, Write};

use mission_control::{AbortReason, NanoUsd, RunStatus};
use serde::{Serialize, Serializer};

use super::options::Report;
use super::tally::{RunFate, Tally};
use crate::text::clean;

/// What helps where a run was stopped by a model without a price.
const UNPRICED: &str = "unknown_model: a model has no price; in another store \
                        --allow-unknown-models lets such models answer at no cost";

/// The sums of a rehearsal, read from the log.
///
/// As JSON: `{"runs":2,"completed":1,"stopped":1,"model_calls":9,"denied_calls":1,"input_tokens":900,
/// "output_tokens":120,"cost_usd":"0.00318","refusals":3,"max_over_limit_nano_usd":0,
/// "replay_mismatches":0}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Runs of the file.
    pub runs: u64,
    /// Runs that completed.
    pub completed: u64,
    /// Runs that a budget or a policy ended.
    pub stopped: u64,
    /// Answered calls.
    pub model_calls: u64,
    /// Permits that a budget or a policy refused.
    pub denied_calls: u64,
    /// Input tokens of answered calls.
    pub input_tokens: u64,
    /// Output tokens of answered calls.
    pub output_tokens: u64,
    /// What was settled; decimal USD as text.
    #[serde(rename = "cost_usd", serialize_with = "decimal")]
    pub cost: NanoUsd,
    /// Refusals by the provider.
    pub refusals: u64,
    /// The most by which an account passed its limit at any moment; 0 where none did.
    pub max_over_limit_nano_usd: i64,
    /// Runs whose replay is not the state that was kept.
    pub replay_mismatches: u64,
    /// Calls that a rule in mode `observe` would have denied; none where no policy was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_deny: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn decimal<S: Serializer>(cost: &NanoUsd, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(cost)
}

impl Summary {
    /// Runs that neither completed nor were stopped. Any makes the command's result negative.
    pub const fn unfinished(&self) -> u64 {
        self.runs
            .saturating_sub(self.completed)
            .saturating_sub(self.stopped)
    }

    pub(super) fn add(&mut self, fate: &RunFate) {
        self.runs += 1;
        self.completed += u64::from(fate.status == Some(RunStatus::Completed));
        self.stopped += u64::from(is_stopped(fate));
        self.model_calls += fate.model_calls;
        self.denied_calls += fate.denied_calls;
        self.input_tokens = self.input_tokens.saturating_add(fate.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(fate.output_tokens);
        self.cost = self.cost.saturating_add(fate.cost);
        self.refusals += fate.refusals;
        if let Some(would_deny) = &mut self.would_deny {
            *would_deny += fate.would_deny();
        }
    }
}

fn is_stopped(fate: &RunFate) -> bool {
    match fate.stopped_by {
        Some(AbortReason::Budget { .. } | AbortReason::Policy { .. }) => true,
        Some(AbortReason::Operator | AbortReason::HostLost) | None => false,
    }
}

/// Writes what came of a rehearsal; the last line is the summary.
pub(crate) fn write(
    out: &mut dyn Write,
    report: Report,
    tally: &Tally,
    summary: &Summary,
) -> io::Result<()> {
    match report {
        Report::Json => writeln!(out, "{}", serde_json::to_string(summary)?)?,
        Report::Text => write_text(out, tally, summary)?,
    }
    out.flush()
}

fn write_text(out: &mut dyn Write, tally: &Tally, summary: &Summary) -> io::Result<()> {
    for (run, fate) in &tally.runs {
        let project = clean(&run.project);
        let (id, end) = (clean(&run.recorded), end(fate));
        let (calls, cost, refusals) = (fate.model_calls, fate.cost, fate.refusals);
        write!(
            out,
            "{id}  {calls:>3} calls  {cost:>11} USD  {refusals:>3} refusals  {end}"
        )?;
        writeln!(out, "  {project}")?;
        for (rule, calls) in tally.observed(fate) {
            let (rule, calls) = (clean(rule), calls.len());
            writeln!(
                out,
                "  {rule}, which only observes, would have denied {calls} calls"
            )?;
        }
    }
    if tally.runs.iter().any(|(_, fate)| is_unpriced(fate)) {
        writeln!(out, "{UNPRICED}")?;
    }
    let Summary {
        runs,
        completed,
        stopped,
        cost,
        ..
    } = summary;
    writeln!(
        out,
        "{runs} runs: {completed} completed, {stopped} stopped, {} unfinished",
        summary.unfinished()
    )?;
    writeln!(
        out,
        "{} calls answered, {} denied, {} refused by the provider; {} + {} tokens; {cost} USD",
        summary.model_calls,
        summary.denied_calls,
        summary.refusals,
        summary.input_tokens,
        summary.output_tokens,
    )?;
    if let Some(would_deny) = summary.would_deny {
        writeln!(
            out,
            "{would_deny} calls would have been denied by rules that only observe"
        )?;
    }
    writeln!(
        out,
        "most over a limit: {} nano-USD; replay differs in {} runs",
        summary.max_over_limit_nano_usd, summary.replay_mismatches,
    )
}

fn is_unpriced(fate: &RunFate) -> bool {
    matches!(&fate.stopped_by, Some(AbortReason::Policy { code }) if code == "unknown_model")
}

/// How a run ended, in words.
fn end(fate: &RunFate) -> String {
    match (&fate.stopped_by, fate.status) {
        (Some(AbortReason::Budget { account }), _) => format!("stopped by budget of {account}"),
        (Some(AbortReason::Policy { code }), _) => format!("stopped by policy {code}"),
        (Some(AbortReason::Operator), _) => "aborted by an operator".to_owned(),
        (Some(AbortReason::HostLost), _) => "aborted: its host was lost".to_owned(),
        (None, Some(status)) => status.to_string(),
        (None, None) => "not started".to_owned(),
    }
}
