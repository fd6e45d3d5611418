//! What is in doubt, as a host settles it: steps by what became of them, money in bulk.

use super::control::MissionControl;
use super::run_handle::RunHandle;
use crate::budget::{AccountId, Amount, Hold};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{RunId, StepKey};
use crate::run::{HoldKey, Run};
use crate::sequencer::{Informant, Request, Resolution, Resolve};
use crate::time::Timestamp;

/// Runs with something due that are looked at for money in doubt.
const MOST_RUNS: usize = 1_000_000;

/// What of several holds in doubt was billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Billed {
    /// All that they hold.
    InFull,
    /// Nothing.
    Nothing,
}

/// What was settled at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// How many holds.
    pub holds: u32,
    /// What they held together.
    pub held: Amount,
}

/// A step in doubt, `&step`, or one attempt of it, `(&step, 2)`.
#[derive(Clone, Copy, Debug)]
pub struct InDoubt<'a> {
    step: &'a StepKey,
    attempt: Option<u32>,
}

impl<'a> From<&'a StepKey> for InDoubt<'a> {
    fn from(step: &'a StepKey) -> Self {
        Self {
            step,
            attempt: None,
        }
    }
}

impl<'a> From<(&'a StepKey, u32)> for InDoubt<'a> {
    fn from((step, attempt): (&'a StepKey, u32)) -> Self {
        Self {
            step,
            attempt: Some(attempt),
        }
    }
}

impl RunHandle {
    /// Says what became of a step that is in doubt. Its money is settled on its own: see
    /// [`reconcile`](Self::reconcile).
    ///
    /// Whoever was shown which attempt is in doubt names it beside the step, `(&step, 2)`: then the word
    /// counts for no other.
    ///
    /// What did not happen goes back to dispatch and asks for a new approval, since the one that it
    /// had is used up. On a run that has ended nothing but the doubt ends.
    ///
    /// # Errors
    /// `NotFound`; `InvalidTransition` for a step, or an attempt, that is not in doubt; `AgentFailed` for an output
    /// that is not as the step's schema says; `InvalidInput` without a reason.
    pub async fn resolve(
        &self,
        operator: &str,
        step: impl Into<InDoubt<'_>>,
        resolution: Resolution,
        reason: &str,
    ) -> Result<()> {
        let InDoubt { step, attempt } = step.into();
        if reason.trim().is_empty() {
            return Err(Error::invalid(
                "reason",
                "a resolution has a reason, in words",
            ));
        }
        let resolution = match resolution {
            Resolution::Happened(output) => {
                Resolution::Happened(super::content::checked_shared("output", output)?)
            }
            Resolution::DidNotHappen | Resolution::Abort => resolution,
        };
        let request = Request::Resolve(Resolve {
            run_id: self.id(),
            step: step.clone(),
            attempt,
            by: Informant::Person,
            resolution,
            reason: reason.into(),
        });
        self.command(operator, request).await
    }

    /// Settles all money of the run that is in doubt. What somebody else settles meanwhile is left out.
    ///
    /// # Errors
    /// As [`reconcile`](Self::reconcile); `settled_before` in its context counts the holds that were
    /// settled before it.
    pub async fn reconcile_all(
        &self,
        operator: &str,
        billed: Billed,
        evidence: &str,
    ) -> Result<Settled> {
        let doubts = self.doubts().await?;
        self.settle(operator, doubts, (billed, evidence)).await
    }

    async fn settle(
        &self,
        operator: &str,
        doubts: Vec<(HoldKey, Amount)>,
        (billed, evidence): (Billed, &str),
    ) -> Result<Settled> {
        let mut settled = Settled::default();
        for (hold, held) in doubts {
            let actual = match billed {
                Billed::InFull => held,
                Billed::Nothing => Amount::ZERO,
            };
            match self.reconcile(operator, &hold, actual, evidence).await {
                Ok(()) => {}
                // Somebody has settled it meanwhile.
                Err(error) if is_settled(&error) => continue,
                Err(error) => return Err(error.with_context("settled_before", settled.holds)),
            }
            settled.holds = settled.holds.saturating_add(1);
            settled.held = settled.held.saturating_add(&held);
        }
        Ok(settled)
    }
}

/// Whether an error says that a hold is not in doubt any more.
fn is_settled(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::InvalidTransition
    )
}

impl MissionControl {
    /// Settles all money in doubt that counts in an account, in whichever run.
    ///
    /// # Errors
    /// As [`RunHandle::reconcile`].
    pub async fn reconcile_account(
        &self,
        operator: &str,
        account: &AccountId,
        (billed, evidence): (Billed, &str),
    ) -> Result<Settled> {
        let mut settled = Settled::default();
        for (run_id, doubts) in self.doubts_in(account).await? {
            let run = self.run(run_id);
            let one = run.settle(operator, doubts, (billed, evidence)).await?;
            settled.holds = settled.holds.saturating_add(one.holds);
            settled.held = settled.held.saturating_add(&one.held);
        }
        Ok(settled)
    }

    async fn doubts_in(&self, account: &AccountId) -> Result<Vec<(RunId, Vec<(HoldKey, Amount)>)>> {
        // Every doubt is a time at which its run is due.
        let ever = Timestamp::from_unix_us(i64::MAX);
        let due = self.inner.log.runs_due(ever, MOST_RUNS).await?;
        let mut found = Vec::new();
        for (_, run_id) in due {
            let Some(row) = self.inner.log.run_row(run_id).await? else {
                continue;
            };
            let run = Run::decode(&row.state)?;
            let counts =
                |hold: &Hold| hold.is_in_doubt() && hold.path().iter().any(|id| id == account);
            let holds = run.holds.iter().filter(|(_, hold)| counts(hold));
            let holds: Vec<_> = holds
                .map(|(key, hold)| (key.clone(), *hold.amount()))
                .collect();
            if !holds.is_empty() {
                found.push((run_id, holds));
            }
        }
        Ok(found)
    }
}
