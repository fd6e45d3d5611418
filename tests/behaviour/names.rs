//! What rules count and whom they mean: tools over a whole run, models by every name of theirs.

use crate::common::*;
use crate::guardrails::{publish, rail};
use mission_control::RiskTier;

#[test]
fn a_tool_is_counted_over_all_steps_of_a_run() {
    let world = World::seeded(31);
    world.run(async {
        let control = world.open().await;
        publish(
            &control,
            &rail(
                "at: tool_call, max_uses_per_run: 1, for: { tools: [pay] }",
                "enforce",
            ),
        )
        .await;
        let it = agent(|ctx, _| async move {
            let tool = || async { Ok(json!("paid")) };
            let paid = ctx
                .tool_call("pay", RiskTier::Write, &json!({}), tool)
                .await;
            Ok(json!({ "paid": paid.is_ok() }).into())
        });
        register(&control, "it", it).await;
        let yaml = "{ workflow: w, steps: { a: { agent: it }, b: { agent: it, needs: [a] } } }";
        let run = begin(&control, yaml, json!({})).await;
        completes(&run).await;
        assert_eq!(count(&control, &run, "tool_call.denied").await, 1);
        assert_eq!(count(&control, &run, "tool_call.dispatched").await, 1);
    });
}

#[test]
fn what_is_said_of_a_model_is_said_of_its_snapshots() {
    let world = World::seeded(32);
    world.run(async {
        let control = world.open_with(Settings::default()).await;
        let snapshot = "openai/gpt-5.4-2026-03-05".parse::<ModelId>().unwrap();
        let asked = ModelRequest {
            model: snapshot.clone(),
            ..request("p", 10)
        };
        for (list, allowed) in [("deny", false), ("allow", true)] {
            let rule = format!("at: model_call, models: {{ {list}: [openai/gpt-5.4] }}");
            publish(&control, &rail(&rule, "enforce")).await;
            let session = guard(&control).await;
            let admitted = session.reserve(&asked).await.unwrap();
            assert_eq!(matches!(admitted, Admission::Allowed(_)), allowed, "{list}");
        }
    });
}
