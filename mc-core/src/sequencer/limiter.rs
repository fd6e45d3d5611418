//! A limiter that learns from refusals: half as much after one, a little more after each answer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Refusals that follow each other closer than this tell the same.
const ONE_TELLING: Duration = Duration::from_secs(1);

/// What was learnt of a provider's refusals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limiter {
    /// Nothing goes out before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) not_before: Option<Timestamp>,
    /// Calls a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rate: Option<u64>,
    /// The rate at which it was refused first: reached again, nothing is left of the lesson.
    ceiling: u64,
    /// When it was halved last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    halved_at: Option<Timestamp>,
}

impl Limiter {
    /// The provider refused, after so many calls within a minute.
    pub(super) fn refused(&mut self, at: Timestamp, retry_after: Option<Duration>, seen: u64) {
        if let Some(wait) = retry_after {
            let until = at.after(wait);
            self.not_before = self.not_before.into_iter().chain([until]).max();
        }
        let told = self
            .halved_at
            .is_some_and(|before| before.after(ONE_TELLING) > at);
        if told {
            return;
        }
        let seen = seen.max(1);
        let rate = self.rate.map_or(seen, |rate| rate.min(seen));
        self.ceiling = self.ceiling.max(seen);
        self.rate = Some((rate / 2).max(1));
        self.halved_at = Some(at);
    }

    /// A call that went out at a time was answered; tells whether the limiter is where it began. One
    /// that went out before the refusal says nothing of what came after it.
    pub(super) fn answered(&mut self, sent: Option<Timestamp>, now: Timestamp) -> bool {
        let waits = self.not_before.is_some_and(|until| until > now);
        if waits
            || self
                .halved_at
                .is_some_and(|halved| sent.is_none_or(|sent| sent <= halved))
        {
            return false;
        }
        let Some(rate) = &mut self.rate else {
            return true;
        };
        *rate = rate.saturating_add(1);
        *rate >= self.ceiling
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_halves_once_a_second_and_answers_bring_it_back() {
        let at = |ms: i64| Timestamp::from_unix_us(1_767_225_600_000_000 + ms * 1_000);
        let mut limiter = Limiter::default();
        limiter.refused(at(0), Some(Duration::from_secs(5)), 16);
        limiter.refused(at(500), None, 16);
        assert_eq!(
            (limiter.rate, limiter.not_before),
            (Some(8), Some(at(5_000)))
        );
        limiter.refused(at(6_000), None, 16);
        assert_eq!(limiter.rate, Some(4));
        // What went out before the refusal, or comes while nothing may go out, is no lesson.
        assert!(!limiter.answered(Some(at(6_000)), at(7_000)));
        assert_eq!(limiter.rate, Some(4));
        let mut answered = || limiter.answered(Some(at(6_500)), at(7_000));
        let answers = (0..20).take_while(|_| !answered()).count();
        assert_eq!(answers, 11);
    }
}
