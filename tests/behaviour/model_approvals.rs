//! Approvals of model calls: a rule asks, a person says, and the call that was shown goes out once.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::asking::*;
use crate::common::*;
use mission_control::{AbortReason, ApprovalFault, ApprovalState, Digest, Permit, RiskTier};

/// Every call of more than three thousandths of a dollar is asked of a person.
pub const POLICY: &str = "guardrails: [{ id: dear, at: model_call, verdict: needs_approval, \
                      max_cost_per_call: { usd: '0.003' } }]";

/// Makes one call that may cost what its input says, and waits where it has to.
fn asker(notes: Notes) -> Agent {
    agent(move |ctx, input| {
        let notes = notes.clone();
        async move {
            let most = input["mills"].as_u64().unwrap_or(5);
            let asked = request("p", most);
            let sent = ctx.model_call(&asked, |_| async {
                notes.add("sent");
                Ok(answer("ok", 1))
            });
            match sent.await {
                Ok(answer) => Ok(answer.output.into()),
                Err(CallError::Denied(error)) => Ok(json!({"denied": error.code()}).into()),
                Err(error) => Err(error.into()),
            }
        }
    })
}

async fn open_asker(world: &World) -> (MissionControl, Notes) {
    let notes = Notes::default();
    let control = open_for(world, "it", asker(notes.clone())).await;
    enforce(&control, POLICY).await;
    (control, notes)
}

#[test]
fn a_call_waits_for_a_person_and_shows_the_whole_request() {
    let world = World::seeded(1);
    world.run(async {
        let (control, notes) = open_asker(&world).await;
        let run = begin(&control, ONE, json!({})).await;
        let position = run.settled_or_blocked().await.unwrap();
        let expected = ("a".to_owned(), BlockReason::Approval, "model".to_owned());
        assert_eq!(blocks(&position), [expected]);
        let asked = only(&control).await;
        let shown: Value = serde_json::from_slice(asked.params.as_deref().unwrap()).unwrap();
        assert_eq!(shown["messages"][0]["content"], "p");
        assert_eq!(
            (&shown["model"], &shown["max_output_tokens"]),
            (&json!("test/m"), &json!(5))
        );
        assert_eq!(asked.asked.model, Some(model()));
        assert_eq!(asked.asked.rule.as_deref(), Some("dear"));
        assert_eq!(
            (asked.asked.risk, asked.asked.maximum.money),
            (RiskTier::Write, mills(5))
        );
        let workspace = &asked.budgets[0];
        assert_eq!(
            (&workspace.account, workspace.after.money),
            (&AccountId::Workspace, mills(5))
        );
        assert_eq!(notes.len(), 0);
        control.approve(asked.id, "bob", "yes").await.unwrap();
        assert_eq!(output_of(&run).await, "ok");
        assert_eq!(notes.len(), 1);
    });
}

#[test]
fn an_approval_is_used_in_the_commit_of_the_call_that_it_names() {
    let world = World::seeded(2);
    world.run(async {
        let (control, _) = open_asker(&world).await;
        let run = begin(&control, ONE, json!({})).await;
        let asked = only(&control).await;
        control.approve(asked.id, "bob", "yes").await.unwrap();
        completes(&run).await;
        let used = commit_of(&control, &run, "approval.consumed").await;
        assert_eq!(used, commit_of(&control, &run, "model_call.reserved").await);
        let reserved = facts(&control, &run, "model_call.reserved").await;
        assert_eq!(reserved["approval"], 1);
        let requested = facts(&control, &run, "approval.requested").await;
        assert_eq!(requested["params_digest"], reserved["request"]);
        let shown = Digest::of(&[asked.params.as_deref().unwrap()]);
        assert_eq!(requested["params_digest"], json!(shown));
        let judged = facts(&control, &run, "guardrail.judged").await;
        assert_eq!(
            (&judged["verdict"], &judged["rule"]),
            (&json!("needs_approval"), &json!("dear"))
        );
        // Once when it was asked, and once when it went out.
        assert_eq!(count(&control, &run, "guardrail.judged").await, 2);
    });
}

#[test]
fn a_call_that_no_rule_asks_of_goes_out_at_once() {
    let world = World::seeded(3);
    world.run(async {
        let (control, notes) = open_asker(&world).await;
        let run = begin(&control, ONE, json!({"mills": 3})).await;
        assert_eq!(output_of(&run).await, "ok");
        assert_eq!(
            (
                notes.len(),
                count(&control, &run, "approval.requested").await
            ),
            (1, 0)
        );
        let observed = POLICY.replace("verdict", "mode: observe, verdict");
        enforce(&control, &observed).await;
        let run = start(&control, json!({"mills": 9})).await;
        assert_eq!(output_of(&run).await, "ok");
        assert_eq!(count(&control, &run, "guardrail.judged").await, 1);
    });
}

#[test]
fn a_call_that_is_rejected_or_not_decided_is_denied() {
    for (rejects, code) in [(true, "approval_rejected"), (false, "approval_expired")] {
        let world = World::seeded(4);
        world.run(async {
            let (control, notes) = open_asker(&world).await;
            let run = begin(&control, ONE, json!({})).await;
            let asked = pending(&control, &run).await;
            if rejects {
                control.reject(asked, "bob", "no").await.unwrap();
            }
            assert_eq!(output_of(&run).await, json!({"denied": "approval_invalid"}));
            assert_eq!(world.elapsed() >= secs(24 * 3_600), !rejects);
            let denied = facts(&control, &run, "model_call.denied").await;
            assert_eq!(denied["code"], code);
            assert_eq!(notes.len(), 0);
            let word = control.approve(asked, "bob", "yes").await;
            let fault = if rejects {
                ApprovalFault::Decided
            } else {
                ApprovalFault::Expired
            };
            refused(word, fault);
        });
    }
}

/// Asks without waiting and suspends for the decision; says how often it was entered, and what for.
fn patient(notes: Notes) -> Agent {
    agent(move |ctx, _| {
        let notes = notes.clone();
        async move {
            let asked = request("cheap", 1);
            let first = ctx.try_model_call(&asked, |_| async {
                notes.add("cheap");
                Ok(answer("ok", 1))
            });
            first.await?;
            let asked = request("dear", 9);
            let second = ctx.try_model_call(&asked, |_| async {
                notes.add("dear");
                Ok(answer("ok", 2))
            });
            match second.await {
                Ok(_) => Ok(ctx.resumed().unwrap().1.cloned().unwrap().into()),
                Err(CallError::NeedsApproval(id)) => {
                    let waiting_for = WaitingFor::Approval { number: id.number };
                    Ok(suspended(json!(1), waiting_for))
                }
                Err(error) => Err(error.into()),
            }
        }
    })
}

#[test]
fn an_attempt_that_suspends_is_entered_again_with_the_decision_and_its_journal() {
    let world = World::seeded(5);
    world.run(async {
        let notes = Notes::default();
        let control = open_for(&world, "it", patient(notes.clone())).await;
        enforce(&control, POLICY).await;
        let run = begin(&control, ONE, json!({})).await;
        let asked = pending(&control, &run).await;
        world.pass(secs(1)).await;
        assert!(run.progress().is_empty(), "nothing is out");
        assert_eq!(workspace(&control).reserved().money, mills(0));
        control.approve(asked, "bob", "fine").await.unwrap();
        let decision = output_of(&run).await;
        assert_eq!(
            (&decision["decision"], &decision["by"]),
            (&json!("approved"), &json!("bob"))
        );
        assert_eq!(notes.all(), ["cheap", "dear"]);
        assert_eq!(workspace(&control).spent().money, mills(3));
    });
}

#[test]
fn a_rejection_fails_the_step_of_an_agent_that_gives_up_over_it() {
    let world = World::seeded(6);
    world.run(async {
        let control = open_for(&world, "it", patient(Notes::default())).await;
        enforce(&control, POLICY).await;
        let run = begin(&control, ONE, json!({})).await;
        let asked = pending(&control, &run).await;
        control.reject(asked, "bob", "no").await.unwrap();
        let outcome = run.outcome().await.unwrap();
        assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
        let failed = facts(&control, &run, "step.failed").await;
        assert_eq!(failed["code"], "approval_rejected");
    });
}

#[test]
fn a_call_that_the_provider_refused_goes_out_again_under_the_same_approval() {
    let throttled = ProviderError::new(status_code(429), "slow down");
    let unreachable = ProviderError::new(CallFailure::Unreachable, "nobody there");
    for failure in [throttled, unreachable] {
        let world = World::seeded(7);
        world.run(async {
            let tries = Arc::new(AtomicU32::new(0));
            let it = agent(move |ctx, _| {
                let (tries, failure) = (Arc::clone(&tries), failure.clone());
                async move {
                    let asked = request("p", 5);
                    let sent = ctx.model_call(&asked, |_| {
                        let first = tries.fetch_add(1, Ordering::SeqCst) == 0;
                        let failure = failure.clone();
                        async move {
                            if first {
                                Err(failure)
                            } else {
                                Ok(answer("ok", 1))
                            }
                        }
                    });
                    Ok(sent.await?.output.into())
                }
            });
            let control = open_for(&world, "it", it).await;
            enforce(&control, POLICY).await;
            let run = begin(&control, ONE, json!({})).await;
            let asked = pending(&control, &run).await;
            control.approve(asked, "bob", "yes").await.unwrap();
            assert_eq!(output_of(&run).await, "ok");
            assert_eq!(count(&control, &run, "approval.requested").await, 1);
            assert_eq!(count(&control, &run, "model_call.reserved").await, 2);
        });
    }
}

#[test]
fn a_call_that_may_have_been_billed_is_asked_of_a_person_anew() {
    let world = World::seeded(8);
    world.run(async {
        let tries = Arc::new(AtomicU32::new(0));
        let it = agent(move |ctx, _| {
            let first = tries.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                let asked = request("p", 5);
                let sent = ctx.model_call(&asked, |_| async move {
                    let lost = || ProviderError::new(CallFailure::Timeout, "lost");
                    if first {
                        Err(lost())
                    } else {
                        Ok(answer("ok", 1))
                    }
                });
                Ok(sent.await?.output.into())
            }
        });
        let control = open_for(&world, "it", it).await;
        enforce(&control, POLICY).await;
        let run = begin(&control, ONE, json!({})).await;
        let first = pending(&control, &run).await;
        control.approve(first, "bob", "yes").await.unwrap();
        world.pass(secs(5)).await;
        let second = only(&control).await;
        assert_ne!(first, second.id);
        control
            .approve(second.id, "bob", "once more")
            .await
            .unwrap();
        assert_eq!(output_of(&run).await, "ok");
    });
}

#[test]
fn another_request_at_the_same_place_ends_the_question_and_asks_anew() {
    let world = World::seeded(9);
    world.run(async {
        let tries = Arc::new(AtomicU32::new(0));
        let it = agent(move |ctx, _| {
            let prompt = format!("p{}", tries.fetch_add(1, Ordering::SeqCst));
            async move {
                let asked = request(&prompt, 5);
                let sent = ctx.model_call(&asked, |_| async { Ok(answer("ok", 1)) });
                Ok(sent.await?.output.into())
            }
        });
        let control = open_for(&world, "it", it).await;
        enforce(&control, POLICY).await;
        let run = begin(&control, &one(", timeout: 60s"), json!({})).await;
        let first = pending(&control, &run).await;
        world.pass(secs(95)).await;
        let second = pending(&control, &run).await;
        assert_ne!(first, second);
        let voided = facts(&control, &run, "approval.voided").await;
        assert_eq!(voided["reason"], "params_changed");
        refused(
            control.approve(first, "bob", "yes").await,
            ApprovalFault::ParamsChanged,
        );
        control.approve(second, "bob", "yes").await.unwrap();
        assert_eq!(output_of(&run).await, "ok");
    });
}

#[test]
fn a_rule_that_no_longer_asks_lets_the_call_go_and_ends_the_question() {
    let world = World::seeded(10);
    world.run(async {
        let (control, notes) = open_asker(&world).await;
        let run = begin(&control, &one(", timeout: 60s"), json!({})).await;
        let asked = pending(&control, &run).await;
        enforce(&control, "guardrails: []").await;
        // Nobody wakes it; its next attempt asks again.
        world.pass(secs(95)).await;
        assert_eq!(output_of(&run).await, "ok");
        assert_eq!(notes.len(), 1);
        refused(
            control.approve(asked, "bob", "yes").await,
            ApprovalFault::PolicyChanged,
        );
    });
}

#[test]
fn what_can_never_fit_or_is_denied_is_asked_of_nobody() {
    let world = World::seeded(11);
    world.run(async {
        let (control, _) = open_asker(&world).await;
        set(&control, AccountId::Workspace, 4, OnExceed::Abort).await;
        let run = begin(&control, ONE, json!({})).await;
        let outcome = run.outcome().await.unwrap();
        let aborted = matches!(outcome, Outcome::Aborted(AbortReason::Budget { .. }));
        assert!(aborted, "{outcome:?}");
        assert_eq!(count(&control, &run, "approval.requested").await, 0);
        let denies = POLICY.replace(']', ", { id: never, at: model_call, max_bytes: 1 }]");
        enforce(&control, &denies).await;
        set(&control, AccountId::Workspace, 400, OnExceed::Abort).await;
        let run = start(&control, json!({})).await;
        assert_eq!(output_of(&run).await, json!({"denied": "policy_denied"}));
        assert_eq!(count(&control, &run, "approval.requested").await, 0);
    });
}

#[test]
fn an_approval_stays_unused_while_the_call_waits_for_money() {
    let world = World::seeded(12);
    world.run(async {
        let (control, _) = open_asker(&world).await;
        set(&control, AccountId::Workspace, 6, OnExceed::Abort).await;
        let session = guard(&control).await;
        let other: Permit = permit(&session, 3).await;
        let run = begin(&control, ONE, json!({})).await;
        let asked = pending(&control, &run).await;
        control.approve(asked, "bob", "yes").await.unwrap();
        world.pass(secs(5)).await;
        assert_eq!(state_of(&run).await, ApprovalState::Approved);
        other.settle(&answer("ok", 1)).await.unwrap();
        session.close().await.unwrap();
        assert_eq!(output_of(&run).await, "ok");
        assert_eq!(state_of(&run).await, ApprovalState::Consumed);
    });
}

#[test]
fn a_price_above_what_was_shown_asks_anew() {
    let world = World::seeded(13);
    world.run(async {
        let (control, _) = open_asker(&world).await;
        let run = begin(&control, &one(", timeout: 60s"), json!({})).await;
        let first = pending(&control, &run).await;
        // The same request is dearer by the time that it is asked for again.
        let dearer = crate::prices::double();
        control.change_prices("ann", dearer).await.unwrap();
        world.pass(secs(95)).await;
        let second = only(&control).await;
        assert_ne!(second.id, first);
        assert_eq!(second.asked.maximum.money, mills(10));
    });
}

#[test]
fn an_unattended_run_ends_where_a_rule_asks() {
    let world = World::seeded(16);
    world.run(async {
        let mut settings = settings();
        settings.run_policy.unattended = true;
        let notes = Notes::default();
        let control = open_with(&world, settings, "it", asker(notes.clone())).await;
        enforce(&control, POLICY).await;
        let run = begin(&control, ONE, json!({})).await;
        let outcome = run.outcome().await.unwrap();
        assert!(
            matches!(outcome, Outcome::Aborted(AbortReason::Policy { .. })),
            "{outcome:?}"
        );
        assert_eq!(notes.len(), 0);
    });
}

#[test]
fn a_question_outlives_a_crash_and_its_approval_too() {
    let world = World::seeded(17);
    let (id, run) = world.run(async {
        let (control, _) = open_asker(&world).await;
        let run = begin(&control, ONE, json!({})).await;
        (pending(&control, &run).await, run.id())
    });
    world.crash();
    world.run(async {
        let notes = Notes::default();
        let control = open_for(&world, "it", asker(notes.clone())).await;
        control.approve(id, "bob", "yes").await.unwrap();
        control.start_dispatch().await.unwrap();
        let run = control.run(run);
        assert_eq!(output_of(&run).await, "ok");
        assert_eq!(
            (
                notes.len(),
                count(&control, &run, "approval.requested").await
            ),
            (1, 1)
        );
    });
}

#[test]
fn an_output_that_a_rule_asks_of_is_not_clamped() {
    let world = World::seeded(18);
    world.run(async {
        let notes = Notes::default();
        let control = open_for(&world, "it", asker(notes.clone())).await;
        let rule = "guardrails: [{ id: long, at: model_call, verdict: needs_approval, max_output_tokens: 2 }]";
        enforce(&control, rule).await;
        let run = begin(&control, ONE, json!({})).await;
        let asked = only(&control).await;
        assert_eq!(asked.asked.maximum.output_tokens, 5);
        control.approve(asked.id, "bob", "yes").await.unwrap();
        assert_eq!(output_of(&run).await, "ok");
    });
}

#[test]
fn a_rule_that_errs_denies_and_asks_nobody() {
    let world = World::seeded(19);
    world.run(async {
        let it = agent(|ctx, _| async move {
            let params = json!({"sum": 5});
            let called = ctx.tool_call("pay", RiskTier::Read, &params, || async { Ok(json!(1)) });
            Ok(called
                .await
                .map_or_else(|e| json!(e.code()), |_| json!("called"))
                .into())
        });
        let control = open_for(&world, "it", it).await;
        let rule = "tools: { pay: { risk: read } }\nguardrails: [{ id: sum, at: tool_call, \
                    verdict: needs_approval, predicate: 'params.SUM <= 3' }]";
        enforce(&control, &rule.replace("SUM", "total")).await;
        let run = begin(&control, ONE, json!({})).await;
        assert_eq!(output_of(&run).await, "policy_denied");
        // A tool of tier `read` is asked of a person where a rule wants it.
        enforce(&control, &rule.replace("SUM", "sum")).await;
        let run = start(&control, json!({})).await;
        let asked = only(&control).await;
        assert_eq!(asked.asked.rule.as_deref(), Some("sum"));
        control.approve(asked.id, "bob", "yes").await.unwrap();
        assert_eq!(output_of(&run).await, "called");
    });
}
