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

const CHAT: &str = "kind: chat, api: openai_chat, base_url: \"https://a.b/v1\", model: a/b,
    max_output_tokens: 1";

fn poor(name: &str) -> Option<OsString> {
    match name {
        // Whatever lies where this test runs is not used.
        "PATH" => Some("tests/programs:.::/nowhere".into()),
        "BLANK" => Some(" \n".into()),
        _ => None,
    }
}

#[test]
fn a_key_that_is_blank_is_refused_by_its_name() {
    let text = format!("agents: {{ a: {{ {CHAT}, key_env: BLANK }} }}");
    let place = Place::of(".").with_environment(poor);
    let refused = format!("{:?}", read(text.as_bytes(), &place).unwrap_err());
    assert!(refused.contains("/agents/a/key_env"), "{refused}");
    assert!(refused.contains("BLANK: it is blank"), "{refused}");
}

/// A directory with the program `work` in it.
fn with_a_program() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("work");
    std::fs::write(&path, "#!/bin/sh\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(path, mode).unwrap();
    dir
}

#[test]
fn a_program_with_a_slash_begins_where_the_file_lies() {
    let dir = with_a_program();
    let text = b"agents: { a: { kind: command, program: [./work] } }";
    let specs = read(text, &Place::of(dir.path())).unwrap();
    let AgentKind::Command(spec) = &specs[0].kind else {
        panic!("{specs:?}");
    };
    assert!(spec.program.is_absolute() && spec.dir.is_absolute());
    assert_eq!(spec.program, dir.path().join("work"));
}

fn here(name: &str) -> Option<OsString> {
    // From the root there is a `sh` in each of them.
    let up = "../".repeat(64);
    (name == "PATH").then(|| format!("{up}bin:{up}usr/bin").into())
}

#[test]
fn relative_directories_of_the_path_are_not_used() {
    let text = b"agents: { a: { kind: command, program: [sh] } }";
    let place = Place::of(".").with_environment(here);
    let refused = format!("{:?}", read(text, &place).unwrap_err());
    assert!(refused.contains("there is no program `sh`"), "{refused}");
}

#[test]
fn a_chat_agent_has_its_tools_with_a_schema_each() {
    let tool = "look_up: { description: d, program: [sh], parameters: { type: object } }";
    let text = format!("{{ {CHAT}, tools: {{ {tool} }}, max_turns: 3 }}");
    let AgentKind::Chat(spec) = one(&text).kind else {
        panic!("{text}");
    };
    assert_eq!(
        (spec.tools[0].name.as_str(), spec.max_turns),
        ("look_up", 3)
    );
    let timeout = spec.tools[0].command.timeout;
    assert_eq!(timeout, Some(std::time::Duration::from_secs(120)));
}

#[test]
fn what_a_tool_misses_is_told_with_its_place() {
    let text = refusal(&format!(
        "agents: {{ a: {{ {CHAT}, max_turns: 0, service_tier: cheap, tools: {{
           \"look up\": {{ program: [no-such-program-here], models: [] }},
           b: {{ description: d, program: [sh], parameters: {{ type: object, required: 7 }} }},
           c: {{ description: d, program: [sh], parameters: {{ type: array }}, env: [UNSET] }},
           d: 7 }} }} }}"
    ));
    for part in [
        "/agents/a/max_turns",
        "/agents/a/service_tier",
        "\"/agents/a/tools/look up\"",
        "/agents/a/tools/look up/program",
        "/agents/a/tools/look up/description",
        "/agents/a/tools/look up/models",
        "/agents/a/tools/b/parameters/required",
        "/agents/a/tools/c/parameters",
        "/agents/a/tools/c/env",
        "/agents/a/tools/d",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn https_on_this_machine_names_its_authority() {
    let here = CHAT.replace("https://a.b/v1", "https://127.0.0.1:8443/v1");
    let text = refusal(&format!("agents: {{ a: {{ {here} }} }}"));
    assert!(text.contains("/agents/a/ca_file"), "{text}");
    assert!(text.contains("or use plain http"), "{text}");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bad.pem"), "no certificate").unwrap();
    for file in ["bad.pem", "none.pem"] {
        let text = format!("agents: {{ a: {{ {here}, ca_file: {file} }} }}");
        let refused = read(text.as_bytes(), &Place::of(dir.path())).unwrap_err();
        let refused = format!("{refused:?}");
        assert!(refused.contains("/agents/a/ca_file"), "{refused}");
    }
}
