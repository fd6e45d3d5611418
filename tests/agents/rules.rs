//! Rules in flight bind the chat agents that are ready made: what a policy file forbids is cut.

use mission_control::Policy;

use crate::common::*;

const ONCE: &str = "agent: a, retry: { maximum_attempts: 1 }";
const APIS: [&str; 3] = ["openai_chat", "openai_responses", "anthropic"];
/// What an attempt can cost at most.
const HELD: i64 = 1_000 + 100;

/// A stream of eighty bytes that stalls once half of them have come.
fn stalled() -> Completion {
    Completion {
        fault: Fault::StallAfter(4),
        pieces: 8,
        ..Completion::text(&"0123456789".repeat(8), Usage::text(1, 20))
    }
}

async fn world(server: &ModelServer, api: &str, more: &str, rule: &str) -> World {
    let url = server.url("/v1");
    let agents = format!(
        "agents: {{ a: {{ kind: chat, api: {api}, base_url: \"{url}\", model: test/m,
           max_output_tokens: 100 {more} }} }}"
    );
    let world = World::with(&agents).await;
    let policy = format!("guardrails: [ {{ id: cap, at: in_flight, {rule} }} ]");
    let policy = Policy::from_yaml(&policy).unwrap();
    world.control.publish_policy("ann", policy).await.unwrap();
    world
}

/// The code of the block that a run has come to.
async fn blocked(run: &RunHandle) -> String {
    match run.settled_or_blocked().await.unwrap() {
        Position::Blocked { steps, .. } => {
            assert_eq!(steps[0].reason, BlockReason::Guardrail);
            steps[0].code.clone()
        }
        ended @ Position::Ended(_) => panic!("{ended:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_on_tokens_or_cost_cuts_a_stream_that_runs_and_all_that_was_held_is_spent() {
    for rule in [
        "max_output_tokens: 9",
        "max_cost_per_call: { usd: \"1.009\" }",
    ] {
        for api in APIS {
            let server = ModelServer::start(Script::always(stalled())).unwrap();
            let world = world(&server, api, "", rule).await;
            let run = world.start(ONCE, json!("hi")).await;
            assert_eq!(blocked(&run).await, "cap", "{api}");
            server.until(|counts| counts.hung_up == 1).await;
            assert_eq!(world.money(), (mills(HELD), NanoUsd::ZERO), "{api}");
            let settled = world.facts(&run, "model_call.settled").await;
            assert_eq!(settled[0]["flags"], json!(["cut"]), "{api}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_is_found_although_it_comes_in_pieces() {
    let server = ModelServer::start(Script::always(stalled())).unwrap();
    let world = world(&server, "openai_chat", "", "forbidden: [\"89012345678\"]").await;
    let run = world.start(ONCE, json!("hi")).await;
    assert_eq!(blocked(&run).await, "cap");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_too_long_is_cut_while_nothing_comes() {
    for more in [", stream: true", ", stream: false"] {
        let server = ModelServer::start(Script::always(Completion {
            fault: Fault::StallAfter(1),
            ..stalled()
        }));
        let server = server.unwrap();
        let world = world(&server, "anthropic", more, "max_duration: 50ms").await;
        let run = world.start(ONCE, json!("hi")).await;
        assert_eq!(blocked(&run).await, "cap");
        server.until(|counts| counts.hung_up == 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_only_observes_lets_the_stream_end() {
    let whole = Completion {
        fault: Fault::None,
        ..stalled()
    };
    let server = ModelServer::start(Script::always(whole)).unwrap();
    let rule = "mode: observe, max_output_tokens: 9";
    let world = world(&server, "openai_chat", "", rule).await;
    let run = world.start(ONCE, json!("hi")).await;
    output(&run.outcome().await.unwrap());
    assert_eq!(world.facts(&run, "guardrail.judged").await.len(), 1);
    assert_eq!(world.money(), (mills(21), NanoUsd::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_halts_cuts_the_stream_and_blocks_its_step() {
    let server = ModelServer::start(Script::always(stalled())).unwrap();
    let rule = "verdict: halt, max_output_tokens: 9";
    let world = world(&server, "anthropic", "", rule).await;
    let run = world.start(ONCE, json!("hi")).await;
    assert_eq!(blocked(&run).await, "cap");
    server.until(|counts| counts.hung_up == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_grows_too_large_is_cut_with_a_name_and_paid_for() {
    for (more, code, money) in [
        (", max_answer_bytes: 25", "answer_too_large", HELD),
        (
            ", max_answer_bytes: 25, stream: false",
            "answer_too_large",
            HELD,
        ),
    ] {
        let whole = Completion {
            fault: Fault::None,
            ..stalled()
        };
        let server = ModelServer::start(Script::always(whole)).unwrap();
        let rule = "max_output_tokens: 1000";
        let world = world(&server, "openai_responses", more, rule).await;
        let (failed, message) = failure(world.run("agent: a", json!("hi")).await);
        assert_eq!(failed, code, "{message}");
        assert!(message.contains("max_answer_bytes"), "{message}");
        assert_eq!(world.money(), (mills(money), NanoUsd::ZERO), "{more}");
        assert_eq!(server.counts().received, 1);
    }
}
