//! What becomes of approvals that are not simply given and used: left over, outspent, orphaned.

use crate::asking::*;
use crate::common::*;
use mission_control::{ApprovalFilter, ApprovalState, Resolution, RiskTier};

/// Takes longer than any approval is open.
fn slow() -> Agent {
    agent(|ctx, _| async move {
        ctx.sleep(secs(30 * 3_600)).await;
        Ok(json!("done").into())
    })
}

/// A run whose step is approved, and goes out under a policy that would not have asked.
async fn let_go(control: &MissionControl) -> RunHandle {
    let run = begin(control, &one(", risk: irreversible"), json!({})).await;
    let asked = pending(control, &run).await;
    run.pause(("ann", "as tested")).await.unwrap();
    control.approve(asked, "bob", "yes").await.unwrap();
    enforce(control, "approvals: { from: financial }").await;
    run.resume(("ann", "as tested")).await.unwrap();
    run
}

#[test]
fn an_approval_that_a_looser_policy_does_not_need_is_used_and_ends_nothing_later() {
    let world = World::seeded(1);
    world.run(async {
        let control = open_for(&world, "it", slow()).await;
        let run = let_go(&control).await;
        completes(&run).await;
        assert_eq!(state_of(&run).await, ApprovalState::Consumed);
    });
}

#[test]
fn what_did_not_happen_takes_what_was_asked_with_it() {
    let world = World::seeded(3);
    let acted = Notes::default();
    let acts = |acted: Notes| {
        agent(move |ctx, _| {
            let acted = acted.clone();
            async move {
                if ctx.attempt() > 1 {
                    return Ok(json!("done").into());
                }
                let (financial, none) = (RiskTier::Financial, json!({}));
                let asked = ctx.try_tool_call("pay", financial, &none, || async { Ok(json!(1)) });
                assert!(asked.await.is_err());
                let out = ctx.tool_call("send", RiskTier::Irreversible, &none, || async {
                    acted.add("sent");
                    std::future::pending::<()>().await;
                    Ok(json!(1))
                });
                Ok(out.await?.into())
            }
        })
    };
    let run = world.run(async {
        let control = open_for(&world, "it", acts(acted.clone())).await;
        enforce(&control, "approvals: { from: financial }").await;
        let run = begin(&control, ONE, json!({})).await;
        while acted.len() == 0 {
            world.pass(secs(1)).await;
        }
        run.id()
    });
    world.crash();
    world.run(async {
        let control = open_for(&world, "it", acts(acted.clone())).await;
        control.start_dispatch().await.unwrap();
        let run = control.run(run);
        run.settled_or_blocked().await.unwrap();
        let step = "a".parse().unwrap();
        let word = Resolution::DidNotHappen;
        run.resolve("bob", &step, word, "no trace").await.unwrap();
        completes(&run).await;
        let left = control.approvals(ApprovalFilter::Pending).await.unwrap();
        assert!(left.is_empty(), "{left:?}");
        // It ended with the word, not later with its step.
        let ended = commit_of(&control, &run, "approval.voided").await;
        assert_eq!(ended, commit_of(&control, &run, "step.resolved").await);
    });
}

const ESTIMATE: &str = ", risk: irreversible, estimate: \
                        { model: test/m, input_tokens: 0, max_output_tokens: 50 }";

/// Calls twice, and says what came of the second.
fn calls_twice(agent_of_second: Option<&'static str>) -> Agent {
    agent(move |ctx, _| async move {
        call(&ctx, "first", 40, 20).await?;
        let second = ModelRequest {
            agent: agent_of_second.map(|name| name.parse().unwrap()),
            ..request("second", 40)
        };
        let answered = ctx.model_call(&second, |_| async { Ok(answer("ok", 20)) });
        match answered.await {
            Ok(_) => Ok(json!("answered").into()),
            Err(CallError::Denied(error)) => Ok(json!(error.message()).into()),
            Err(error) => panic!("{error:?}"),
        }
    })
}

async fn approved(world: &World, yaml: &str, agent: Agent) -> (MissionControl, RunHandle) {
    let control = open_for(world, "it", agent).await;
    let run = begin(&control, yaml, json!({})).await;
    let asked = pending(&control, &run).await;
    control.approve(asked, "bob", "yes").await.unwrap();
    (control, run)
}

#[test]
fn an_approved_step_may_not_cost_more_than_was_shown() {
    for other in [None, Some("helper")] {
        let world = World::seeded(4);
        world.run(async {
            let (control, run) = approved(&world, &one(ESTIMATE), calls_twice(other)).await;
            let told = output_of(&run).await;
            assert!(
                told.as_str().unwrap().starts_with("over_maximum_cost: "),
                "{told}"
            );
            let denied = facts(&control, &run, "model_call.denied").await;
            assert_eq!(denied["code"], "over_maximum_cost");
            assert!(workspace(&control).exposure().money <= mills(50));
        });
    }
}

#[test]
fn an_approved_step_without_an_estimate_is_shown_as_not_bounded() {
    let world = World::seeded(5);
    world.run(async {
        let control = open_for(&world, "it", calls_twice(None)).await;
        let run = begin(&control, &one(", risk: irreversible"), json!({})).await;
        let asked = only(&control).await;
        assert!(!asked.asked.is_bounded());
        control.approve(asked.id, "bob", "yes").await.unwrap();
        assert_eq!(output_of(&run).await, "answered");
        let requested = facts(&control, &run, "approval.requested").await;
        assert_eq!(requested["unbounded"], true);
    });
}

#[test]
fn a_no_to_one_tool_says_nothing_of_another() {
    let world = World::seeded(6);
    world.run(async {
        let twice = agent(|ctx, _| async move {
            let tool = if ctx.attempt() == 1 { "pay" } else { "refund" };
            let params = json!({"to": "eve"});
            let called = ctx.tool_call(tool, RiskTier::Financial, &params, || async {
                Ok(json!("done"))
            });
            match called.await {
                Ok(value) => Ok(value.into()),
                Err(error) => Err(AgentError::with_code("no", error.to_string())),
            }
        });
        let control = open_for(&world, "it", twice).await;
        let run = begin(&control, ONE, json!({})).await;
        let asked = pending(&control, &run).await;
        control.reject(asked, "bob", "no").await.unwrap();
        let second = pending(&control, &run).await;
        assert_eq!(second.number, 2);
        control.approve(second, "bob", "that one").await.unwrap();
        assert_eq!(output_of(&run).await, "done");
    });
}

#[test]
fn who_started_or_asks_is_known_in_any_spelling() {
    let world = World::seeded(7);
    world.run(async {
        let (control, _) = open_noting(&world).await;
        let run = begin(&control, &one(", risk: financial"), json!({})).await;
        let asked = pending(&control, &run).await;
        for own in ["ann", "Ann", "ANN"] {
            let own = control.approve(asked, own, "my own").await;
            refused(own, mission_control::ApprovalFault::FourEyes);
        }
        let agent = control.approve(asked, "IT", "me").await;
        refused(agent, mission_control::ApprovalFault::Requester);
        for odd in [
            " ann",
            "ann ",
            "a\u{200b}nn",
            "ann\u{fe0f}",
            "an\u{a0}n",
            "\u{3164}ann",
        ] {
            let error = control.approve(asked, odd, "not me").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{odd:?}");
        }
        control.approve(asked, "Bob the 2nd", "yes").await.unwrap();
        completes(&run).await;
    });
}
