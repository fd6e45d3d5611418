//! Halting by an operator's word, from any process, and by the switch beside the store.
//!
//! What a halt does is decided in `sequencer::decide::halt`. The switch is for whoever has no other
//! way in: it is looked at before anything goes out that a commit has dispatched, so that it holds
//! even where nobody watches it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::control::MissionControl;
use super::inner::{Inner, lock};
use super::options::operator;
use super::port::{Peek, Peeked};
use super::run_handle::RunHandle;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Actor, OperatorName, RunId};
use crate::ports::{EventLog, Pulled};
use crate::sequencer::{Halt, HaltScope, HaltSource, Lift, Request, Shared, Steer};
use crate::time::{Timestamp, as_ms};

/// As [`MissionControl::halts`], of a log that nobody has to own.
///
/// # Errors
/// `Unavailable`, `Corrupt`.
pub async fn halts(log: &dyn EventLog) -> Result<Vec<(HaltScope, Timestamp)>> {
    let Some(row) = log.workspace_row().await? else {
        return Ok(Vec::new());
    };
    let shared: Shared = serde_json::from_slice(&row.state)
        .map_err(|e| Error::corrupt("workspace_state", None).with_source(e))?;
    Ok(shared.halts.all().collect())
}

/// Who gives an order, and why: `("ann", "it spends too much")`. Whoever reads the log later asks for
/// both, so there is no order without a reason.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    operator: &'a str,
    reason: &'a str,
}

impl<'a> From<(&'a str, &'a str)> for By<'a> {
    fn from((operator, reason): (&'a str, &'a str)) -> Self {
        Self { operator, reason }
    }
}

impl By<'_> {
    pub(super) fn actor(&self) -> Result<Actor> {
        operator(self.operator).map(Actor::Operator)
    }

    /// The reason; one of blanks is none.
    pub(super) fn reason(&self) -> Result<Arc<str>> {
        reason(self.reason)
    }

    pub(super) fn steers(&self, run_id: RunId) -> Result<Steer> {
        Ok(Steer {
            run_id,
            reason: self.reason()?,
        })
    }
}

/// A reason as it is given; one of blanks is none.
pub(super) fn reason(given: &str) -> Result<Arc<str>> {
    if given.trim().is_empty() {
        let rule = "an order needs a reason: say in a few words why, it is kept with the event";
        return Err(Error::invalid("reason", rule));
    }
    Ok(given.into())
}

impl MissionControl {
    /// Stops everything, an agent, or a run: at once nothing more goes out and calls are refused; what
    /// is out is asked to stop, and loses its right to act after `drain`. It lasts until it is resumed,
    /// also over restarts.
    ///
    /// # Errors
    /// `NotFound`, `InvalidInput`; `InvalidTransition` for a run that has ended.
    pub async fn halt(
        &self,
        by: impl Into<By<'_>>,
        scope: HaltScope,
        drain: Duration,
    ) -> Result<()> {
        let by = by.into();
        let halt = Halt {
            scope,
            drain_ms: as_ms(drain),
            reason: by.reason()?,
            source: HaltSource::Word,
        };
        let halted = self.inner.submit(by.actor()?, Request::Halt(halt)).await;
        halted.map(drop)
    }

    /// Lets go on what was halted, or a run that was paused.
    ///
    /// # Errors
    /// `NotFound`; `InvalidTransition` where it is not halted, where the run has ended, and where the
    /// switch that halted everything is still pulled.
    pub async fn resume(&self, by: impl Into<By<'_>>, scope: HaltScope) -> Result<()> {
        let by = by.into();
        let request = match scope {
            HaltScope::Run(run) => Request::Resume(by.steers(run)?),
            HaltScope::Agent(agent) => Request::Lift(Lift {
                agent: Some(agent),
                reason: by.reason()?,
            }),
            HaltScope::Workspace => {
                self.inner.require_released()?;
                Request::Lift(Lift {
                    agent: None,
                    reason: by.reason()?,
                })
            }
        };
        self.inner.submit(by.actor()?, request).await.map(drop)
    }

    /// What is halted but for runs, each with the time at which what was out has to be gone.
    pub fn halts(&self) -> Vec<(HaltScope, Timestamp)> {
        if let Some(owner) = self.inner.joined() {
            return match owner.port.peek(Peek::Halts) {
                Some(Peeked::Halts(halts)) => halts,
                Some(_) | None => Vec::new(),
            };
        }
        self.inner.halts()
    }

    /// For whoever watches the switch beside the store.
    pub fn switch_hand(&self) -> SwitchHand {
        SwitchHand {
            inner: Arc::downgrade(&self.inner),
        }
    }
}

/// Lets the engine look at the switch beside its store now, without keeping it alive.
#[derive(Clone, Debug)]
pub struct SwitchHand {
    inner: Weak<Inner>,
}

impl SwitchHand {
    /// Halts everything if the switch is pulled.
    pub fn obey(&self) {
        if let Some(inner) = self.inner.upgrade() {
            inner.obey_switch();
        }
    }
}

impl RunHandle {
    /// Stops the run: as [`MissionControl::halt`].
    ///
    /// # Errors
    /// `NotFound`; `InvalidTransition` where it has ended.
    pub async fn halt(&self, by: impl Into<By<'_>>, drain: Duration) -> Result<()> {
        let control = MissionControl {
            inner: Arc::clone(&self.inner),
        };
        control.halt(by, HaltScope::Run(self.run_id), drain).await
    }
}

impl Inner {
    /// Halts of the workspace and of agents, as this process has them in memory.
    pub(super) fn halts(&self) -> Vec<(HaltScope, Timestamp)> {
        let live = lock(&self.live);
        let sequencer = live.sequencer.as_ref();
        sequencer.map_or_else(Vec::new, |one| one.workspace().shared.halts.all().collect())
    }

    /// Halts everything if the switch is pulled.
    pub(super) fn obey_switch(&self) {
        let turn = lock(&self.switch_turn);
        if let Some((by, halt)) = self.pulled() {
            self.tell(by, halt);
        }
        drop(turn);
    }

    /// What the switch beside the store asks for, if it is pulled.
    fn pulled(&self) -> Option<(Actor, Request)> {
        let Pulled { by, reason, .. } = self.switch.as_ref()?.pulled()?;
        let by = OperatorName::new(&by).map_or(Actor::System, Actor::Operator);
        let halt = Halt {
            scope: HaltScope::Workspace,
            drain_ms: 0,
            reason: reason.into(),
            source: HaltSource::Switch,
        };
        Some((by, Request::Halt(halt)))
    }

    fn require_released(&self) -> Result<()> {
        let pulled = self.switch.as_ref().and_then(|switch| switch.pulled());
        match pulled {
            None => {
                // Whoever saw it pulled has said so by now, and the word to go on comes behind theirs.
                drop(lock(&self.switch_turn));
                Ok(())
            }
            Some(Pulled { place, .. }) => {
                let message = format!("{place} still halts everything: remove it, then resume");
                Err(Error::new(ErrorKind::InvalidTransition, message))
            }
        }
    }
}
