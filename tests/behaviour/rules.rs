//! Rules about runs and their starts: labels, calls, time, the provider's own tools, nesting, fan-out
//! and the age of prices.

use std::collections::BTreeMap;

use mission_control::Unit;

use crate::common::*;
use crate::guardrails::{denies, different, publish, rail, under};

const DAY: Duration = secs(86_400);

fn labelled(key: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), "x".to_owned())])
}

#[test]
fn a_run_makes_so_many_calls_and_carries_its_labels() {
    denies(
        "max_calls_per_run: 2",
        "max_calls_per_run",
        &different(3),
        2,
    );
    denies("metadata: [team]", "metadata", &different(1), 0);
}

#[test]
fn a_tool_of_the_provider_has_to_be_capped_and_at_no_more_than_allowed() {
    let asked = |cap: Option<u64>| match cap {
        Some(cap) => [request("p", 4).cap(Unit::Request, cap)],
        None => [request("p", 4)],
    };
    for cap in [None, Some(4)] {
        denies("max_units: { request: 3 }", "max_units", &asked(cap), 0);
    }
    let rule = "at: model_call, max_units: { request: 3 }";
    assert_eq!(under(rule, "enforce", &asked(Some(3))), (None, None));
}

#[test]
fn no_call_goes_out_after_the_deadline_of_its_run() {
    for (mode, late) in [("enforce", true), ("observe", false), ("'off'", false)] {
        let world = World::seeded(41);
        world.run(async {
            let control = world.open().await;
            publish(&control, &rail("at: model_call, deadline: 1m", mode)).await;
            let session = guard(&control).await;
            world.pass(secs(60)).await;
            let early = session.reserve(&request("p", 1)).await.unwrap();
            assert!(matches!(early, Admission::Allowed(_)), "{early:?}");
            world.pass(secs(1)).await;
            let after = session.reserve(&request("q", 1)).await.unwrap();
            assert_eq!(matches!(after, Admission::Denied(_)), late, "{after:?}");
            let run = control.run(session.id());
            drop((early, after));
            session.close().await.unwrap();
            let judged = count(&control, &run, "guardrail.judged").await;
            assert_eq!(judged, usize::from(mode != "'off'"), "{mode}");
        });
    }
}

#[test]
fn a_start_without_its_labels_is_refused() {
    let world = World::seeded(42);
    world.run(async {
        let control = open_for(&world, "echo", echo()).await;
        publish(
            &control,
            &rail("at: admission, metadata: [team]", "enforce"),
        )
        .await;
        let labels = StartOptions {
            labels: labelled("team"),
            ..StartOptions::by("ann")
        };
        let run = begin_with(&control, ECHO, json!({}), labels).await;
        completes(&run).await;
        let error = control
            .start("w", json!({}), StartOptions::by("ann"))
            .await
            .unwrap_err();
        let told = "r: metadata: the run has no label `team`";
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::PolicyDenied, told)
        );
        let session = control.guard("host", SessionOptions::default()).await;
        assert_eq!(session.unwrap_err().kind(), ErrorKind::PolicyDenied);
        publish(
            &control,
            &rail("at: admission, metadata: [team]", "observe"),
        )
        .await;
        completes(&start(&control, json!({})).await).await;
    });
}

/// How a run ends of a step that uses a workflow which uses another.
async fn nested_under(world: &World, rule: &str, mode: &str) -> Vec<(String, BlockReason, String)> {
    let control = open_for(world, "echo", echo()).await;
    publish(&control, &rail(rule, mode)).await;
    for yaml in [
        "{ workflow: low, steps: { a: { agent: echo } } }",
        "{ workflow: middle, steps: { b: { uses: 'low@1' } } }",
    ] {
        control
            .publish(Workflow::from_yaml(yaml).unwrap())
            .await
            .unwrap();
    }
    let yaml = "{ workflow: w, steps: { c: { uses: 'middle@1' } } }";
    let run = begin(&control, yaml, json!({})).await;
    match run.settled_or_blocked().await.unwrap() {
        Position::Ended(outcome) => {
            assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
            Vec::new()
        }
        blocked @ Position::Blocked { .. } => blocks(&blocked),
    }
}

#[test]
fn a_run_is_nested_no_deeper_than_allowed() {
    for (rule, mode, lets) in [
        ("at: admission, max_depth: 2", "enforce", true),
        ("at: admission, max_depth: 0", "enforce", false),
        ("at: admission, max_depth: 0", "observe", true),
        ("at: admission, max_depth: 0", "'off'", true),
    ] {
        let world = World::seeded(43);
        let blocked = world.run(nested_under(&world, rule, mode));
        let told = ("c".to_owned(), BlockReason::Guardrail, "r".to_owned());
        let expected = if lets { Vec::new() } else { vec![told] };
        assert_eq!(blocked, expected, "{rule} {mode}");
    }
}

#[test]
fn a_step_with_more_items_than_allowed_is_blocked_before_the_first_goes_out() {
    let yaml = "{ workflow: w, steps: { a: { agent: echo, for_each: inputs.all } } }";
    for (mode, items, lets, judged) in [
        ("enforce", 3, false, 1),
        ("enforce", 2, true, 0),
        ("observe", 3, true, 1),
        ("'off'", 3, true, 0),
    ] {
        let world = World::seeded(44);
        world.run(async {
            let control = open_for(&world, "echo", echo()).await;
            publish(&control, &rail("at: admission, max_items: 2", mode)).await;
            let all: Vec<u32> = (0..items).collect();
            let run = begin(&control, yaml, json!({ "all": all })).await;
            let position = run.settled_or_blocked().await.unwrap();
            let ended = matches!(position, Position::Ended(_));
            assert_eq!(ended, lets, "{mode} {position:?}");
            assert_eq!(count(&control, &run, "guardrail.judged").await, judged);
            let out = count(&control, &run, "step.dispatched").await;
            assert_eq!(out > 0, lets, "{mode}");
        });
    }
}

#[test]
fn a_plan_with_an_estimate_at_an_old_price_is_refused_at_its_start() {
    let estimate = "{ model: test/m, input_tokens: 1, max_output_tokens: 1, calls: 1 }";
    let yaml =
        format!("{{ workflow: w, steps: {{ a: {{ agent: echo, estimate: {estimate} }} }} }}");
    for (mode, refused) in [("enforce", true), ("observe", false), ("'off'", false)] {
        let world = World::seeded(45);
        world.run(async {
            let control = open_for(&world, "echo", echo()).await;
            publish(&control, &rail("at: admission, fresh_prices: 1d", mode)).await;
            completes(&begin(&control, &yaml, json!({})).await).await;
            world.pass(DAY + secs(1)).await;
            let late = control.start("w", json!({}), StartOptions::by("ann")).await;
            assert_eq!(late.is_err(), refused, "{mode}");
            if let Err(error) = late {
                assert!(error.message().starts_with("r: fresh_prices: "), "{error}");
            }
            let zero = control.run(mission_control::RunId::ZERO);
            let judged = count(&control, &zero, "admission.judged").await;
            assert_eq!(judged, usize::from(mode != "'off'"), "{mode}");
        });
    }
}
