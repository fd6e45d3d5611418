//! Lines of a view: runs, accounts and requests as they are shown, made of what the log keeps.
//!
//! Times are absolute, so that a line stays true for as long as nothing moves.

use mc_core::budget::{Account, AccountId, Period};
use mc_core::engine::ApprovalRequest;
use mc_core::error::Result;
use mc_core::event::run::Subject;
use mc_core::event::{RunStatus, StepStatus};
use mc_core::id::{ApprovalId, RunId, StepKey};
use mc_core::money::NanoUsd;
use mc_core::ports::RunRow;
use mc_core::run::{Run, Step};
use mc_core::time::Timestamp;

use super::halts::HaltLine;
use crate::asked;
use crate::refusals::refused;
use crate::spend;
use crate::text::{clean, exposed};

/// Characters of a run's id that are shown: its time to the millisecond, which other commands take.
const SHOWN_OF_ID: usize = 13;

/// Parts of a bar.
const BAR: usize = 10;

/// Nano-USD in the smallest amount that is shown.
const TENTH_OF_A_MILL: i64 = 100_000;

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunLine {
    pub(crate) run_id: RunId,
    pub(crate) started_at: Timestamp,
    pub(crate) what: String,
    pub(crate) status: RunStatus,
    pub(crate) paused: bool,
    pub(crate) steps: String,
    pub(crate) tokens: (u64, u64),
    pub(crate) spent: NanoUsd,
    pub(crate) limit: Option<NanoUsd>,
    /// The halt that holds it, if it is halted itself.
    pub(crate) halt: Option<HaltLine>,
}

impl RunLine {
    /// The line of a run's row.
    pub(crate) fn of(row: &RunRow, run: &Run) -> Self {
        let summary = &row.summary;
        let spent = run.spent().saturating_add(&run.spent_nested());
        let steps = match current(run) {
            steps if steps.is_empty() => clean(&summary.note),
            steps => steps,
        };
        Self {
            run_id: summary.run_id,
            started_at: summary.started_at,
            what: what(run),
            status: summary.status,
            paused: summary.paused,
            steps,
            tokens: (spent.input_tokens, spent.output_tokens),
            spent: spent.money,
            limit: summary.limit.money,
            halt: None,
        }
    }

    /// Whether it has not ended.
    pub(crate) const fn is_open(&self) -> bool {
        !self.status.is_terminal()
    }

    /// The beginning of its id.
    pub(crate) fn short_id(&self) -> String {
        short(self.run_id)
    }

    pub(crate) fn status_text(&self) -> String {
        if self.halt.is_some() {
            "halted".to_owned()
        } else if self.paused {
            "paused".to_owned()
        } else {
            self.status.to_string()
        }
    }

    pub(crate) fn tokens_text(&self) -> String {
        format!("{}/{}", count(self.tokens.0), count(self.tokens.1))
    }

    pub(crate) fn cost_text(&self) -> String {
        match self.limit {
            Some(limit) => format!("{} of {}", usd(self.spent), usd(limit)),
            None => usd(self.spent),
        }
    }
}

/// The beginning of a run's id, as other commands take it.
pub(crate) fn short(run: RunId) -> String {
    run.to_string().chars().take(SHOWN_OF_ID).collect()
}

fn what(run: &Run) -> String {
    match &run.created.subject {
        Subject::Workflow { name, version } => format!("{name}@{version}"),
        Subject::Session { agent } => format!("session {agent}"),
    }
}

/// What a run is at: steps that are out or stand still, those that a person is needed for first.
fn current(run: &Run) -> String {
    if run.status.is_terminal() {
        return String::new();
    }
    let mut told: Vec<(u8, String)> = run.steps.iter().filter_map(at).collect();
    told.sort();
    let told: Vec<String> = told.into_iter().map(|(_, text)| text).collect();
    told.join(", ")
}

fn at((key, step): (&StepKey, &Step)) -> Option<(u8, String)> {
    let attempt = step.attempt;
    match step.status.0 {
        StepStatus::Blocked => {
            let reason = step.block.as_ref().map(|block| block.reason.to_string());
            Some((0, format!("{key}: {}", reason.unwrap_or_default())))
        }
        StepStatus::Running if step.expansion.is_some() => None,
        StepStatus::Running => Some(match refused(step) {
            Some(call) => {
                let at = clock(call.retry_at);
                (1, format!("{key} #{attempt} refused, again at {at}"))
            }
            None => (1, format!("{key} #{attempt}")),
        }),
        StepStatus::Waiting => Some(match step.wake_at {
            Some(at) => (2, format!("{key} #{attempt} again at {}", clock(at))),
            None => (3, format!("{key} waits")),
        }),
        StepStatus::Completed
        | StepStatus::Failed
        | StepStatus::Skipped
        | StepStatus::Cancelled => None,
    }
}

/// The time of the day in UTC.
fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(11..19).unwrap_or(&text).to_owned()
}

/// A day and a time in UTC, to the second.
pub(crate) fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    match (text.get(..10), text.get(11..19)) {
        (Some(day), Some(time)) => format!("{day} {time}Z"),
        _ => text,
    }
}

/// A count in little room.
pub(crate) fn count(n: u64) -> String {
    match n {
        0..100_000 => n.to_string(),
        100_000..100_000_000 => format!("{}k", n / 1_000),
        _ => format!("{}M", n / 1_000_000),
    }
}

/// Money to a tenth of a mill, rounded up: what little there is does not look like nothing.
pub(crate) fn usd(money: NanoUsd) -> String {
    let nano = money.as_nano();
    let rest = nano.rem_euclid(TENTH_OF_A_MILL);
    let up = if rest == 0 { 0 } else { TENTH_OF_A_MILL - rest };
    NanoUsd::from_nano(nano.saturating_add(up)).to_string()
}

/// A shared account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccountLine {
    pub(crate) name: String,
    pub(crate) percent: Option<u8>,
    pub(crate) bar: String,
    pub(crate) told: String,
    pub(crate) window: String,
    pub(crate) resets_at: Option<Timestamp>,
    pub(crate) frozen: bool,
}

impl AccountLine {
    /// The line of an account.
    pub(crate) fn of(id: &AccountId, account: &Account) -> Self {
        let limited = !account.limit().is_none();
        let period = account.period().filter(|one| one.end < Period::ALWAYS.end);
        let window = account.window();
        Self {
            name: id.to_string(),
            percent: limited.then(|| account.percent()),
            bar: if limited { bar(account) } else { String::new() },
            told: told(account),
            window: if window.is_lifetime() {
                String::new()
            } else {
                window.to_string()
            },
            resets_at: period.map(|period| period.end),
            frozen: account.is_frozen(),
        }
    }

    pub(crate) fn percent_text(&self) -> String {
        match self.percent {
            _ if self.frozen => "frozen".to_owned(),
            Some(percent) => format!("{percent}%"),
            None => String::new(),
        }
    }

    /// To the minute, in UTC.
    pub(crate) fn resets_text(&self) -> String {
        let text = self.resets_at.map(moment).unwrap_or_default();
        text.get(..16).unwrap_or(&text).to_owned()
    }
}

fn told(account: &Account) -> String {
    let held = account.reserved().saturating_add(account.in_doubt());
    let spent = spend::told(account.spent(), account.limit());
    if held.money == NanoUsd::ZERO {
        spent
    } else {
        format!("{spent}, {} held", usd(held.money))
    }
}

/// `#` is spent and `+` held or in doubt, of the dimension that is fullest.
fn bar(account: &Account) -> String {
    let used = parts(account.percent());
    let spent = parts(spent_only(account)).min(used);
    let mut bar = "#".repeat(spent);
    bar.push_str(&"+".repeat(used - spent));
    bar.push_str(&".".repeat(BAR - used));
    bar
}

fn spent_only(account: &Account) -> u8 {
    use mc_core::budget::Dimension;
    let share = |dimension: Dimension| {
        let limit = spend::limit_of(account.limit(), dimension)?;
        let spent = account.spent().of(dimension);
        spent.saturating_mul(100).checked_div(limit)
    };
    let most = Dimension::ALL.into_iter().filter_map(share).max();
    u8::try_from(most.unwrap_or(0).max(0)).unwrap_or(u8::MAX)
}

/// Parts of a bar; what there is of anything shows.
fn parts(percent: u8) -> usize {
    (usize::from(percent.min(100)) * BAR).div_ceil(100)
}

/// Something that is asked of a person.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AskedLine {
    pub(crate) id: ApprovalId,
    pub(crate) tier: String,
    pub(crate) what: String,
    pub(crate) most: NanoUsd,
    pub(crate) expires_at: Timestamp,
    pub(crate) params: String,
    /// Everything that is to be known of it, nothing shortened.
    pub(crate) whole: Vec<String>,
}

impl AskedLine {
    /// The line of a request.
    pub(crate) fn of(request: &ApprovalRequest) -> Self {
        let asked = &request.asked;
        let path = &request.path;
        let what = match (&asked.tool, &asked.model) {
            (Some(tool), _) => format!("{} of {path}", exposed(tool.as_str().as_bytes())),
            (None, Some(model)) => format!("{model} of {path}"),
            (None, None) => path.clone(),
        };
        Self {
            id: request.id,
            tier: asked.risk.to_string(),
            what,
            most: asked.maximum.money,
            expires_at: asked.expires_at,
            params: asked::params(request),
            whole: asked::lines(request),
        }
    }
}

/// Reads the state in a run's row.
///
/// # Errors
/// `Corrupt`.
pub(crate) fn state(row: &RunRow) -> Result<Run> {
    Run::decode(&row.state)
}
