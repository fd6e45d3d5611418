//! The bundled example on a real model, where the environment names one; else on recorded calls.

use std::process::Command;

use mc_cli::Exit;
use mc_core::usage::Usage;
use mc_testkit::model_server::{Answer as Reply, ModelServer, Script};
use mission_control::{
    AgentError, AgentExecutor, StartOptions, StepContext, StepOutcome, Workflow,
};
use serde_json::{Value, json};

use crate::joining::Host;
use crate::support::{Answer, Desk};

const VARIABLES: [&str; 4] = ["URL", "KEY", "MODEL", "API"];
/// An answer that suits every agent of the example.
const SUITS_ALL: &str = r#"{"angles":["safety","taste"],"verdict":"good","text":"a kettle"}"#;

/// `demo` by the program itself, with these of its variables.
fn demo(desk: &Desk, set: &[(&str, &str)], more: &[&str]) -> Answer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mission-control"));
    let db = desk.text("a.redb");
    command.args(["demo", "--db", &db, "--operator", "ann"]);
    command.args(more);
    for name in VARIABLES {
        command.env_remove(format!("MISSION_CONTROL_DEMO_{name}"));
    }
    for (name, value) in set {
        command.env(format!("MISSION_CONTROL_DEMO_{name}"), value);
    }
    let output = command.output().unwrap();
    let exit = match output.status.code() {
        Some(0) => Exit::Done,
        Some(1) => Exit::Negative,
        Some(64) => Exit::Usage,
        other => {
            assert_eq!(other, Some(3), "{output:?}");
            Exit::CannotOpen
        }
    };
    Answer {
        exit,
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn server() -> ModelServer {
    let answer = Reply::text(SUITS_ALL, Usage::text(1_000, 100));
    ModelServer::start(Script::always(answer)).unwrap()
}

#[test]
fn without_variables_the_example_answers_from_recorded_calls_and_says_so() {
    let desk = Desk::new();
    let answer = demo(&desk, &[], &[]);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    let first = answer.out.lines().next().unwrap();
    assert!(
        first.contains("on its recorded calls: nothing is sent"),
        "{first}"
    );
}

#[test]
fn a_model_and_its_address_let_a_real_model_answer_under_the_same_budget() {
    let (desk, server) = (Desk::new(), server());
    let url = server.url("/v1");
    let set = [
        ("URL", url.as_str()),
        ("KEY", "sk-7"),
        ("MODEL", "openai/gpt-5.4"),
    ];
    let answer = demo(&desk, &set, &[]);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    let first = answer.out.lines().next().unwrap();
    assert!(
        first.contains("on the real model openai/gpt-5.4"),
        "{first}"
    );
    let received = server.received();
    // One of research, one an angle, a draft, a review and an announcement.
    assert_eq!(received.len(), 6);
    assert_eq!(received[0].body["model"], "gpt-5.4");
    assert_eq!(received[0].headers["authorization"], "Bearer sk-7");
    let told: std::collections::BTreeSet<String> = { received.iter() }
        .map(|one| one.body["messages"][0]["content"].to_string())
        .collect();
    assert_eq!(told.len(), 5, "{told:?}");
    let shown = desk.ask(&["show", &desk.newest()]).out;
    assert!(shown.contains("0.60"), "{shown}");
    let costs = desk.ask(&["costs", "--by", "model"]).out;
    assert!(costs.contains("openai/gpt-5.4"), "{costs}");
    assert!(!desk.ask(&["export"]).out.contains("sk-7"));
}

#[test]
fn every_format_is_spoken_and_a_server_here_needs_no_key() {
    for (api, path) in [
        ("openai_responses", "/v1/responses"),
        ("anthropic", "/v1/messages"),
    ] {
        let (desk, server) = (Desk::new(), server());
        let url = server.url("/v1");
        let set = [
            ("URL", url.as_str()),
            ("KEY", ""),
            ("MODEL", "openai/gpt-5.4"),
            ("API", api),
        ];
        let answer = demo(&desk, &set, &["--json"]);
        assert_eq!(answer.exit, Exit::Done, "{answer:?}");
        let first: Value = serde_json::from_str(answer.out.lines().next().unwrap()).unwrap();
        assert_eq!(first["example"], "model");
        assert_eq!(server.received()[0].path, path);
    }
}

#[test]
fn what_is_missing_or_wrong_is_told_by_its_variable_and_nothing_is_sent() {
    let server = server();
    let url = server.url("/v1");
    let model = ("MODEL", "openai/gpt-5.4");
    let far = ("URL", "https://models.example.com/v1");
    for (set, told) in [
        (vec![model], "DEMO_URL: it is not set"),
        (vec![("URL", url.as_str())], "DEMO_MODEL: it is not set"),
        (vec![far, model], "DEMO_KEY: it is not set"),
        (
            vec![("URL", "http://models.example.com"), model],
            "DEMO_URL: plain http",
        ),
        (
            vec![("URL", &url), model, ("API", "grpc")],
            "DEMO_API: the formats are",
        ),
        (vec![("URL", &url), ("MODEL", "gpt")], "DEMO_MODEL: "),
    ] {
        let desk = Desk::new();
        let answer = demo(&desk, &set, &[]);
        assert_eq!(answer.exit, Exit::Usage, "{set:?}: {answer:?}");
        assert!(answer.err.contains(told), "{told}: {}", answer.err);
        assert!(
            answer.err.contains("next: set MISSION_CONTROL_DEMO_URL"),
            "{}",
            answer.err
        );
        assert!(!desk.path("a.redb").exists());
    }
    let unpriced = [("URL", url.as_str()), ("MODEL", "openai/nobody-knows")];
    let answer = demo(&Desk::new(), &unpriced, &[]);
    assert_eq!(answer.exit, Exit::Usage, "{answer:?}");
    assert!(
        answer.err.contains("`openai/nobody-knows` has no price"),
        "{}",
        answer.err
    );
    assert!(
        answer.err.contains("prices override FILE"),
        "{}",
        answer.err
    );
    assert_eq!(server.counts().received, 0);
}

/// An agent that is never there when it is called.
struct Writer;

#[mission_control::async_trait]
impl AgentExecutor for Writer {
    async fn execute(&self, _: StepContext, _: Value) -> Result<StepOutcome, AgentError> {
        Err(AgentError::new("nobody calls it"))
    }
}

#[test]
fn the_demo_leaves_a_step_of_an_agent_of_its_hosts_alone() {
    let desk = Desk::new();
    let host = Host::of(&desk);
    let text = "{ workflow: product-brief, steps: { a: { agent: writer } } }";
    let id = host.runtime.block_on(async {
        let workflow = Workflow::from_yaml(text).unwrap();
        host.control.publish(workflow).await.unwrap();
        host.control.register_agent("writer", Writer).await.unwrap();
        let options = StartOptions::by("ann");
        let started = host.control.start("product-brief", json!({}), options);
        started.await.unwrap().id()
    });
    host.close();
    // The next host does not have the agent.
    let host = Host::of(&desk);
    let run = host.control.run(id);
    let before = host.runtime.block_on(async {
        host.control.start_dispatch().await.unwrap();
        run.settled_or_blocked().await.unwrap();
        run.state().await.unwrap()
    });
    let answer = demo(&desk, &[], &[]);
    assert_eq!(answer.exit, Exit::Done, "{answer:?}");
    let after = host.runtime.block_on(run.state()).unwrap();
    assert_eq!(after, before);
    let briefs = desk.ask(&["runs", "--workflow", "product-brief", "--json"]);
    assert_eq!(briefs.json()["runs"].as_array().unwrap().len(), 1);
    drop(run);
    host.close();
}
