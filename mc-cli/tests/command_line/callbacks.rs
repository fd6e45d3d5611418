//! `run` with remote agents that bring their answers later: it listens for them, and waits.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use mc_testkit::model_server::{Answer as Reply, ModelServer, Script};
use serde_json::{Value, json};

use crate::support::Desk;

const REMOTE: &str = "workflow: brief\nsteps: { plan: { agent: planner, risk: read } }";

/// The address for the answer to what was asked first, once it was.
fn asked(server: &ModelServer) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime
        .unwrap()
        .block_on(server.until(|counts| counts.received == 1));
    let url = server.received()[0].body["callback_url"].clone();
    url.as_str().unwrap().to_owned()
}

/// The first line of what a POST there is answered.
fn post(url: &str, body: &str) -> String {
    let (host, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let length = body.len();
    let text =
        format!("POST /{path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_run_waits_for_the_answer_that_a_remote_agent_brings_later() {
    let pending = Reply::json(202, json!({"status": "pending"}));
    let server = ModelServer::start(Script::always(pending)).unwrap();
    let desk = Desk::new();
    desk.write("workflow.yaml", REMOTE);
    let url = server.url("/planner");
    let callback = "callback: { listen: \"127.0.0.1:0\", secret_env: CALLBACK_SECRET }";
    let agents = format!("agents: {{ planner: {{ kind: http, url: \"{url}\" }} }}");
    desk.write("agents.yaml", &format!("{callback}\n{agents}"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_mission-control"));
    command.args([
        "run",
        &desk.text("workflow.yaml"),
        "--agents",
        &desk.text("agents.yaml"),
    ]);
    command.args(["--db", &desk.text("a.redb"), "--operator", "ann", "--json"]);
    command.env("CALLBACK_SECRET", "s".repeat(32));
    let run = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let run = run.unwrap();
    let url = asked(&server);
    assert_eq!(post(&url, r#"{"output": "late"}"#), "HTTP/1.1 200 OK");
    let ended = run.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    let said: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(said["outcome"], json!({"completed": {"plan": "late"}}));
    assert!(ended.status.success());
}
