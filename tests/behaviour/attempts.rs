//! Attempts: retries, time-outs, panics, aborts, and steps that wait for a signal or a time.

use crate::common::*;
use mission_control::AbortReason;

fn one(rest: &str) -> String {
    format!("{{ workflow: w, steps: {{ a: {{ agent: it{rest} }} }} }}")
}

/// An agent that fails until its attempt `ok_at`, and notes when it was tried.
fn flaky(notes: Notes, ok_at: u32) -> Agent {
    agent(move |ctx, _| {
        notes.add(ctx.attempt().to_string());
        async move {
            if ctx.attempt() < ok_at {
                return Err(AgentError::new("not yet"));
            }
            Ok(json!(ctx.attempt()).into())
        }
    })
}

#[test]
fn a_failed_attempt_is_followed_by_another_at_the_time_in_its_event() {
    let world = World::seeded(1);
    world.run(async {
        let control = world.open().await;
        control
            .register_agent("it", flaky(Notes::default(), 3))
            .await
            .unwrap();
        let run = begin(
            &control,
            &one(", retry: { maximum_attempts: 5, initial_interval: 10s }"),
            json!({}),
        )
        .await;
        assert_eq!(output(&run.outcome().await.unwrap()), json!(3));
        let events = events(&control, &run).await;
        let failed = events
            .iter()
            .position(|e| &*e.kind == "attempt.failed")
            .unwrap();
        let next = events[failed..]
            .iter()
            .find(|e| &*e.kind == "step.dispatched")
            .unwrap();
        let facts: Value = serde_json::from_str(&events[failed].facts).unwrap();
        assert_eq!(facts["retry_at"], json!(next.ts));
    });
}

fn retry_times(seed: u64) -> Vec<i64> {
    let world = World::seeded(seed);
    world.run(async {
        let control = world.open().await;
        control
            .register_agent("it", flaky(Notes::default(), 4))
            .await
            .unwrap();
        let run = begin(
            &control,
            &one(", retry: { maximum_attempts: 5, initial_interval: 10s }"),
            json!({}),
        )
        .await;
        run.outcome().await.unwrap();
        let events = events(&control, &run).await;
        events.iter().map(|event| event.ts.as_unix_us()).collect()
    })
}

#[test]
fn jitter_follows_the_seed() {
    assert_eq!(retry_times(5), retry_times(5));
    assert_ne!(retry_times(5), retry_times(6));
}

#[test]
fn a_retry_keeps_its_time_over_a_restart() {
    let world = World::seeded(2);
    let notes = Notes::default();
    let id = world.run(async {
        let control = world.open().await;
        control
            .register_agent("it", flaky(notes.clone(), 2))
            .await
            .unwrap();
        let run = begin(
            &control,
            &one(", retry: { maximum_attempts: 5, initial_interval: 1h }"),
            json!({}),
        )
        .await;
        while count(&control, &run, "attempt.failed").await == 0 {
            world.pass(secs(1)).await;
        }
        run.id()
    });
    world.crash();
    world.run(async {
        let control = world.open().await;
        control
            .register_agent("it", flaky(notes.clone(), 2))
            .await
            .unwrap();
        control.start_dispatch().await.unwrap();
        let run = control.run(id);
        assert_eq!(output(&run.outcome().await.unwrap()), json!(2));
        let at = facts(&control, &run, "attempt.failed").await["retry_at"].clone();
        let events = events(&control, &run).await;
        let last = events
            .iter()
            .rfind(|e| &*e.kind == "step.dispatched")
            .unwrap();
        assert_eq!(at, json!(last.ts));
    });
}

#[test]
fn a_code_that_is_not_retryable_ends_the_step_at_once() {
    let world = World::seeded(3);
    let notes = Notes::default();
    let outcome = world.run(async {
        let control = world.open().await;
        control
            .register_agent("it", flaky(notes.clone(), 3))
            .await
            .unwrap();
        let run = begin(
            &control,
            &one(", retry: { maximum_attempts: 5, non_retryable: [agent_failed] }"),
            json!({}),
        )
        .await;
        run.outcome().await.unwrap()
    });
    assert!(matches!(outcome, Outcome::Failed { .. }));
    assert_eq!(notes.len(), 1);
}

#[test]
fn no_attempt_begins_after_max_elapsed() {
    let world = World::seeded(4);
    let yaml = one(
        ", retry: { maximum_attempts: 900, initial_interval: 10s, maximum_interval: 10s, max_elapsed: 1m }",
    );
    let outcome = world.run(async {
        let control = world.open().await;
        control
            .register_agent("it", flaky(Notes::default(), 1_000))
            .await
            .unwrap();
        begin(&control, &yaml, json!({}))
            .await
            .outcome()
            .await
            .unwrap()
    });
    assert!(matches!(outcome, Outcome::Failed { .. }));
    assert!(world.elapsed() <= secs(60));
}

/// An agent that ignores that it is told to stop, for so many seconds of its first attempt.
fn stubborn(notes: Notes, seconds: u64) -> Agent {
    agent(move |ctx, _| {
        let notes = notes.clone();
        async move {
            if ctx.attempt() == 1 {
                ctx.sleep(secs(seconds)).await;
                let refused = call(&ctx, "p", 10, 1).await;
                notes.add(format!("{}", refused.is_err()));
            }
            Ok(json!(ctx.attempt()).into())
        }
    })
}

#[test]
fn an_attempt_past_its_time_is_abandoned_and_may_call_nothing_more() {
    let world = World::seeded(5);
    let notes = Notes::default();
    world.run(async {
        let control = world.open().await;
        control
            .register_agent("it", stubborn(notes.clone(), 20))
            .await
            .unwrap();
        let run = begin(
            &control,
            &one(
                ", timeout: 10s, risk: read, retry: { maximum_attempts: 2, initial_interval: 1ms }",
            ),
            json!({}),
        )
        .await;
        assert_eq!(output(&run.outcome().await.unwrap()), json!(2));
        assert!(
            world.elapsed() >= secs(10) && world.elapsed() < secs(11),
            "{:?}",
            world.elapsed()
        );
        world.pass(secs(60)).await;
        assert_eq!(notes.all(), ["true"]);
        assert_eq!(count(&control, &run, "result.late").await, 1);
        assert_eq!(kinds(&control, &run).await.last().unwrap(), "run.sealed");
        assert!(run.state().await.unwrap().sealed);
    });
}

fn second_attempt_after(seconds: u64) -> std::time::Duration {
    let world = World::seeded(6);
    world.run(async {
        let control = world.open().await;
        control
            .register_agent("it", stubborn(Notes::default(), seconds))
            .await
            .unwrap();
        let run = begin(
            &control,
            &one(", timeout: 10s, retry: { maximum_attempts: 2, initial_interval: 1ms }"),
            json!({}),
        )
        .await;
        assert_eq!(output(&run.outcome().await.unwrap()), json!(2));
        world.elapsed()
    })
}

#[test]
fn a_retry_that_writes_waits_for_the_grace_of_a_handler_that_stays() {
    let at = second_attempt_after(1_000);
    assert!(at >= secs(40) && at < secs(41), "{at:?}");
}

#[test]
fn a_retry_that_writes_goes_as_soon_as_the_handler_before_it_has_ended() {
    let at = second_attempt_after(15);
    assert!(at >= secs(15) && at < secs(16), "{at:?}");
}

#[test]
fn a_panic_fails_its_attempt_and_nothing_else() {
    let world = World::seeded(7);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = world.run(async {
        let control = world.open().await;
        let it = agent(|ctx, _| async move {
            match ctx.attempt() {
                1 => panic!("in words"),
                2 => std::panic::panic_any(17),
                attempt => Ok(json!(attempt).into()),
            }
        });
        control.register_agent("it", it).await.unwrap();
        let run = begin(
            &control,
            &one(", retry: { maximum_attempts: 3 }"),
            json!({}),
        )
        .await;
        let outcome = run.outcome().await.unwrap();
        assert_eq!(
            facts(&control, &run, "attempt.failed").await["code"],
            "internal"
        );
        outcome
    });
    std::panic::set_hook(hook);
    assert_eq!(output(&outcome), json!(3));
}

#[test]
fn abandoned_handlers_of_an_agent_are_capped_and_its_steps_wait_for_them() {
    let world = World::seeded(8);
    world.run(async {
        let control = world.open().await;
        let it = agent(|ctx, input| async move {
            if input["item"].as_u64() < Some(8) {
                ctx.sleep(secs(500)).await;
            }
            Ok(json!(1).into())
        });
        control.register_agent("it", it).await.unwrap();
        let yaml = one(", for_each: \"${{ inputs.list }}\", max_parallel: 8, timeout: 10s, on_failure: continue, retry: { maximum_attempts: 1 }");
        let run = begin(&control, &yaml, json!({"list": [0, 1, 2, 3, 4, 5, 6, 7, 8]})).await;
        let position = run.settled_or_blocked().await.unwrap();
        assert_eq!(blocks(&position), [("a[8]".to_owned(), BlockReason::AgentUnavailable, "abandoned_handlers".to_owned())]);
        let outcome = run.outcome().await.unwrap();
        assert_eq!(output(&outcome)[8], 1);
        assert!(world.elapsed() >= secs(500));
    });
}

/// Aborts after ten seconds; the run has to be terminal within one more.
fn aborted(yaml: &str, settings: Settings, it: Agent) -> (Outcome, Vec<String>) {
    let world = World::seeded(9);
    world.run(async {
        let control = world.open_with(settings).await;
        control.register_agent("it", it).await.unwrap();
        let run = begin(&control, yaml, json!({"list": [1, 2, 3, 4]})).await;
        world.pass(secs(10)).await;
        run.abort("ann").await.unwrap();
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
            let refused = mission_control::core::resilience::OutputBegun::No;
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
    let sleeps = || {
        agent(|_, _| async {
            Ok(StepOutcome::Suspend {
                checkpoint: json!(1),
                waiting_for: WaitingFor::Signal {
                    name: "go".parse().unwrap(),
                },
            })
        })
    };
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
        control.register_agent("it", it).await.unwrap();
        let yaml = one(", estimate: { model: test/m, input_tokens: 0, max_output_tokens: 100 }");
        let run = begin(&control, &yaml, json!({})).await;
        world.pass(secs(1)).await;
        assert_eq!(
            control
                .account(&AccountId::Workspace)
                .unwrap()
                .reserved()
                .money,
            mills(100)
        );
        run.abort("ann").await.unwrap();
        let account = control.account(&AccountId::Workspace).unwrap();
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

/// An agent that waits for the signal `go`, then for a time, and tells what it was given.
fn waiter() -> Agent {
    agent(|ctx, _| async move {
        let signal = WaitingFor::Signal {
            name: "go".parse().unwrap(),
        };
        match ctx.resumed() {
            None => Ok(StepOutcome::Suspend {
                checkpoint: json!("first"),
                waiting_for: signal,
            }),
            Some((checkpoint, given)) => Ok(json!([checkpoint, given, ctx.attempt()]).into()),
        }
    })
}

#[test]
fn a_step_waits_for_a_signal_and_is_entered_again_with_it() {
    let world = World::seeded(11);
    world.run(async {
        let control = world.open().await;
        control.register_agent("it", waiter()).await.unwrap();
        let run = begin(&control, &one(""), json!({})).await;
        let position = run.settled_or_blocked().await.unwrap();
        assert_eq!(blocks(&position)[0].1, BlockReason::Signal);
        run.signal("ann", "other", json!(1)).await.unwrap();
        assert_eq!(status(&run, "a").await, StepStatus::Blocked);
        run.signal("ann", "go", json!({"yes": true})).await.unwrap();
        let outcome = run.outcome().await.unwrap();
        assert_eq!(output(&outcome), json!(["first", {"yes": true}, 2]));
    });
}

#[test]
fn a_signal_that_came_before_it_was_waited_for_is_kept() {
    let world = World::seeded(12);
    world.run(async {
        let control = world.open().await;
        let it = agent(|ctx, _| async move {
            if ctx.resumed().is_none() {
                ctx.sleep(secs(10)).await;
            }
            let signal = WaitingFor::Signal {
                name: "go".parse().unwrap(),
            };
            match ctx.resumed() {
                None => Ok(StepOutcome::Suspend {
                    checkpoint: json!(0),
                    waiting_for: signal,
                }),
                Some((_, given)) => Ok(given.cloned().unwrap_or_default().into()),
            }
        });
        control.register_agent("it", it).await.unwrap();
        let run = begin(&control, &one(""), json!({})).await;
        run.signal("ann", "go", json!("early")).await.unwrap();
        assert_eq!(output(&run.outcome().await.unwrap()), json!("early"));
    });
}

#[test]
fn a_step_sleeps_until_its_time() {
    let world = World::seeded(13);
    world.run(async {
        let control = world.open().await;
        let wake =
            mission_control::Timestamp::from_unix_us(1_767_225_600_000_000).after(secs(3_600));
        let it = agent(move |ctx, _| async move {
            match ctx.resumed() {
                None => Ok(StepOutcome::Suspend {
                    checkpoint: json!(7),
                    waiting_for: WaitingFor::Time { until: wake },
                }),
                Some((checkpoint, _)) => Ok(checkpoint.clone().into()),
            }
        });
        control.register_agent("it", it).await.unwrap();
        let run = begin(&control, &one(""), json!({})).await;
        assert_eq!(output(&run.outcome().await.unwrap()), json!(7));
        assert_eq!(world.elapsed(), secs(3_600));
    });
}

#[test]
fn a_call_that_waits_for_money_is_refused_once_its_attempt_is_abandoned() {
    let world = World::seeded(14);
    let notes = Notes::default();
    world.run(async {
        let control = world.open().await;
        let seen = notes.clone();
        let it = agent(move |ctx, input| {
            let seen = seen.clone();
            async move {
                let admission = ctx.reserve(&request("p", 80)).await;
                seen.add(format!("{}: {}", input["item"], admission.is_ok()));
                ctx.sleep(secs(50)).await;
                Ok(json!(1).into())
            }
        });
        control.register_agent("it", it).await.unwrap();
        control.set_limit("ann", AccountId::Workspace, limit(100), OnExceed::Abort).await.unwrap();
        let yaml = one(", for_each: \"${{ inputs.list }}\", timeout: 10s, on_failure: continue, retry: { maximum_attempts: 1 }");
        let run = begin(&control, &yaml, json!({"list": [1, 2]})).await;
        run.outcome().await.unwrap();
        world.pass(secs(1)).await;
        let refused = notes.all().iter().filter(|note| note.ends_with("false")).count();
        assert_eq!((notes.len(), refused), (2, 1));
        assert_eq!(control.metrics().waiting, 0);
    });
}
