//! Streams that end badly after the answer was over, and calls that are cut before anything went out.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::common::*;

/// A server that answers its one request with these bytes and hangs up, in the middle of the body as
/// HTTP has it where `rest` more bytes are promised.
fn answers(body: &str, rest: usize) -> String {
    let length = body.len() + rest;
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {length}\r\n\r\n"
    );
    let (bytes, listener) = (format!("{head}{body}"), bound());
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let asked = read_request(&mut stream);
        assert!(asked.contains("stream"), "{asked}");
        stream.write_all(bytes.as_bytes()).unwrap();
    });
    format!("http://{address}/v1")
}

fn bound() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// A request with its body, which is JSON: it ends with a brace.
fn read_request(stream: &mut TcpStream) -> String {
    let mut asked = Vec::new();
    let mut buffer = [0; 4096];
    while !asked.ends_with(b"}") {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "it hung up");
        asked.extend_from_slice(buffer.get(..length).unwrap());
    }
    String::from_utf8(asked).unwrap()
}

fn agent(api: &str, url: &str, more: &str) -> String {
    format!(
        "agents: {{ a: {{ kind: chat, api: {api}, base_url: \"{url}\", model: test/m,
           max_output_tokens: 100 {more} }} }}"
    )
}

const ONCE: &str = "agent: a, retry: { maximum_attempts: 1 }";

/// The events of an answer of ten tokens, without what ends the last of them.
fn streams() -> [(&'static str, String); 3] {
    let chat = json!({"choices": [{"delta": {"content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3}});
    let part = json!({"type": "output_text", "text": "hi"});
    let done = json!({"type": "response.completed", "response": {
        "model": "m", "output": [{"type": "message", "content": [part]}],
        "usage": {"input_tokens": 7, "output_tokens": 3}}});
    let start = json!({"type": "message_start", "message": {"usage": {"input_tokens": 7}}});
    let text = json!({"type": "content_block_delta", "index": 0,
        "delta": {"type": "text_delta", "text": "hi"}});
    let used = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": 3}});
    let stop = json!({"type": "message_stop"});
    [
        ("openai_chat", format!("data: {chat}\n\ndata: [DONE]")),
        ("openai_responses", format!("data: {done}")),
        (
            "anthropic",
            format!("data: {start}\n\ndata: {text}\n\ndata: {used}\n\ndata: {stop}"),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_over_counts_however_its_stream_ends() {
    for (api, stream) in streams() {
        // Whole, but for the bytes that the connection promised; then without the last line's end.
        for (end, rest) in [("\n\n", 100), ("", 0), ("\n", 0)] {
            let url = answers(&format!("{stream}{end}"), rest);
            let world = World::with(&agent(api, &url, "")).await;
            let outcome = world.run(ONCE, json!("hi")).await;
            assert_eq!(output(&outcome), &json!({"text": "hi"}), "{api} {end:?}");
            assert_eq!(world.money(), (mills(10), NanoUsd::ZERO), "{api} {end:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_before_its_answer_does_is_in_doubt() {
    let (api, stream) = streams()[0].clone();
    let cut = stream.replace("data: [DONE]", "data: {\"choi");
    let world = World::with(&agent(api, &answers(&cut, 0), "")).await;
    let (_, message) = failure(world.run(ONCE, json!("hi")).await);
    assert!(message.contains("ended before the answer did"), "{message}");
    let (spent, doubt) = world.money();
    assert!(spent == NanoUsd::ZERO && doubt > NanoUsd::ZERO);
}

/// An authority that vouches for nobody here.
const AUTHORITY: &str = "-----BEGIN CERTIFICATE-----
MIIBmjCCAT+gAwIBAgIUHpcH7UcuxUGKnZ7RlXex/IiJ7fMwCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOdGVzdCBhdXRob3JpdHkwIBcNMjYxMTIyMDE0MTQzWhgPMjEy
NjEwMjkwMTQxNDNaMBkxFzAVBgNVBAMMDnRlc3QgYXV0aG9yaXR5MFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEPgGqp9NFg7G5zpnI1RueCqjBjRY1iBcZa1mja+HN
O/G65AvAtluE3Bhm2stEnvN41MD0eQm6ZbpJx9TnJPEYXqNjMGEwHQYDVR0OBBYE
FNZmz2qO6Lw/VW2OezIQ6+6v8GRtMB8GA1UdIwQYMBaAFNZmz2qO6Lw/VW2OezIQ
6+6v8GRtMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgIEMAoGCCqGSM49
BAMCA0kAMEYCIQDoQo3CXqt7vcGr27kGRpNCiZ5su8he/1eQBiXYYRIncAIhAJYs
HkiM9+zShiN/jp90qmGZw+2gfx5L9zoc4oyg8wBG
-----END CERTIFICATE-----";

/// An address where a connection comes about and nobody speaks TLS.
fn silent() -> (String, TcpListener) {
    let listener = bound();
    let address = listener.local_addr().unwrap();
    (format!("https://localhost:{}/v1", address.port()), listener)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_cut_before_it_could_be_sent_costs_nothing() {
    for stream in ["true", "false"] {
        let (url, listener) = silent();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), AUTHORITY).unwrap();
        let more = format!(", stream: {stream}, ca_file: ca.pem");
        let place = Place::of(dir.path());
        let world = World::at(&agent("openai_chat", &url, &more), &place).await;
        let run = world.start(ONCE, json!("hi")).await;
        let (connection, _) = listener.accept().unwrap();
        run.abort(("ann", "as tested")).await.unwrap();
        assert!(matches!(run.outcome().await.unwrap(), Outcome::Aborted(_)));
        released(&world, &run).await;
        assert_eq!(world.money(), (NanoUsd::ZERO, NanoUsd::ZERO), "{stream}");
        drop(connection);
    }
}

/// Returns once what the aborted attempt had held is told of.
async fn released(world: &World, run: &RunHandle) {
    while world.facts(run, "result.late").await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
