//! Aborts: a run ends at once, wherever it stands, and what becomes of what is out.

use crate::common::*;
use mission_control::AbortReason;

/// Aborts after ten seconds; the run has to be terminal within one more.
fn aborted(yaml: &str, settings: Settings, it: Agent) -> (Outcome, Vec<String>) {
    let world = World::seeded(9);
    world.run(async {
        let control = world.open_with(settings).await;
        register(&control, "it", it).await;
        let run = begin(&control, yaml, json!({"list": [1, 2, 3, 4]})).await;
        world.pass(secs(10)).await;
        run.abort(("ann", "as tested")).await.unwrap();
        let outcome = run.outcome().await.unwrap();
        assert!(world.elapsed() <= secs(11));
        world.pass(secs(100)).await;
        (outcome, kinds(&control, &run).await)
    })
}

#[test]
fn an_abort_ends_a_run_wherever_it_stands() {
    let fails = || agent(|_, _| async { Err(AgentError::new("no")) });
    let waits = || {
        agent(|ctx, _| async move {
            ctx.cancelled().await;
            Err(AgentError::new("stopped"))
        })
    };
    let throttled = || {
        agent(|ctx, _| async move {
            let request = request("p", 10);
            let refused = OutputBegun::No;
            let failure = CallFailure::Status {
                code: 429,
                output_begun: refused,
            };
            ctx.model_call(&request, |_| async move {
                Err(ProviderError::new(failure, "no"))
            })
            .await?;
            Ok(json!(1).into())
        })
    };
    let sleeps = || agent(|_, _| async { Ok(suspended(json!(1), go())) });
    for (rest, it) in [
        (", retry: { initial_interval: 1h }", fails()),
        ("", waits()),
        (
            ", for_each: \"${{ inputs.list }}\", max_parallel: 2",
            waits(),
        ),
        ("", throttled()),
        ("", sleeps()),
    ] {
        let (outcome, kinds) = aborted(&one(rest), settings(), it);
        assert_eq!(outcome, Outcome::Aborted(AbortReason::Operator), "{rest}");
        assert_eq!(kinds.last().unwrap(), "run.sealed", "{rest}: {kinds:?}");
    }
}

#[test]
fn an_abort_gives_back_what_was_not_sent_and_doubts_the_rest() {
    let world = World::seeded(10);
    world.run(async {
        let control = world.open().await;
        let it = agent(|ctx, _| async move {
            let admission = ctx.reserve(&request("p", 30)).await?;
            ctx.sleep(secs(1_000)).await;
            drop(admission);
            Ok(json!(1).into())
        });
        register(&control, "it", it).await;
        let yaml = one(", estimate: { model: test/m, input_tokens: 0, max_output_tokens: 100 }");
        let run = begin(&control, &yaml, json!({})).await;
        world.pass(secs(1)).await;
        assert_eq!(workspace(&control).reserved().money, mills(100));
        run.abort(("ann", "as tested")).await.unwrap();
        let account = workspace(&control);
        assert_eq!(
            (account.reserved().money, account.in_doubt().money),
            (mills(0), mills(30))
        );
        world.pass(secs(2_000)).await;
        assert!(!run.state().await.unwrap().sealed, "its money is in doubt");
        let (hold, _) = run.doubts().await.unwrap().remove(0);
        run.reconcile("ann", &hold, Amount::ZERO, "bill")
            .await
            .unwrap();
        assert!(run.state().await.unwrap().sealed);
    });
}

#[test]
fn an_answer_that_comes_after_the_abort_is_charged() {
    let world = World::seeded(7);
    world.run(async {
        let control = world.open().await;
        let it = agent(|ctx, _| async move {
            call_slowly(&ctx).await;
            Ok(json!(1).into())
        });
        register(&control, "it", it).await;
        let run = begin(&control, ONE, json!({})).await;
        world.pass(secs(1)).await;
        run.abort(("ann", "as tested")).await.unwrap();
        assert_eq!(workspace(&control).in_doubt().money, mills(50));
        world.pass(secs(100)).await;
        let account = workspace(&control);
        assert_eq!(
            (account.spent().money, account.in_doubt().money),
            (mills(20), mills(0))
        );
        let state = run.state().await.unwrap();
        assert!(state.sealed);
        assert_eq!(kinds(&control, &run).await.last().unwrap(), "run.sealed");
    });
}

/// A call that is answered after a minute, whatever is asked of its attempt.
async fn call_slowly(ctx: &StepContext) {
    let request = request("p", 50);
    let done = ctx.model_call(&request, |_| async {
        ctx.sleep(secs(60)).await;
        Ok(answer("late", 20))
    });
    let _ = done.await;
}

/// Irreversible steps are not asked about, so that they go out.
async fn unasked(control: &MissionControl) {
    let policy = mission_control::Policy::from_yaml("approvals: { from: financial }").unwrap();
    control.publish_policy("ann", policy).await.unwrap();
}

#[test]
fn what_an_irreversible_attempt_comes_to_after_the_abort_is_heard_of() {
    let world = World::seeded(11);
    world.run(async {
        let it = agent(|ctx, _| async move {
            ctx.sleep(secs(100)).await;
            Ok(json!({"receipt": 7}).into())
        });
        let control = open_for(&world, "it", it).await;
        unasked(&control).await;
        let run = begin(&control, &one(", risk: irreversible"), json!({})).await;
        world.pass(secs(1)).await;
        run.abort(("ann", "as tested")).await.unwrap();
        world.pass(secs(50)).await;
        let step = run
            .state()
            .await
            .unwrap()
            .steps
            .values()
            .next()
            .unwrap()
            .clone();
        assert_eq!(step.block.unwrap().reason, BlockReason::InDoubt);
        assert_eq!(step.abandoned.len(), 1, "its handler is still out");
        world.pass(secs(100)).await;
        assert_eq!(count(&control, &run, "result.late").await, 1);
        assert!(
            !run.state().await.unwrap().sealed,
            "somebody has to resolve it"
        );
    });
}

#[test]
fn an_aborted_irreversible_step_doubts_only_what_was_sent_and_charges_what_comes_late() {
    let world = World::seeded(12);
    world.run(async {
        let it = agent(|ctx, _| async move {
            call_slowly(&ctx).await;
            Ok(json!(1).into())
        });
        let control = open_for(&world, "it", it).await;
        unasked(&control).await;
        let rest = ", risk: irreversible, estimate: { model: test/m, input_tokens: 0, max_output_tokens: 100 }";
        let run = begin(&control, &one(rest), json!({})).await;
        world.pass(secs(1)).await;
        run.abort(("ann", "as tested")).await.unwrap();
        assert_eq!(workspace(&control).in_doubt().money, mills(50));
        world.pass(secs(100)).await;
        let account = workspace(&control);
        let columns = (account.spent().money, account.in_doubt().money);
        assert_eq!(columns, (mills(20), mills(0)));
    });
}

#[test]
fn an_irreversible_attempt_that_a_rule_cut_stays_in_doubt_when_its_run_is_aborted() {
    let world = World::seeded(13);
    world.run(async {
        let it = agent(|ctx, _| async move {
            call_slowly(&ctx).await;
            Ok(json!(1).into())
        });
        let control = open_for(&world, "it", it).await;
        let policy = "guardrails: [{ id: r, at: after, mode: enforce, verdict: halt, forbidden: [late] }]\napprovals: { from: financial }";
        let policy = mission_control::Policy::from_yaml(policy).unwrap();
        control.publish_policy("ann", policy).await.unwrap();
        let run = begin(&control, &one(", risk: irreversible"), json!({})).await;
        world.pass(secs(100)).await;
        assert_eq!(status(&run, "a").await, StepStatus::Blocked);
        run.abort(("ann", "as tested")).await.unwrap();
        let state = run.state().await.unwrap();
        let block = state.steps.values().next().unwrap().block.clone();
        assert_eq!(block.map(|block| block.reason), Some(BlockReason::InDoubt));
        assert!(!state.sealed);
    });
}
