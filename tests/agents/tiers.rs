//! Service tiers of chat agents: what is asked for, what is held, and what an answer is charged at.

use mission_control::core::pricing::TierChoice;

use crate::common::*;

const ONCE: &str = "agent: a, retry: { maximum_attempts: 1 }";
const APIS: [&str; 3] = ["openai_chat", "openai_responses", "anthropic"];
/// A token costs one thousandth of a dollar, half as much in flex, and twice as much with priority.
const TIERED: &str = r#"rate = [
    { input = "1000", output = "1000" },
    { service_tier = "flex", input = "500", output = "500" },
    { service_tier = "priority", input = "2000", output = "2000" },
]"#;

async fn world(server: &ModelServer, api: &str, more: &str) -> World {
    let url = server.url("/v1");
    let agents = format!(
        "agents: {{ a: {{ kind: chat, api: {api}, base_url: \"{url}\", model: test/m,
           max_output_tokens: 100 {more} }} }}"
    );
    World::under(priced(TIERED), &agents).await
}

/// An answer of ten tokens that says so much of its tier.
fn answered(tier: Option<&str>) -> ModelServer {
    let answer = Completion {
        service_tier: tier.map(str::to_owned),
        ..Completion::text("hello", Usage::text(6, 4))
    };
    ModelServer::start(Script::always(answer)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_charged_at_the_tier_that_the_provider_names() {
    for api in APIS {
        for stream in ["true", "false"] {
            for (tier, thousandths) in [
                (Some("priority"), 20),
                (Some("flex"), 5),
                (Some("default"), 10),
                // It may be the dearest.
                (Some("of another name"), 20),
                (None, 10),
            ] {
                let server = answered(tier);
                let world = world(&server, api, &format!(", stream: {stream}")).await;
                output(&world.run(ONCE, json!("hi")).await);
                let money = (mills(thousandths), NanoUsd::ZERO);
                assert_eq!(world.money(), money, "{api} {stream} {tier:?}");
                assert_eq!(server.received()[0].body["service_tier"], Value::Null);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_is_asked_for_in_the_words_of_the_format_and_held() {
    for (api, tier, sent) in [
        ("openai_chat", "priority", "priority"),
        ("openai_responses", "flex", "flex"),
        ("openai_chat", "standard", "default"),
        ("anthropic", "standard", "standard_only"),
        ("anthropic", "auto", "auto"),
    ] {
        let server = answered(None);
        let world = world(&server, api, &format!(", service_tier: {tier}")).await;
        let run = world.start(ONCE, json!("hi")).await;
        output(&run.outcome().await.unwrap());
        assert_eq!(server.received()[0].body["service_tier"], sent);
        let choice: TierChoice = tier.parse().unwrap();
        let a_token = match choice.to_string().as_str() {
            "flex" => 500_000,
            "standard" => 1_000_000,
            _ => 2_000_000,
        };
        let held = world.facts(&run, "model_call.reserved").await;
        assert_eq!(held[0]["amount"]["nano_usd"], 1_100 * a_token, "{tier}");
        let money = NanoUsd::from_nano(10 * a_token);
        assert_eq!(world.money(), (money, NanoUsd::ZERO), "{tier}");
    }
}

#[test]
fn a_tier_that_a_format_cannot_ask_for_is_refused_by_name() {
    for (api, tier) in [
        ("openai_chat", "batch"),
        ("anthropic", "priority"),
        ("openai_responses", "cheap"),
    ] {
        let text = format!(
            "agents: {{ a: {{ kind: chat, api: {api}, base_url: \"http://127.0.0.1:1\", model: a/b,
               max_output_tokens: 1, service_tier: {tier} }} }}"
        );
        let refused = file::read(text.as_bytes(), &Place::of(".")).unwrap_err();
        let refused = format!("{refused:?}");
        assert!(refused.contains("/agents/a/service_tier"), "{refused}");
    }
}
