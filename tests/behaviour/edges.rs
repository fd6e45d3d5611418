//! Edges: what happens where two things happen at once, or a host does what it should not.

use crate::common::*;
use mission_control::RunBudget;

const ONE: &str = "{ workflow: w, steps: { a: { agent: it, retry: { maximum_attempts: 1 } } } }";

#[test]
fn usage_beyond_what_can_be_counted_is_refused_and_harms_nobody() {
    let world = World::seeded(1);
    world.run(async {
        let mut settings = settings();
        settings.unknown_models =
            mission_control::core::pricing::UnknownModels::Free(["free/m".parse().unwrap()].into());
        let control = world.open_with(settings).await;
        let it = agent(|ctx, _| async move {
            let mut request = ModelRequest::text("free/m".parse().unwrap(), "p");
            request = request.input_tokens(1).max_output_tokens(1);
            for tokens in [1, u64::MAX] {
                let Admission::Allowed(permit) = ctx.reserve(&request).await? else {
                    panic!("it is free");
                };
                let answer = ModelAnswer::text("ok", Usage::text(tokens, 0));
                let settled = permit.settle(&answer).await;
                assert_eq!(settled.is_ok(), tokens == 1, "{settled:?}");
            }
            Ok(json!(1).into())
        });
        register(&control, "it", it).await;
        let run = begin(&control, ONE, json!({})).await;
        completes(&run).await;
        for (hold, _) in run.doubts().await.unwrap() {
            let most = Amount {
                input_tokens: u64::MAX,
                ..Amount::ZERO
            };
            let refused = run
                .reconcile("ann", &hold, most, "rubbish")
                .await
                .unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(control.metrics().soft_restarts, 0);
    });
}

#[test]
fn an_aborted_session_ends_with_its_handle_and_counts_no_more() {
    let world = World::seeded(2);
    world.run(async {
        let control = open_for(&world, "host", echo()).await;
        for _ in 0..9 {
            let session = guard(&control).await;
            let run = control.run(session.id());
            run.abort(("ann", "as tested")).await.unwrap();
            session.close().await.unwrap();
            assert!(run.state().await.unwrap().sealed);
        }
        let yaml = "{ workflow: w, steps: { a: { agent: host } } }";
        let outcome = begin(&control, yaml, json!({}))
            .await
            .outcome()
            .await
            .unwrap();
        assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
    });
}

/// A run whose call exceeds its own budget after ten seconds.
async fn exceeds_later(world: &World) -> (MissionControl, RunHandle) {
    let control = world.open().await;
    let it = agent(|ctx, _| async move {
        ctx.sleep(secs(10)).await;
        call(&ctx, "p", 50, 10).await?;
        Ok(json!(1).into())
    });
    register(&control, "it", it).await;
    let yaml =
        "{ workflow: w, budget: { usd: \"0.01\", on_exceed: pause }, steps: { a: { agent: it } } }";
    let run = begin(&control, yaml, json!({})).await;
    world.pass(secs(1)).await;
    (control, run)
}

#[test]
fn room_in_a_budget_does_not_undo_a_persons_pause() {
    for paused_before in [true, false] {
        let world = World::seeded(3);
        world.run(async {
            let (control, run) = exceeds_later(&world).await;
            if paused_before {
                run.pause(("ann", "as tested")).await.unwrap();
            }
            world.pass(secs(20)).await;
            if !paused_before {
                run.pause(("ann", "as tested")).await.unwrap();
            }
            set(&control, AccountId::Run(run.id()), 900, OnExceed::Pause).await;
            world.pass(secs(60)).await;
            assert!(run.state().await.unwrap().paused.is_some());
            assert_eq!(count(&control, &run, "step.dispatched").await, 1);
            run.resume(("ann", "as tested")).await.unwrap();
            completes(&run).await;
        });
    }
}

#[test]
fn a_key_stands_for_one_request_with_its_budget_and_labels() {
    let world = World::seeded(5);
    world.run(async {
        let control = open_for(&world, "it", echo()).await;
        let keyed = || StartOptions {
            idempotency_key: Some("k".to_owned()),
            ..StartOptions::by("ann")
        };
        let run = begin_with(&control, ONE, json!({}), keyed()).await;
        let again = control.start("w", json!({}), keyed()).await.unwrap();
        assert_eq!(again.id(), run.id());
        let budget = RunBudget {
            limit: limit(5),
            on_exceed: OnExceed::Abort,
        };
        let with_budget = StartOptions {
            budget: Some(budget),
            ..keyed()
        };
        let with_label = StartOptions {
            labels: [("team".to_owned(), "red".to_owned())].into(),
            ..keyed()
        };
        for other in [with_budget, with_label] {
            let refused = control.start("w", json!({}), other).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Conflict);
        }
    });
}

#[test]
fn an_attempt_that_its_run_did_not_outlive_never_begins() {
    let world = World::seeded(6);
    world.run(async {
        let control = world.open().await;
        let begun = Notes::default();
        let seen = begun.clone();
        let it = agent(move |ctx, _| {
            seen.add(ctx.step().as_str());
            async { Ok(json!(1).into()) }
        });
        register(&control, "it", it).await;
        let workflow = Workflow::from_yaml(ONE).unwrap();
        control.publish(workflow).await.unwrap();
        control.start_dispatch().await.unwrap();
        for _ in 0..20 {
            let start = control.start("w", json!({}), StartOptions::by("ann"));
            let run = start.await.unwrap();
            drop(run.abort(("ann", "as tested")).await);
            let begun_before = begun.len();
            world.pass(secs(1)).await;
            assert_eq!(
                begun.len(),
                begun_before,
                "nothing begins once the abort is answered"
            );
        }
        assert_eq!(control.metrics().live_attempts, 0);
    });
}

#[test]
fn what_a_tool_answers_after_its_run_has_ended_is_written_down() {
    let world = World::seeded(7);
    world.run(async {
        let control = world.open().await;
        let it = agent(|ctx, _| async move {
            let params = json!({"q": 1});
            let slow = || async {
                ctx.sleep(secs(60)).await;
                Ok(json!("written"))
            };
            let write = mission_control::RiskTier::Write;
            drop(ctx.tool_call("store", write, &params, slow).await);
            Ok(json!(1).into())
        });
        register(&control, "it", it).await;
        let run = begin(&control, ONE, json!({})).await;
        world.pass(secs(1)).await;
        run.abort(("ann", "as tested")).await.unwrap();
        world.pass(secs(100)).await;
        let late = events(&control, &run).await;
        let late = late.iter().find(|event| &*event.kind == "result.late");
        let late: Value = serde_json::from_str(&late.unwrap().facts).unwrap();
        assert_eq!(late["outcome"], json!("tool_completed"));
    });
}

#[test]
fn a_request_without_a_count_is_bound_by_its_bytes_where_the_model_allows_it() {
    let world = World::seeded(8);
    world.run(async {
        let text = "input_bound = { kind = \"bytes\", framing = 64 }\nsource = \"test\"";
        let table = TEST_PRICES.replacen("source = \"test\"", text, 1);
        let mut settings = settings();
        settings.prices = Arc::new(PriceTable::parse(&table).unwrap());
        let control = world.open_with(settings).await;
        let session = guard(&control).await;
        let request = ModelRequest::text(model(), "twelve bytes").max_output_tokens(1);
        let send = |_| async { Ok(answer("ok", 1)) };
        session.model_call(&request, send).await.unwrap();
        let run = control.run(session.id());
        let reserved = facts(&control, &run, "model_call.reserved").await;
        let bound = reserved["amount"]["input_tokens"].as_u64().unwrap();
        assert!((12 + 64..200).contains(&bound), "{bound} of at most 1000");
    });
}
