//! Again: when the next attempt of a step starts, and whether the one before it counts.
//!
//! An attempt that met a provider that is down counts for nothing: it is not the step that is at fault,
//! and the next one waits at the breaker. What may have acted is never repeated for that.
//! What is *not* here: what follows when there is no next attempt (`fail`).

use std::time::Duration;

use super::View;
use crate::event::BlockReason;
use crate::id::StepKey;
use crate::resilience::{Breaker, RetryPolicy};
use crate::run::Step;
use crate::sequencer::command::{AttemptFailure, Retry};
use crate::sequencer::resident::Resident;
use crate::time::Timestamp;

/// An attempt that ended without an output.
#[derive(Clone, Copy)]
pub(super) struct Ended<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) resident: &'a Resident,
    pub(super) key: &'a StepKey,
    pub(super) step: &'a Step,
    pub(super) failure: &'a AttemptFailure,
}

impl Ended<'_> {
    /// When the next attempt of what may be repeated starts, if there is to be one; and whether this one
    /// counts for nothing, which only an outage gives it.
    pub(super) fn next(&self, is_outage: fn(&Self) -> bool) -> (Option<Timestamp>, bool) {
        let uncounted = is_outage(self).then(|| self.next_uncounted()).flatten();
        match uncounted {
            Some(at) => (Some(at), true),
            None => (self.next_counted(), false),
        }
    }

    fn next_counted(&self) -> Option<Timestamp> {
        self.after(self.counted(), &self.policy()?)
    }

    /// None for a step that is to be tried once, and for what cannot be undone.
    fn next_uncounted(&self) -> Option<Timestamp> {
        let policy = self.policy()?;
        let tier = self.step.risk?;
        let repeats = policy.maximum_attempts() > 1 && tier.is_repeatable();
        let before = self.counted().saturating_sub(1).max(1);
        repeats.then(|| self.after(before, &policy))?
    }

    /// Whether the provider failed its last call, and the breaker is not closed.
    pub(super) fn met_an_outage(&self) -> bool {
        let circuits = &self.view.workspace.shared.circuits;
        let is_down = |model| match circuits.breaker(model) {
            Breaker::Closed { .. } => false,
            Breaker::Open { .. } | Breaker::HalfOpen { .. } => true,
        };
        self.step.down.as_ref().is_some_and(is_down)
    }

    /// Whether it waits at a breaker.
    pub(super) fn waits_at_a_breaker(&self) -> bool {
        let block = self.step.block.as_ref();
        block.is_some_and(|block| block.reason == BlockReason::Circuit)
    }

    const fn counted(&self) -> u32 {
        self.step.attempt.saturating_sub(self.step.forgiven)
    }

    fn policy(&self) -> Option<RetryPolicy> {
        let workflow = self.resident.workflow.as_ref()?;
        let definition = workflow.definition().step(self.key.name())?;
        Some(definition.retry_policy(self.step.risk.unwrap_or(definition.risk)))
    }

    fn after(&self, counted: u32, policy: &RetryPolicy) -> Option<Timestamp> {
        let (view, failure) = (self.view, self.failure);
        if failure.retry == Retry::Never || !policy.is_retryable(&failure.code) {
            return None;
        }
        let elapsed = view.now.since(self.step.first_at.unwrap_or(view.now));
        let delay = policy.next_delay(counted, elapsed, view.random)?;
        let asked = match failure.retry {
            Retry::After(ms) => Duration::from_millis(ms),
            Retry::AsPolicy | Retry::Never => Duration::ZERO,
        };
        Some(view.now.after(delay.max(asked)))
    }
}
