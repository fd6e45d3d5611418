//! A sliding window: a sum over the last stretch of time, in sixty buckets.
//!
//! The bucket that is partly over still counts, so that no stretch of the window's length ever holds
//! more than was admitted.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The buckets of a window.
const BUCKETS: u64 = 60;

/// A sum over the last stretch of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Window {
    /// The length of a bucket, in microseconds.
    bucket_us: u64,
    /// Since when it counts: what went out before is in no bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Timestamp>,
    /// The buckets in which something was counted, by their number, oldest first.
    buckets: Vec<(u64, u64)>,
}

impl Window {
    pub(super) fn new(span: Duration, from: Timestamp) -> Self {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Self {
            bucket_us: micros.div_ceil(BUCKETS).max(1),
            from: Some(from),
            buckets: Vec::new(),
        }
    }

    fn number(&self, at: Timestamp) -> u64 {
        u64::try_from(at.as_unix_us()).unwrap_or(0) / self.bucket_us
    }

    pub(super) fn add(&mut self, at: Timestamp, amount: u64) {
        let number = self.number(at);
        self.buckets
            .retain(|(one, _)| one.saturating_add(BUCKETS) >= number);
        match self.buckets.iter_mut().find(|(one, _)| *one == number) {
            Some((_, sum)) => *sum = sum.saturating_add(amount),
            // Time in the log never goes back.
            None => self.buckets.push((number, amount)),
        }
    }

    /// Another amount stands where one was counted; in a bucket that is gone it counts no more.
    pub(super) fn replace(&mut self, at: Timestamp, before: u64, after: u64) {
        let number = self.number(at);
        if self.from.is_some_and(|from| at < from) {
            return;
        }
        if let Some((_, sum)) = self.buckets.iter_mut().find(|(one, _)| *one == number) {
            *sum = sum.saturating_sub(before).saturating_add(after);
        }
    }

    pub(super) fn sum(&self, now: Timestamp) -> u64 {
        let number = self.number(now);
        let counts = |one: u64| one.saturating_add(BUCKETS) >= number;
        let live = self.buckets.iter().filter(|(one, _)| counts(*one));
        live.fold(0, |sum, (_, amount)| sum.saturating_add(*amount))
    }

    /// When so much more fits: none for now.
    pub(super) fn opens(&self, now: Timestamp, limit: u64, wanted: u64) -> Option<Timestamp> {
        let mut sum = self.sum(now);
        let number = self.number(now);
        for (one, amount) in &self.buckets {
            if sum.saturating_add(wanted) <= limit {
                return None;
            }
            if one.saturating_add(BUCKETS) < number {
                continue;
            }
            sum = sum.saturating_sub(*amount);
            if sum.saturating_add(wanted) <= limit {
                let gone = one
                    .saturating_add(BUCKETS + 1)
                    .saturating_mul(self.bucket_us);
                return Some(Timestamp::from_unix_us(
                    i64::try_from(gone).unwrap_or(i64::MAX),
                ));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_us(1_767_225_600_000_000 + seconds * 1_000_000)
    }

    #[test]
    fn what_was_counted_stays_for_the_stretch_and_the_bucket_that_is_partly_over() {
        let mut window = Window::new(Duration::from_secs(60), Timestamp::from_unix_us(0));
        window.add(at(0), 5);
        window.add(at(10), 2);
        assert_eq!(
            [window.sum(at(0)), window.sum(at(60)), window.sum(at(61))],
            [7, 7, 2]
        );
    }

    #[test]
    fn it_opens_once_enough_of_it_is_over() {
        let mut window = Window::new(Duration::from_secs(60), Timestamp::from_unix_us(0));
        window.add(at(0), 5);
        window.add(at(10), 2);
        assert_eq!(window.opens(at(20), 7, 1), Some(at(61)));
        assert_eq!(window.opens(at(20), 7, 6), Some(at(71)));
        assert_eq!(window.opens(at(20), 8, 1), None);
        assert_eq!(window.opens(at(61), 7, 1), None);
    }

    #[test]
    fn a_worst_case_gives_way_to_what_was_used() {
        let mut window = Window::new(Duration::from_secs(60), Timestamp::from_unix_us(0));
        window.add(at(0), 50);
        window.replace(at(0), 50, 8);
        window.replace(at(5), 50, 8);
        assert_eq!(window.sum(at(5)), 8);
    }
}
