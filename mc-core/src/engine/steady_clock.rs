//! The engine's time: the wall clock as long as it runs evenly, else the time that has passed.
//!
//! Waits, time-outs of windows and the log's timestamps follow it. It never goes back and never
//! leaps: a wall clock that leaves it by more than [`JUMP`] has jumped, and is believed again only
//! once it has run evenly for [`STABLE`], and only if it is ahead. One that was put back is followed
//! when it has caught up. What is *not* here: what is written about a jump (`driver`).

use std::time::Duration;

use crate::time::Timestamp;

/// A wall clock that leaves the engine's time by more than this has jumped.
const JUMP: Duration = Duration::from_secs(300);

/// A wall clock that has jumped is believed again after it ran evenly for so long.
const STABLE: Duration = Duration::from_secs(600);

/// A jump of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Jump {
    /// What it shows.
    pub(super) wall: Timestamp,
    /// What it should show.
    pub(super) expected: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Doubted {
    /// Since when, in monotonic time.
    since: Duration,
    /// What the wall clock showed then.
    wall: Timestamp,
}

/// The engine's time.
#[derive(Clone, Debug)]
pub(super) struct SteadyClock {
    /// A moment in both times.
    anchor: (Timestamp, Duration),
    doubted: Option<Doubted>,
    /// Jumps that nobody was told of.
    untold: Option<Jump>,
}

impl SteadyClock {
    /// Begins behind the last timestamp of the log; a wall clock that is far behind it has jumped.
    pub(super) fn starting(wall: Timestamp, last: Option<Timestamp>, monotonic: Duration) -> Self {
        let begin = last.map_or(wall, |last| last.max(wall));
        let mut clock = Self {
            anchor: (begin, monotonic),
            doubted: None,
            untold: None,
        };
        clock.read(wall, monotonic);
        clock
    }

    /// The time, given what both clocks show.
    pub(super) fn read(&mut self, wall: Timestamp, monotonic: Duration) -> Timestamp {
        let expected = after(self.anchor, monotonic);
        if apart(wall, expected) <= JUMP {
            self.doubted = None;
            // A wall clock that lags a little is waited for.
            if wall > expected {
                self.anchor = (wall, monotonic);
            }
        } else if !self.is_stable(wall, monotonic) {
            self.doubted = self.doubted.filter(|one| one.is_even(wall, monotonic));
            if self.doubted.is_none() {
                let since = monotonic;
                self.doubted = Some(Doubted { since, wall });
                self.untold = Some(Jump { wall, expected });
            }
        } else if wall > expected {
            self.doubted = None;
            self.anchor = (wall, monotonic);
        }
        after(self.anchor, monotonic)
    }

    /// The jump that was seen last, once.
    pub(super) const fn take_jump(&mut self) -> Option<Jump> {
        self.untold.take()
    }

    /// What the wall clock shows, if it is ahead and not believed yet.
    pub(super) fn ahead(&mut self, wall: Timestamp, monotonic: Duration) -> Option<Timestamp> {
        let now = self.read(wall, monotonic);
        (self.doubted.is_some() && wall > now).then_some(wall)
    }

    /// Believes a wall clock that is ahead at once: somebody says that it is right.
    pub(super) fn confirm(&mut self, wall: Timestamp, monotonic: Duration) {
        if self.ahead(wall, monotonic).is_some() {
            self.doubted = None;
            self.untold = None;
            self.anchor = (wall, monotonic);
        }
    }

    /// When the wall clock could be believed again, in monotonic time; whoever waits for a time
    /// looks again then.
    pub(super) fn settles_at(&self) -> Option<Duration> {
        self.doubted.map(|one| one.since.saturating_add(STABLE))
    }

    fn is_stable(&self, wall: Timestamp, monotonic: Duration) -> bool {
        self.doubted.is_some_and(|one| {
            one.is_even(wall, monotonic) && monotonic.saturating_sub(one.since) >= STABLE
        })
    }
}

impl Doubted {
    /// Whether the wall clock has run evenly since.
    fn is_even(&self, wall: Timestamp, monotonic: Duration) -> bool {
        apart(wall, after((self.wall, self.since), monotonic)) <= JUMP
    }
}

fn after((at, since): (Timestamp, Duration), monotonic: Duration) -> Timestamp {
    at.after(monotonic.saturating_sub(since))
}

fn apart(a: Timestamp, b: Timestamp) -> Duration {
    a.since(b).max(b.since(a))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_unix_us(1_767_225_600_000_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn back(at: Timestamp, span: Duration) -> Timestamp {
        let us = i64::try_from(span.as_micros()).unwrap();
        Timestamp::from_unix_us(at.as_unix_us() - us)
    }

    #[test]
    fn it_follows_a_wall_clock_that_runs_evenly_and_never_goes_back() {
        let mut clock = SteadyClock::starting(START, None, secs(5));
        assert_eq!(
            clock.read(START.after(secs(10)), secs(15)),
            START.after(secs(10))
        );
        // Set forward a little: followed. Set back a little: waited for.
        assert_eq!(
            clock.read(START.after(secs(80)), secs(20)),
            START.after(secs(80))
        );
        assert_eq!(
            clock.read(START.after(secs(30)), secs(30)),
            START.after(secs(90))
        );
        assert_eq!(clock.take_jump(), None);
    }

    #[test]
    fn a_leap_is_told_once_and_believed_only_after_ten_even_minutes() {
        let mut clock = SteadyClock::starting(START, None, Duration::ZERO);
        let leap = |passed: u64| START.after(HOUR).after(secs(passed));
        assert_eq!(clock.read(leap(1), secs(1)), START.after(secs(1)));
        let jump = clock.take_jump().unwrap();
        assert_eq!((jump.wall, jump.expected), (leap(1), START.after(secs(1))));
        assert_eq!(clock.read(leap(600), secs(600)), START.after(secs(600)));
        assert_eq!(clock.take_jump(), None);
        assert_eq!(clock.read(leap(601), secs(601)), leap(601));
        assert_eq!(clock.read(leap(700), secs(700)), leap(700));
    }

    #[test]
    fn a_leap_that_is_mended_leaves_no_trace() {
        let mut clock = SteadyClock::starting(START, None, Duration::ZERO);
        clock.read(START.after(HOUR), secs(1));
        assert_eq!(
            clock.read(START.after(secs(900)), secs(900)),
            START.after(secs(900))
        );
        clock.read(START.after(HOUR), secs(901));
        let later = START.after(secs(901 + 599));
        assert_eq!(
            clock.read(START.after(HOUR).after(secs(599)), secs(901 + 599)),
            later
        );
    }

    #[test]
    fn a_clock_that_was_put_back_is_passed_over_until_it_has_caught_up() {
        let mut clock = SteadyClock::starting(START, None, Duration::ZERO);
        for minute in 1..=59 {
            let passed = secs(60 * minute);
            let behind = back(START, HOUR).after(passed);
            assert_eq!(clock.read(behind, passed), START.after(passed));
        }
        assert!(clock.take_jump().is_some());
        assert_eq!(clock.take_jump(), None);
    }

    #[test]
    fn a_leap_that_somebody_confirms_is_believed_at_once_and_one_back_never() {
        let mut clock = SteadyClock::starting(START, None, Duration::ZERO);
        assert_eq!(clock.ahead(START.after(secs(1)), secs(1)), None);
        let leap = |passed: u64| START.after(HOUR).after(secs(passed));
        assert_eq!(clock.ahead(leap(2), secs(2)), Some(leap(2)));
        clock.confirm(leap(3), secs(3));
        assert_eq!(clock.read(leap(4), secs(4)), leap(4));
        assert_eq!(clock.ahead(START.after(secs(5)), secs(5)), None);
        clock.confirm(START.after(secs(5)), secs(5));
        assert_eq!(clock.read(START.after(secs(6)), secs(6)), leap(6));
    }

    #[test]
    fn the_log_goes_on_where_it_ended() {
        let last = START.after(HOUR);
        let mut clock = SteadyClock::starting(START, Some(last), secs(7));
        assert!(clock.take_jump().is_some());
        assert_eq!(
            clock.read(START.after(secs(1)), secs(8)),
            last.after(secs(1))
        );
    }
}
