//! Redrive: a failed run goes on; the content that it let go when it ended comes back first.

use std::sync::Arc;

use super::approvals::taken;
use super::control::MissionControl;
use super::inner::{Inner, lock};
use super::options::operator;
use super::run_handle::RunHandle;
use crate::error::{Error, Result};
use crate::id::{Actor, RunId, StepKey};
use crate::sequencer::{Loaded, Redrive, Request, Wanted};

impl MissionControl {
    /// Lets a failed run go on from a step, or from the one that failed. That step and all that come
    /// after it are done again; other steps keep their output, and answered calls of steps that did
    /// not complete are served from the journal.
    ///
    /// # Errors
    /// `NotFound` for a run or step that does not exist; `InvalidTransition`, which says what to do, for a
    /// run that has not failed or is nested, for a step whose needs are not completed, and where a step is
    /// in doubt, has an attempt out, or did what cannot be undone; `InvalidInput` without a reason;
    /// `PolicyDenied` and `BudgetExceeded` where a start would be refused too: by a rule, or since what
    /// remains of it could never fit.
    pub async fn redrive(
        &self,
        run: RunId,
        from: Option<&StepKey>,
        by: &str,
        reason: &str,
    ) -> Result<RunHandle> {
        let handle = self.run(run);
        handle.redrive(by, from, reason).await?;
        Ok(handle)
    }
}

impl RunHandle {
    /// As [`MissionControl::redrive`].
    ///
    /// # Errors
    /// As there.
    pub async fn redrive(&self, by: &str, from: Option<&StepKey>, reason: &str) -> Result<()> {
        if reason.trim().is_empty() {
            let rule = "a redrive has a reason, in words";
            return Err(Error::invalid("reason", rule));
        }
        let request = Request::Redrive(Redrive {
            run_id: self.run_id,
            from: from.cloned(),
            reason: reason.into(),
        });
        let actor = Actor::Operator(operator(by)?);
        taken(self.inner.submit(actor, request).await?)
    }
}

impl Inner {
    /// Brings the content of an ended run that is in memory back.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`.
    pub(super) async fn restore(&self, run_id: RunId) -> Result<()> {
        let run = {
            let live = lock(&self.live);
            let sequencer = live.sequencer.as_ref();
            let resident = sequencer.and_then(|s| s.workspace().runs.get(&run_id));
            resident.map(|resident| Arc::clone(&resident.run))
        };
        let Some(run) = run else { return Ok(()) };
        let mut loaded = Loaded::default();
        for place in Wanted::whole(&run).places() {
            let value = Arc::new(self.read_value(place).await?);
            loaded.values.insert(place, value);
        }
        let mut live = lock(&self.live);
        match live.sequencer.as_mut() {
            Some(sequencer) => sequencer.restore(&run, &loaded),
            None => Ok(()),
        }
    }
}
