//! Approvals of tool calls, inside an attempt and between two of them.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::asking::*;
use crate::common::*;
use mission_control::{ApprovalFault, ApprovalFilter, Detail, RiskTier};

const POLICY: &str = "tools: { pay: { risk: financial, price_usd: '0.10', \
                      schema: { type: object, required: [to] } }, look: { risk: read } }";

/// Calls `pay` with its input, and says what came of it.
fn payer(notes: Notes) -> Agent {
    agent(move |ctx, input| {
        let notes = notes.clone();
        async move {
            // Whatever the agent says of the tier, the policy knows better.
            let paid = ctx.tool_call("pay", RiskTier::Read, &input, || async {
                notes.add("paid");
                Ok(json!("receipt"))
            });
            match paid.await {
                Ok(receipt) => Ok(receipt.into()),
                Err(error) => Ok(json!({"denied": error.code()}).into()),
            }
        }
    })
}

async fn open_payer(world: &World) -> (MissionControl, Notes) {
    let notes = Notes::default();
    let control = open_for(world, "it", payer(notes.clone())).await;
    enforce(&control, POLICY).await;
    (control, notes)
}

#[test]
fn a_tool_call_waits_for_a_person_and_shows_its_exact_parameters() {
    let world = World::seeded(1);
    world.run(async {
        let (control, notes) = open_payer(&world).await;
        let run = begin(&control, ONE, json!({"to": "eve"})).await;
        let position = run.settled_or_blocked().await.unwrap();
        let expected = ("a".to_owned(), BlockReason::Approval, "tool".to_owned());
        assert_eq!(blocks(&position), [expected]);
        let asked = only(&control).await;
        assert_eq!(asked.params.as_deref(), Some(&br#"{"to":"eve"}"#[..]));
        assert_eq!(asked.asked.risk, RiskTier::Financial);
        assert_eq!(asked.asked.maximum.money, "0.10".parse().unwrap());
        control.approve(asked.id, "bob", "yes").await.unwrap();
        assert_eq!(output_of(&run).await, "receipt");
        assert_eq!(notes.len(), 1);
        let used = commit_of(&control, &run, "approval.consumed").await;
        assert_eq!(
            used,
            commit_of(&control, &run, "tool_call.dispatched").await
        );
    });
}

#[test]
fn a_rejected_tool_call_is_a_denial_that_the_agent_gets() {
    let world = World::seeded(2);
    world.run(async {
        let (control, notes) = open_payer(&world).await;
        let run = begin(&control, ONE, json!({"to": "eve"})).await;
        let asked = pending(&control, &run).await;
        control.reject(asked, "bob", "no").await.unwrap();
        assert_eq!(output_of(&run).await, json!({"denied": "approval_invalid"}));
        assert_eq!(notes.len(), 0);
        let denied = facts(&control, &run, "tool_call.denied").await;
        assert_eq!(denied["code"], "approval_rejected");
    });
}

#[test]
fn a_tool_call_that_nobody_decides_in_time_is_denied() {
    let world = World::seeded(3);
    world.run(async {
        let (control, notes) = open_payer(&world).await;
        let run = begin(&control, ONE, json!({"to": "eve"})).await;
        pending(&control, &run).await;
        assert_eq!(output_of(&run).await, json!({"denied": "approval_invalid"}));
        assert!(world.elapsed() >= secs(24 * 3_600));
        assert_eq!(notes.len(), 0);
    });
}

#[test]
fn a_tool_that_the_step_does_not_name_and_parameters_that_the_policy_does_not_know_are_denied() {
    let world = World::seeded(4);
    world.run(async {
        let (control, notes) = open_payer(&world).await;
        let run = begin(&control, &one(", tools: [look]"), json!({"to": "eve"})).await;
        assert_eq!(output_of(&run).await, json!({"denied": "policy_denied"}));
        let code = facts(&control, &run, "tool_call.denied").await["code"].clone();
        assert_eq!(code, "tool_not_allowed");
        let run = begin(&control, ONE, json!({"for": "eve"})).await;
        assert_eq!(output_of(&run).await, json!({"denied": "policy_denied"}));
        let code = facts(&control, &run, "tool_call.denied").await["code"].clone();
        assert_eq!(code, "tool_schema");
        assert_eq!(notes.len(), 0);
    });
}

#[test]
fn a_step_has_the_highest_tier_of_the_tools_that_it_names() {
    let world = World::seeded(5);
    world.run(async {
        let (control, _) = open_payer(&world).await;
        let run = begin(
            &control,
            &one(", risk: read, tools: [look, pay]"),
            json!({"to": 1}),
        )
        .await;
        let asked = only(&control).await;
        assert_eq!(
            (asked.asked.risk, asked.asked.ordinal),
            (RiskTier::Financial, None)
        );
        control.approve(asked.id, "bob", "the step").await.unwrap();
        let call = pending(&control, &run).await;
        control.approve(call, "bob", "the call").await.unwrap();
        assert_eq!(output_of(&run).await, "receipt");
    });
}

/// Asks without waiting, suspends for the decision, and says how it was entered again.
fn patient(notes: Notes) -> Agent {
    agent(move |ctx, input| {
        let notes = notes.clone();
        async move {
            let entered = ctx.resumed().map(|(_, said)| said.cloned());
            let paid = ctx.try_tool_call("pay", RiskTier::Write, &input, || async {
                notes.add("paid");
                Ok(json!("receipt"))
            });
            match paid.await {
                Ok(_) => Ok(entered.flatten().unwrap_or_default().into()),
                Err(error) => match error.detail() {
                    Some(Detail::ApprovalRequest { request_id }) => {
                        let number = request_id.parse::<mission_control::ApprovalId>();
                        let number = number.unwrap().number;
                        Ok(suspended(json!(1), WaitingFor::Approval { number }))
                    }
                    _ => Ok(json!([error.code(), entered]).into()),
                },
            }
        }
    })
}

#[test]
fn an_attempt_that_suspends_for_a_decision_is_entered_again_with_it() {
    for (yes, seed) in [(true, 6), (false, 7)] {
        let world = World::seeded(seed);
        world.run(async {
            let notes = Notes::default();
            let control = open_for(&world, "it", patient(notes.clone())).await;
            enforce(&control, POLICY).await;
            let run = begin(&control, ONE, json!({"to": "eve"})).await;
            let asked = pending(&control, &run).await;
            world.pass(secs(1)).await;
            assert!(run.progress().is_empty(), "nothing is out");
            let output = if yes {
                control.approve(asked, "bob", "fine").await.unwrap();
                output_of(&run).await
            } else {
                control.reject(asked, "bob", "no").await.unwrap();
                output_of(&run).await[1].clone()
            };
            let decision = if yes { "approved" } else { "rejected" };
            assert_eq!(output["decision"], decision);
            assert_eq!(output["by"], "bob");
            assert_eq!(notes.len(), usize::from(yes));
        });
    }
}

#[test]
fn other_parameters_at_the_same_place_end_the_request_and_ask_anew() {
    let world = World::seeded(8);
    world.run(async {
        let tries = Arc::new(AtomicU32::new(0));
        let amounts = agent(move |ctx, _| {
            let to = tries.fetch_add(1, Ordering::SeqCst);
            async move {
                let params = json!({ "to": to });
                let paid =
                    ctx.tool_call("pay", RiskTier::Write, &params, || async { Ok(json!(to)) });
                Ok(paid.await?.into())
            }
        });
        let control = open_for(&world, "it", amounts).await;
        enforce(&control, POLICY).await;
        // The first attempt times out while it waits.
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
        assert_eq!(output_of(&run).await, 1);
    });
}

#[test]
fn text_that_would_mislead_is_kept_byte_by_byte() {
    let world = World::seeded(9);
    world.run(async {
        let (control, _) = open_payer(&world).await;
        let name = format!("\u{202e}eve\u{200b}\u{1b}[2J{}", "x".repeat(100_000));
        let run = begin(&control, ONE, json!({ "to": name })).await;
        let asked = only(&control).await;
        let params = asked.params.unwrap();
        let shown: Value = serde_json::from_slice(&params).unwrap();
        assert_eq!(shown["to"], json!(name));
        let digest = mission_control::Digest::of(&[&params]);
        assert_eq!(asked.asked.params_digest, digest);
        run.abort(("ann", "as tested")).await.unwrap();
        assert!(
            control
                .approvals(ApprovalFilter::Pending)
                .await
                .unwrap()
                .is_empty()
        );
    });
}

#[test]
fn two_calls_of_one_attempt_are_decided_each_on_its_own() {
    let world = World::seeded(10);
    world.run(async {
        let two = agent(|ctx, _| async move {
            let one = |to: u32| {
                let ctx = ctx.clone();
                async move {
                    let params = json!({ "to": to });
                    let paid =
                        ctx.tool_call("pay", RiskTier::Write, &params, || async { Ok(json!(to)) });
                    paid.await.is_ok()
                }
            };
            let (first, second) = futures::join!(one(1), one(2));
            Ok(json!([first, second]).into())
        });
        let control = open_for(&world, "it", two).await;
        enforce(&control, POLICY).await;
        let run = begin(&control, ONE, json!({})).await;
        run.settled_or_blocked().await.unwrap();
        let all = control.approvals(ApprovalFilter::Pending).await.unwrap();
        assert_eq!(all.len(), 2);
        control.reject(all[0].id, "bob", "no").await.unwrap();
        assert_eq!(status(&run, "a").await, StepStatus::Blocked);
        control.approve(all[1].id, "bob", "yes").await.unwrap();
        assert_eq!(output_of(&run).await, json!([false, true]));
    });
}
