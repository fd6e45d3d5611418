//! Waiting for a person's word on a call: until its request is decided, or ends unused.
//!
//! What is *not* here: what is asked, and what the word lets go (`sequencer::decide::clearance`).

use super::calls::Caller;
use super::inner::lock;
use crate::error::{Error, ErrorKind, Result};
use crate::id::ApprovalId;
use crate::run::{Approval, Run};

impl Caller {
    /// Returns once a request is not pending any more, or the attempt is to stop.
    pub(super) async fn decided(&self, id: ApprovalId) -> Result<()> {
        let watcher = self.inner.watcher(id.run_id);
        loop {
            let moved = watcher.moved.notified();
            if !self.is_pending(id).await {
                return Ok(());
            }
            self.inner.require_open()?;
            tokio::select! {
                biased;
                () = self.cell.cancelled() => {
                    let message = "this attempt's token was revoked";
                    return Err(Error::new(ErrorKind::Cancelled, message));
                }
                () = moved => {}
            }
        }
    }

    async fn is_pending(&self, id: ApprovalId) -> bool {
        let inner = &self.inner;
        if inner.joined().is_some() {
            // The owner's log has what is told of a run before that is told. While it cannot be read
            // nobody knows; everybody is woken after that.
            let read = inner.log.run_row(id.run_id).await;
            let run = read.and_then(|row| row.map(|row| Run::decode(&row.state)).transpose());
            let asked = |run: Run| {
                run.approvals
                    .get(&id.number)
                    .is_some_and(Approval::is_pending)
            };
            return run.map_or(true, |run| run.is_some_and(asked));
        }
        let live = lock(&inner.live);
        // While the log is taken over nobody knows; everybody is woken after that.
        let Some(sequencer) = &live.sequencer else {
            return true;
        };
        let resident = sequencer.workspace().runs.get(&id.run_id);
        let approval = resident.and_then(|one| one.run.approvals.get(&id.number));
        approval.is_some_and(Approval::is_pending)
    }
}
