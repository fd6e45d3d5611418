//! Virtual time: it passes when a test says so, and only then.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::ports::Clock;
use crate::time::Timestamp;
use async_trait::async_trait;

/// A clock that a test moves. Clones show the same time.
///
/// Sleepers are woken in order of their deadlines, those of one deadline in the order in which
/// they went to sleep.
#[derive(Clone, Debug)]
pub struct SimClock(Arc<Mutex<Time>>);

#[derive(Debug)]
struct Time {
    wall: Timestamp,
    passed: Duration,
    /// By deadline and order of going to sleep.
    sleepers: BTreeMap<(Duration, u64), Waker>,
    next_sleeper: u64,
}

impl SimClock {
    /// A clock that shows `wall`; no time has passed.
    pub fn starting_at(wall: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Time {
            wall,
            passed: Duration::ZERO,
            sleepers: BTreeMap::new(),
            next_sleeper: 0,
        })))
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass and wakes whoever's deadline it reaches.
    pub fn advance(&self, span: Duration) {
        let mut time = self.time();
        time.wall = time.wall.after(span);
        time.passed = time.passed.saturating_add(span);
        let passed = time.passed;
        let later = time.sleepers.split_off(&(passed, u64::MAX));
        let woken = std::mem::replace(&mut time.sleepers, later);
        // Wakers run code of their own, which may ask for the time.
        drop(time);
        woken.into_values().for_each(Waker::wake);
    }

    /// Lets time pass up to the next deadline. Tells whether there was a sleeper.
    pub fn advance_to_next(&self) -> bool {
        let next = self.next_deadline();
        if let Some(deadline) = next {
            let passed = self.monotonic();
            self.advance(deadline.saturating_sub(passed));
        }
        next.is_some()
    }

    /// The deadline of the first sleeper.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.time()
            .sleepers
            .keys()
            .next()
            .map(|(deadline, _)| *deadline)
    }

    /// Moves the wall clock alone, as an administrator does. No time passes.
    pub fn set_wall(&self, wall: Timestamp) {
        self.time().wall = wall;
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.time().wall
    }

    fn monotonic(&self) -> Duration {
        self.time().passed
    }

    async fn sleep_until(&self, deadline: Duration) {
        let sleep = Sleep {
            clock: self.clone(),
            deadline,
            place: None,
        };
        sleep.await;
    }
}

/// A sleeper; dropping it takes it off the clock.
struct Sleep {
    clock: SimClock,
    deadline: Duration,
    place: Option<(Duration, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut time = clock.time();
        if time.passed >= self.deadline {
            return Poll::Ready(());
        }
        let place = self.place.unwrap_or((self.deadline, time.next_sleeper));
        if self.place.is_none() {
            time.next_sleeper += 1;
            self.place = Some(place);
        }
        time.sleepers.insert(place, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.clock.time().sleepers.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Wake;

    type Woken = Arc<Mutex<Vec<u32>>>;

    struct Name(u32, Woken);

    impl Wake for Name {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    fn clock() -> SimClock {
        SimClock::starting_at(Timestamp::from_unix_us(1_000))
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    type Sleeping<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

    fn asleep<'a>(clock: &'a SimClock, name: u32, deadline: u64, woken: &Woken) -> Sleeping<'a> {
        let waker = Waker::from(Arc::new(Name(name, Arc::clone(woken))));
        let mut sleep = clock.sleep_until(at(deadline));
        assert!(
            sleep
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        sleep
    }

    #[test]
    fn sleepers_wake_by_deadline_and_then_in_order() {
        let (clock, woken) = (clock(), Woken::default());
        let sleepers = [(1, 3), (2, 1), (3, 3), (4, 9)];
        let sleeping = sleepers.map(|(name, deadline)| asleep(&clock, name, deadline, &woken));
        clock.advance(at(3));
        assert_eq!(*woken.lock().unwrap(), [2, 1, 3]);
        assert_eq!(clock.next_deadline(), Some(at(9)));
        drop(sleeping);
        assert_eq!(clock.next_deadline(), None);
    }

    #[test]
    fn nothing_wakes_before_its_deadline() {
        let (clock, woken) = (clock(), Woken::default());
        let _sleeping = asleep(&clock, 1, 2, &woken);
        clock.advance(Duration::from_nanos(1_999_999_999));
        assert!(woken.lock().unwrap().is_empty());
        clock.advance(Duration::from_nanos(1));
        assert_eq!(*woken.lock().unwrap(), [1]);
    }

    #[test]
    fn time_jumps_to_the_next_deadline() {
        let (clock, woken) = (clock(), Woken::default());
        let _sleeping = [asleep(&clock, 1, 5, &woken), asleep(&clock, 2, 7, &woken)];
        assert!(clock.advance_to_next());
        assert_eq!(clock.monotonic(), at(5));
        assert!(clock.advance_to_next() && !clock.advance_to_next());
        assert_eq!(clock.now(), Timestamp::from_unix_us(7_001_000));
    }

    #[test]
    fn a_deadline_that_has_passed_does_not_wait() {
        let clock = clock();
        clock.advance(at(2));
        let mut sleep = clock.sleep_until(at(2));
        assert!(
            sleep
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_ready()
        );
    }

    #[test]
    fn the_wall_clock_jumps_alone() {
        let clock = clock();
        clock.set_wall(Timestamp::EPOCH);
        assert_eq!(
            (clock.now(), clock.monotonic()),
            (Timestamp::EPOCH, Duration::ZERO)
        );
    }
}
