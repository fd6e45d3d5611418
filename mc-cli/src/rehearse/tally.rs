//! What came of a rehearsal, from the log alone: no counter of an agent or engine is asked.

use std::collections::{BTreeMap, BTreeSet};

use mission_control::core::budget::{Dimension, Path, post_at};
use mission_control::core::event::EventKind;
use mission_control::core::ports::EventLog;
use mission_control::core::run::{End, RunEvent, postings, read_event, replay};
use mission_control::{
    AbortReason, Account, AccountId, Error, Mode, NanoUsd, Record, Result, Run, RunId, RunStatus,
    StepKey,
};

use super::report::Summary;

/// Events that are read at a time.
const PAGE: usize = 1_000;

/// A recorded run and the run that re-enacts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsed {
    /// The recorded run's id.
    pub recorded: String,
    /// The name of what it made.
    pub project: String,
    /// The run; none where it was not started.
    pub run_id: Option<RunId>,
    /// The rule of the policy that did not let it start.
    pub refused_by: Option<String>,
}

/// What came of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFate {
    /// Its status; none where it was not started.
    pub status: Option<RunStatus>,
    /// What ended it before its end: an account, or a rule.
    pub stopped_by: Option<AbortReason>,
    /// Answered calls.
    pub model_calls: u64,
    /// Permits that a budget or a policy refused.
    pub denied_calls: u64,
    /// Refusals by the provider.
    pub refusals: u64,
    /// Input tokens of answered calls.
    pub input_tokens: u64,
    /// Output tokens of answered calls.
    pub output_tokens: u64,
    /// What was settled.
    pub cost: NanoUsd,
    /// Calls that a rule in mode `observe` would have denied, by the rule.
    pub would_deny: BTreeMap<String, BTreeSet<Judged>>,
}

/// A call that was judged: its step, attempt and place there.
pub type Judged = (StepKey, u32, Option<u32>);

/// A fold of the whole log.
#[derive(Debug, Default)]
pub struct Tally {
    /// Each run of the file, with what came of it, in order of start.
    pub runs: Vec<(Rehearsed, RunFate)>,
    /// The most by which any account with a limit ever passed it, after any event.
    pub max_over_limit: NanoUsd,
    /// Runs whose replay is not what their row keeps.
    pub replay_mismatches: u64,
    /// Whether a policy was given to judge the calls.
    pub judged: bool,
}

#[derive(Default)]
struct Fold {
    runs: BTreeMap<RunId, Run>,
    accounts: BTreeMap<AccountId, Account>,
    fates: BTreeMap<RunId, RunFate>,
    max_over_limit: i128,
}

impl Tally {
    /// Reads the log from its first event to its last.
    pub(super) async fn read(log: &dyn EventLog, runs: Vec<Rehearsed>) -> Result<Self> {
        let mut fold = Fold::default();
        let mut next = 0;
        loop {
            let records = log.read_workspace(next, PAGE).await?;
            let Some(last) = records.last() else { break };
            next = last.seq + 1;
            records.iter().try_for_each(|record| fold.follow(record))?;
        }
        let mut replay_mismatches = 0;
        for run in runs.iter().filter_map(|run| run.run_id) {
            replay_mismatches += u64::from(!is_replayed(log, run).await?);
        }
        let most = i64::try_from(fold.max_over_limit).unwrap_or(i64::MAX);
        let fates = runs.into_iter().map(|run| {
            let mut fate = run.run_id.map(|id| fold.fate(id)).unwrap_or_default();
            if let Some(code) = &run.refused_by {
                let code = code.clone();
                fate.stopped_by = Some(AbortReason::Policy { code });
            }
            (run, fate)
        });
        Ok(Self {
            runs: fates.collect(),
            max_over_limit: NanoUsd::from_nano(most),
            replay_mismatches,
            judged: false,
        })
    }

    /// The sums over all runs.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary {
            max_over_limit_nano_usd: self.max_over_limit.as_nano(),
            replay_mismatches: self.replay_mismatches,
            would_deny: self.judged.then_some(0),
            ..Summary::default()
        };
        for (_, fate) in &self.runs {
            summary.add(fate);
        }
        summary
    }
}

impl Tally {
    /// What rules that only observe would have denied of a run, where a policy was given.
    pub(super) fn observed<'a>(
        &self,
        fate: &'a RunFate,
    ) -> impl Iterator<Item = (&'a String, &'a BTreeSet<Judged>)> {
        fate.would_deny.iter().filter(|_| self.judged)
    }
}

impl RunFate {
    /// How many calls rules that only observe would have denied, each once.
    pub(super) fn would_deny(&self) -> u64 {
        let calls: BTreeSet<&Judged> = self.would_deny.values().flatten().collect();
        u64::try_from(calls.len()).unwrap_or(u64::MAX)
    }
}

/// Whether the fold of a run's records is the state that its row keeps, byte for byte.
async fn is_replayed(log: &dyn EventLog, run: RunId) -> Result<bool> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let from = records.last().map_or(0, |record| record.run_seq + 1);
        let page = log.read_run(run, from, PAGE).await?;
        if page.is_empty() {
            break;
        }
        records.extend(page);
    }
    let row = log.run_row(run).await?;
    let replayed = replay(&records)?.encode()?;
    Ok(row.is_some_and(|row| *row.state == *replayed))
}

impl Fold {
    fn follow(&mut self, record: &Record) -> Result<()> {
        let kind = read_event(record)?;
        let event = RunEvent::of(record, &kind);
        if record.run_id == RunId::ZERO {
            self.limit(&kind, record)?;
        } else if let Some(run) = self.runs.get_mut(&record.run_id) {
            for posting in run.apply(&event)? {
                let (path, at) = (&posting.path, posting.at);
                let moved = post_at(&mut self.accounts, path, at, &posting.movement);
                moved.map_err(|fault| unbalanced(record).with_source(fault))?;
                self.look(&posting.path);
            }
            self.count(record.run_id, &kind);
        } else {
            let run = Run::create(record.run_id, &event)?;
            if let Some(budget) = run.created.budget {
                let account = Account::new(budget.limit, budget.on_exceed);
                self.accounts.insert(AccountId::Run(run.run_id), account);
            }
            self.runs.insert(run.run_id, run);
        }
        Ok(())
    }

    /// An operator's limit of a shared account stands in run zero.
    fn limit(&mut self, kind: &EventKind, record: &Record) -> Result<()> {
        postings::of_account(kind).into_iter().try_for_each(|one| {
            post_at(&mut self.accounts, &one.path, one.at, &one.movement)
                .map_err(|fault| unbalanced(record).with_source(fault))
        })
    }

    /// Looks at the accounts that an event moved; no other changes.
    fn look(&mut self, path: &Path) {
        let moved = path.iter().filter_map(|id| self.accounts.get(id));
        let rooms = moved.filter_map(|account| account.headroom(Dimension::Money));
        let most = rooms.map(|room| -room).max().unwrap_or(0);
        self.max_over_limit = self.max_over_limit.max(most);
    }

    fn count(&mut self, run: RunId, kind: &EventKind) {
        let fate = self.fates.entry(run).or_default();
        if let EventKind::ModelCallSettled(facts) = kind {
            fate.model_calls += 1;
            fate.input_tokens = fate.input_tokens.saturating_add(facts.usage.input_tokens());
            fate.output_tokens = fate
                .output_tokens
                .saturating_add(facts.usage.output_tokens());
        }
        if let EventKind::GuardrailJudged(facts) = kind
            && facts.mode == Mode::Observe
            && ["deny", "halt", "needs_approval"].contains(&facts.verdict.as_str())
        {
            let calls = fate.would_deny.entry(facts.rule.clone()).or_default();
            calls.insert((facts.step.clone(), facts.attempt, facts.ordinal));
        }
        fate.denied_calls += u64::from(matches!(kind, EventKind::ModelCallDenied(_)));
        fate.refusals += u64::from(is_refusal(kind));
    }

    fn fate(&self, id: RunId) -> RunFate {
        let run = self.runs.get(&id);
        let spent = self
            .accounts
            .get(&AccountId::Run(id))
            .map(|account| account.spent().money);
        RunFate {
            status: run.map(|run| run.status),
            stopped_by: run.and_then(|run| match &run.end {
                Some(End::Aborted { reason }) => Some(reason.clone()),
                Some(End::Completed | End::Failed { .. }) | None => None,
            }),
            cost: spent.unwrap_or_default(),
            ..self.fates.get(&id).cloned().unwrap_or_default()
        }
    }
}

/// The provider refused the call: it waits, or it gave up after a day of refusals.
fn is_refusal(kind: &EventKind) -> bool {
    let gave_up = |code: &str| code == "throttled_too_long";
    matches!(kind, EventKind::ModelCallThrottled(_))
        || matches!(kind, EventKind::ModelCallReleased(facts) if gave_up(&facts.code))
}

fn unbalanced(record: &Record) -> Error {
    Error::corrupt("ledger", Some(record.seq))
}
