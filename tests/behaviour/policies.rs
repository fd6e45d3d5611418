//! The policy file in force: versions, limits, unknown models, and that it outlives a crash.

use crate::common::*;
use mission_control::{Policy, Window};

fn policy(text: &str) -> Policy {
    Policy::from_yaml(text).unwrap()
}

async fn publish(control: &MissionControl, text: &str) -> u32 {
    let published = control.publish_policy("ann", policy(text)).await;
    published.unwrap().version
}

#[test]
fn versions_count_from_one_and_the_same_content_keeps_its_version() {
    let world = World::seeded(1);
    world.run(async {
        let control = world.open().await;
        assert_eq!(control.policy().unwrap().version, 0);
        assert_eq!(publish(&control, "approvals: { expires_in: 1h }").await, 1);
        assert_eq!(publish(&control, "approvals: { expires_in: 60m }").await, 1);
        assert_eq!(publish(&control, "approvals: { from: write }").await, 2);
        let history = control.policy_history().await.unwrap();
        let versions: Vec<u32> = history.iter().map(|one| one.version).collect();
        assert_eq!(versions, [1, 2]);
        let first = control.policy_version(1).await.unwrap().policy;
        let differ = first.diff(&control.policy().unwrap().policy);
        assert_eq!(differ, ["approvals.expires_in_ms", "approvals.from"]);
    });
}

#[test]
fn a_policy_is_in_force_again_after_a_crash() {
    let world = World::seeded(2);
    let text = "{ approvals: { from: financial }, tools: { pay: { risk: financial } } }";
    world.run(async {
        let control = world.open().await;
        publish(&control, text).await;
    });
    world.crash();
    world.run(async {
        let control = world.open().await;
        let found = control.policy().unwrap();
        assert_eq!((found.version, found.policy), (1, policy(text)));
    });
}

#[test]
fn limits_of_a_policy_are_set_with_it_and_lifted_when_it_names_them_no_more() {
    let world = World::seeded(3);
    world.run(async {
        let control = world.open().await;
        let text = "budgets: [{ account: workspace, limit: { usd: '2.00' }, \
                    window: { calendar: day, tz: Europe/Berlin }, on_exceed: pause }]";
        publish(&control, text).await;
        let account = workspace(&control);
        assert_eq!(account.limit().money, Some("2.00".parse().unwrap()));
        assert_eq!(account.on_exceed(), OnExceed::Pause);
        assert_eq!(
            account.window(),
            "day Europe/Berlin".parse::<Window>().unwrap()
        );
        publish(&control, "{}").await;
        assert!(workspace(&control).limit().is_none());
    });
}

#[test]
fn the_policy_says_what_happens_to_unknown_models() {
    let world = World::seeded(4);
    world.run(async {
        let asks = agent(|ctx, _| async move {
            let request = ModelRequest::text("local/none".parse().unwrap(), "p");
            let request = request.input_tokens(1).max_output_tokens(1);
            let answer = ModelAnswer::text("a", Usage::default());
            let answered = ctx.model_call(&request, |_| {
                let answer = answer.clone();
                async move { Ok(answer) }
            });
            Ok(json!(answered.await.is_ok()).into())
        });
        let control = open_for(&world, "it", asks).await;
        assert_eq!(
            output_of(&begin(&control, ONE, json!({})).await).await,
            false
        );
        publish(&control, "unknown_models: { free: [local/none] }").await;
        assert_eq!(output_of(&start(&control, json!({})).await).await, true);
    });
}

#[test]
fn a_rule_for_a_step_is_refused_by_what_it_may_name_instead() {
    for (key, at) in [
        ("step", "admission"),
        ("steps", "admission"),
        ("models", "admission"),
        ("step", "model_call"),
    ] {
        let rule = if at == "admission" {
            "max_depth: 1"
        } else {
            "max_bytes: 5"
        };
        let text = format!("guardrails: [ {{ id: r, at: {at}, for: {{ {key}: [a] }}, {rule} }} ]");
        let told = format!("{:?}", Policy::from_yaml(&text).unwrap_err());
        assert!(told.contains("/guardrails/0/for"), "{told}");
        assert!(told.contains("workflows"), "{told}");
    }
}
