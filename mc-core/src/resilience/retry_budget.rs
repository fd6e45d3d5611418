//! The retry budget: retries over a share of the calls wait for a later window.
//!
//! A window allows `max(floor, calls * percent / 100)` retries. A retry beyond that moves on by
//! whole windows until one has room: it is delayed and never refused, and it keeps its place in
//! the window, so that delayed retries do not all come at its start.
//! The plan is made once and stands in an event; the counts are a fold of events.
//! What is *not* here: the backoff that makes the wanted time (`retry`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::time::{Timestamp, as_ms};

/// The longest window.
const MAX_WINDOW: Duration = Duration::from_secs(3_600);

/// How many retries a window allows.
///
/// As JSON: `{"window_ms":60000,"percent":10,"floor":10}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct RetryBudgetSettings {
    window: Duration,
    percent: u8,
    floor: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    window_ms: u64,
    percent: u8,
    floor: u32,
}

impl RetryBudgetSettings {
    /// Allows `percent` of the calls of a window, and `floor` in any case.
    ///
    /// # Errors
    /// `InvalidInput`: a window under 1 ms or over 1 h, more than 100 percent, or a floor of zero
    /// (which could delay a retry forever).
    pub fn new(window: Duration, percent: u8, floor: u32) -> Result<Self> {
        if window < Duration::from_millis(1) || window > MAX_WINDOW {
            return Err(Error::invalid("window", "must be from 1 ms to 1 h"));
        }
        if percent > 100 {
            return Err(Error::invalid("percent", "must be at most 100"));
        }
        if floor == 0 {
            return Err(Error::invalid("floor", "must be at least 1"));
        }
        Ok(Self {
            window,
            percent,
            floor,
        })
    }

    /// The length of a window.
    pub const fn window(&self) -> Duration {
        self.window
    }

    fn allowed(&self, calls: u64) -> u64 {
        let share = u128::from(calls).saturating_mul(u128::from(self.percent)) / 100;
        u64::try_from(share)
            .unwrap_or(u64::MAX)
            .max(u64::from(self.floor))
    }

    /// The number of the window in which a time lies.
    fn index(&self, at: Timestamp) -> i64 {
        let length = i64::try_from(self.window.as_micros()).unwrap_or(i64::MAX);
        at.as_unix_us().div_euclid(length)
    }
}

impl Default for RetryBudgetSettings {
    /// 60 seconds, 10 percent, 10 retries in any case.
    fn default() -> Self {
        Self {
            window: Duration::from_secs(60),
            percent: 10,
            floor: 10,
        }
    }
}

impl TryFrom<Form> for RetryBudgetSettings {
    type Error = Error;

    fn try_from(form: Form) -> Result<Self> {
        Self::new(
            Duration::from_millis(form.window_ms),
            form.percent,
            form.floor,
        )
    }
}

impl From<RetryBudgetSettings> for Form {
    fn from(settings: RetryBudgetSettings) -> Self {
        Self {
            window_ms: as_ms(settings.window),
            percent: settings.percent,
            floor: settings.floor,
        }
    }
}

/// What a window has seen, and what is planned for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    calls: u64,
    retries: u64,
}

/// Calls and retries by window, from the present one on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryBudget {
    settings: RetryBudgetSettings,
    windows: BTreeMap<i64, Counts>,
}

impl RetryBudget {
    /// A budget that has seen nothing.
    pub const fn new(settings: RetryBudgetSettings) -> Self {
        Self {
            settings,
            windows: BTreeMap::new(),
        }
    }

    /// Folds a call that is not a retry, sent at `at`; windows before it are forgotten.
    pub fn on_call(&mut self, at: Timestamp) {
        let index = self.settings.index(at);
        self.windows = self.windows.split_off(&index);
        let counts = self.windows.entry(index).or_default();
        counts.calls = counts.calls.saturating_add(1);
    }

    /// The time at which a retry that wants to go at `wanted` may go: `wanted`, or later by whole
    /// windows.
    pub fn plan(&self, wanted: Timestamp) -> Timestamp {
        let mut at = wanted;
        while !self.has_room(at) {
            let next = at.after(self.settings.window);
            if next == at {
                break;
            }
            at = next;
        }
        at
    }

    /// Folds a retry that was planned for `retry_at`.
    pub fn on_retry(&mut self, retry_at: Timestamp) {
        let counts = self
            .windows
            .entry(self.settings.index(retry_at))
            .or_default();
        counts.retries = counts.retries.saturating_add(1);
    }

    /// Forgets windows that ended before `now`.
    pub fn forget_before(&mut self, now: Timestamp) {
        self.windows = self.windows.split_off(&self.settings.index(now));
    }

    fn has_room(&self, at: Timestamp) -> bool {
        let counts = self
            .windows
            .get(&self.settings.index(at))
            .copied()
            .unwrap_or_default();
        counts.retries < self.settings.allowed(counts.calls)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_us(second * 1_000_000)
    }

    fn retry(budget: &mut RetryBudget, second: i64) -> i64 {
        let planned = budget.plan(at(second));
        budget.on_retry(planned);
        planned.as_unix_us() / 1_000_000
    }

    #[test]
    fn the_floor_is_free_and_the_next_retry_waits_a_window() {
        let mut budget = RetryBudget::default();
        let planned: Vec<i64> = (0..12).map(|second| retry(&mut budget, second)).collect();
        assert_eq!(planned[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(planned[10..], [70, 71]);
    }

    #[test]
    fn ten_percent_of_many_calls_is_more_than_the_floor() {
        let mut budget = RetryBudget::default();
        (0..200).for_each(|_| budget.on_call(at(5)));
        let in_window = (0..25).filter(|_| retry(&mut budget, 30) == 30).count();
        assert_eq!(in_window, 20);
    }

    #[test]
    fn a_full_next_window_is_passed_over() {
        let mut budget = RetryBudget::default();
        let planned: Vec<i64> = (0..30).map(|_| retry(&mut budget, 0)).collect();
        assert_eq!(
            (planned[9], planned[10], planned[19], planned[20]),
            (0, 60, 60, 120)
        );
    }

    #[test]
    fn past_windows_are_forgotten() {
        let mut budget = RetryBudget::default();
        (0..1000).for_each(|second| budget.on_call(at(second)));
        assert_eq!(budget.windows.len(), 1);
        budget.forget_before(at(5000));
        assert_eq!(budget, RetryBudget::default());
    }

    #[test]
    fn a_budget_reads_what_it_writes_and_settings_are_checked() {
        let mut budget = RetryBudget::default();
        retry(&mut budget, -1);
        let text = serde_json::to_string(&budget).unwrap();
        assert_eq!(serde_json::from_str::<RetryBudget>(&text).unwrap(), budget);
        let second = Duration::from_secs(1);
        for (window, percent, floor) in [
            (Duration::ZERO, 1, 1),
            (MAX_WINDOW + second, 1, 1),
            (second, 101, 1),
            (second, 1, 0),
        ] {
            assert!(RetryBudgetSettings::new(window, percent, floor).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_window_has_more_retries_than_it_allows(
            events in prop::collection::vec((0_i64..5, any::<bool>(), 0_i64..100), 1..300),
            floor in 1_u32..12,
        ) {
            let settings = RetryBudgetSettings::new(Duration::from_secs(60), 10, floor).unwrap();
            let (mut budget, mut now) = (RetryBudget::new(settings), 0);
            for (pause, is_retry, wait) in events {
                now += pause;
                if is_retry {
                    let planned = retry(&mut budget, now + wait);
                    prop_assert!(planned >= now + wait && (planned - now - wait) % 60 == 0);
                } else {
                    budget.on_call(at(now));
                }
                for counts in budget.windows.values() {
                    prop_assert!(counts.retries <= settings.allowed(counts.calls));
                }
            }
        }
    }
}
