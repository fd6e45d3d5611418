//! Denials that need no rule of the policy: each is a verdict with an id that stays.

use crate::asking::*;
use crate::common::*;
use mission_control::RiskTier;

/// The one verdict of a run: rule, version, verdict; it has a hash of what was judged.
async fn verdict(control: &MissionControl, run: &RunHandle) -> (String, u64, Value) {
    assert_eq!(count(control, run, "guardrail.judged").await, 1);
    let facts = facts(control, run, "guardrail.judged").await;
    assert_eq!(
        (&facts["mode"], &facts["verdict"]),
        (&json!("enforce"), &json!("deny"))
    );
    let version = facts["policy_version"].as_u64().unwrap_or(0);
    (facts["rule"].as_str().unwrap().to_owned(), version, facts)
}

#[test]
fn a_model_without_a_price_is_denied_under_an_id() {
    let world = World::seeded(1);
    world.run(async {
        let control = world.open().await;
        enforce(&control, "unknown_models: deny").await;
        let session = guard(&control).await;
        let mut unknown = request("p", 5);
        unknown.model = "test/unknown".parse().unwrap();
        let admission = session.reserve(&unknown).await.unwrap();
        assert!(matches!(admission, Admission::Denied(_)));
        let run = control.run(session.id());
        session.close().await.unwrap();
        let (rule, version, facts) = verdict(&control, &run).await;
        assert_eq!((rule.as_str(), version), ("builtin.unknown_model", 1));
        assert_eq!(facts["code"], "unknown_model");
        let denied = super::common::facts(&control, &run, "model_call.denied").await;
        assert_eq!(denied["code"], "unknown_model");
    });
}

#[test]
fn a_step_whose_estimate_has_no_price_waits_under_an_id() {
    let world = World::seeded(2);
    world.run(async {
        let (control, _) = open_noting(&world).await;
        let rest = ", estimate: { model: test/unknown, input_tokens: 1, max_output_tokens: 1 }";
        let run = begin(&control, &one(rest), json!({"x": 1})).await;
        let position = run.settled_or_blocked().await.unwrap();
        let expected = (
            "a".to_owned(),
            BlockReason::Guardrail,
            "unknown_model".to_owned(),
        );
        assert_eq!(blocks(&position), [expected]);
        let (rule, version, facts) = verdict(&control, &run).await;
        assert_eq!((rule.as_str(), version), ("builtin.unknown_model", 0));
        assert_eq!(facts["at"], "admission");
        let input = mission_control::Digest::of(&[br#"{"x":1}"#]);
        assert_eq!(facts["inputs_hash"], json!(input));
    });
}

#[test]
fn an_agent_that_may_act_no_more_is_told_of_once_with_its_rule() {
    let world = World::seeded(3);
    world.run(async {
        let waits = agent(|ctx, _| async move {
            ctx.sleep(secs(5)).await;
            Ok(json!({}).into())
        });
        let control = open_for(&world, "it", waits).await;
        let two = "{ workflow: w, steps: { a: { agent: it }, b: { agent: it, needs: [a] } } }";
        let run = begin(&control, two, json!({})).await;
        let rule = "guardrails: [{ id: who, at: admission, agents: { deny: [it] } }]";
        enforce(&control, rule).await;
        let position = run.settled_or_blocked().await.unwrap();
        let expected = ("b".to_owned(), BlockReason::Guardrail, "who".to_owned());
        assert_eq!(blocks(&position), [expected]);
        world.pass(secs(600)).await;
        let (rule, version, facts) = verdict(&control, &run).await;
        assert_eq!((rule.as_str(), version), ("who", 1));
        assert_eq!(
            (&facts["code"], &facts["step"]),
            (&json!("agents"), &json!("b"))
        );
    });
}

/// A step of one agent, which calls `pay`: the one verdict of its run.
fn paying(policy: &str, rest: &str, input: Value) -> (String, u64, Value) {
    let world = World::seeded(4);
    world.run(async {
        let it = agent(|ctx, input| async move {
            let paid = ctx.tool_call("pay", RiskTier::Read, &input, || async { Ok(json!(1)) });
            Ok(paid
                .await
                .map_or_else(|e| json!(e.code()), |_| json!("paid"))
                .into())
        });
        let control = open_for(&world, "it", it).await;
        enforce(&control, policy).await;
        let run = begin(&control, &one(rest), input).await;
        assert_eq!(output_of(&run).await, "policy_denied");
        verdict(&control, &run).await
    })
}

#[test]
fn a_tool_that_is_not_named_and_parameters_that_are_wrong_are_denied_under_ids() {
    let read = "tools: { pay: { risk: read, schema: { type: object, required: [to] } } }";
    let (rule, version, facts) = paying(read, ", tools: [look]", json!({"to": 1}));
    assert_eq!((rule.as_str(), version), ("builtin.tool_not_allowed", 1));
    assert_eq!(facts["at"], "tool_call");
    let (rule, version, facts) = paying(read, "", json!({"for": 1}));
    assert_eq!((rule.as_str(), version), ("builtin.tool_schema", 1));
    let params = mission_control::Digest::of(&[br#"{"for":1}"#]);
    assert_eq!(facts["inputs_hash"], json!(params));
}

#[test]
fn a_call_above_what_was_approved_is_denied_under_an_id() {
    let world = World::seeded(5);
    world.run(async {
        let it = agent(|ctx, _| async move {
            let dear = call(&ctx, "p", 9, 1).await;
            Ok(json!(matches!(dear, Err(CallError::Denied(_)))).into())
        });
        let control = open_for(&world, "it", it).await;
        let rest = ", risk: irreversible, estimate: { model: test/m, input_tokens: 1, max_output_tokens: 4 }";
        let run = begin(&control, &one(rest), json!({})).await;
        let asked = pending(&control, &run).await;
        control.approve(asked, "bob", "yes").await.unwrap();
        assert_eq!(output_of(&run).await, true);
        let (rule, _, facts) = verdict(&control, &run).await;
        assert_eq!(rule, "builtin.over_maximum_cost");
        assert_eq!(facts["ordinal"], 0);
    });
}
