//! The circuit breaker of one model of one provider.
//!
//! | state | `sent` | `refused`, `failed` | `succeeded` | `returned` | `due` |
//! |---|---|---|---|---|---|
//! | `closed` | stays | counts; at the threshold `open` | counts from 0 again | stays | stays |
//! | `open` | stays | stays | stays | stays | from its time on `half_open` |
//! | `half_open` | takes a probe | `open` | counts; after all probes `closed` | gives a probe back | stays |
//!
//! Counting is a fold of call events ([`Breaker::note`]); a change of state is an event of its own
//! ([`Breaker::decide`] makes it, [`Breaker::apply`] folds it). An open breaker blocks a call and
//! does not fail it. What is *not* here: who waits for an open breaker (`sequencer`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::ModelId;
use crate::time::{Timestamp, as_ms};

/// The longest time that a breaker stays open before it probes.
const MAX_OPEN: Duration = Duration::from_secs(86_400);

/// When a breaker opens, for how long, and how it tries again.
///
/// As JSON: `{"failure_threshold":5,"open_for_ms":30000,"probes":1}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct BreakerSettings {
    failure_threshold: u32,
    open_for: Duration,
    probes: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    failure_threshold: u32,
    open_for_ms: u64,
    probes: u32,
}

impl BreakerSettings {
    /// Opens after `failure_threshold` refusals or failures in a row, for `open_for`, then lets
    /// `probes` calls through.
    ///
    /// # Errors
    /// `InvalidInput`: a number is zero, or `open_for` is under 1 ms or over 24 h.
    pub fn new(failure_threshold: u32, open_for: Duration, probes: u32) -> Result<Self> {
        if failure_threshold == 0 {
            return Err(Error::invalid("failure_threshold", "must be at least 1"));
        }
        if open_for < Duration::from_millis(1) || open_for > MAX_OPEN {
            return Err(Error::invalid("open_for", "must be from 1 ms to 24 h"));
        }
        if probes == 0 {
            return Err(Error::invalid("probes", "must be at least 1"));
        }
        Ok(Self {
            failure_threshold,
            open_for,
            probes,
        })
    }

    /// Refusals and failures in a row at which it opens.
    pub const fn failure_threshold(&self) -> u32 {
        self.failure_threshold
    }

    /// How long it stays open.
    pub const fn open_for(&self) -> Duration {
        self.open_for
    }

    /// Calls that it lets through while half open, all of which must succeed.
    pub const fn probes(&self) -> u32 {
        self.probes
    }
}

impl Default for BreakerSettings {
    /// Five in a row, 30 seconds, one probe.
    fn default() -> Self {
        Self {
            failure_threshold: 5,
            open_for: Duration::from_secs(30),
            probes: 1,
        }
    }
}

impl TryFrom<Form> for BreakerSettings {
    type Error = Error;

    fn try_from(form: Form) -> Result<Self> {
        Self::new(
            form.failure_threshold,
            Duration::from_millis(form.open_for_ms),
            form.probes,
        )
    }
}

impl From<BreakerSettings> for Form {
    fn from(settings: BreakerSettings) -> Self {
        Self {
            failure_threshold: settings.failure_threshold,
            open_for_ms: as_ms(settings.open_for),
            probes: settings.probes,
        }
    }
}

/// What happened to a call, or to the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A call was let through.
    Sent,
    /// The provider refused a call: throttled or overloaded.
    Refused,
    /// A call failed for the provider's sake: time-out, reset, server error.
    Failed,
    /// The provider answered.
    Succeeded,
    /// A call ended and says nothing about the provider: never sent, or wrong by our own fault.
    Returned,
    /// Time has passed.
    Due,
}

impl Trigger {
    /// Every trigger.
    pub const ALL: &'static [Self] = &[
        Self::Sent,
        Self::Refused,
        Self::Failed,
        Self::Succeeded,
        Self::Returned,
        Self::Due,
    ];
}

/// A change of state; each is an event (`circuit.opened`, `circuit.half_opened`, `circuit.closed`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// No call goes through until a time.
    Opened {
        /// Refusals and failures in a row.
        failures: u32,
        /// When it is half open at the earliest.
        until: Timestamp,
    },
    /// Probes go through.
    HalfOpened,
    /// Every call goes through.
    Closed,
}

/// Whether a call goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admits {
    /// It does.
    Yes,
    /// It does, as a probe.
    Probe,
    /// It waits.
    No {
        /// When the breaker is half open at the earliest; none while probes are out.
        until: Option<Timestamp>,
    },
}

/// A breaker: closed, open or half open.
///
/// As JSON: `{"closed":{"failures":2}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Breaker {
    /// Every call goes through. Entered by `circuit.closed`, left by `circuit.opened`.
    Closed {
        /// Refusals and failures in a row.
        failures: u32,
    },
    /// No call goes through. Entered by `circuit.opened`, left by `circuit.half_opened`.
    Open {
        /// Refusals and failures in a row.
        failures: u32,
        /// When it is half open at the earliest.
        until: Timestamp,
    },
    /// Probes go through. Entered by `circuit.half_opened`, left by either of the others.
    HalfOpen {
        /// Refusals and failures in a row, before.
        failures: u32,
        /// Probes sent and not given back.
        sent: u32,
        /// Probes that succeeded.
        succeeded: u32,
    },
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    /// Decides whether a trigger changes the state at `now`. Note the trigger first or after; the
    /// answer is about the state before it.
    pub fn decide(
        &self,
        trigger: Trigger,
        now: Timestamp,
        settings: &BreakerSettings,
    ) -> Option<Change> {
        let opened = |failures: u32| Change::Opened {
            failures,
            until: now.after(settings.open_for),
        };
        match (*self, trigger) {
            (Self::Closed { failures }, Trigger::Refused | Trigger::Failed) => {
                let failures = failures.saturating_add(1);
                (failures >= settings.failure_threshold).then(|| opened(failures))
            }
            (
                Self::Closed { .. },
                Trigger::Sent | Trigger::Succeeded | Trigger::Returned | Trigger::Due,
            )
            | (
                Self::Open { .. },
                Trigger::Sent
                | Trigger::Refused
                | Trigger::Failed
                | Trigger::Succeeded
                | Trigger::Returned,
            )
            | (Self::HalfOpen { .. }, Trigger::Sent | Trigger::Returned | Trigger::Due) => None,
            (Self::Open { until, .. }, Trigger::Due) => {
                (until <= now).then_some(Change::HalfOpened)
            }
            (Self::HalfOpen { failures, .. }, Trigger::Refused | Trigger::Failed) => {
                Some(opened(failures.saturating_add(1)))
            }
            (Self::HalfOpen { succeeded, .. }, Trigger::Succeeded) => {
                (succeeded.saturating_add(1) >= settings.probes).then_some(Change::Closed)
            }
        }
    }

    /// Folds a call event: counts, and never changes the state.
    pub fn note(&mut self, trigger: Trigger) {
        match (self, trigger) {
            (Self::Closed { failures }, Trigger::Refused | Trigger::Failed) => {
                *failures = failures.saturating_add(1);
            }
            (Self::Closed { failures }, Trigger::Succeeded) => *failures = 0,
            (Self::HalfOpen { sent, .. }, Trigger::Sent) => *sent = sent.saturating_add(1),
            (
                Self::HalfOpen {
                    sent, succeeded, ..
                },
                Trigger::Returned,
            ) => {
                *sent = sent.saturating_sub(1).max(*succeeded);
            }
            (
                Self::HalfOpen {
                    sent, succeeded, ..
                },
                Trigger::Succeeded,
            ) => {
                *succeeded = succeeded.saturating_add(1);
                *sent = (*sent).max(*succeeded);
            }
            (Self::Closed { .. }, Trigger::Sent | Trigger::Returned | Trigger::Due)
            | (
                Self::Open { .. },
                Trigger::Sent
                | Trigger::Refused
                | Trigger::Failed
                | Trigger::Succeeded
                | Trigger::Returned
                | Trigger::Due,
            )
            | (Self::HalfOpen { .. }, Trigger::Refused | Trigger::Failed | Trigger::Due) => {}
        }
    }

    /// Folds a change of state.
    pub fn apply(&mut self, change: &Change) {
        let failures = match *self {
            Self::Closed { failures }
            | Self::Open { failures, .. }
            | Self::HalfOpen { failures, .. } => failures,
        };
        *self = match *change {
            Change::Opened { failures, until } => Self::Open { failures, until },
            Change::HalfOpened => Self::HalfOpen {
                failures,
                sent: 0,
                succeeded: 0,
            },
            Change::Closed => Self::Closed { failures: 0 },
        };
    }

    /// Whether a call goes through now.
    pub fn admits(&self, settings: &BreakerSettings) -> Admits {
        match *self {
            Self::Closed { .. } => Admits::Yes,
            Self::Open { until, .. } => Admits::No { until: Some(until) },
            Self::HalfOpen { sent, .. } if sent < settings.probes => Admits::Probe,
            Self::HalfOpen { .. } => Admits::No { until: None },
        }
    }

    /// When a `due` trigger is to come, if one is.
    pub fn due_at(&self) -> Option<Timestamp> {
        match *self {
            Self::Open { until, .. } => Some(until),
            Self::Closed { .. } | Self::HalfOpen { .. } => None,
        }
    }
}

/// The breakers of all models; a model without trouble takes no room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Breakers(BTreeMap<ModelId, Breaker>);

impl Breakers {
    /// The breaker of a model.
    pub fn of(&self, model: &ModelId) -> Breaker {
        self.0.get(model).copied().unwrap_or_default()
    }

    /// Folds a call event of a model.
    pub fn note(&mut self, model: &ModelId, trigger: Trigger) {
        let mut breaker = self.of(model);
        breaker.note(trigger);
        self.keep(model, breaker);
    }

    /// Folds a new owner: probes that were out with the old one are given back.
    pub fn give_back_probes(&mut self) {
        for breaker in self.0.values_mut() {
            if let Breaker::HalfOpen {
                sent, succeeded, ..
            } = breaker
            {
                *sent = *succeeded;
            }
        }
    }

    /// Folds a change of state of a model.
    pub fn apply(&mut self, model: &ModelId, change: &Change) {
        let mut breaker = self.of(model);
        breaker.apply(change);
        self.keep(model, breaker);
    }

    /// The next time at which some breaker is due, with its model.
    pub fn next_due(&self) -> Option<(Timestamp, &ModelId)> {
        self.0
            .iter()
            .filter_map(|(model, breaker)| Some((breaker.due_at()?, model)))
            .min()
    }

    /// Every model whose breaker is not as new.
    pub fn iter(&self) -> impl Iterator<Item = (&ModelId, &Breaker)> {
        self.0.iter()
    }

    fn keep(&mut self, model: &ModelId, breaker: Breaker) {
        if breaker == Breaker::default() {
            self.0.remove(model);
        } else {
            self.0.insert(model.clone(), breaker);
        }
    }
}

#[cfg(test)]
mod tests;
