//! The document's examples are read as they stand, and virtual time is refused by name.

use mission_control::agents::file::AgentKind;
use mission_control::testing::Scenario;

use crate::common::*;

const DOCUMENT: &str = include_str!("../../docs/agents.md");

fn place() -> Place {
    Place::of(".").with_environment(|name| match name {
        "MODEL_KEY" => Some("k".into()),
        "CALLBACK_SECRET" => Some("s".repeat(32).into()),
        "PATH" => std::env::var_os("PATH"),
        _ => None,
    })
}

#[test]
fn every_example_of_the_document_is_an_agents_file() {
    let blocks = DOCUMENT.split("```yaml\n").skip(1);
    let texts = blocks.map(|block| block.split("```").next().unwrap());
    let kinds = texts.map(|text| {
        let specs = file::read(text.as_bytes(), &place()).unwrap();
        match specs[0].kind {
            AgentKind::Recorded(_) => "recorded",
            AgentKind::Command(_) => "command",
            AgentKind::Chat(_) => "chat",
            AgentKind::Http(_) => "http",
        }
    });
    let kinds: Vec<&str> = kinds.collect();
    assert_eq!(kinds, ["recorded", "command", "chat", "http", "http"]);
}

#[test]
fn in_virtual_time_an_agent_that_needs_a_runtime_says_so() {
    for spec in [
        "kind: command, program: [sh]",
        "kind: http, url: \"http://127.0.0.1:1\"",
        "kind: chat, api: anthropic, base_url: \"http://127.0.0.1:1\", model: a/b,
         max_output_tokens: 1",
    ] {
        let text = format!("agents: {{ a: {{ {spec} }} }}");
        let agent = file::read(text.as_bytes(), &place()).unwrap()[0]
            .agent()
            .unwrap();
        let world = Scenario::seeded(1);
        let outcome = world.run(async {
            let control = world.open().await.unwrap();
            control.register_agent("a", agent).await.unwrap();
            let workflow = Workflow::from_yaml("{ workflow: w, steps: { s: { agent: a } } }");
            control.publish(workflow.unwrap()).await.unwrap();
            control.start_dispatch().await.unwrap();
            let run = control
                .start("w", json!({}), StartOptions::by("ann"))
                .await
                .unwrap();
            run.outcome().await.unwrap()
        });
        assert_eq!(failure(outcome.unwrap()).0, "no_runtime");
    }
}
