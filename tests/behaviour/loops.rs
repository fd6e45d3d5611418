//! Loops: the same call with the same answer, again and again, makes no progress.

use crate::common::*;
use mission_control::{AbortReason, Mode, Policy, RiskTier};

fn looping(mode: Mode) -> Agent {
    let _ = mode;
    agent(|ctx, _| async move {
        for _ in 0..5 {
            call(&ctx, "same", 10, 1).await?;
        }
        Ok(json!("done").into())
    })
}

fn with_mode(mode: Mode) -> Settings {
    let mut settings = settings();
    settings.run_policy.no_progress = mode;
    settings
}

#[test]
fn a_call_that_makes_no_progress_blocks_its_step_until_it_is_unblocked() {
    let world = World::seeded(3);
    world.run(async {
        let control = world.open_with(with_mode(Mode::Enforce)).await;
        register(&control, "it", looping(Mode::Enforce)).await;
        let run = begin(&control, ONE, json!({})).await;
        let position = run.settled_or_blocked().await.unwrap();
        assert_eq!(
            blocks(&position),
            [(
                "a".to_owned(),
                BlockReason::Guardrail,
                "no_progress".to_owned()
            )]
        );
        assert_eq!(count(&control, &run, "model_call.settled").await, 3);
        run.unblock(("ann", "as tested"), &"a".parse().unwrap())
            .await
            .unwrap();
        assert_eq!(output_of(&run).await, json!("done"));
        assert_eq!(count(&control, &run, "model_call.settled").await, 5);
    });
}

#[test]
fn a_loop_that_is_only_observed_is_only_written_down() {
    let world = World::seeded(4);
    world.run(async {
        let control = world.open_with(with_mode(Mode::Observe)).await;
        register(&control, "it", looping(Mode::Observe)).await;
        let run = begin(&control, ONE, json!({})).await;
        assert_eq!(output_of(&run).await, json!("done"));
        assert_eq!(
            facts(&control, &run, "guardrail.judged").await["rule"],
            "no_progress"
        );
    });
}

#[test]
fn the_policy_in_force_says_what_follows_whatever_the_run_was_started_with() {
    let world = World::seeded(6);
    world.run(async {
        let control = world.open_with(with_mode(Mode::Enforce)).await;
        let observe = Policy::from_yaml("no_progress: observe").unwrap();
        control.publish_policy("ann", observe).await.unwrap();
        register(&control, "it", looping(Mode::Observe)).await;
        let run = begin(&control, ONE, json!({})).await;
        assert_eq!(output_of(&run).await, json!("done"));
        let judged = facts(&control, &run, "guardrail.judged").await;
        assert_eq!(
            (&judged["mode"], &judged["policy_version"]),
            (&json!("observe"), &json!(1))
        );
    });
}

#[test]
fn where_nobody_attends_a_run_it_ends_at_the_third_answer_and_harms_nothing_else() {
    let world = World::seeded(7);
    world.run(async {
        let mut settings = with_mode(Mode::Enforce);
        settings.run_policy.unattended = true;
        let control = open_with(&world, settings, "it", looping(Mode::Enforce)).await;
        let hold =
            ", estimate: { model: test/m, input_tokens: 0, max_output_tokens: 10, calls: 2 }";
        let run = begin(&control, &one(hold), json!({})).await;
        let outcome = run.outcome().await.unwrap();
        let code = "no_progress".to_owned();
        assert_eq!(outcome, Outcome::Aborted(AbortReason::Policy { code }));
        assert_eq!(count(&control, &run, "model_call.settled").await, 3);
        assert_eq!(control.metrics().soft_restarts, 0);
    });
}

#[test]
fn tool_calls_that_give_the_same_again_make_no_progress_either() {
    let world = World::seeded(5);
    world.run(async {
        let control = world.open_with(with_mode(Mode::Enforce)).await;
        let it = agent(|ctx, _| async move {
            for _ in 0..5 {
                let tool = || async { Ok(json!("same")) };
                ctx.tool_call("look", RiskTier::Read, &json!({"at": 1}), tool)
                    .await?;
            }
            Ok(json!("done").into())
        });
        register(&control, "it", it).await;
        let run = begin(&control, ONE, json!({})).await;
        let position = run.settled_or_blocked().await.unwrap();
        assert_eq!(blocks(&position)[0].2, "no_progress");
        assert_eq!(count(&control, &run, "tool_call.completed").await, 3);
    });
}
