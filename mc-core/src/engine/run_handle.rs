//! A handle on one run.

use std::sync::Arc;

use serde_json::Value;

use super::attempt::Progress;
use super::content;
use super::events::RunEvents;
use super::family_events::FamilyEvents;
use super::halt::By;
use super::inner::{Inner, lock};
use super::options::operator;
use super::outcome::Outcome;
use super::position::{Position, blocked};
use crate::budget::Amount;
use crate::error::{Error, Result};
use crate::id::{Actor, Opaque, RunId, StepKey};
use crate::run::{HoldKey, Run};
use crate::sequencer::{Reconcile, Request, Steer};

/// A run, by its id. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct RunHandle {
    pub(super) inner: Arc<Inner>,
    pub(super) run_id: RunId,
}

impl RunHandle {
    /// The run's id.
    pub const fn id(&self) -> RunId {
        self.run_id
    }

    /// The run's state, as far as it is on disk.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`.
    pub async fn state(&self) -> Result<Arc<Run>> {
        self.inner.durable_run(self.run_id).await
    }

    /// Waits until the run has ended.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`; `Unavailable` where the engine is shut down before that.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing; the run goes on.
    pub async fn outcome(&self) -> Result<Outcome> {
        loop {
            let watcher = self.inner.watcher(self.run_id);
            let moved = watcher.moved.notified();
            if let Some(run) = self.inner.settled_state(self.run_id).await?
                && let Some(outcome) = self.inner.outcome(&run).await?
            {
                return Ok(outcome);
            }
            self.inner.require_open()?;
            moved.await;
        }
    }

    /// Waits until the run has ended, or until somebody outside has to do something.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`; `Unavailable` where the engine is shut down before that.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing; the run goes on.
    pub async fn settled_or_blocked(&self) -> Result<Position> {
        loop {
            let watcher = self.inner.watcher(self.run_id);
            let moved = watcher.moved.notified();
            if let Some(run) = self.inner.settled_state(self.run_id).await? {
                if let Some(outcome) = self.inner.outcome(&run).await? {
                    return Ok(Position::Ended(outcome));
                }
                let nested = self.inner.settled_nested(&run).await?;
                if let Some(position) = nested.and_then(|nested| blocked(&run, &nested)) {
                    return Ok(position);
                }
            }
            self.inner.require_open()?;
            moved.await;
        }
    }

    /// How far its attempts that are out in this process have come, in the order of their steps.
    pub fn progress(&self) -> Vec<Progress> {
        let attempts = lock(&self.inner.attempts);
        let own = attempts.iter().filter(|((run, ..), _)| *run == self.run_id);
        own.map(|(_, cell)| cell.progress()).collect()
    }

    /// The run's events from its first, as they become durable.
    pub fn events(&self) -> RunEvents {
        RunEvents::new(Arc::clone(&self.inner), self.run_id, 0)
    }

    /// The run's events from a `run_seq` on, as they become durable.
    pub fn events_from(&self, run_seq: u64) -> RunEvents {
        RunEvents::new(Arc::clone(&self.inner), self.run_id, run_seq)
    }

    /// The run's events from its first with those of runs that are nested in it, as they become durable.
    pub fn family_events(&self) -> FamilyEvents {
        FamilyEvents::new(Arc::clone(&self.inner), self.run_id)
    }

    pub(super) async fn command(&self, by: &str, request: Request) -> Result<()> {
        let actor = Actor::Operator(operator(by)?);
        self.inner.submit(actor, request).await.map(drop)
    }

    async fn steer(&self, by: By<'_>, how: fn(Steer) -> Request) -> Result<()> {
        let request = how(by.steers(self.run_id)?);
        self.inner.submit(by.actor()?, request).await.map(drop)
    }

    /// Ends the run now, whatever its agents do.
    ///
    /// # Errors
    /// `NotFound`; `InvalidTransition` where it has ended; `InvalidInput` for an order without a reason.
    pub async fn abort(&self, by: impl Into<By<'_>>) -> Result<()> {
        self.steer(by.into(), Request::Abort).await
    }

    /// Dispatches no new step; attempts that are out go on.
    ///
    /// # Errors
    /// `NotFound`; `InvalidTransition` where it has ended.
    pub async fn pause(&self, by: impl Into<By<'_>>) -> Result<()> {
        self.steer(by.into(), Request::Pause).await
    }

    /// Dispatches again, where it was paused or halted.
    ///
    /// # Errors
    /// `NotFound`; `InvalidTransition` where it has ended.
    pub async fn resume(&self, by: impl Into<By<'_>>) -> Result<()> {
        self.steer(by.into(), Request::Resume).await
    }

    /// Lets a step that a rule or a budget blocked try afresh.
    ///
    /// # Errors
    /// `NotFound`; `InvalidTransition` where it is not blocked so.
    pub async fn unblock(&self, by: impl Into<By<'_>>, step: &StepKey) -> Result<()> {
        let by = by.into();
        let request = Request::Unblock(by.steers(self.run_id)?, step.clone());
        self.inner.submit(by.actor()?, request).await.map(drop)
    }

    /// Brings a signal to the run.
    ///
    /// # Errors
    /// `NotFound`; `InvalidTransition` where it has ended; `InvalidInput`.
    pub async fn signal(&self, operator: &str, name: &str, payload: Value) -> Result<()> {
        let name = Opaque::new(name).map_err(|fault| Error::invalid("signal", fault))?;
        let payload = content::checked("payload", payload)?;
        self.command(
            operator,
            Request::Signal(self.run_id, name, Arc::new(payload)),
        )
        .await
    }

    /// Money of the run that is in doubt, by hold.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`.
    pub async fn doubts(&self) -> Result<Vec<(HoldKey, Amount)>> {
        let run = self.state().await?;
        let holds = run.holds.iter().filter(|(_, hold)| hold.is_in_doubt());
        Ok(holds
            .map(|(key, hold)| (key.clone(), *hold.amount()))
            .collect())
    }

    /// Settles money in doubt with what the evidence says was billed.
    ///
    /// # Errors
    /// `NotFound`; `InvalidTransition` where the hold is not in doubt.
    pub async fn reconcile(
        &self,
        operator: &str,
        hold: &HoldKey,
        actual: Amount,
        evidence: &str,
    ) -> Result<()> {
        let request = Request::Reconcile(Reconcile {
            run_id: self.run_id,
            hold: hold.clone(),
            actual,
            evidence: evidence.into(),
        });
        self.command(operator, request).await
    }
}
