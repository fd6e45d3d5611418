//! Waiting for the answers of remote agents: a run that waits for nothing else does not stand still.
//!
//! What is *not* here: taking the answers in (`mc_agents::callback`).

use mc_agents::callback::is_reply;
use mc_core::engine::{BlockedStep, RunEvents};
use mission_control::MissionControl;
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::waits::awaited;

/// Runs that wait for answers and for nothing else.
pub(super) struct Waiting(Vec<RunEvents>);

impl Waiting {
    /// What is waited for; none where a step waits for something else, or nothing does.
    pub(super) async fn of(
        control: &MissionControl,
        steps: &[BlockedStep],
    ) -> Result<Option<Self>, Failure> {
        let mut runs = Vec::new();
        for blocked in steps {
            let run = control.run(blocked.run);
            let state = run.state().await?;
            let step = state.steps.get(&blocked.step);
            // It may have its answer by now: then it has moved already.
            if !step.and_then(awaited).is_some_and(is_reply) {
                return Ok(None);
            }
            let from = if step.is_some_and(|step| step.block.is_some()) {
                state.events
            } else {
                state.events.saturating_sub(1)
            };
            runs.push(run.events_from(from));
        }
        Ok((!runs.is_empty()).then_some(Self(runs)))
    }

    /// Returns once one of them has moved.
    pub(super) async fn moved(self) -> Result<(), Failure> {
        let mut next = JoinSet::new();
        for mut events in self.0 {
            next.spawn(async move { events.next().await.map(drop) });
        }
        match next.join_next().await {
            Some(Ok(moved)) => Ok(moved?),
            // None of them waits, or the process ends.
            Some(Err(_)) | None => Ok(()),
        }
    }
}
