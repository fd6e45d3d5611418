//! Budgets: who pays, who waits, who is refused, and what is left in doubt.

use std::sync::Arc;

use crate::common::*;
use mission_control::{AbortReason, RunBudget, SessionOptions};

/// An agent that makes one call: `bound` and `cost` in thousandths of a dollar, from its input.
fn caller(notes: Notes) -> Agent {
    agent(move |ctx, input| {
        let notes = notes.clone();
        async move {
            let number = |key: &str| input[key].as_u64().unwrap_or(0);
            // Its place in the queue is that of its first poll, which follows at once.
            notes.add(ctx.step().as_str());
            call(&ctx, "p", number("bound"), number("cost")).await?;
            Ok(json!(1).into())
        }
    })
}

async fn open_caller(world: &World) -> (MissionControl, Notes) {
    let control = world.open().await;
    let notes = Notes::default();
    let caller = caller(notes.clone());
    control.register_agent("caller", caller).await.unwrap();
    (control, notes)
}

async fn set(control: &MissionControl, account: AccountId, of: i64, on_exceed: OnExceed) {
    let set = control.set_limit("ann", account, limit(of), on_exceed);
    set.await.unwrap();
}

const ONE: &str =
    "{ workflow: w, steps: { a: { agent: caller, retry: { maximum_attempts: 1 } } } }";
const MANY: &str = "{ workflow: w, steps: { a: { agent: caller, for_each: \"${{ inputs.list }}\", input: { bound: 100, cost: 10 } } } }";

#[test]
fn every_account_of_the_path_pays() {
    let world = World::seeded(1);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        let run = begin(&control, ONE, json!({"bound": 50, "cost": 20})).await;
        run.outcome().await.unwrap();
        for id in ["workspace", "workflow:w", "agent:caller"] {
            let account = control.account(&id.parse().unwrap()).unwrap();
            assert_eq!(account.spent().money, mills(20), "{id}");
            assert!(account.reserved().is_zero(), "{id}");
        }
        assert_eq!(run.state().await.unwrap().spent().money, mills(20));
    });
}

#[test]
fn calls_that_do_not_fit_together_wait_their_turn_in_order() {
    let world = World::seeded(2);
    world.run(async {
        let (control, notes) = open_caller(&world).await;
        set(&control, AccountId::Workspace, 400, OnExceed::Abort).await;
        let list: Vec<u32> = (0..20).collect();
        let run = begin(&control, MANY, json!({"list": list})).await;
        let outcome = run.outcome().await.unwrap();
        assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
        let events = events(&control, &run).await;
        let reserved = events
            .iter()
            .filter(|event| &*event.kind == "model_call.reserved");
        let step = |event: &Record| -> Value { serde_json::from_str(&event.facts).unwrap() };
        let admitted: Vec<String> = reserved
            .map(|event| step(event)["step"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(admitted, notes.all());
    });
}

#[test]
fn calls_of_one_attempt_share_its_hold_and_all_complete() {
    let world = World::seeded(3);
    let outcome = world.run(async {
        let control = world.open().await;
        set(&control, AccountId::Workspace, 400, OnExceed::Abort).await;
        let fan = agent(|ctx, _| async move {
            let calls = (0..20).map(|n| {
                let ctx = ctx.clone();
                async move { call(&ctx, &format!("p{n}"), 100, 10).await }
            });
            for result in join_all(calls).await {
                result?;
            }
            Ok(json!("all").into())
        });
        control.register_agent("fan", fan).await.unwrap();
        let run = begin(
            &control,
            "{ workflow: w, steps: { a: { agent: fan } } }",
            json!({}),
        )
        .await;
        run.outcome().await.unwrap()
    });
    assert_eq!(output(&outcome), json!("all"));
}

/// Drives futures together, in order.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        for (future, output) in &mut pending {
            if output.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *output = Some(ready);
            }
        }
        if pending.iter().all(|(_, output)| output.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    pending
        .into_iter()
        .filter_map(|(_, output)| output)
        .collect()
}

#[test]
fn contended_steps_go_out_in_the_order_in_which_they_came() {
    let world = World::seeded(4);
    let yaml = "
workflow: w
steps:
  a:
    agent: slow
    for_each: \"${{ inputs.list }}\"
    estimate: { model: test/m, input_tokens: 0, max_output_tokens: 100 }
";
    let begun = world.run(async {
        let control = world.open().await;
        let notes = Notes::default();
        let seen = notes.clone();
        let slow = agent(move |ctx, _| {
            seen.add(ctx.step().as_str());
            async move {
                ctx.sleep(secs(1)).await;
                Ok(json!(1).into())
            }
        });
        control.register_agent("slow", slow).await.unwrap();
        set(&control, AccountId::Workspace, 100, OnExceed::Abort).await;
        let run = begin(&control, yaml, json!({"list": [1, 2, 3, 4, 5, 6]})).await;
        run.outcome().await.unwrap();
        notes.all()
    });
    assert_eq!(begun, ["a[0]", "a[1]", "a[2]", "a[3]", "a[4]", "a[5]"]);
}

#[test]
fn a_call_that_can_never_fit_ends_the_run_by_the_account() {
    let world = World::seeded(5);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        set(&control, AccountId::Workspace, 40, OnExceed::Abort).await;
        set(
            &control,
            "agent:caller".parse().unwrap(),
            30,
            OnExceed::Abort,
        )
        .await;
        let run = begin(&control, ONE, json!({"bound": 50, "cost": 20})).await;
        let outcome = run.outcome().await.unwrap();
        assert!(
            matches!(outcome, Outcome::Aborted(AbortReason::Budget { .. })),
            "{outcome:?}"
        );
        let denied = facts(&control, &run, "model_call.denied").await;
        let failing: Vec<&str> = denied["failing"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| f["account"].as_str().unwrap())
            .collect();
        assert_eq!(failing, ["workspace", "agent:caller"]);
    });
}

#[test]
fn a_runs_own_budget_and_a_steps_own_budget_are_kept() {
    for (yaml, account) in [
        (
            "{ workflow: w, budget: { usd: \"0.03\" }, steps: { a: { agent: caller } } }",
            "run:",
        ),
        (
            "{ workflow: w, steps: { a: { agent: caller, budget: { usd: \"0.03\" } } } }",
            "step:",
        ),
    ] {
        let world = World::seeded(6);
        let outcome = world.run(async {
            let (control, _) = open_caller(&world).await;
            let run = begin(&control, yaml, json!({"bound": 50, "cost": 20})).await;
            run.outcome().await.unwrap()
        });
        let Outcome::Aborted(AbortReason::Budget { account: named }) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(named.to_string().starts_with(account), "{named}");
    }
}

#[test]
fn a_pausing_account_lets_the_run_go_on_once_there_is_room() {
    let world = World::seeded(7);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        set(&control, AccountId::Workspace, 40, OnExceed::Pause).await;
        let run = begin(&control, ONE, json!({"bound": 50, "cost": 20})).await;
        let position = run.settled_or_blocked().await.unwrap();
        assert_eq!(blocks(&position)[0].1, BlockReason::Budget);
        world.pass(secs(1)).await;
        // Not enough: it stays as it is and writes nothing more.
        let before = events(&control, &run).await.len();
        set(&control, AccountId::Workspace, 45, OnExceed::Pause).await;
        assert_eq!(events(&control, &run).await.len(), before);
        set(&control, AccountId::Workspace, 50, OnExceed::Pause).await;
        assert!(matches!(
            run.outcome().await.unwrap(),
            Outcome::Completed(_)
        ));
    });
}

#[test]
fn a_step_whose_estimate_never_fits_pauses_and_goes_on() {
    let yaml = "{ workflow: w, budget: { usd: \"0.05\", on_exceed: pause }, steps: { a: { agent: caller, estimate: { model: test/m, input_tokens: 0, max_output_tokens: 60 } } } }";
    let world = World::seeded(8);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        let run = begin(&control, yaml, json!({"bound": 50, "cost": 20})).await;
        run.settled_or_blocked().await.unwrap();
        set(&control, AccountId::Run(run.id()), 60, OnExceed::Pause).await;
        assert!(matches!(
            run.outcome().await.unwrap(),
            Outcome::Completed(_)
        ));
        assert_eq!(count(&control, &run, "step.blocked").await, 1);
    });
}

#[test]
fn more_than_was_reserved_is_recorded_in_full_and_halts_the_run() {
    let world = World::seeded(9);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        set(&control, AccountId::Workspace, 60, OnExceed::Abort).await;
        let run = begin(&control, ONE, json!({"bound": 50, "cost": 90})).await;
        let outcome = run.outcome().await.unwrap();
        assert!(
            matches!(outcome, Outcome::Aborted(AbortReason::Budget { .. })),
            "{outcome:?}"
        );
        let settled = facts(&control, &run, "model_call.settled").await;
        assert!(
            settled["flags"]
                .as_array()
                .unwrap()
                .contains(&json!("overrun"))
        );
        assert_eq!(count(&control, &run, "budget.breached").await, 1);
        let account = control.account(&AccountId::Workspace).unwrap();
        assert_eq!(account.spent().money, mills(90));
        assert_eq!(account.largest_overrun().money, mills(40));
        let overshoot = control.worst_case_overshoot(&AccountId::Workspace);
        assert_eq!(overshoot, Amount::ZERO, "nothing is out any more");
    });
}

fn loses_its_call() -> Agent {
    agent(|ctx, _| async move {
        let lost = ProviderError::new(CallFailure::Timeout, "no answer");
        let request = request("p", 50);
        let done = ctx.model_call(&request, |_| {
            let lost = lost.clone();
            async move { Err(lost) }
        });
        assert!(done.await.is_err());
        Ok(json!(1).into())
    })
}

#[test]
fn what_only_doubt_holds_up_is_blocked_until_it_is_reconciled() {
    let yaml = "
workflow: w
steps:
  a: { agent: loser }
  b: { agent: caller, needs: [a], input: { bound: 50, cost: 20 } }
";
    let world = World::seeded(10);
    world.run(async {
        let (control, _) = open_caller(&world).await;
        control
            .register_agent("loser", loses_its_call())
            .await
            .unwrap();
        set(&control, AccountId::Workspace, 80, OnExceed::Abort).await;
        let run = begin(&control, yaml, json!({})).await;
        let position = run.settled_or_blocked().await.unwrap();
        assert_eq!(
            blocks(&position),
            [("b".to_owned(), BlockReason::Budget, "only_doubt".to_owned())]
        );
        let (hold, amount) = run.doubts().await.unwrap().remove(0);
        assert_eq!(amount.money, mills(50));
        run.reconcile("ann", &hold, Amount::ZERO, "the provider's bill")
            .await
            .unwrap();
        assert!(matches!(
            run.outcome().await.unwrap(),
            Outcome::Completed(_)
        ));
        assert_eq!(
            control
                .account(&AccountId::Workspace)
                .unwrap()
                .spent()
                .money,
            mills(20)
        );
    });
}

#[test]
fn a_session_takes_blocks_and_gives_the_rest_back() {
    let world = World::seeded(11);
    world.run(async {
        let control = world.open().await;
        set(&control, AccountId::Workspace, 10_000, OnExceed::Abort).await;
        let session = control
            .guard("host", SessionOptions::default())
            .await
            .unwrap();
        let send = |_| async { Ok(answer("ok", 1)) };
        session.model_call(&request("p", 5), send).await.unwrap();
        let held = control
            .account(&AccountId::Workspace)
            .unwrap()
            .reserved()
            .money;
        assert_eq!(
            held,
            mills(99),
            "one hundredth of the limit, less what was spent"
        );
        session.close().await.unwrap();
        let account = control.account(&AccountId::Workspace).unwrap();
        assert_eq!(
            (account.spent().money, account.reserved().money),
            (mills(1), mills(0))
        );
    });
}

#[test]
fn calls_inside_a_durable_block_wait_for_no_commit() {
    let world = World::seeded(12);
    world.run(async {
        let control = world.open().await;
        let session = control
            .guard("host", SessionOptions::default())
            .await
            .unwrap();
        let send = |_| async { Ok(answer("ok", 1)) };
        session.model_call(&request("p", 5), send).await.unwrap();
        // A future that is ready at its first poll waited for nothing.
        let next = request("p", 5);
        let call = session.model_call(&next, send);
        let mut call = Box::pin(call);
        let waker = std::task::Waker::noop();
        let polled = call
            .as_mut()
            .poll(&mut std::task::Context::from_waker(waker));
        assert!(
            matches!(polled, std::task::Poll::Ready(Ok(_))),
            "{polled:?}"
        );
    });
}

#[test]
fn a_session_whose_host_dies_leaves_its_block_in_doubt() {
    let world = World::seeded(13);
    let session = world.run(async {
        let control = world.open().await;
        let session = control
            .guard("host", SessionOptions::default())
            .await
            .unwrap();
        let send = |_| async { Ok(answer("ok", 1)) };
        session.model_call(&request("p", 5), send).await.unwrap();
        world.pass(secs(1)).await;
        session
    });
    world.crash();
    world.run(async {
        let control = world.open().await;
        let run = control.run(session.id());
        assert_eq!(
            run.outcome().await.unwrap(),
            Outcome::Aborted(AbortReason::HostLost)
        );
        let in_doubt = control
            .account(&AccountId::Workspace)
            .unwrap()
            .in_doubt()
            .money;
        assert_eq!(in_doubt, mills(249));
        assert!(!run.state().await.unwrap().sealed);
    });
}

#[test]
fn an_unknown_model_is_denied_by_name() {
    let world = World::seeded(14);
    world.run(async {
        let control = world.open().await;
        let session = control
            .guard("host", SessionOptions::default())
            .await
            .unwrap();
        let mut request = request("p", 5);
        request.model = "test/unknown".parse().unwrap();
        let admission = session.reserve(&request).await.unwrap();
        let Admission::Denied(error) = admission else {
            panic!("{admission:?}")
        };
        assert_eq!(error.kind(), ErrorKind::PolicyDenied);
        assert!(error.message().contains("test/unknown"));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_concurrent_calls_exactly_as_many_pass_as_the_limit_allows() {
    let log = Arc::new(mission_control::store::MemoryLog::new());
    let builder = mission_control::Builder::new().with_settings(settings());
    let control = builder.open_log(log).await.unwrap();
    let budget = RunBudget {
        limit: limit(7 * 50),
        on_exceed: OnExceed::Abort,
    };
    let options = SessionOptions {
        budget: Some(budget),
        ..SessionOptions::default()
    };
    let session = Arc::new(control.guard("host", options).await.unwrap());
    let tasks: Vec<_> = (0..64)
        .map(|n| {
            let session = Arc::clone(&session);
            tokio::spawn(async move {
                let send = |_| async { Ok(answer("ok", 50)) };
                session
                    .model_call(&request(&format!("p{n}"), 50), send)
                    .await
                    .is_ok()
            })
        })
        .collect();
    let mut passed = 0;
    for task in tasks {
        passed += usize::from(task.await.unwrap());
    }
    assert_eq!(passed, 7);
}

#[test]
fn what_nobody_settled_in_a_week_counts_as_spent_and_the_run_is_sealed() {
    let yaml = "{ workflow: w, steps: { a: { agent: loser } } }";
    for resident_runs in [100, 0] {
        let world = World::seeded(15);
        world.run(async {
            let control = world
                .open_with(Settings {
                    resident_runs,
                    ..settings()
                })
                .await;
            let loser = loses_its_call();
            control.register_agent("loser", loser).await.unwrap();
            let run = begin(&control, yaml, json!({})).await;
            run.outcome().await.unwrap();
            let day = secs(24 * 3_600);
            world.pass(6 * day).await;
            let doubt = control.account(&AccountId::Workspace).unwrap();
            assert_eq!(doubt.in_doubt().money, mills(50));
            assert!(!run.state().await.unwrap().sealed);
            world.pass(day + secs(5)).await;
            let spent = control.account(&AccountId::Workspace).unwrap();
            assert_eq!(spent.spent().money, mills(50), "time frees no money");
            assert!(spent.in_doubt().is_zero());
            assert_eq!(
                facts(&control, &run, "budget.reconciled").await["assumed"],
                json!(true)
            );
            assert!(run.state().await.unwrap().sealed);
        });
    }
}
