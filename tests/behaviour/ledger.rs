//! What is held, told and charged where limits, prices and queues meet at their edges.

use mission_control::Permit;

use crate::common::*;

fn permit(admission: Admission) -> Permit {
    match admission {
        Admission::Allowed(permit) | Admission::Clamped(permit) => permit,
        other @ (Admission::Answered(_) | Admission::NeedsApproval(_) | Admission::Denied(_)) => {
            panic!("{other:?}")
        }
    }
}

async fn reserve(session: &Session, mills: u64) -> Permit {
    permit(session.reserve(&request("p", mills)).await.unwrap())
}

/// Settings with a table of the model `test/m`, by the lines of its row.
fn priced(lines: &str) -> Settings {
    let table = PriceTable::parse(&test_prices(lines)).unwrap();
    Settings {
        prices: Arc::new(table),
        ..settings()
    }
}

#[test]
fn the_output_limit_that_is_told_is_the_one_that_is_held() {
    let world = World::seeded(1);
    world.run(async {
        let control = world.open().await;
        set(&control, AccountId::Workspace, 100_000, OnExceed::Pause).await;
        let session = guard(&control).await;
        // The model writes a thousand at most.
        let Admission::Clamped(out) = session.reserve(&request("p", 5_000)).await.unwrap() else {
            panic!("less is held than was asked for");
        };
        assert_eq!(out.max_output_tokens(), Some(1_000));
        out.settle(&answer("ok", 1)).await.unwrap();
        let run = control.run(session.id());
        let reserved = facts(&control, &run, "model_call.reserved").await;
        assert_eq!(reserved["max_output_tokens"], 1_000);
        assert_eq!(reserved["clamped_from"], 5_000);
        assert_eq!(reserved["amount"]["output_tokens"], 1_000);
    });
}

/// The price of the test's model doubles, or ends, an hour behind the beginning of the world.
const ENDS: &str =
    "effective_until = \"2026-01-01T01:00:00Z\"\nrate = [{ input = \"1000\", output = \"1000\" }]";
const RISES: &str = r#"effective_until = "2026-01-01T01:00:00Z"
rate = [{ input = "1000", output = "1000" }]
[[model]]
provider = "test"
id = "m"
max_input_tokens = 1000
max_output_tokens = 1000
source = "test"
checked_at = "2026-01-01"
effective_from = "2026-01-01T01:00:00Z"
rate = [{ input = "2000", output = "2000" }]"#;

#[test]
fn a_call_is_charged_at_the_price_that_was_in_force_when_it_was_reserved() {
    for (seed, lines) in [(2, ENDS), (3, RISES)] {
        let world = World::seeded(seed);
        world.run(async {
            let control = world.open_with(priced(lines)).await;
            let session = guard(&control).await;
            let out = reserve(&session, 50).await;
            world.pass(secs(2 * 3_600)).await;
            out.settle(&answer("ok", 50)).await.unwrap();
            session.close().await.unwrap();
            assert_eq!(workspace(&control).spent().money, mills(50));
            assert!(workspace(&control).in_doubt().is_zero());
        });
    }
}

#[test]
fn a_late_answer_is_charged_at_the_price_that_was_in_force_when_it_was_reserved() {
    for (seed, lines) in [(2, ENDS), (3, RISES)] {
        let world = World::seeded(seed);
        world.run(async {
            let control = world.open_with(priced(lines)).await;
            let session = guard(&control).await;
            let out = reserve(&session, 50).await;
            session.close().await.unwrap();
            assert_eq!(workspace(&control).in_doubt().money, mills(50));
            world.pass(secs(2 * 3_600)).await;
            out.settle(&answer("ok", 50)).await.unwrap();
            assert_eq!(workspace(&control).spent().money, mills(50));
            assert!(workspace(&control).in_doubt().is_zero());
        });
    }
}

#[test]
fn more_than_a_call_drew_breaks_no_limit_where_its_hold_has_it() {
    let world = World::seeded(4);
    let yaml = "{ workflow: w, steps: { a: { agent: caller, retry: { maximum_attempts: 1 }, \
        estimate: { model: test/m, input_tokens: 0, max_output_tokens: 100 } } } }";
    world.run(async {
        let (control, _) = open_caller(&world).await;
        set(&control, AccountId::Workspace, 100, OnExceed::Abort).await;
        let run = begin(&control, yaml, json!({"bound": 50, "cost": 80})).await;
        completes(&run).await;
        assert_eq!(count(&control, &run, "budget.breached").await, 0);
        assert_eq!(workspace(&control).spent().money, mills(80));
    });
}

/// Two calls of one step at the same time: the second needs what the first gives back.
fn two_calls() -> Agent {
    agent(|ctx, _| async move {
        let large = request("p", 120);
        let first = ctx.model_call(&large, |_| async {
            ctx.sleep(secs(10)).await;
            Ok(answer("ok", 10))
        });
        let second = async {
            ctx.sleep(secs(2)).await;
            call(&ctx, "q", 60, 10).await
        };
        let (first, second) = futures::future::join(first, second).await;
        first?;
        second?;
        Ok(json!(1).into())
    })
}

#[test]
fn a_call_that_its_own_hold_covers_waits_for_nobody() {
    let world = World::seeded(5);
    let yaml = "{ workflow: w, steps: { a: { agent: two, retry: { maximum_attempts: 1 }, \
        estimate: { model: test/m, input_tokens: 0, max_output_tokens: 60, calls: 2 } } } }";
    world.run(async {
        let control = open_for(&world, "two", two_calls()).await;
        set(&control, AccountId::Workspace, 300, OnExceed::Abort).await;
        let (one, two) = (guard(&control).await, guard(&control).await);
        let out = reserve(&one, 150).await;
        let run = begin(&control, yaml, json!({})).await;
        world.pass(secs(1)).await;
        let asked = request("r", 60);
        let mut queued = Box::pin(two.reserve(&asked));
        assert!(futures::poll!(&mut queued).is_pending());
        completes(&run).await;
        assert!(world.elapsed() < secs(15), "{:?}", world.elapsed());
        out.settle(&answer("ok", 1)).await.unwrap();
        drop(permit(queued.await.unwrap()));
    });
}

#[test]
fn usage_that_no_call_can_have_is_refused_and_exhausts_nothing() {
    let free = mission_control::core::pricing::UnknownModels::Free(
        ["local/llama".parse().unwrap()].into(),
    );
    let settings = Settings {
        unknown_models: free,
        ..settings()
    };
    let world = World::seeded(6);
    world.run(async {
        let control = world.open_with(settings).await;
        let session = guard(&control).await;
        let mut asked = request("p", 10);
        asked.model = "local/llama".parse().unwrap();
        let out = permit(session.reserve(&asked).await.unwrap());
        let garbage = ModelAnswer::text("ok", Usage::text(u64::MAX, 1));
        let refused = out.settle(&garbage).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        let out = reserve(&session, 10).await;
        out.settle(&ModelAnswer::text("ok", Usage::text(1, 1)))
            .await
            .unwrap();
        let run = control.run(session.id());
        session.close().await.unwrap();
        let doubts = run.doubts().await.unwrap();
        let garbage = Amount {
            input_tokens: (1 << 53) + 1,
            ..Amount::ZERO
        };
        let refused = run
            .reconcile("ann", &doubts[0].0, garbage, "the bill")
            .await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
        run.reconcile("ann", &doubts[0].0, Amount::ZERO, "the bill")
            .await
            .unwrap();
    });
}

#[test]
fn a_run_whose_step_an_operator_unblocked_goes_on_once_its_account_has_room() {
    let world = World::seeded(7);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        set(&control, AccountId::Workspace, 40, OnExceed::Pause).await;
        let yaml = "{ workflow: w, steps: { a: { agent: caller } } }";
        let run = begin(&control, yaml, json!({"bound": 50, "cost": 20})).await;
        run.settled_or_blocked().await.unwrap();
        run.unblock(("ann", "as tested"), &"a".parse().unwrap())
            .await
            .unwrap();
        world.pass(secs(1)).await;
        set(&control, AccountId::Workspace, 50, OnExceed::Pause).await;
        completes(&run).await;
    });
}

#[test]
fn a_run_whose_step_an_operator_unblocked_goes_on_after_a_crash_too() {
    let world = World::seeded(8);
    let yaml = "{ workflow: w, steps: { a: { agent: caller } } }";
    let id = world.run(async {
        let (control, _) = open_caller(&world).await;
        set(&control, AccountId::Workspace, 40, OnExceed::Pause).await;
        let run = begin(&control, yaml, json!({"bound": 50, "cost": 20})).await;
        run.settled_or_blocked().await.unwrap();
        run.unblock(("ann", "as tested"), &"a".parse().unwrap())
            .await
            .unwrap();
        run.id()
    });
    world.crash();
    world.run(async {
        let (control, _) = open_caller(&world).await;
        control.start_dispatch().await.unwrap();
        set(&control, AccountId::Workspace, 50, OnExceed::Pause).await;
        completes(&control.run(id)).await;
    });
}

#[test]
fn an_item_that_fails_ends_its_run_although_another_waits_for_money() {
    let yaml = "{ workflow: w, steps: { a: { agent: fails, for_each: \"${{ inputs.list }}\", \
        retry: { maximum_attempts: 1 }, \
        estimate: { model: test/m, input_tokens: 0, max_output_tokens: 60 } } } }";
    let world = World::seeded(9);
    world.run(async {
        let fails = agent(|ctx, _| async move {
            ctx.sleep(secs(1)).await;
            Err(AgentError::new("no luck"))
        });
        let control = open_for(&world, "fails", fails).await;
        let account = AccountId::Workspace;
        set(&control, account.clone(), 100, OnExceed::Abort).await;
        let run = begin(&control, yaml, json!({"list": [1, 2]})).await;
        world.pass(Duration::from_millis(500)).await;
        // What the first item gives back is of no use to the second.
        let frozen = control.freeze("ann", account, mission_control::Note::because("as tested"));
        frozen.await.unwrap();
        let outcome = run.outcome().await.unwrap();
        assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
        assert!(world.elapsed() < secs(5), "{:?}", world.elapsed());
    });
}
