//! Turns: who waits for money goes in order, and is told when what it waits for changes under it.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::*;

#[test]
fn calls_that_do_not_fit_together_wait_their_turn_in_order() {
    let world = World::seeded(2);
    world.run(async {
        let (control, notes) = open_caller(&world).await;
        set(&control, AccountId::Workspace, 400, OnExceed::Abort).await;
        let list: Vec<u32> = (0..20).collect();
        let run = begin(&control, MANY, json!({"list": list})).await;
        completes(&run).await;
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

const MANY: &str = "{ workflow: w, steps: { a: { agent: caller, for_each: \"${{ inputs.list }}\", input: { bound: 100, cost: 10 } } } }";

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
        register(&control, "fan", fan).await;
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
        register(&control, "slow", slow).await;
        set(&control, AccountId::Workspace, 100, OnExceed::Abort).await;
        let run = begin(&control, yaml, json!({"list": [1, 2, 3, 4, 5, 6]})).await;
        run.outcome().await.unwrap();
        notes.all()
    });
    assert_eq!(begun, ["a[0]", "a[1]", "a[2]", "a[3]", "a[4]", "a[5]"]);
}

/// An agent that makes one call of 100, which takes ten seconds and is never answered.
fn loses_slowly() -> Agent {
    agent(|ctx, _| async move {
        let request = request("p", 100);
        let done = ctx.model_call(&request, |_| async {
            ctx.sleep(secs(10)).await;
            Err(ProviderError::new(CallFailure::Timeout, "no answer"))
        });
        assert!(done.await.is_err());
        Ok(json!(1).into())
    })
}

fn calls() -> Agent {
    agent(|ctx, _| async move {
        ctx.sleep(secs(1)).await;
        call(&ctx, "q", 100, 10).await?;
        Ok(json!(1).into())
    })
}

/// Two steps, each with this estimate; the loser asks first.
async fn two_steps(world: &World, estimate: &str) -> (MissionControl, RunHandle) {
    let control = open_for(world, "loser", loses_slowly()).await;
    register(&control, "caller", calls()).await;
    let account = AccountId::Workspace;
    set(&control, account, 150, OnExceed::Pause).await;
    let a = format!("a: {{ agent: loser {estimate} }}");
    let b = format!("b: {{ agent: caller {estimate} }}");
    let yaml = format!("{{ workflow: w, steps: {{ {a}, {b} }} }}");
    let run = begin(&control, &yaml, json!({})).await;
    (control, run)
}

/// A person settles what is in doubt as not billed.
async fn reconcile_all(run: &RunHandle) {
    for (hold, _) in run.doubts().await.unwrap() {
        let settled = run.reconcile("ann", &hold, Amount::ZERO, "the bill");
        settled.await.unwrap();
    }
}

async fn is_told_and_goes_on(world: &World, estimate: &str) {
    let (control, run) = two_steps(world, estimate).await;
    let position = run.settled_or_blocked().await.unwrap();
    let told = [("b".to_owned(), BlockReason::Budget, "only_doubt".to_owned())];
    assert_eq!(blocks(&position), told);
    reconcile_all(&run).await;
    completes(&run).await;
    assert_eq!(count(&control, &run, "step.blocked").await, 1);
    assert_eq!(count(&control, &run, "step.unblocked").await, 1);
}

#[test]
fn a_waiting_call_is_blocked_once_only_doubt_stands_in_its_way() {
    let world = World::seeded(1);
    world.run(is_told_and_goes_on(&world, ""));
}

#[test]
fn a_waiting_step_is_blocked_once_only_doubt_stands_in_its_way() {
    let world = World::seeded(2);
    let estimate = ", estimate: { model: test/m, input_tokens: 0, max_output_tokens: 100 }";
    world.run(is_told_and_goes_on(&world, estimate));
}

#[test]
fn a_step_that_needs_more_than_its_hold_goes_on_only_once_all_of_it_fits() {
    let yaml = "
workflow: w
budget: { usd: \"0.10\", on_exceed: pause }
steps:
  a: { agent: caller, estimate: { model: test/m, input_tokens: 0, max_output_tokens: 60 } }
";
    let world = World::seeded(3);
    world.run(async {
        let control = world.open().await;
        let large = agent(|ctx, _| async move {
            call(&ctx, "p", 120, 10).await?;
            Ok(json!(1).into())
        });
        register(&control, "caller", large).await;
        let run = begin(&control, yaml, json!({})).await;
        let account = AccountId::Run(run.id());
        for of in [100, 119] {
            set(&control, account.clone(), of, OnExceed::Pause).await;
            world.pass(secs(60)).await;
            let position = run.settled_or_blocked().await.unwrap();
            assert_eq!(blocks(&position)[0].1, BlockReason::Budget);
            assert_eq!(count(&control, &run, "step.dispatched").await, 1);
        }
        set(&control, account, 120, OnExceed::Pause).await;
        completes(&run).await;
    });
}

#[test]
fn what_a_throttled_call_held_is_free_for_others_while_it_waits() {
    let yaml = "{ workflow: w, steps: { a: { agent: refused }, b: { agent: caller } } }";
    let world = World::seeded(4);
    world.run(async {
        let control = world.open().await;
        let refused = agent(|ctx, _| async move {
            let tries = AtomicU32::new(0);
            let request = request("p", 100);
            let done = ctx.model_call(&request, |_| async {
                match tries.fetch_add(1, Ordering::Relaxed) {
                    0 => Err(ProviderError {
                        retry_after: Some(secs(60)),
                        ..ProviderError::new(throttled(), "later")
                    }),
                    _ => Ok(answer("ok", 10)),
                }
            });
            done.await?;
            Ok(json!(1).into())
        });
        register(&control, "refused", refused).await;
        register(&control, "caller", calls()).await;
        let account = AccountId::Workspace;
        set(&control, account, 150, OnExceed::Abort).await;
        let run = begin(&control, yaml, json!({})).await;
        world.pass(secs(30)).await;
        assert_eq!(status(&run, "b").await, StepStatus::Completed);
        completes(&run).await;
        let account = workspace(&control);
        assert_eq!(account.spent().money, mills(20));
        assert!(account.reserved().is_zero());
    });
}

fn throttled() -> CallFailure {
    CallFailure::Status {
        code: 429,
        output_begun: OutputBegun::No,
    }
}
