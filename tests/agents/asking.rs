//! Model calls of agents of which a rule asks a person: they suspend, and go on with the word.

use crate::common::*;
use crate::tools::{ONCE, asked, done, model, pay, policy, wants, world};

/// The first call of a step goes out unasked.
const SECOND: &str =
    "guardrails: [ { id: more, at: model_call, verdict: needs_approval, max_calls_per_step: 1 } ]";

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_suspends_for_its_next_turn_and_goes_on_without_paying_again() {
    for api in ["openai_chat", "openai_responses", "anthropic"] {
        let server = model([wants("pay", &json!({"to": "eve"}))]);
        let world = world(&server, api, &format!("tools: {{ {} }}", pay())).await;
        policy(&world, SECOND).await;
        let run = world.start(ONCE, json!("hi")).await;
        let id = asked(&world, &run).await;
        assert_eq!(
            (server.received().len(), done(&world).len()),
            (1, 1),
            "{api}"
        );
        assert_eq!(world.facts(&run, "step.suspended").await.len(), 1);
        world.control.approve(id, "bob", "go on").await.unwrap();
        let outcome = run.outcome().await.unwrap();
        assert_eq!(output(&outcome), &json!({"text": "done"}), "{api}");
        assert_eq!(
            (server.received().len(), done(&world).len()),
            (2, 1),
            "{api}"
        );
        assert_eq!(world.facts(&run, "model_call.settled").await.len(), 2);
        assert_eq!(world.facts(&run, "approval.consumed").await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_whose_call_is_rejected_fails_its_step() {
    let server = model([wants("pay", &json!({"to": "eve"}))]);
    let world = world(&server, "anthropic", &format!("tools: {{ {} }}", pay())).await;
    policy(&world, SECOND).await;
    let run = world.start(ONCE, json!("hi")).await;
    let id = asked(&world, &run).await;
    world.control.reject(id, "bob", "enough").await.unwrap();
    let outcome = run.outcome().await.unwrap();
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    let failed = world.facts(&run, "step.failed").await;
    assert_eq!(failed[0]["code"], "approval_rejected");
    assert_eq!(server.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_holds_for_two_models_is_asked_of_each_once_and_then_starts() {
    let reply = r#"{"output": "done", "usage": []}"#;
    let program = format!("echo started >> mark; cat > /dev/null; echo '{reply}'");
    let program = serde_json::to_string(&program).unwrap();
    let bound = |model| format!("{{ model: {model}, input_tokens: 40, max_output_tokens: 10 }}");
    let world = World::with(&format!(
        "agents: {{ a: {{ kind: command, program: [sh, -c, {program}], models: [ {}, {} ] }} }}",
        bound("test/m"),
        bound("test/n")
    ))
    .await;
    let every = "unknown_models: { price_as: test/m }\nguardrails: [ { id: all, at: model_call, verdict: needs_approval, max_input_tokens: 1 } ]";
    policy(&world, every).await;
    let run = world.start(ONCE, json!({})).await;
    for _ in 0..2 {
        let id = asked(&world, &run).await;
        assert!(!world.dir.path().join("mark").exists());
        world.control.approve(id, "bob", "go on").await.unwrap();
    }
    let outcome = run.outcome().await.unwrap();
    assert_eq!(output(&outcome), "done");
    assert_eq!(world.facts(&run, "approval.requested").await.len(), 2);
    let marks = std::fs::read_to_string(world.dir.path().join("mark")).unwrap();
    assert_eq!(marks.lines().count(), 1);
}
