//! The breaker's table, cell by cell, and its runs.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_us(second * 1_000_000)
}

fn settings(threshold: u32, probes: u32) -> BreakerSettings {
    BreakerSettings::new(threshold, Duration::from_secs(30), probes).unwrap()
}

/// Notes a trigger and applies the change that it makes.
fn step(breaker: &mut Breaker, trigger: Trigger, now: i64, settings: &BreakerSettings) {
    let change = breaker.decide(trigger, at(now), settings);
    breaker.note(trigger);
    if let Some(change) = change {
        breaker.apply(&change);
    }
}

fn name(breaker: &Breaker) -> &'static str {
    match breaker {
        Breaker::Closed { .. } => "closed",
        Breaker::Open { .. } => "open",
        Breaker::HalfOpen { .. } => "half_open",
    }
}

#[test]
fn every_state_and_trigger_is_as_the_table_says() {
    let states = [
        Breaker::Closed { failures: 4 },
        Breaker::Open {
            failures: 5,
            until: at(30),
        },
        Breaker::HalfOpen {
            failures: 5,
            sent: 1,
            succeeded: 0,
        },
    ];
    let mut matrix = String::new();
    for state in states {
        for trigger in Trigger::ALL {
            let mut after = state;
            step(&mut after, *trigger, 30, &BreakerSettings::default());
            let kept = if name(&after) == name(&state) {
                "stays"
            } else {
                name(&after)
            };
            writeln!(matrix, "{} {trigger:?}: {kept}", name(&state)).unwrap();
        }
    }
    insta::assert_snapshot!(matrix, @r"
    closed Sent: stays
    closed Refused: open
    closed Failed: open
    closed Succeeded: stays
    closed Returned: stays
    closed Due: stays
    open Sent: stays
    open Refused: stays
    open Failed: stays
    open Succeeded: stays
    open Returned: stays
    open Due: half_open
    half_open Sent: stays
    half_open Refused: open
    half_open Failed: open
    half_open Succeeded: closed
    half_open Returned: stays
    half_open Due: stays
    ");
}

#[test]
fn it_opens_at_the_threshold_and_not_before() {
    let settings = settings(3, 1);
    let mut breaker = Breaker::default();
    for trigger in [Trigger::Refused, Trigger::Failed] {
        step(&mut breaker, trigger, 0, &settings);
        assert_eq!(breaker.admits(&settings), Admits::Yes);
    }
    step(&mut breaker, Trigger::Refused, 7, &settings);
    assert_eq!(
        breaker,
        Breaker::Open {
            failures: 3,
            until: at(37)
        }
    );
    assert_eq!(
        breaker.admits(&settings),
        Admits::No {
            until: Some(at(37))
        }
    );
}

#[test]
fn a_success_counts_from_zero_again_and_a_returned_call_changes_nothing() {
    let settings = settings(2, 1);
    let mut breaker = Breaker::default();
    step(&mut breaker, Trigger::Refused, 0, &settings);
    step(&mut breaker, Trigger::Returned, 0, &settings);
    assert_eq!(breaker, Breaker::Closed { failures: 1 });
    step(&mut breaker, Trigger::Succeeded, 0, &settings);
    step(&mut breaker, Trigger::Refused, 0, &settings);
    assert_eq!(breaker, Breaker::Closed { failures: 1 });
}

#[test]
fn it_is_half_open_from_its_time_on() {
    let settings = settings(1, 1);
    let mut breaker = Breaker::default();
    step(&mut breaker, Trigger::Failed, 0, &settings);
    step(&mut breaker, Trigger::Due, 29, &settings);
    assert_eq!((name(&breaker), breaker.due_at()), ("open", Some(at(30))));
    step(&mut breaker, Trigger::Due, 30, &settings);
    assert_eq!((name(&breaker), breaker.due_at()), ("half_open", None));
}

#[test]
fn half_open_lets_through_its_probes_and_closes_when_all_succeed() {
    let settings = settings(1, 2);
    let mut breaker = Breaker::HalfOpen {
        failures: 1,
        sent: 0,
        succeeded: 0,
    };
    step(&mut breaker, Trigger::Sent, 0, &settings);
    assert_eq!(breaker.admits(&settings), Admits::Probe);
    step(&mut breaker, Trigger::Sent, 0, &settings);
    assert_eq!(breaker.admits(&settings), Admits::No { until: None });
    step(&mut breaker, Trigger::Succeeded, 0, &settings);
    assert_eq!(breaker.admits(&settings), Admits::No { until: None });
    step(&mut breaker, Trigger::Succeeded, 0, &settings);
    assert_eq!(breaker, Breaker::default());
}

#[test]
fn a_probe_that_says_nothing_is_given_back() {
    let settings = BreakerSettings::default();
    let mut breaker = Breaker::HalfOpen {
        failures: 5,
        sent: 0,
        succeeded: 0,
    };
    step(&mut breaker, Trigger::Sent, 0, &settings);
    step(&mut breaker, Trigger::Returned, 0, &settings);
    assert_eq!(breaker.admits(&settings), Admits::Probe);
}

#[test]
fn a_failed_probe_opens_it_again_and_goes_on_counting() {
    let mut breaker = Breaker::HalfOpen {
        failures: 5,
        sent: 1,
        succeeded: 0,
    };
    step(
        &mut breaker,
        Trigger::Refused,
        100,
        &BreakerSettings::default(),
    );
    assert_eq!(
        breaker,
        Breaker::Open {
            failures: 6,
            until: at(130)
        }
    );
}

#[test]
fn settings_are_checked() {
    let second = Duration::from_secs(1);
    for (threshold, open_for, probes) in [
        (0, second, 1),
        (1, Duration::ZERO, 1),
        (1, MAX_OPEN + second, 1),
        (1, second, 0),
    ] {
        assert!(BreakerSettings::new(threshold, open_for, probes).is_err());
    }
    let text = r#"{"failure_threshold":5,"open_for_ms":30000,"probes":1}"#;
    assert_eq!(
        serde_json::to_string(&BreakerSettings::default()).unwrap(),
        text
    );
    assert!(serde_json::from_str::<BreakerSettings>(&text.replace('5', "0")).is_err());
}

#[test]
fn only_troubled_models_take_room() {
    let (a, b) = (ModelId::new("p/a").unwrap(), ModelId::new("p/b").unwrap());
    let mut breakers = Breakers::default();
    breakers.note(&a, Trigger::Refused);
    breakers.apply(
        &b,
        &Change::Opened {
            failures: 5,
            until: at(9),
        },
    );
    assert_eq!(
        (breakers.iter().count(), breakers.next_due()),
        (2, Some((at(9), &b)))
    );
    breakers.note(&a, Trigger::Succeeded);
    breakers.apply(&b, &Change::Closed);
    assert_eq!(breakers, Breakers::default());
}

fn trigger() -> impl Strategy<Value = Trigger> {
    prop::sample::select(Trigger::ALL)
}

proptest! {
    #[test]
    fn a_replay_of_triggers_and_changes_has_the_live_state(
        triggers in prop::collection::vec((trigger(), 0_i64..20), 0..200),
        threshold in 1_u32..6,
        probes in 1_u32..4,
    ) {
        let settings = settings(threshold, probes);
        let (mut live, mut log, mut now) = (Breaker::default(), Vec::new(), 0);
        for (trigger, pause) in triggers {
            now += pause;
            let change = live.decide(trigger, at(now), &settings);
            log.push((trigger, change));
            step(&mut live, trigger, now, &settings);
        }
        let mut replayed = Breaker::default();
        for (trigger, change) in log {
            replayed.note(trigger);
            if let Some(change) = change {
                replayed.apply(&change);
            }
        }
        prop_assert_eq!(replayed, live);
        let text = serde_json::to_string(&live).unwrap();
        prop_assert_eq!(serde_json::from_str::<Breaker>(&text).unwrap(), live);
    }

    #[test]
    fn half_open_never_has_more_than_its_probes_out(
        triggers in prop::collection::vec(trigger(), 0..200),
        probes in 1_u32..4,
    ) {
        let settings = settings(1, probes);
        let mut breaker = Breaker::HalfOpen { failures: 1, sent: 0, succeeded: 0 };
        for trigger in triggers {
            let blocked = matches!(breaker.admits(&settings), Admits::No { .. });
            if trigger == Trigger::Sent && blocked {
                continue;
            }
            step(&mut breaker, trigger, 0, &settings);
            if let Breaker::HalfOpen { sent, succeeded, .. } = breaker {
                prop_assert!(sent <= probes && succeeded < probes);
            }
        }
    }
}
