//! What an agents file may say, and what is said about one that is wrong.

use std::ffi::OsString;
use std::path::Path;

use super::*;

fn variable(name: &str) -> Option<OsString> {
    match name {
        "PATH" => std::env::var_os("PATH"),
        "KEY" => Some("k".into()),
        _ => None,
    }
}

fn place() -> Place {
    Place::of(".").with_environment(variable)
}

fn one(text: &str) -> AgentSpec {
    read(format!("agents: {{ a: {text} }}").as_bytes(), &place())
        .unwrap()
        .remove(0)
}

fn refusal(text: &str) -> String {
    format!("{:?}", read(text.as_bytes(), &place()).unwrap_err())
}

#[test]
fn a_recorded_agent_has_a_file_beside_the_agents_file() {
    let text = b"agents: { writer: { kind: recorded, file: calls.jsonl } }";
    let specs = read(text, &Place::of("d")).unwrap();
    assert_eq!(specs[0].name.as_str(), "writer");
    let AgentKind::Recorded(file) = &specs[0].kind else {
        panic!("{:?}", specs[0].kind);
    };
    assert_eq!(file, Path::new("d/calls.jsonl"));
}

#[test]
fn an_agent_may_have_a_version_which_is_text() {
    let text = "agents: { a: { kind: recorded, file: f, version: \"1.10\" } }";
    let specs = read(text.as_bytes(), &place()).unwrap();
    assert_eq!(specs[0].version.as_ref().unwrap().as_str(), "1.10");
    for bad in ["2", "\"\"", "[]"] {
        let text = refusal(&text.replace("\"1.10\"", bad));
        assert!(text.contains("/agents/a/version"), "{text}");
    }
}

#[test]
fn every_fault_is_told_at_once() {
    let text = refusal("agents: { A: { kind: recorded }, b: { kind: recorded, x: 1 }, c: 7 }");
    for place in ["/agents/A", "/agents/b/x", "/agents/b/file", "/agents/c"] {
        assert!(text.contains(place), "{place}: {text}");
    }
    for bad in ["", "[]", "agents: []", "{ agents: {}, more: 1 }", "a: b: c"] {
        refusal(bad);
    }
}

#[test]
fn an_unknown_kind_is_told_with_the_kinds_that_there_are() {
    let text = refusal("agents: { a: { kind: robot } }");
    assert!(
        text.contains("/agents/a/kind") && text.contains("recorded, command, chat, http"),
        "{text}"
    );
}

#[test]
fn a_command_has_a_program_its_arguments_and_the_variables_that_are_named() {
    let spec = one("{ kind: command, program: [sh, -c, \"true\"], env: [KEY], grace: 1s }");
    let AgentKind::Command(spec) = spec.kind else {
        panic!("{spec:?}");
    };
    assert!(spec.program.ends_with("sh") && spec.program.is_absolute());
    assert_eq!(spec.arguments, ["-c", "true"]);
    let names: Vec<&str> = spec
        .environment
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["PATH", "KEY"]);
    assert!(!format!("{spec:?}").contains("KEY"));
}

#[test]
fn what_a_command_misses_is_told_with_its_place() {
    let text = refusal(
        "agents: { a: { kind: command, program: [no-such-program-here], env: [UNSET], dir: nowhere,
           timeout: soon, models: [ { model: m, input_tokens: 0 }, 7 ] },
           b: { kind: command, program: [./Cargo.toml] }, c: { kind: command } }",
    );
    for part in [
        "/agents/a/program",
        "no-such-program-here",
        "/agents/a/env",
        "UNSET",
        "/agents/a/dir",
        "/agents/a/timeout",
        "/agents/a/models/0/model",
        "/agents/a/models/0/input_tokens",
        "/agents/a/models/0/max_output_tokens",
        "/agents/a/models/1",
        "/agents/b/program",
        "chmod",
        "/agents/c/program",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn what_an_address_or_a_key_misses_is_told_with_its_place() {
    let text = refusal(
        "agents: { a: { kind: chat, api: telnet, base_url: \"http://example.com\", model: gpt,
           key_env: UNSET, limit_field: most, stream: yes please, tools: [] },
           b: { kind: http, url: nowhere, key: sk-1 }, c: { kind: chat } }",
    );
    for part in [
        "/agents/a/api",
        "openai_chat, openai_responses, anthropic",
        "/agents/a/base_url",
        "use https",
        "/agents/a/model",
        "/agents/a/key_env",
        "UNSET",
        "/agents/a/limit_field",
        "/agents/a/stream",
        "/agents/a/tools",
        "/agents/a/max_output_tokens",
        "/agents/b/url",
        "/agents/b/key",
        "/agents/c/api",
        "/agents/c/base_url",
        "/agents/c/model",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_chat_agent_takes_its_key_from_the_environment_and_streams_unless_told_otherwise() {
    let text = "{ kind: chat, api: anthropic, base_url: \"https://api.anthropic.com/v1\",
        model: anthropic/claude, key_env: KEY, max_output_tokens: 10 }";
    let AgentKind::Chat(spec) = one(text).kind else {
        panic!("{text}");
    };
    assert_eq!(spec.key, Some(crate::Secret::new("k".to_owned())));
    assert_eq!(spec.delivery, crate::chat::Delivery::Stream);
    assert_eq!(spec.limit_field, "max_completion_tokens");
}
