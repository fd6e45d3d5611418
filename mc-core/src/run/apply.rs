//! `apply`: how an event changes its run. Pure, total over the kinds, and never a decision.
//!
//! An event that does not fit the state is `Corrupt`: the log and the code disagree. Money moves in
//! the run's own accounts here; `postings` tells the same movements for the shared ones.

use super::planned;
use super::postings::{self, Posting};
use super::state::{End, Run, Step};
use super::transitions::{RunTrigger, StepTrigger, run_after, step_after};
use super::{apply_approval, apply_call, apply_step, redriven};
use crate::budget::{Account, AccountId, Amount, Books, BooksMut, post_at};
use crate::error::{Error, Result};
use crate::event::run::{RunAborted, RunCreated, RunFailed};
use crate::event::{BlockReason, EventKind, PartRef, Record, RunStatus, Topic};
use crate::id::{Actor, RunId, StepKey};
use crate::time::Timestamp;

use std::collections::{BTreeMap, BTreeSet};

/// An event of a run, with what `apply` needs of its place.
#[derive(Clone, Copy, Debug)]
pub struct RunEvent<'a> {
    /// Place in the workspace.
    pub seq: u64,
    /// When it was decided.
    pub ts: Timestamp,
    /// The owner's epoch.
    pub epoch: u64,
    /// Who caused it.
    pub actor: &'a Actor,
    /// What it says.
    pub kind: &'a EventKind,
}

impl<'a> RunEvent<'a> {
    /// A record of the log, with what it says.
    pub const fn of(record: &'a Record, kind: &'a EventKind) -> Self {
        Self {
            seq: record.seq,
            ts: record.ts,
            epoch: record.epoch,
            actor: &record.actor,
            kind,
        }
    }

    pub(super) const fn part(&self, part: u16) -> PartRef {
        PartRef {
            seq: self.seq,
            part,
        }
    }

    pub(super) fn refuse(&self, reason: &'static str) -> Error {
        Error::corrupt(reason, Some(self.seq)).with_context("type", self.kind.name())
    }
}

/// Whether a hold may come into doubt, or leave it, by such an event.
const fn may_change_doubts(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::ModelCallDoubted(_)
            | EventKind::AttemptInterrupted(_)
            | EventKind::ResultLate(_)
            | EventKind::BudgetReconciled(_)
    )
}

/// The run's own accounts; what belongs to the workspace is left alone.
struct OwnBooks<'a>(&'a mut BTreeMap<AccountId, Account>);

impl Books for OwnBooks<'_> {
    fn account(&self, id: &AccountId) -> Option<&Account> {
        self.0.get(id)
    }
}

impl BooksMut for OwnBooks<'_> {
    fn put(&mut self, id: &AccountId, account: Account) {
        self.0.put(id, account);
    }
}

impl Run {
    /// The run that its first event makes.
    ///
    /// # Errors
    /// `Corrupt` where the event is not `run.created`.
    pub fn create(run_id: RunId, event: &RunEvent<'_>) -> Result<Self> {
        let EventKind::RunCreated(created) = event.kind else {
            return Err(event.refuse("first_event"));
        };
        let mut run = Self {
            run_id,
            created: created.clone(),
            started_by: { created.started_by.as_ref() }
                .unwrap_or(event.actor)
                .clone(),
            status: RunStatus::Pending,
            paused: None,
            sealed: false,
            end: None,
            started_at: event.ts,
            ended_at: None,
            input: event.part(0),
            events: 1,
            steps: BTreeMap::new(),
            accounts: BTreeMap::new(),
            holds: BTreeMap::new(),
            doubts: BTreeMap::new(),
            approvals: BTreeMap::new(),
            nested: BTreeMap::new(),
            signals: Vec::new(),
            tool_uses: BTreeMap::new(),
            acts: BTreeSet::new(),
        };
        run.open_account(created);
        Ok(run)
    }

    fn open_account(&mut self, created: &RunCreated) {
        if let Some(budget) = created.budget {
            let account = Account::new(budget.limit, budget.on_exceed);
            self.accounts.insert(AccountId::Run(self.run_id), account);
        }
    }

    /// Changes the run by its next event, and tells what it moved in which accounts.
    ///
    /// # Errors
    /// `Corrupt` where the event does not fit the state; the run is then not to be used any more.
    pub fn apply(&mut self, event: &RunEvent<'_>) -> Result<Vec<Posting>> {
        let postings = postings::of(self, event.kind, event.ts);
        self.post(&postings, event)?;
        self.apply_kind(event)?;
        if may_change_doubts(event.kind) {
            self.note_doubts(event.ts);
        }
        self.events += 1;
        Ok(postings)
    }

    fn post(&mut self, postings: &[Posting], event: &RunEvent<'_>) -> Result<()> {
        let mut books = OwnBooks(&mut self.accounts);
        for posting in postings {
            let own = posting.own(self.run_id);
            post_at(&mut books, &own, posting.at, &posting.movement)
                .map_err(|fault| event.refuse("ledger").with_source(fault))?;
        }
        Ok(())
    }

    fn apply_kind(&mut self, event: &RunEvent<'_>) -> Result<()> {
        match event.kind.topic() {
            Topic::Run => self.apply_own(event),
            Topic::Plan => planned::apply(self, event),
            Topic::Attempt | Topic::Step => apply_step::apply(self, event),
            Topic::Billing | Topic::Journal => apply_call::apply(self, event),
            Topic::Approval => apply_approval::apply(self, event),
            // What they move stands in their postings.
            Topic::Account | Topic::Note => Ok(()),
            Topic::Workspace | Topic::SharedAccount => Err(event.refuse("not_a_run_event")),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "`apply_kind` sends only these kinds here"
    )]
    fn apply_own(&mut self, event: &RunEvent<'_>) -> Result<()> {
        match event.kind {
            EventKind::RunStarted(_) => self.turn(RunTrigger::Start, event),
            EventKind::RunPaused(facts) => {
                self.turn(RunTrigger::Pause, event)?;
                self.paused = Some(facts.reason.clone());
                Ok(())
            }
            EventKind::RunResumed(_) => {
                self.turn(RunTrigger::Resume, event)?;
                self.paused = None;
                Ok(())
            }
            EventKind::RunCompleted(_) => self.end(RunTrigger::Complete, End::Completed, event),
            EventKind::RunFailed(RunFailed { step, code }) => {
                let end = End::Failed {
                    step: step.clone(),
                    code: code.clone(),
                };
                self.end(RunTrigger::Fail, end, event)
            }
            EventKind::RunAborted(RunAborted { reason }) => self.end(
                RunTrigger::Abort,
                End::Aborted {
                    reason: reason.clone(),
                },
                event,
            ),
            EventKind::RunSealed(_) => {
                self.turn(RunTrigger::Seal, event)?;
                self.sealed = true;
                Ok(())
            }
            EventKind::RunRedriven(facts) => {
                self.turn(RunTrigger::Redrive, event)?;
                redriven::apply(self, facts, event)
            }
            EventKind::SignalReceived(facts) => {
                self.signals.push((facts.signal.clone(), event.part(0)));
                Ok(())
            }
            _ => Err(event.refuse("not_of_the_run_itself")),
        }
    }

    fn turn(&mut self, trigger: RunTrigger, event: &RunEvent<'_>) -> Result<()> {
        self.status =
            run_after(self.status, trigger).ok_or_else(|| event.refuse("run_transition"))?;
        Ok(())
    }

    fn end(&mut self, trigger: RunTrigger, end: End, event: &RunEvent<'_>) -> Result<()> {
        self.turn(trigger, event)?;
        self.paused = None;
        self.end = Some(end);
        self.ended_at = Some(event.ts);
        Ok(())
    }

    /// The step, made where nothing happened to it yet, after a trigger.
    pub(super) fn turn_step(
        &mut self,
        key: &StepKey,
        trigger: StepTrigger,
        event: &RunEvent<'_>,
    ) -> Result<&mut Step> {
        let step = self.steps.entry(key.clone()).or_default();
        step.status.0 =
            step_after(step.status.0, trigger).ok_or_else(|| event.refuse("step_transition"))?;
        if trigger != StepTrigger::Block {
            step.block = None;
        }
        Ok(step)
    }

    /// Money of a step that is in doubt, in its own name or in that of its calls.
    pub fn doubts_of(&self, key: &StepKey) -> Amount {
        self.holds
            .iter()
            .filter(|(hold_key, hold)| hold_key.step == *key && hold.is_in_doubt())
            .fold(Amount::ZERO, |sum, (_, hold)| {
                sum.saturating_add(hold.amount())
            })
    }

    /// What a step's hold grew by for an open call, which is not kept beyond it. A session keeps its block
    /// for the calls to come.
    pub fn grown_for(&self, key: &StepKey, ordinal: u32) -> Amount {
        let call = self.step(key).and_then(|step| step.calls.get(&ordinal));
        let call = call.filter(|_| self.workflow().is_some());
        call.map_or(Amount::ZERO, |call| call.extended)
    }

    /// Whether a step may have happened and nobody knows.
    pub fn is_in_doubt(&self, key: &StepKey) -> bool {
        let block = self.steps.get(key).and_then(|step| step.block.as_ref());
        block.is_some_and(|block| block.reason == BlockReason::InDoubt)
    }
}
