//! What calls cost, to the sixth decimal.

use std::collections::BTreeMap;

use mission_control::core::event::EventKind;
use serde_json::Value;

use crate::data;
use crate::world::World;

/// The settled cost in nano-USD of each call, by recorded run, step and place in the step.
fn settled(world: &World) -> BTreeMap<(String, String, usize), u64> {
    let recorded = world.recorded();
    let costs = world.events.iter().filter_map(|(record, kind)| match kind {
        EventKind::ModelCallSettled(facts) => {
            let place = usize::try_from(facts.ordinal).unwrap();
            let key = (
                recorded[&record.run_id].clone(),
                facts.step.to_string(),
                place,
            );
            Some((key, u64::try_from(facts.actual.money.as_nano()).unwrap()))
        }
        _ => None,
    });
    costs.collect()
}

/// Nano-USD as the reports have it: six decimals, rounded half up.
fn micro(nano: u64) -> u64 {
    (nano + 500) / 1_000
}

fn reported(call: &Value) -> Option<u64> {
    let text = format!("{:.6}", call["reported_cost_usd"].as_f64()?);
    text.replace('.', "").parse().ok()
}

pub(crate) fn every_priced_call_costs_what_its_data_reports(runs: &[Value], world: &World) {
    let costs = settled(world);
    let (mut checked, mut ours, mut theirs) = (0, 0, 0);
    for run in runs {
        for (step, calls) in data::by_step(run) {
            for (place, call) in calls.into_iter().enumerate() {
                let key = (run["id"].as_str().unwrap().to_owned(), step.clone(), place);
                let expected = data::cost(call).unwrap_or(0);
                assert_eq!(costs[&key], expected, "{key:?}");
                if let (Some(reported), Some(_)) = (reported(call), data::cost(call)) {
                    assert_eq!(micro(costs[&key]), reported, "{key:?}");
                    (checked, ours, theirs) =
                        (checked + 1, ours + micro(expected), theirs + reported);
                }
            }
        }
    }
    assert_eq!((checked, ours), (363, theirs));
}

pub(crate) fn the_cost_of_all_runs_is_the_sum_of_their_calls(runs: &[Value], world: &World) {
    let expected: u64 = runs.iter().map(data::run_cost).sum();
    assert_eq!(
        u64::try_from(world.summary.cost.as_nano()).unwrap(),
        expected
    );
    let spent: u64 = settled(world).values().sum();
    assert_eq!(spent, expected);
}
