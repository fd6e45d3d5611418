//! Rules about tool calls: made once, not made at all, and only with what is on a list.

use std::sync::atomic::{AtomicUsize, Ordering};

use mission_control::{Resolution, RiskTier};

use crate::common::*;
use crate::guardrails::{pays, publish, rail};

const TWO: &str = "{ workflow: w, steps: { a: { agent: it }, b: { agent: it, needs: [a] } } }";

/// How often the tool was called, how many calls were denied, and how many verdicts there are.
type Seen = (usize, usize, usize);

/// Both steps call the tool with the parameters that `params` makes of the call's number.
fn twice(rule: &str, mode: &str, risk: RiskTier, params: fn(usize) -> Value) -> Seen {
    let world = World::seeded(61);
    world.run(async {
        let control = world.open().await;
        let rails = rail(&format!("at: tool_call, {rule}"), mode);
        publish(
            &control,
            &format!("{{ {rails}, approvals: {{ from: financial }} }}"),
        )
        .await;
        let (made, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let calls = Arc::clone(&made);
        let it = agent(move |ctx, _| {
            let (calls, asked) = (Arc::clone(&calls), Arc::clone(&asked));
            async move {
                let params = params(asked.fetch_add(1, Ordering::SeqCst));
                let tool = || async {
                    calls.fetch_add(1, Ordering::SeqCst);
                    Ok(json!("paid"))
                };
                let _ = ctx.tool_call("pay", risk, &params, tool).await;
                Ok(json!("done").into())
            }
        });
        register(&control, "it", it).await;
        let run = begin(&control, TWO, json!({})).await;
        completes(&run).await;
        let denied = count(&control, &run, "tool_call.denied").await;
        let judged = count(&control, &run, "guardrail.judged").await;
        (made.load(Ordering::SeqCst), denied, judged)
    })
}

#[test]
fn what_cannot_be_undone_is_done_once_in_a_run_whatever_step_asks() {
    let same = |_| json!({ "to": "ann" });
    let other = |n| json!({ "to": n });
    let rule = "once_per_intent: true";
    for (mode, risk, params, seen) in [
        (
            "enforce",
            RiskTier::Irreversible,
            same as fn(usize) -> Value,
            (1, 1, 1),
        ),
        ("observe", RiskTier::Irreversible, same, (2, 0, 1)),
        ("'off'", RiskTier::Irreversible, same, (2, 0, 0)),
        ("enforce", RiskTier::Irreversible, other, (2, 0, 0)),
        ("enforce", RiskTier::Write, same, (2, 0, 0)),
    ] {
        assert_eq!(twice(rule, mode, risk, params), seen, "{mode} {risk}");
    }
    let elsewhere = "for: { tools: [other] }, once_per_intent: true";
    let seen = twice(elsewhere, "enforce", RiskTier::Irreversible, same);
    assert_eq!(seen, (2, 0, 0));
}

#[test]
fn a_call_that_is_out_is_not_made_beside_itself_and_one_that_failed_is_made_again() {
    for (fails, seen) in [(false, (1, 1)), (true, (2, 0))] {
        let world = World::seeded(62);
        world.run(async {
            let control = world.open().await;
            let rails = rail("at: tool_call, once_per_intent: true", "enforce");
            publish(
                &control,
                &format!("{{ {rails}, approvals: {{ from: financial }} }}"),
            )
            .await;
            let it = agent(move |ctx, _| async move {
                let params = json!({ "to": "ann" });
                let tool = || async {
                    ctx.sleep(secs(5)).await;
                    if fails {
                        Err("down".to_owned())
                    } else {
                        Ok(json!("paid"))
                    }
                };
                let late = || async {
                    ctx.sleep(secs(if fails { 9 } else { 1 })).await;
                    ctx.tool_call("pay", RiskTier::Irreversible, &params, tool)
                        .await
                };
                let first = ctx.tool_call("pay", RiskTier::Irreversible, &params, tool);
                let _ = futures::join!(first, late());
                Ok(json!("done").into())
            });
            register(&control, "it", it).await;
            let run = begin(&control, ONE, json!({})).await;
            completes(&run).await;
            let made = count(&control, &run, "tool_call.dispatched").await;
            let denied = count(&control, &run, "tool_call.denied").await;
            assert_eq!((made, denied), seen);
        });
    }
}

#[test]
fn a_tool_under_a_dry_run_is_not_called_and_asks_nobody() {
    for (mode, risk, called, judged) in [
        ("enforce", RiskTier::Financial, false, 1),
        ("observe", RiskTier::Write, true, 1),
        ("'off'", RiskTier::Write, true, 0),
    ] {
        let world = World::seeded(63);
        world.run(async {
            let control = world.open().await;
            publish(&control, &rail("at: tool_call, dry_run: true", mode)).await;
            let it = agent(move |ctx, _| async move {
                let tool = || async { Ok(json!("paid")) };
                let params = json!({ "to": "ann" });
                let answer = ctx.tool_call("pay", risk, &params, tool).await?;
                Ok(json!({ "answer": answer, "again": 1 }).into())
            });
            register(&control, "it", it).await;
            let run = begin(&control, ONE, json!({})).await;
            let answer = output_of(&run).await["answer"].clone();
            let expected = if called {
                json!("paid")
            } else {
                json!({ "dry_run": true })
            };
            assert_eq!(answer, expected, "{mode}");
            assert_eq!(count(&control, &run, "guardrail.judged").await, judged);
            assert_eq!(count(&control, &run, "approval.requested").await, 0);
            assert_eq!(count(&control, &run, "tool_call.completed").await, 1);
            if judged == 1 {
                let facts = facts(&control, &run, "guardrail.judged").await;
                assert_eq!([&facts["code"], &facts["verdict"]], ["dry_run", "dry_run"]);
            }
            let acted = run.state().await.unwrap().has_acted();
            assert!(!acted, "nothing was done that cannot be undone");
        });
    }
}

#[test]
fn a_rule_that_denies_goes_before_a_dry_run() {
    let world = World::seeded(64);
    world.run(async {
        let control = world.open().await;
        let rules = "guardrails: [{ id: dry, at: tool_call, dry_run: true }, \
                     { id: never, at: tool_call, tools: { deny: [pay] } }]";
        publish(&control, rules).await;
        let it = agent(|ctx, _| async move {
            let tool = || async { Ok(json!("paid")) };
            let paid = ctx
                .tool_call("pay", RiskTier::Write, &json!({}), tool)
                .await;
            Ok(json!({ "paid": paid.is_ok() }).into())
        });
        register(&control, "it", it).await;
        let run = begin(&control, ONE, json!({})).await;
        assert_eq!(output_of(&run).await["paid"], false);
        assert_eq!(
            facts(&control, &run, "tool_call.denied").await["code"],
            "never"
        );
    });
}

#[test]
fn a_dry_run_stands_in_the_journal_of_the_step() {
    let world = World::seeded(65);
    world.run(async {
        let control = world.open().await;
        publish(&control, &rail("at: tool_call, dry_run: true", "enforce")).await;
        let it = agent(|ctx, _| async move {
            let tool = || async { Ok(json!("paid")) };
            let answer = ctx
                .tool_call("pay", RiskTier::Write, &json!({}), tool)
                .await?;
            if ctx.attempt() == 1 {
                return Err(AgentError::new("once more"));
            }
            Ok(json!({ "answer": answer }).into())
        });
        register(&control, "it", it).await;
        let run = begin(&control, ONE, json!({})).await;
        assert_eq!(output_of(&run).await["answer"], json!({ "dry_run": true }));
        assert_eq!(count(&control, &run, "tool_call.dispatched").await, 1);
    });
}

#[test]
fn predicates_know_what_lies_on_a_list_of_paths_and_hosts() {
    for (predicate, params, code) in [
        (
            "params.path.startsWith(\"/srv/\")",
            json!({ "path": "/srv/a" }),
            None,
        ),
        (
            "params.path.startsWith(\"/srv/\")",
            json!({ "path": "/etc/a" }),
            Some("predicate"),
        ),
        (
            "params.path.startsWith(\"/srv/\")",
            json!({ "path": 7 }),
            Some("rule_error"),
        ),
        (
            "under(params.path, \"/srv\")",
            json!({ "path": "/srv/a/../b" }),
            None,
        ),
        (
            "under(params.path, \"/srv\")",
            json!({ "path": "/srv/../etc" }),
            Some("predicate"),
        ),
        (
            "!under(params.path, \"/etc\")",
            json!({ "path": "/../etc/passwd" }),
            Some("rule_error"),
        ),
        (
            "params.host in [\"example.com\"]",
            json!({ "host": "evil.org" }),
            Some("predicate"),
        ),
        (
            "host(params.url) in [\"example.com\"]",
            json!({ "url": "https://Example.com:443/a" }),
            None,
        ),
        (
            "host(params.url) in [\"example.com\"]",
            json!({ "url": "https://evil.org/example.com" }),
            Some("predicate"),
        ),
        (
            "!(host(params.url) in [\"evil.org\"])",
            json!({ "url": "https://a@evil.org" }),
            Some("rule_error"),
        ),
    ] {
        let rule = format!("predicate: '{predicate}'");
        let judged: Vec<String> = [code; 2].into_iter().flatten().map(Into::into).collect();
        let denied = vec!["r".to_owned(); judged.len()];
        let seen = pays(&rule, "enforce", params.clone());
        assert_eq!(seen, (denied, judged.clone()), "{predicate} {params}");
        assert_eq!(
            pays(&rule, "observe", params),
            (Vec::new(), judged),
            "{predicate}"
        );
    }
}

/// Pays in both steps; the first leaves its call out and ends all the same.
async fn leaves_it_out(world: &World, notes: &Notes) -> (MissionControl, RunHandle) {
    let control = world.open().await;
    let rails = rail("at: tool_call, once_per_intent: true", "enforce");
    publish(
        &control,
        &format!("{{ {rails}, approvals: {{ from: financial }} }}"),
    )
    .await;
    let notes = notes.clone();
    let it = agent(move |ctx, _| {
        let notes = notes.clone();
        async move {
            let tool = || async {
                notes.add(ctx.step().name());
                ctx.sleep(secs(60)).await;
                Ok(json!("paid"))
            };
            let params = json!({ "to": "ann" });
            let paid = ctx.tool_call("pay", RiskTier::Irreversible, &params, tool);
            let given_up = futures::future::select(Box::pin(paid), Box::pin(ctx.sleep(secs(5))));
            drop(given_up.await);
            Ok(json!("done").into())
        }
    });
    register(&control, "it", it).await;
    let run = begin(&control, TWO, json!({})).await;
    run.settled_or_blocked().await.unwrap();
    (control, run)
}

#[test]
fn a_step_does_not_end_well_while_a_call_is_out_that_cannot_be_undone() {
    let (world, notes) = (World::seeded(66), Notes::default());
    world.run(async {
        let (control, run) = leaves_it_out(&world, &notes).await;
        let position = run.settled_or_blocked().await.unwrap();
        let blocked = blocks(&position);
        assert_eq!(blocked[0].1, BlockReason::InDoubt, "{blocked:?}");
        let failed = facts(&control, &run, "attempt.failed").await;
        assert_eq!(failed["code"], "tool_call_out");
        assert_eq!(notes.all(), ["a"]);
    });
}

#[test]
fn what_somebody_says_has_happened_is_not_done_again_by_another_step() {
    let (world, notes) = (World::seeded(67), Notes::default());
    world.run(async {
        let (control, run) = leaves_it_out(&world, &notes).await;
        let happened = Resolution::Happened(Arc::new(json!("paid")));
        let step = "a".parse().unwrap();
        run.resolve("bob", &step, happened, "the bank says so")
            .await
            .unwrap();
        completes(&run).await;
        assert_eq!(notes.all(), ["a"]);
        let denied = facts(&control, &run, "tool_call.denied").await;
        assert_eq!([&denied["code"], &denied["step"]], ["r", "b"]);
    });
}
