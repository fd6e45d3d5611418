//! Agents somewhere else that answer later, at the address that they were given.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use mission_control::agents::callback::Listening;
use mission_control::core::ports::EventLog;

use crate::common::*;

const ONCE: &str = "agent: a, retry: { maximum_attempts: 1 }";
/// Any port of the loopback.
const ANYWHERE: &str = "127.0.0.1:0";

fn place() -> Place {
    Place::of("/").with_environment(|name| match name {
        "SECRET" => Some("0123456789abcdef0123456789abcdef".into()),
        "SHORT" => Some("0123456789abcdef0123456789abcde".into()),
        _ => None,
    })
}

fn agents(server: &ModelServer, callback: &str) -> String {
    let url = server.url("/agents/a");
    let bound = "models: [ { model: test/m, input_tokens: 40, max_output_tokens: 10 } ]";
    format!(
        "callback: {{ {callback} }}\nagents: {{ a: {{ kind: http, url: \"{url}\", {bound} }} }}"
    )
}

fn listening_at(address: &str) -> String {
    format!("listen: \"{address}\", secret_env: SECRET")
}

/// An agent that answers later.
fn later() -> ModelServer {
    let pending = Answer::json(202, json!({"status": "pending"}));
    ModelServer::start(Script::always(pending)).unwrap()
}

/// A store over a log, with the agent, that listens for its answers.
async fn open(log: Arc<dyn EventLog>, text: &str) -> (World, Listening) {
    let builder = Builder::new().with_settings(priced(PRICES));
    let control = builder.open_log(log).await.unwrap();
    let specs = file::read(text.as_bytes(), &place()).unwrap();
    let listening = file::callback(&specs).unwrap().listen(&control);
    let listening = listening.unwrap();
    let agent = specs[0].agent().unwrap();
    control.register_agent("a", agent).await.unwrap();
    control.start_dispatch().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    (World { control, dir }, listening)
}

async fn listening(server: &ModelServer) -> (World, Listening) {
    let text = agents(server, &listening_at(ANYWHERE));
    open(Arc::new(MemoryLog::new()), &text).await
}

/// A run that waits for its answer, and the address for it.
async fn waiting(world: &World, server: &ModelServer) -> (RunHandle, String) {
    let run = world.start(ONCE, json!({})).await;
    run.settled_or_blocked().await.unwrap();
    (run, address(server))
}

fn address(server: &ModelServer) -> String {
    let asked = server.received().pop().unwrap();
    asked.body["callback_url"].as_str().unwrap().to_owned()
}

fn reply() -> Value {
    let usage = json!({"input_uncached": 20, "output_text": 7});
    json!({"output": "late", "usage": [{"model": "test/m", "usage": usage}]})
}

/// What a POST there is answered: the status, and the code of what is wrong.
async fn post(url: &str, body: &str) -> (u16, String) {
    send(url, body.len(), body).await
}

async fn send(url: &str, length: usize, body: &str) -> (u16, String) {
    let (host, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let text =
        format!("POST /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n\r\n{body}");
    let host = host.to_owned();
    let talk = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(host).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let answer = talk.await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let said = answer.split_once("\r\n\r\n").unwrap().1;
    let said: Value = serde_json::from_str(said).unwrap();
    let code = said["error"]["code"].as_str().unwrap_or_default();
    (status, code.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_at_the_callback_address_is_taken_once() {
    let server = later();
    let (world, _listening) = listening(&server).await;
    let (run, url) = waiting(&world, &server).await;
    let reply = reply().to_string();
    let both = tokio::join!(post(&url, &reply), post(&url, &reply));
    let mut statuses = [both.0.0, both.1.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    assert_eq!(output(&run.outcome().await.unwrap()), "late");
    assert_eq!(world.money(), (mills(27), NanoUsd::ZERO));
    assert_eq!(post(&url, &reply).await, (409, "not_awaited".to_owned()));
    assert_eq!(world.facts(&run, "signal.received").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_may_come_before_the_word_that_it_comes_later() {
    let server = later();
    server.hold();
    let (world, _listening) = listening(&server).await;
    let run = world.start(ONCE, json!({})).await;
    server.until(|counts| counts.received == 1).await;
    let (url, reply) = (address(&server), reply().to_string());
    assert_eq!(post(&url, &reply).await.0, 200);
    assert_eq!(post(&url, &reply).await.0, 409);
    server.go_on();
    assert_eq!(output(&run.outcome().await.unwrap()), "late");
    assert_eq!(world.money(), (mills(27), NanoUsd::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_token_is_refused() {
    let server = later();
    let (world, _listening) = listening(&server).await;
    let (run, url) = waiting(&world, &server).await;
    let (step, token) = url.rsplit_once('/').unwrap();
    let other = if token.starts_with('0') { "1" } else { "0" };
    let (_, theirs) = waiting(&world, &server).await;
    let theirs = theirs.rsplit_once('/').unwrap().1;
    for token in [&format!("{other}{}", &token[1..]), theirs, "", "x"] {
        let refused = post(&format!("{step}/{token}"), &reply().to_string()).await;
        assert_eq!(refused, (403, "foreign_token".to_owned()), "{token}");
    }
    assert!(world.facts(&run, "signal.received").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_or_too_large_is_refused_and_the_next_one_is_taken() {
    let server = later();
    let (world, _listening) = listening(&server).await;
    let (run, url) = waiting(&world, &server).await;
    let most = 8 * 1024 * 1024;
    assert_eq!(
        send(&url, most + 1, "").await,
        (413, "too_large".to_owned())
    );
    for bad in ["", "7", "{\"out\": 1}", "{\"output\": 1, \"error\": {}}"] {
        let refused = post(&url, bad).await;
        assert_eq!(refused, (422, "invalid_output".to_owned()), "{bad}");
    }
    assert_eq!(post(&url, &reply().to_string()).await.0, 200);
    assert_eq!(output(&run.outcome().await.unwrap()), "late");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_what_was_asked_before_a_restart_is_taken_after_it() {
    let server = later();
    let (before, listening) = listening(&server).await;
    let (run, url) = waiting(&before, &server).await;
    let address = listening.address().to_string();
    listening.close();
    let text = agents(&server, &listening_at(&address));
    let (after, _listening) = open(Arc::clone(before.control.log()), &text).await;
    assert_eq!(post(&url, &reply().to_string()).await.0, 200);
    let run = after.control.run(run.id());
    assert_eq!(output(&run.outcome().await.unwrap()), "late");
    assert_eq!(server.counts().received, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn others_may_reach_it_by_another_address() {
    let server = later();
    let public = format!(
        "{}, url: \"https://in.example.com/mc/\"",
        listening_at(ANYWHERE)
    );
    let (world, _listening) = open(Arc::new(MemoryLog::new()), &agents(&server, &public)).await;
    let (_, url) = waiting(&world, &server).await;
    assert!(url.starts_with("https://in.example.com/mc/reply/"), "{url}");
}

#[test]
fn a_callback_has_an_address_a_long_secret_and_somebody_to_use_it() {
    let server = later();
    for (callback, place_of_fault) in [
        ("listen: here, secret_env: SECRET", "/callback/listen"),
        ("secret_env: SECRET", "/callback/listen"),
        ("listen: \"127.0.0.1:0\"", "/callback/secret_env"),
        (
            "listen: \"127.0.0.1:0\", secret_env: NONE",
            "/callback/secret_env",
        ),
        (
            "listen: \"127.0.0.1:0\", secret_env: SHORT",
            "/callback/secret_env",
        ),
        (
            "listen: \"127.0.0.1:0\", secret_env: SECRET, port: 1",
            "/callback/port",
        ),
    ] {
        let text = agents(&server, callback);
        let error = file::read(text.as_bytes(), &place()).unwrap_err();
        assert!(error.message().starts_with(place_of_fault), "{error}");
    }
    let alone = format!("callback: {{ {} }}\nagents: {{}}", listening_at(ANYWHERE));
    let error = file::read(alone.as_bytes(), &place()).unwrap_err();
    assert!(error.message().starts_with("/callback"), "{error}");
}
