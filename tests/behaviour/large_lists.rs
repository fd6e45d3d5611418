//! Lists and their limits: joined outputs, items in flight, and where a part of an event lies.

use crate::common::*;
use mission_control::core::event::PartContent;

const MEGABYTE: usize = 1_000_000;

/// Gives so many megabytes.
fn gives(megabytes: usize, notes: Notes) -> Agent {
    agent(move |ctx, _| {
        notes.add(ctx.step().as_str());
        async move { Ok(json!("x".repeat(megabytes * MEGABYTE)).into()) }
    })
}

fn code(outcome: &Outcome) -> (&str, &str) {
    let Outcome::Failed { code, message, .. } = outcome else {
        panic!("it did not fail");
    };
    (code, message)
}

#[test]
fn items_that_are_out_are_stopped_once_their_list_is_too_large() {
    let world = World::seeded(2);
    world.run(async {
        let it = agent(|ctx, input| async move {
            if input == json!(9) {
                ctx.cancelled().await;
                return Err(AgentError::new("stopped"));
            }
            ctx.sleep(secs(1)).await;
            Ok(json!("x".repeat(23 * MEGABYTE)).into())
        });
        let control = open_for(&world, "it", it).await;
        let yaml = "{ workflow: w, steps: { a: { agent: it, for_each: '[9, 1, 2, 3]', input: '${{ item }}', on_failure: continue } } }";
        let run = begin(&control, yaml, json!({})).await;
        completes(&run).await;
        let failed = facts(&control, &run, "step.failed").await;
        assert_eq!(failed["code"], "joined_input");
        assert_eq!(count(&control, &run, "step.cancelled").await, 1);
        world.pass(secs(1)).await;
        assert!(run.state().await.unwrap().sealed);
    });
}

#[test]
fn no_item_is_paid_for_behind_the_one_that_makes_the_list_too_large_also_after_a_crash() {
    let (world, notes) = (World::seeded(3), Notes::default());
    let slow = |notes: Notes| {
        agent(move |ctx, input| {
            notes.add(input.to_string());
            async move {
                if input == json!(3) {
                    ctx.sleep(secs(10)).await;
                }
                Ok(json!("x".repeat(23 * MEGABYTE)).into())
            }
        })
    };
    let yaml = "{ workflow: w, steps: { a: { agent: it, risk: read, for_each: '[1, 2, 3, 4, 5]', max_parallel: 1, input: '${{ item }}' } } }";
    let id = world.run(async {
        let control = open_for(&world, "it", slow(notes.clone())).await;
        let run = begin(&control, yaml, json!({})).await;
        world.pass(secs(1)).await;
        run.id()
    });
    world.crash();
    world.run(async {
        let control = open_for(&world, "it", slow(notes.clone())).await;
        control.start_dispatch().await.unwrap();
        let outcome = control.run(id).outcome().await.unwrap();
        assert_eq!(code(&outcome).0, "joined_input");
        assert_eq!(notes.all(), ["1", "2", "3", "3"]);
    });
}

#[test]
fn a_nested_run_whose_outputs_cannot_be_joined_fails_its_step() {
    let world = World::seeded(4);
    world.run(async {
        let control = open_for(&world, "it", gives(34, Notes::default())).await;
        let inner = "{ workflow: inner, steps: { a: { agent: it }, b: { agent: it } } }";
        control
            .publish(Workflow::from_yaml(inner).unwrap())
            .await
            .unwrap();
        let outer = "{ workflow: outer, steps: { s: { uses: 'inner@1' } } }";
        control
            .publish(Workflow::from_yaml(outer).unwrap())
            .await
            .unwrap();
        control.start_dispatch().await.unwrap();
        let run = control
            .start("outer", json!({}), StartOptions::by("ann"))
            .await;
        let outcome = run.unwrap().outcome().await.unwrap();
        let (code, message) = code(&outcome);
        assert_eq!(code, "joined_input");
        assert!(
            message.contains("nested run are larger than 64 MiB"),
            "{message}"
        );
    });
}

fn takes_long() -> Agent {
    agent(|ctx, _| async move {
        ctx.sleep(secs(1_000)).await;
        Ok(json!(1).into())
    })
}

#[test]
fn a_run_has_at_most_256_attempts_out_unless_the_host_says_otherwise() {
    let world = World::seeded(5);
    world.run(async {
        let control = open_for(&world, "it", takes_long()).await;
        let items: Vec<u32> = (0..300).collect();
        let yaml = "{ workflow: w, steps: { a: { agent: it, for_each: inputs.list, max_parallel: 300 }, b: { agent: it } } }";
        let run = begin(&control, yaml, json!({ "list": items })).await;
        world.pass(secs(1)).await;
        let state = run.state().await.unwrap();
        let out = state.steps.values().filter(|step| step.live.is_some());
        assert_eq!(out.count(), 256);
        let yaml = "{ workflow: v, steps: { a: { agent: it, for_each: inputs.list } } }";
        control.publish(Workflow::from_yaml(yaml).unwrap()).await.unwrap();
        let input = json!({ "list": items });
        let run = control.start("v", input, StartOptions::by("ann")).await.unwrap();
        world.pass(secs(1)).await;
        let state = run.state().await.unwrap();
        let out = state.steps.values().filter(|step| step.live.is_some());
        assert_eq!(out.count(), 256);
    });
}

#[test]
fn a_part_of_256_bytes_lies_in_its_event_and_one_of_257_beside_it() {
    for (length, inline) in [(256, true), (257, false)] {
        let world = World::seeded(6);
        world.run(async {
            // Two quotes stand around it.
            let it = agent(move |_, _| async move { Ok(json!("x".repeat(length - 2)).into()) });
            let control = open_for(&world, "it", it).await;
            let run = begin(&control, ONE, json!({})).await;
            completes(&run).await;
            let events = events(&control, &run).await;
            let completed = events.iter().find(|event| &*event.kind == "step.completed");
            let part = &completed.unwrap().parts[0];
            assert_eq!(part.len, u64::try_from(length).unwrap());
            assert_eq!(matches!(part.content, PartContent::Inline(_)), inline);
            assert_eq!(matches!(part.content, PartContent::Blob(_)), !inline);
        });
    }
}
