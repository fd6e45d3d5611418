//! The wall clock: it may be wrong, and nothing that waits may suffer from it.

use crate::common::*;
use mission_control::Timestamp;
use mission_control::core::ports::Clock;

const HOUR: u64 = 3_600;

/// Moves the wall clock alone.
pub fn set_wall(world: &World, by_seconds: i64) {
    let clock = world.0.simulation().clock();
    let us = clock.now().as_unix_us() + by_seconds * 1_000_000;
    clock.set_wall(Timestamp::from_unix_us(us));
}

async fn jumps(control: &MissionControl) -> usize {
    let log = control.log().read_workspace(0, 10_000).await.unwrap();
    assert!(log.windows(2).all(|pair| pair[0].ts <= pair[1].ts));
    log.iter()
        .filter(|one| &*one.kind == "clock.jumped")
        .count()
}

/// A run that sleeps for so many seconds while the wall clock is moved after one.
fn slept_over(move_by: i64, sleep: u64) -> (u64, usize) {
    let world = World::seeded(1);
    let (jumps, spent) = world.run(async {
        let control = open_for(&world, "it", parked()).await;
        let run = begin(&control, ONE, json!({"until": sleep})).await;
        world.pass(secs(1)).await;
        set_wall(&world, move_by);
        // Something else is going on, so that the engine looks at its clocks.
        start(&control, json!({"until": 2})).await;
        run.outcome().await.unwrap();
        let spent = world.elapsed();
        (jumps(&control).await, spent)
    });
    (spent.as_secs(), jumps)
}

#[test]
fn a_sleep_takes_as_long_although_the_clock_is_put_back() {
    assert_eq!(slept_over(-3_600, 100), (100, 1));
}

#[test]
fn a_sleep_takes_as_long_although_the_clock_leaps_for_less_than_ten_minutes() {
    assert_eq!(slept_over(365 * 24 * 3_600, 100), (100, 1));
}

#[test]
fn a_clock_that_leapt_and_runs_evenly_for_ten_minutes_is_believed() {
    let (spent, jumps) = slept_over(8 * 3_600, 6 * HOUR);
    assert_eq!(
        (spent, jumps),
        (601, 1),
        "as after a machine that slept for eight hours"
    );
}

#[test]
fn a_throttled_call_is_not_given_up_because_the_clock_leapt() {
    let world = World::seeded(2);
    world.run(async {
        let control = world.open().await;
        let it = agent(|ctx, _| async move {
            let tries = std::sync::atomic::AtomicU32::new(0);
            let request = request("p", 10);
            let done = ctx.model_call(&request, |_| async {
                match tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                    0 => Err(ProviderError::new(refused(), "later")),
                    _ => Ok(answer("ok", 1)),
                }
            });
            done.await?;
            Ok(json!(1).into())
        });
        register(&control, "it", it).await;
        let run = begin(&control, ONE, json!({})).await;
        set_wall(&world, 24 * 3_600);
        completes(&run).await;
        assert!(world.elapsed() < secs(60));
    });
}

const fn refused() -> CallFailure {
    CallFailure::Status {
        code: 429,
        output_begun: OutputBegun::No,
    }
}
