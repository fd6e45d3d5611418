//! The provider's refusals: throttling within policy, a breaker that opens and closes, and an end.

use std::collections::BTreeMap;
use std::time::Duration;

use mission_control::core::event::EventKind;
use serde_json::Value;

use crate::data;
use crate::world::World;

/// A day: the longest that a refused call waits in a rehearsal.
const DAY: Duration = Duration::from_secs(86_400);

/// Refusals by run, step and place in the step.
fn refusals(world: &World) -> BTreeMap<(String, String, usize), u64> {
    let recorded = world.recorded();
    let mut refusals = BTreeMap::new();
    for (record, kind) in &world.events {
        if let EventKind::ModelCallThrottled(facts) = kind {
            let place = usize::try_from(facts.ordinal).unwrap();
            let key = (
                recorded[&record.run_id].clone(),
                facts.step.to_string(),
                place,
            );
            *refusals.entry(key).or_insert(0) += 1;
            assert_eq!(facts.status, 429);
            assert!(facts.retry_at >= record.ts && record.ts.since(facts.since) <= DAY);
        }
    }
    refusals
}

pub(crate) fn each_recorded_refusal_is_a_throttling_of_its_call_within_policy(
    runs: &[Value],
    world: &World,
) {
    let seen = refusals(world);
    let mut expected = BTreeMap::new();
    for run in runs {
        for (step, calls) in data::by_step(run) {
            for (place, call) in calls.into_iter().enumerate() {
                let key = (run["id"].as_str().unwrap().to_owned(), step.clone(), place);
                let times = call["rate_limit_refusals"].as_u64().unwrap();
                expected.extend((times > 0).then_some((key, times)));
            }
        }
    }
    assert_eq!(seen, expected);
    assert_eq!(
        (seen.values().sum::<u64>(), world.summary.refusals),
        (1_300, 1_300)
    );
    assert_eq!(
        world.count("model_call.released") + world.count("attempt.failed"),
        0
    );
}

pub(crate) fn a_refused_call_goes_out_again_no_sooner_than_was_said(_: &[Value], world: &World) {
    let mut waiting = BTreeMap::new();
    for (record, kind) in &world.events {
        match kind {
            EventKind::ModelCallThrottled(f) => {
                waiting.insert((record.run_id, f.step.clone(), f.ordinal), f.retry_at);
            }
            EventKind::ModelCallReserved(f) => {
                let retry_at = waiting.remove(&(record.run_id, f.step.clone(), f.ordinal));
                assert!(
                    retry_at.is_none_or(|at| record.ts >= at),
                    "seq {}",
                    record.seq
                );
            }
            _ => {}
        }
    }
    assert!(waiting.is_empty());
}

pub(crate) fn the_breaker_opens_and_closes_in_the_worst_storm(runs: &[Value], world: &World) {
    let storm = |run: &&Value| data::sum(std::slice::from_ref(*run), "rate_limit_refusals");
    let worst = runs.iter().max_by_key(storm).unwrap();
    let recorded = world.recorded();
    let (id, _) = recorded
        .iter()
        .find(|(_, id)| worst["id"] == id.as_str())
        .unwrap();
    let of_run = |record: &mission_control::Record| record.run_id == *id;
    let first = world
        .events
        .iter()
        .position(|(record, _)| of_run(record))
        .unwrap();
    let last = world
        .events
        .iter()
        .rposition(|(record, _)| of_run(record))
        .unwrap();
    let within = |name: &str| {
        world.events[first..=last]
            .iter()
            .filter(|(_, kind)| kind.name() == name)
            .count()
    };
    eprintln!(
        "circuit: {} opened, {} half opened, {} closed",
        within("circuit.opened"),
        within("circuit.half_opened"),
        within("circuit.closed"),
    );
    assert!(within("circuit.opened") > 0 && within("circuit.closed") > 0);
    let mut circuit = world
        .events
        .iter()
        .filter(|(_, kind)| kind.name().starts_with("circuit."));
    assert_eq!(circuit.next_back().unwrap().1.name(), "circuit.closed");
}
