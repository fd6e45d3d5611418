//! A step that names no tools may call any, each by its own tier; one that does may call only those.

use crate::asking::*;
use crate::common::*;
use mission_control::{ApprovalFilter, RiskTier};

const POLICY: &str = "tools: { pay: { risk: financial }, look: { risk: read } }";

/// Calls a tool that nobody named and `look`, then `pay`; what came of each.
fn caller() -> Agent {
    agent(|ctx, _| async move {
        let (mut came, params) = (Vec::new(), json!({}));
        for tool in ["other", "look", "pay"] {
            let call = ctx.tool_call(tool, RiskTier::Read, &params, || async { Ok(json!(1)) });
            came.push(match call.await {
                Ok(_) => json!("made"),
                Err(error) => json!(error.code()),
            });
        }
        Ok(json!(came).into())
    })
}

#[test]
fn a_step_without_tools_goes_out_unasked_and_each_call_is_judged_by_its_own_tier() {
    let world = World::seeded(81);
    world.run(async {
        let control = open_for(&world, "it", caller()).await;
        enforce(&control, POLICY).await;
        let run = begin(&control, &one(", risk: read"), json!({})).await;
        let asked = pending(&control, &run).await;
        // The step went out unasked: only the one call waits for a person.
        assert_eq!(count(&control, &run, "step.dispatched").await, 1);
        let all = control.approvals(ApprovalFilter::Pending).await.unwrap();
        assert_eq!(all[0].asked.risk, RiskTier::Financial);
        assert_eq!(count(&control, &run, "tool_call.completed").await, 2);
        control.approve(asked, "bob", "due").await.unwrap();
        assert_eq!(output_of(&run).await, json!(["made", "made", "made"]));
    });
}

#[test]
fn a_step_that_names_tools_is_asked_for_as_a_whole_and_calls_no_others() {
    for (tools, came) in [
        ("[pay]", ["policy_denied", "policy_denied", "made"]),
        ("[look]", ["policy_denied", "made", "policy_denied"]),
        ("[]", ["policy_denied"; 3]),
    ] {
        let world = World::seeded(82);
        world.run(async {
            let control = open_for(&world, "it", caller()).await;
            enforce(&control, POLICY).await;
            let yaml = one(&format!(", risk: read, tools: {tools}"));
            let run = begin(&control, &yaml, json!({})).await;
            let mut asked = 0;
            while let Position::Blocked { .. } = run.settled_or_blocked().await.unwrap() {
                asked += 1;
                if asked == 1 && came[2] == "made" {
                    assert_eq!(count(&control, &run, "step.dispatched").await, 0);
                }
                let id = only(&control).await.id;
                control.approve(id, "bob", "due").await.unwrap();
            }
            // The step, and the call in it.
            assert_eq!(asked, if came[2] == "made" { 2 } else { 0 });
            assert_eq!(output_of(&run).await, json!(came), "{tools}");
        });
    }
}
