//! What an operator can say about the wall clock.
//!
//! What is *not* here: what the engine makes of it by itself (`steady_clock`).

use super::control::MissionControl;
use super::inner::lock;
use super::options::operator;
use crate::error::{Error, ErrorKind, Result};
use crate::id::Actor;
use crate::sequencer::Request;

impl MissionControl {
    /// Says that the wall clock, which jumped ahead, is right: the engine's time follows it at once
    /// instead of after ten even minutes. What is due by then goes on, and windows open.
    ///
    /// # Errors
    /// `InvalidTransition` where the wall clock is not ahead: one that was put back is waited for,
    /// because time never goes back; `InvalidInput` for an operator that is no name.
    pub async fn confirm_clock(&self, by: &str) -> Result<()> {
        let by = Actor::Operator(operator(by)?);
        let inner = &self.inner;
        if inner.joined().is_some() {
            // The time is the owner's.
            let wall = inner.clock.now();
            let confirmed = Request::ClockConfirmed { wall };
            return inner.submit(by, confirmed).await.map(drop);
        }
        let (wall, monotonic) = (inner.clock.now(), inner.clock.monotonic());
        let ahead = lock(&inner.steady).ahead(wall, monotonic);
        let Some(wall) = ahead else {
            let message =
                "the wall clock is not ahead of the engine's time; nothing is to be confirmed";
            return Err(Error::new(ErrorKind::InvalidTransition, message));
        };
        // That it jumped stands in the log before that somebody said that it did so rightly.
        let untold = lock(&inner.steady).take_jump();
        if let Some(jump) = untold {
            let jumped = Request::ClockJumped {
                wall: jump.wall,
                expected: jump.expected,
            };
            inner.tell(Actor::System, jumped);
        }
        inner.submit(by, Request::ClockConfirmed { wall }).await?;
        let (wall, monotonic) = (inner.clock.now(), inner.clock.monotonic());
        lock(&inner.steady).confirm(wall, monotonic);
        // Whoever sleeps until a time looks at it again.
        inner.bell.notify_one();
        Ok(())
    }
}
