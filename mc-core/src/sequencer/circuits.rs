//! Breakers and retry budgets of all models, folded from the events of calls.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::EventKind;
use crate::event::call::{THROTTLED_TOO_LONG, UNREACHABLE};
use crate::id::ModelId;
use crate::resilience::{
    Breaker, BreakerSettings, Breakers, Change, RetryBudget, RetryBudgetSettings, Trigger,
};
use crate::time::Timestamp;

/// Whether a reservation is the first of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Try {
    /// The call was not refused before.
    First,
    /// The provider refused it before.
    Again,
}

/// Breakers and retry budgets by model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Circuits {
    breakers: Breakers,
    retries: BTreeMap<ModelId, RetryBudget>,
}

impl Circuits {
    /// The breaker of a model.
    pub fn breaker(&self, model: &ModelId) -> Breaker {
        self.breakers.of(model)
    }

    /// The breakers of all models.
    pub fn all(&self) -> impl Iterator<Item = &Breaker> {
        self.breakers.iter().map(|(_, breaker)| breaker)
    }

    /// The time at which a retry that wants to go at `wanted` may go.
    pub fn plan(&self, model: &ModelId, wanted: Timestamp) -> Timestamp {
        self.retries
            .get(model)
            .map_or(wanted, |budget| budget.plan(wanted))
    }

    /// The change that a call's event makes to its model's breaker, if it makes one.
    pub fn change(
        &self,
        kind: &EventKind,
        now: Timestamp,
        settings: &BreakerSettings,
    ) -> Option<(ModelId, Change)> {
        let (model, trigger) = trigger(kind)?;
        let change = self.breakers.of(model).decide(trigger, now, settings)?;
        Some((model.clone(), change))
    }

    /// A call ended whose outcome no event of its own tells: it is no probe any more.
    pub fn give_back(&mut self, model: &ModelId) {
        self.breakers.note(model, Trigger::Returned);
    }

    /// Folds an event.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only calls and breakers move this state"
    )]
    pub fn follow(
        &mut self,
        kind: &EventKind,
        at: Timestamp,
        attempt: Try,
        settings: &RetryBudgetSettings,
    ) {
        if let Some((model, trigger)) = trigger(kind) {
            self.breakers.note(model, trigger);
        }
        match kind {
            EventKind::ModelCallReserved(f) if attempt == Try::First => {
                let fresh = || RetryBudget::new(*settings);
                self.retries
                    .entry(f.model.clone())
                    .or_insert_with(fresh)
                    .on_call(at);
            }
            EventKind::ModelCallThrottled(f) => {
                let fresh = || RetryBudget::new(*settings);
                let budget = self.retries.entry(f.model.clone()).or_insert_with(fresh);
                budget.forget_before(at);
                budget.on_retry(f.retry_at);
            }
            // A probe whose process died tells nothing any more; without this its breaker would stay
            // half open for good.
            EventKind::EpochStarted(_) => self.breakers.give_back_probes(),
            EventKind::CircuitOpened(f) => {
                let change = Change::Opened {
                    failures: f.failures,
                    until: f.until,
                };
                self.breakers.apply(&f.model, &change);
            }
            EventKind::CircuitHalfOpened(f) => self.breakers.apply(&f.model, &Change::HalfOpened),
            EventKind::CircuitClosed(f) => self.breakers.apply(&f.model, &Change::Closed),
            _ => {}
        }
    }
}

/// What a call's event tells the breaker of its model.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only calls tell a breaker something"
)]
fn trigger(kind: &EventKind) -> Option<(&ModelId, Trigger)> {
    match kind {
        EventKind::ModelCallReserved(f) => Some((&f.model, Trigger::Sent)),
        EventKind::ModelCallSettled(f) => Some((&f.model, Trigger::Succeeded)),
        EventKind::ModelCallThrottled(f) => Some((&f.model, Trigger::Refused)),
        EventKind::ModelCallReleased(f) => {
            let trigger = match f.code.as_str() {
                UNREACHABLE => Trigger::Failed,
                THROTTLED_TOO_LONG => Trigger::Refused,
                _ => Trigger::Returned,
            };
            Some((&f.model, trigger))
        }
        EventKind::ModelCallDoubted(f) => {
            let trigger = if f.tells_of_outage() {
                Trigger::Failed
            } else {
                Trigger::Returned
            };
            Some((&f.model, trigger))
        }
        _ => None,
    }
}
