//! How steps follow each other: chaining, fan-out, joins, skips, failures.

use crate::common::*;

fn world_of(yaml: &str, input: Value) -> (World, Outcome, Vec<String>) {
    let world = World::seeded(3);
    let (outcome, kinds) = world.run(async {
        let control = world.open().await;
        agents(&control).await;
        let run = begin(&control, yaml, input).await;
        let outcome = run.outcome().await.unwrap();
        (outcome, kinds(&control, &run).await)
    });
    (world, outcome, kinds)
}

async fn agents(control: &MissionControl) {
    register(control, "echo", echo()).await;
    let same = agent(|_, input| async move { Ok(input.into()) });
    register(control, "same", same).await;
    let fails = agent(|_, _| async move { Err(AgentError::new("no").fatal()) });
    register(control, "fails", fails).await;
    let hangs = agent(|ctx, _| async move {
        ctx.cancelled().await;
        Err(AgentError::new("stopped"))
    });
    register(control, "hangs", hangs).await;
}

#[test]
fn a_fan_in_gets_each_output_under_its_step_name() {
    let yaml = "
workflow: w
steps:
  a: { agent: echo }
  b: { agent: same, needs: [a], input: { v: \"${{ inputs.x }}\" } }
  c: { agent: same, needs: [a], input: { v: 2 } }
  d: { agent: same, needs: [b, c] }
";
    let (_, outcome, _) = world_of(yaml, json!({"x": 1}));
    assert_eq!(
        output(&outcome),
        json!({"x": 1, "b": {"v": 1}, "c": {"v": 2}})
    );
}

#[test]
fn one_need_merges_its_object_over_the_run_input() {
    let yaml = "{ workflow: w, steps: { a: { agent: same, input: { y: 2 } }, b: { agent: same, needs: [a] } } }";
    let (_, outcome, _) = world_of(yaml, json!({"x": 1, "y": 1}));
    assert_eq!(output(&outcome), json!({"x": 1, "y": 2}));
}

#[test]
fn a_false_condition_skips_the_step_and_what_needs_only_it() {
    let yaml = "
workflow: w
steps:
  a: { agent: echo }
  b: { agent: echo, needs: [a], when: \"inputs.x > 5\" }
  c: { agent: echo, needs: [b] }
";
    let (_, outcome, kinds) = world_of(yaml, json!({"x": 1}));
    assert_eq!(
        outcome,
        Outcome::Completed(std::collections::BTreeMap::new())
    );
    assert_eq!(kinds.iter().filter(|k| *k == "step.skipped").count(), 2);
}

#[test]
fn outputs_of_items_come_back_in_item_order() {
    let yaml = "{ workflow: w, steps: { a: { agent: slow, for_each: \"${{ inputs.list }}\" } } }";
    let world = World::seeded(5);
    let outcome = world.run(async {
        let control = world.open().await;
        let slow = agent(|ctx, input| async move {
            ctx.sleep(secs(10 - input["item"].as_u64().unwrap_or(0)))
                .await;
            Ok(input["index"].clone().into())
        });
        register(&control, "slow", slow).await;
        let run = begin(&control, yaml, json!({"list": [1, 2, 3, 4, 5]})).await;
        run.outcome().await.unwrap()
    });
    assert_eq!(output(&outcome), json!([0, 1, 2, 3, 4]));
}

fn most_at_once(yaml: &str, settings: Settings, items: usize) -> (usize, Outcome) {
    let world = World::seeded(6);
    let (now, most) = (Arc::new(std::sync::Mutex::new((0_usize, 0_usize))), 0);
    let _: usize = most;
    let outcome = world.run(async {
        let control = world.open_with(settings).await;
        let seen = Arc::clone(&now);
        let busy = agent(move |ctx, _| {
            let seen = Arc::clone(&seen);
            async move {
                {
                    let mut seen = seen.lock().unwrap();
                    seen.0 += 1;
                    seen.1 = seen.1.max(seen.0);
                }
                ctx.sleep(secs(1)).await;
                seen.lock().unwrap().0 -= 1;
                Ok(json!(1).into())
            }
        });
        register(&control, "busy", busy).await;
        let list: Vec<usize> = (0..items).collect();
        let run = begin(&control, yaml, json!({"list": list})).await;
        run.outcome().await.unwrap()
    });
    let most = now.lock().unwrap().1;
    (most, outcome)
}

#[test]
fn no_more_items_are_out_than_max_parallel() {
    let yaml = "{ workflow: w, steps: { a: { agent: busy, for_each: \"${{ inputs.list }}\", max_parallel: 3 } } }";
    let (most, outcome) = most_at_once(yaml, settings(), 10);
    assert_eq!(most, 3);
    assert_eq!(output(&outcome).as_array().unwrap().len(), 10);
}

#[test]
fn steps_beyond_the_runs_cap_go_out_as_others_end() {
    let yaml = "
workflow: w
steps:
  a: { agent: busy, for_each: \"${{ inputs.list }}\" }
  b: { agent: busy, for_each: \"${{ inputs.list }}\" }
  c: { agent: busy }
  d: { agent: busy }
";
    let settings = Settings {
        max_live_per_run: 4,
        ..settings()
    };
    let (most, outcome) = most_at_once(yaml, settings, 9);
    assert_eq!(most, 4);
    assert!(matches!(outcome, Outcome::Completed(outputs) if outputs.len() == 4));
}

#[test]
fn an_empty_list_gives_an_empty_list() {
    let yaml = "{ workflow: w, steps: { a: { agent: echo, for_each: \"${{ inputs.list }}\" } } }";
    let (_, outcome, _) = world_of(yaml, json!({"list": []}));
    assert_eq!(output(&outcome), json!([]));
}

#[test]
fn a_list_longer_than_max_items_fails_the_step_by_name() {
    let yaml = "{ workflow: w, steps: { a: { agent: echo, for_each: \"${{ inputs.list }}\", max_items: 2 } } }";
    let (_, outcome, _) = world_of(yaml, json!({"list": [1, 2, 3]}));
    assert!(matches!(outcome, Outcome::Failed { code, .. } if code == "for_each"));
}

#[test]
fn an_item_that_fails_ends_its_step_and_cancels_the_others() {
    let yaml = "{ workflow: w, steps: { a: { agent: picky, for_each: \"${{ inputs.list }}\" } } }";
    let (outcome, cancelled) = picky(yaml);
    assert!(matches!(outcome, Outcome::Failed { code, .. } if code == "agent_failed"));
    assert_eq!(cancelled, 2);
}

#[test]
fn an_item_that_may_fail_counts_as_null() {
    let yaml = "{ workflow: w, steps: { a: { agent: picky, for_each: \"${{ inputs.list }}\", on_failure: continue } } }";
    let (outcome, cancelled) = picky(yaml);
    assert_eq!((output(&outcome), cancelled), (json!([1, null, 3]), 0));
}

fn picky(yaml: &str) -> (Outcome, usize) {
    let world = World::seeded(8);
    world.run(async {
        let control = world.open().await;
        let picky = agent(|ctx, input| async move {
            if input["item"] == 2 {
                return Err(AgentError::new("two").fatal());
            }
            ctx.sleep(secs(1)).await;
            Ok(input["item"].clone().into())
        });
        register(&control, "picky", picky).await;
        let run = begin(&control, yaml, json!({"list": [1, 2, 3]})).await;
        let outcome = run.outcome().await.unwrap();
        (outcome, count(&control, &run, "step.cancelled").await)
    })
}

#[test]
fn a_join_that_is_reached_cancels_the_other_needs() {
    let yaml = "
workflow: w
steps:
  a: { agent: echo }
  b: { agent: hangs }
  c: { agent: same, needs: [a, b], join: { at_least: 1 } }
";
    let (_, outcome, kinds) = world_of(yaml, json!({}));
    assert_eq!(output(&outcome)["b"], Value::Null);
    assert_eq!(kinds.iter().filter(|k| *k == "step.cancelled").count(), 1);
}

#[test]
fn a_join_that_cannot_be_reached_fails_its_step() {
    let yaml = "
workflow: w
steps:
  a: { agent: fails, on_failure: continue }
  b: { agent: echo }
  c: { agent: same, needs: [a, b], join: { at_least: 2 } }
";
    let (_, outcome, _) = world_of(yaml, json!({}));
    assert!(
        matches!(outcome, Outcome::Failed { step, code, .. } if step.name() == "c" && code == "join_unreachable")
    );
}

#[test]
fn a_step_that_may_fail_may_also_fail_before_it_goes_out() {
    let yaml = "
workflow: w
steps:
  a: { agent: echo, input: { v: \"${{ inputs.missing }}\" }, on_failure: continue }
  b: { agent: same, needs: [a] }
";
    let (_, outcome, _) = world_of(yaml, json!({"x": 1}));
    assert_eq!(output(&outcome)["x"], 1);
}

#[test]
fn a_failure_fails_the_run_and_cancels_what_is_out() {
    let yaml = "{ workflow: w, steps: { a: { agent: fails }, b: { agent: hangs } } }";
    let (_, outcome, kinds) = world_of(yaml, json!({}));
    assert!(matches!(outcome, Outcome::Failed { .. }));
    assert_eq!(kinds.iter().filter(|k| *k == "step.cancelled").count(), 1);
}

#[test]
fn a_failure_pauses_the_run_until_it_is_resumed() {
    let world = World::seeded(9);
    let outcome = world.run(async {
        let control = world.open().await;
        let tries = Notes::default();
        let flaky = agent(move |_, _| {
            tries.add("try");
            let first = tries.len() == 1;
            async move {
                if first {
                    Err(AgentError::new("once").fatal())
                } else {
                    Ok(json!(1).into())
                }
            }
        });
        register(&control, "flaky", flaky).await;
        let run = begin(
            &control,
            "{ workflow: w, steps: { a: { agent: flaky, on_failure: pause } } }",
            json!({}),
        )
        .await;
        let position = run.settled_or_blocked().await.unwrap();
        assert!(matches!(
            position,
            Position::Blocked {
                paused: Some(_),
                ..
            }
        ));
        run.resume(("ann", "as tested")).await.unwrap();
        run.outcome().await.unwrap()
    });
    assert_eq!(output(&outcome), json!(1));
}

#[test]
fn an_output_that_breaks_its_schema_is_kept_as_evidence() {
    let yaml = "{ workflow: w, steps: { a: { agent: same, retry: { maximum_attempts: 1 }, output_schema: { type: object, required: [angles] } } } }";
    let world = World::seeded(2);
    world.run(async {
        let control = world.open().await;
        agents(&control).await;
        let run = begin(&control, yaml, json!({"x": 1})).await;
        let outcome = run.outcome().await.unwrap();
        assert!(matches!(outcome, Outcome::Failed { code, .. } if code == "invalid_output"));
        let events = events(&control, &run).await;
        let failed = events
            .iter()
            .find(|e| &*e.kind == "attempt.failed")
            .unwrap();
        let place = mission_control::core::event::PartRef {
            seq: failed.seq,
            part: 1,
        };
        let raw = control.log().read_part(place).await.unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&raw).unwrap(),
            json!({"x": 1})
        );
    });
}

#[test]
fn a_chain_of_n_steps_is_n_plus_one_commits() {
    let world = World::seeded(4);
    world.run(async {
        let control = world.open().await;
        agents(&control).await;
        let mut yaml = "workflow: w\nsteps:\n  s0: { agent: echo }\n".to_owned();
        for step in 1..10 {
            let before = step - 1;
            yaml.push_str(
                &[
                    "  s",
                    &step.to_string(),
                    ": { agent: echo, needs: [s",
                    &before.to_string(),
                    "] }\n",
                ]
                .concat(),
            );
        }
        control
            .publish(Workflow::from_yaml(&yaml).unwrap())
            .await
            .unwrap();
        control.start_dispatch().await.unwrap();
        let before = control.metrics().commits;
        let run = start(&control, json!({})).await;
        run.outcome().await.unwrap();
        assert_eq!(control.metrics().commits - before, 11);
    });
}

#[test]
fn the_events_carry_all_six_layers() {
    let world = World::seeded(12);
    let kinds = world.run(async {
        let control = world.open().await;
        let full = agent(|ctx, _| async move {
            call(&ctx, "think", 10, 5).await?;
            let tool = mission_control::RiskTier::Write;
            ctx.tool_call("send", tool, &json!({"to": "x"}), || async {
                Ok(json!("sent"))
            })
            .await?;
            ctx.decision(json!(1), json!("because"), json!(2)).await?;
            ctx.side_effect("mail", "k").await?;
            Ok(json!({"done": true}).into())
        });
        register(&control, "full", full).await;
        let run = begin(
            &control,
            "{ workflow: w, steps: { a: { agent: full } } }",
            json!({}),
        )
        .await;
        run.outcome().await.unwrap();
        kinds(&control, &run).await
    });
    for kind in [
        "run.created",
        "step.dispatched",
        "model_call.reserved",
        "model_call.settled",
        "tool_call.dispatched",
        "tool_call.completed",
        "decision.recorded",
        "side_effect.recorded",
        "step.completed",
    ] {
        assert!(kinds.iter().any(|one| one == kind), "{kind}: {kinds:?}");
    }
}

#[test]
fn a_run_fails_by_the_step_that_failed_and_not_by_those_that_needed_it() {
    let yaml = "
workflow: w
steps:
  one: { agent: it }
  bad: { agent: bad, needs: [one], retry: { maximum_attempts: 1 } }
  three: { agent: it, needs: [bad], on_failure: pause }
  four: { agent: it, needs: [three] }
";
    let world = World::seeded(31);
    world.run(async {
        let control = open_for(&world, "it", echo()).await;
        let bad = agent(|_, _| async { Err(AgentError::with_code("broken", "as it is")) });
        register(&control, "bad", bad).await;
        let run = begin(&control, yaml, json!({})).await;
        let outcome = run.outcome().await.unwrap();
        let Outcome::Failed {
            step,
            code,
            message,
        } = outcome
        else {
            panic!("{outcome:?}");
        };
        let why = (step.as_str(), code.as_str(), message.as_str());
        assert_eq!(why, ("bad", "broken", "as it is"));
        assert_eq!(count(&control, &run, "step.failed").await, 1);
        assert_eq!(count(&control, &run, "run.paused").await, 0);
    });
}
