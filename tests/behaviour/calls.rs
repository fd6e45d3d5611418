//! Model and tool calls: the journal, throttling, breakers, loops, and every way a call can end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::*;
use mission_control::core::resilience::{BreakerSettings, OutputBegun};
use mission_control::{Mode, RiskTier, SessionOptions};

const ONE: &str = "{ workflow: w, steps: { a: { agent: it } } }";

fn status(code: u16) -> CallFailure {
    CallFailure::Status {
        code,
        output_begun: OutputBegun::No,
    }
}

/// An agent whose every attempt makes a model call, a tool call and a value, then hangs until told.
fn journaled(sent: Notes, prompt: Notes) -> Agent {
    agent(move |ctx, _| {
        let (sent, prompt) = (sent.clone(), prompt.clone());
        async move {
            let asked = request(&prompt.all().join("+"), 10);
            let reply = ctx.model_call(&asked, |_| {
                sent.add("model");
                async { Ok(answer("ok", 5)) }
            });
            let said = reply.await?.output;
            let tool = || async {
                sent.add("tool");
                Ok(json!("sent"))
            };
            ctx.tool_call("send", RiskTier::Write, &json!({"to": "x"}), tool)
                .await?;
            let value = ctx
                .once("id", || async {
                    sent.add("once");
                    json!(42)
                })
                .await?;
            if ctx.attempt() == 1 {
                ctx.sleep(secs(1_000)).await;
            }
            Ok(json!([said, value]).into())
        }
    })
}

fn crashed_and_resumed(change: &str) -> (World, Notes, Value, Vec<String>, i64) {
    let world = World::seeded(1);
    let (sent, prompt) = (Notes::default(), Notes::default());
    prompt.add("p");
    let id = world.run(async {
        let control = world.open().await;
        let it = journaled(sent.clone(), prompt.clone());
        control.register_agent("it", it).await.unwrap();
        let run = begin(&control, ONE, json!({})).await;
        world.pass(secs(10)).await;
        run.id()
    });
    world.crash();
    if !change.is_empty() {
        prompt.add(change);
    }
    let (value, kinds, spent) = world.run(async {
        let control = world.open().await;
        let it = journaled(sent.clone(), prompt.clone());
        control.register_agent("it", it).await.unwrap();
        control.start_dispatch().await.unwrap();
        let run = control.run(id);
        let value = output(&run.outcome().await.unwrap());
        let spent = run.state().await.unwrap().spent().money.as_nano() / 1_000_000;
        (value, kinds(&control, &run).await, spent)
    });
    (world, sent, value, kinds, spent)
}

#[test]
fn what_was_answered_before_a_crash_comes_from_the_log() {
    let (_, sent, value, _, spent) = crashed_and_resumed("");
    assert_eq!(value, json!(["ok", 42]));
    assert_eq!(sent.all(), ["model", "tool", "once"]);
    assert_eq!(spent, 5);
}

#[test]
fn another_request_in_the_same_place_is_written_down_and_runs_live() {
    let (_, sent, _, kinds, spent) = crashed_and_resumed("changed");
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| *kind == "journal.diverged")
            .count(),
        1
    );
    assert_eq!(sent.len(), 6);
    assert_eq!(spent, 10);
}

/// Runs one agent that makes one call, which `send` answers by its count.
fn one_call<S>(settings: Settings, yaml: &str, send: S) -> (World, Outcome, Vec<Record>)
where
    S: Fn(u32) -> Result<ModelAnswer, ProviderError> + Clone + Send + Sync + 'static,
{
    let world = World::seeded(2);
    let (outcome, events) = world.run(async {
        let control = world.open_with(settings).await;
        let count = Arc::new(AtomicU32::new(0));
        let it = agent(move |ctx, _| {
            let (send, count) = (send.clone(), Arc::clone(&count));
            async move {
                let request = request("p", 10);
                let sent = |_| {
                    let result = send(count.fetch_add(1, Ordering::SeqCst));
                    async move { result }
                };
                ctx.model_call(&request, sent).await?;
                Ok(json!(count.load(Ordering::SeqCst)).into())
            }
        });
        control.register_agent("it", it).await.unwrap();
        let run = begin(&control, yaml, json!({})).await;
        let outcome = run.outcome().await.unwrap();
        (outcome, events(&control, &run).await)
    });
    (world, outcome, events)
}

fn find(events: &[Record], kind: &str) -> Option<Value> {
    let found = events.iter().find(|event| &*event.kind == kind)?;
    serde_json::from_str(&found.facts).ok()
}

#[test]
fn a_throttled_call_waits_as_long_as_the_provider_asks_and_is_no_attempt() {
    let (world, outcome, events) = one_call(settings(), ONE, |n| match n {
        0 => Err(ProviderError {
            retry_after: Some(secs(60)),
            ..ProviderError::new(status(429), "slow down")
        }),
        _ => Ok(answer("ok", 5)),
    });
    assert_eq!(output(&outcome), json!(2));
    assert!(world.elapsed() >= secs(60), "{:?}", world.elapsed());
    assert!(find(&events, "attempt.failed").is_none());
    assert_eq!(
        find(&events, "model_call.throttled").unwrap()["status"],
        429
    );
}

#[test]
fn a_call_that_is_refused_for_too_long_is_an_error_to_the_agent() {
    let yaml = "{ workflow: w, steps: { a: { agent: it, retry: { maximum_attempts: 1 } } } }";
    let breaker = BreakerSettings::new(1_000, secs(1), 1).unwrap();
    let settings = Settings {
        breaker,
        ..settings()
    };
    let (world, outcome, events) = one_call(settings, yaml, |_| {
        Err(ProviderError::new(status(529), "full"))
    });
    assert!(matches!(outcome, Outcome::Failed { code, .. } if code == "provider_failed"));
    assert!(
        world.elapsed() <= secs(601) && world.elapsed() > secs(60),
        "{:?}",
        world.elapsed()
    );
    assert_eq!(
        find(&events, "model_call.released").unwrap()["code"],
        "throttled_too_long"
    );
}

#[test]
fn a_cut_call_is_made_again_by_the_next_attempt() {
    let (_, outcome, events) = one_call(settings(), ONE, |n| match n {
        0 => Err(ProviderError::new(CallFailure::Cut, "cut")),
        _ => Ok(answer("ok", 5)),
    });
    assert_eq!(output(&outcome), json!(2));
    assert!(find(&events, "attempt.failed").is_some());
}

#[test]
fn missing_usage_settles_all_that_was_held() {
    let (world, _, events) = one_call(settings(), ONE, |_| {
        Ok(ModelAnswer {
            output: json!("ok"),
            ..ModelAnswer::default()
        })
    });
    assert_eq!(
        find(&events, "model_call.settled").unwrap()["flags"],
        json!(["usage_missing"])
    );
    let account = world.run(async { world.open().await.account(&AccountId::Workspace).unwrap() });
    assert_eq!(account.spent().money, mills(10));
}

#[test]
fn a_breaker_opens_blocks_probes_and_closes() {
    let yaml = "{ workflow: w, steps: { a: { agent: it, retry: { maximum_attempts: 9, initial_interval: 1s, maximum_interval: 1s } } } }";
    let breaker = BreakerSettings::new(2, secs(100), 1).unwrap();
    let settings = Settings {
        breaker,
        ..settings()
    };
    let (world, outcome, events) = one_call(settings, yaml, |n| match n {
        0 | 1 => Err(ProviderError::new(CallFailure::Unreachable, "down")),
        _ => Ok(ModelAnswer {
            model: Some("test/m-2026-01-01".parse().unwrap()),
            ..answer("ok", 5)
        }),
    });
    assert_eq!(output(&outcome), json!(3));
    assert!(world.elapsed() >= secs(100));
    assert_eq!(find(&events, "step.blocked").unwrap()["reason"], "circuit");
    assert!(find(&events, "step.unblocked").is_some());
    let settled = find(&events, "model_call.settled").unwrap();
    assert_eq!(
        (&settled["model"], &settled["served"]),
        (&json!("test/m"), &json!("test/m-2026-01-01"))
    );
    let log = world.run(async {
        world
            .open()
            .await
            .log()
            .read_workspace(0, 1_000)
            .await
            .unwrap()
    });
    let circuit: Vec<_> = log
        .iter()
        .filter(|e| e.kind.starts_with("circuit"))
        .map(|e| e.kind.to_string())
        .collect();
    assert_eq!(
        circuit,
        ["circuit.opened", "circuit.half_opened", "circuit.closed"]
    );
}

#[test]
fn a_breaker_that_opened_again_asks_again_later() {
    let yaml = "{ workflow: w, steps: { a: { agent: it, retry: { maximum_attempts: 9, initial_interval: 1s, maximum_interval: 1s } } } }";
    let breaker = BreakerSettings::new(1, secs(50), 1).unwrap();
    let settings = Settings {
        breaker,
        ..settings()
    };
    let (world, outcome, _) = one_call(settings, yaml, |n| match n {
        0..3 => Err(ProviderError::new(CallFailure::Unreachable, "down")),
        _ => Ok(answer("ok", 5)),
    });
    assert_eq!(output(&outcome), json!(4));
    assert!(world.elapsed() >= secs(150));
}

#[test]
fn retries_beyond_their_share_wait_for_a_later_window() {
    use mission_control::core::resilience::RetryBudgetSettings;
    let retry_budget = RetryBudgetSettings::new(secs(60), 10, 1).unwrap();
    let breaker = BreakerSettings::new(1_000, secs(1), 1).unwrap();
    let settings = Settings {
        retry_budget,
        breaker,
        ..settings()
    };
    let (world, outcome, events) = one_call(settings, ONE, |n| match n {
        0..4 => Err(ProviderError::new(status(429), "slow down")),
        _ => Ok(answer("ok", 5)),
    });
    assert_eq!(output(&outcome), json!(5));
    assert!(world.elapsed() >= secs(150), "{:?}", world.elapsed());
    assert_eq!(
        events
            .iter()
            .filter(|e| &*e.kind == "model_call.throttled")
            .count(),
        4
    );
}

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
        control
            .register_agent("it", looping(Mode::Enforce))
            .await
            .unwrap();
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
        run.unblock("ann", &"a".parse().unwrap()).await.unwrap();
        assert_eq!(output(&run.outcome().await.unwrap()), json!("done"));
        assert_eq!(count(&control, &run, "model_call.settled").await, 5);
    });
}

#[test]
fn a_loop_that_is_only_observed_is_only_written_down() {
    let world = World::seeded(4);
    world.run(async {
        let control = world.open_with(with_mode(Mode::Observe)).await;
        control
            .register_agent("it", looping(Mode::Observe))
            .await
            .unwrap();
        let run = begin(&control, ONE, json!({})).await;
        assert_eq!(output(&run.outcome().await.unwrap()), json!("done"));
        assert_eq!(
            facts(&control, &run, "guardrail.judged").await["rule"],
            "no_progress"
        );
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
        control.register_agent("it", it).await.unwrap();
        let run = begin(&control, ONE, json!({})).await;
        let position = run.settled_or_blocked().await.unwrap();
        assert_eq!(blocks(&position)[0].2, "no_progress");
        assert_eq!(count(&control, &run, "tool_call.completed").await, 3);
    });
}

#[test]
fn a_permit_that_is_dropped_leaves_its_money_in_doubt() {
    let world = World::seeded(6);
    world.run(async {
        let control = world.open().await;
        let session = control
            .guard("host", SessionOptions::default())
            .await
            .unwrap();
        let admission = session.reserve(&request("p", 10)).await.unwrap();
        let Admission::Allowed(permit) = admission else {
            panic!("{admission:?}")
        };
        drop(permit);
        world.pass(secs(1)).await;
        let doubt = control
            .account(&AccountId::Workspace)
            .unwrap()
            .in_doubt()
            .money;
        assert_eq!(doubt, mills(10));
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
        control.register_agent("it", it).await.unwrap();
        let run = begin(&control, ONE, json!({})).await;
        world.pass(secs(1)).await;
        run.abort("ann").await.unwrap();
        assert_eq!(
            control
                .account(&AccountId::Workspace)
                .unwrap()
                .in_doubt()
                .money,
            mills(50)
        );
        world.pass(secs(100)).await;
        let account = control.account(&AccountId::Workspace).unwrap();
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

#[test]
fn calls_of_one_step_that_wait_for_a_probe_go_on_when_it_is_given_back() {
    let breaker = BreakerSettings::new(1, secs(10), 1).unwrap();
    let world = World::seeded(8);
    world.run(async {
        let control = world
            .open_with(Settings {
                breaker,
                ..settings()
            })
            .await;
        let host = control
            .guard("host", SessionOptions::default())
            .await
            .unwrap();
        let down = |_| async { Err(ProviderError::new(CallFailure::Unreachable, "down")) };
        assert!(host.model_call(&request("p", 10), down).await.is_err());
        let probe = host.reserve(&request("q", 10)).await.unwrap();
        let other = control
            .guard("other", SessionOptions::default())
            .await
            .unwrap();
        let behind = request("r", 10);
        let mut behind = Box::pin(other.reserve(&behind));
        let waker = std::task::Waker::noop();
        assert!(
            behind
                .as_mut()
                .poll(&mut std::task::Context::from_waker(waker))
                .is_pending()
        );
        let Admission::Allowed(probe) = probe else {
            panic!("{probe:?}")
        };
        probe
            .fail(&ProviderError::new(CallFailure::NotSent, "given up"))
            .await
            .unwrap();
        assert!(matches!(behind.await.unwrap(), Admission::Allowed(_)));
    });
}
