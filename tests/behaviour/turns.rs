//! Turns: what a waiting request is told when what it waits for changes under it.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::*;
use mission_control::OutputBegun;

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
    let control = world.open().await;
    control
        .register_agent("loser", loses_slowly())
        .await
        .unwrap();
    control.register_agent("caller", calls()).await.unwrap();
    let account = AccountId::Workspace;
    let set = control.set_limit("ann", account, limit(150), OnExceed::Abort);
    set.await.unwrap();
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
    let outcome = run.outcome().await.unwrap();
    assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
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
        control.register_agent("caller", large).await.unwrap();
        let run = begin(&control, yaml, json!({})).await;
        let account = AccountId::Run(run.id());
        for of in [100, 119] {
            let set = control.set_limit("ann", account.clone(), limit(of), OnExceed::Pause);
            set.await.unwrap();
            world.pass(secs(60)).await;
            let position = run.settled_or_blocked().await.unwrap();
            assert_eq!(blocks(&position)[0].1, BlockReason::Budget);
            assert_eq!(count(&control, &run, "step.dispatched").await, 1);
        }
        let set = control.set_limit("ann", account, limit(120), OnExceed::Pause);
        set.await.unwrap();
        let outcome = run.outcome().await.unwrap();
        assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
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
        control.register_agent("refused", refused).await.unwrap();
        control.register_agent("caller", calls()).await.unwrap();
        let account = AccountId::Workspace;
        let set = control.set_limit("ann", account, limit(150), OnExceed::Abort);
        set.await.unwrap();
        let run = begin(&control, yaml, json!({})).await;
        world.pass(secs(30)).await;
        assert_eq!(status(&run, "b").await, StepStatus::Completed);
        let outcome = run.outcome().await.unwrap();
        assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
        let account = control.account(&AccountId::Workspace).unwrap();
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
